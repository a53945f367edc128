//! `tinclaw service`: the files by which systemd runs the host.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::{JsonArgs, ServiceCommand, ServiceInstallArgs};
use super::output::{CommandResult, Failure, path_texts, print_json};

/// The program in the unit, which is replaced by the one that runs.
const PACKAGED_PROGRAM: &str = "/usr/bin/tinclaw";

/// The configuration in the unit.
const PACKAGED_CONFIG: &str = "/etc/tinclaw/tinclaw.toml";

/// The files, where they go, and their contents. They are those of the Debian package.
const FILES: [(&str, &str); 3] = [
    ("etc/systemd/system/tinclaw.service", include_str!("../../packaging/systemd/tinclaw.service")),
    ("etc/systemd/system/tinclaw.socket", include_str!("../../packaging/systemd/tinclaw.socket")),
    ("etc/sysusers.d/tinclaw.conf", include_str!("../../packaging/systemd/tinclaw.sysusers")),
];

/// Links that systemd makes when the service is enabled.
const ENABLED: [&str; 2] = [
    "etc/systemd/system/multi-user.target.wants/tinclaw.service",
    "etc/systemd/system/sockets.target.wants/tinclaw.socket",
];

/// A configuration to begin with, where there is none.
const CONFIG: &str = include_str!("../../packaging/debian/tinclaw.toml");

/// Does what `tinclaw service …` says.
pub fn service(command: &ServiceCommand) -> CommandResult {
    match command {
        ServiceCommand::Install(options) => install(options),
        ServiceCommand::Uninstall { root, output } => uninstall(root, *output),
    }
}

fn install(options: &ServiceInstallArgs) -> CommandResult {
    let program = match &options.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()
            .map_err(|error| Failure::problem(format!("the path of this program is not known: {error}")))?,
    };
    let config = &options.service_config;
    let (program_path, config_path) = (program.clone(), config.clone());
    let program = unit_path(&program, "--program")?;
    let config = unit_path(config, "--service-config")?;
    refuse_missing(&program_path, &options.root)?;
    refuse_hidden(&program_path, "--program", "/usr/local/bin/tinclaw")?;
    refuse_hidden(&config_path, "--service-config", PACKAGED_CONFIG)?;
    let (mut written, mut kept) = (Vec::new(), Vec::new());
    for (place, content) in FILES {
        let content = content.replace(PACKAGED_PROGRAM, &program).replace(PACKAGED_CONFIG, &config);
        let path = options.root.join(place);
        write(&path, &content)?;
        written.push(path);
    }
    let config_file = options.root.join(config.trim_start_matches('/'));
    if config_file.exists() {
        kept.push(config_file);
    } else {
        write(&config_file, CONFIG)?;
        written.push(config_file);
    }
    if options.output.json {
        print_json(&json!({"written": path_texts(&written), "kept": path_texts(&kept)}));
        return Ok(());
    }
    written.iter().for_each(|path| outln!("wrote  {}", path.display()));
    kept.iter().for_each(|path| outln!("kept   {}", path.display()));
    outln!(
        "\nnow run:\n  systemd-sysusers\n  chgrp tinclaw {config}\n  systemctl daemon-reload\n  \
         systemctl enable --now tinclaw.service\n\n\
         with the socket held by systemd, so that no connection is refused while the host is restarted:\n  \
         systemctl enable --now tinclaw.socket tinclaw.service"
    );
    Ok(())
}

/// Refuses a program that is not there: neither here nor below the root that the unit is for.
fn refuse_missing(program: &Path, root: &Path) -> CommandResult {
    let below = root.join(program.strip_prefix("/").unwrap_or(program));
    match program.is_file() || below.is_file() {
        true => Ok(()),
        false => Err(Failure::problem(format!(
            "--program {}: there is no such file; install the program first",
            program.display()
        ))),
    }
}

/// Directories that the unit hides from the service, and how.
const HIDDEN: [(&str, &str); 5] = [
    ("/home", "ProtectHome=yes"),
    ("/root", "ProtectHome=yes"),
    ("/run/user", "ProtectHome=yes"),
    ("/tmp", "PrivateTmp=yes"),
    ("/var/tmp", "PrivateTmp=yes"),
];

/// Refuses a file that the service cannot see.
fn refuse_hidden(path: &Path, option: &str, instead: &str) -> CommandResult {
    // A link into a home is hidden like what it leads to.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let hidden =
        HIDDEN.iter().find(|(directory, _)| [path, &real].iter().any(|path| path.starts_with(directory)));
    match hidden {
        None => Ok(()),
        Some((directory, setting)) => Err(Failure::problem(format!(
            "{option} {}: the unit has {setting}, so the service sees no file below {directory}; copy it to {instead} \
             and name that with {option}",
            path.display()
        ))),
    }
}

/// A path as a unit has it: absolute, and without what means something there.
fn unit_path(path: &Path, option: &str) -> Result<String, Failure> {
    let text = path.to_str().filter(|text| {
        text.starts_with('/')
            && !text.contains(['%', '$', '"', '\'', '\\', ';'])
            && !text.contains(char::is_whitespace)
    });
    text.map(str::to_owned).ok_or_else(|| {
        let path = path.display();
        Failure::usage(format!(
            "{option} {path}: the unit needs an absolute path without blanks, quotes, `%`, `$`, `;` and `\\`"
        ))
    })
}

fn write(path: &Path, content: &str) -> Result<(), Failure> {
    let failed = |error| Failure::problem(format!("{}: {error}", path.display()));
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    // A unit is read whole or not at all.
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    fs::write(&new, content).map_err(failed)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).map_err(failed)?;
    fs::rename(&new, path).map_err(failed)
}

fn uninstall(root: &Path, output: JsonArgs) -> CommandResult {
    if let Some(enabled) =
        ENABLED.iter().map(|link| root.join(link)).find(|link| link.symlink_metadata().is_ok())
    {
        return Err(Failure::problem(format!(
            "the service is enabled ({}), and systemd could not stop it without its files; first run\n  \
             systemctl disable --now tinclaw.service tinclaw.socket\nand then this again",
            enabled.display()
        )));
    }
    let mut removed = Vec::new();
    for (place, _) in FILES {
        let path = root.join(place);
        match fs::remove_file(&path) {
            Ok(()) => removed.push(path),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::problem(format!("{}: {error}", path.display()))),
        }
    }
    if output.json {
        print_json(&json!({"removed": path_texts(&removed)}));
        return Ok(());
    }
    if removed.is_empty() {
        outln!("no service is installed here; nothing was removed");
        return Ok(());
    }
    removed.iter().for_each(|path| outln!("removed  {}", path.display()));
    outln!(
        "\nnow run:\n  systemctl daemon-reload\n\n\
         configuration and state are left where they are: {PACKAGED_CONFIG}, /var/lib/tinclaw"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_name_the_program_and_the_configuration_that_are_replaced() {
        assert!(FILES[0].1.contains(&format!("ExecStart={PACKAGED_PROGRAM} run --config {PACKAGED_CONFIG}")));
    }

    /// The unit could not start such a program, and the command said that all was well.
    #[test]
    fn a_program_that_the_service_cannot_see_is_refused() {
        for (path, setting) in [
            ("/home/ann/tinclaw", Some("ProtectHome=yes")),
            ("/root/tinclaw", Some("ProtectHome=yes")),
            ("/tmp/tinclaw", Some("PrivateTmp=yes")),
            ("/var/tmp/x/tinclaw", Some("PrivateTmp=yes")),
            ("/usr/local/bin/tinclaw", None),
            ("/homes/tinclaw", None),
        ] {
            let refused = refuse_hidden(Path::new(path), "--program", "/usr/local/bin/tinclaw");
            let reason = refused.err().map(|failure| failure.to_string()).unwrap_or_default();
            assert!(
                setting.map_or(reason.is_empty(), |setting| reason.contains(setting)),
                "{path}: {reason}"
            );
        }
        assert!(refuse_missing(Path::new("/nowhere/tinclaw"), Path::new("/")).is_err());
    }

    #[test]
    fn a_path_that_means_something_else_in_a_unit_is_refused() {
        for (path, is_good) in [
            ("/usr/local/bin/tinclaw", true),
            ("/opt/tin-claw_1.0/tinclaw", true),
            ("tinclaw", false),
            ("/a b", false),
            ("/a%h", false),
            ("/a$HOME", false),
            ("/a;b", false),
            ("/a\nExecStartPre=/b", false),
            ("/a\"", false),
        ] {
            assert_eq!(unit_path(Path::new(path), "--program").is_ok(), is_good, "{path}");
        }
    }
}
