//! Which configuration file, and which state directory.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::file::ConfigFile;
use super::layers::{ConfigValue, Environment, place_of};
use super::parse::{ParsedConfig, parse_in};
use crate::cli::output::Failure;
use crate::model::regular_file;

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "tinclaw.toml";

/// A configuration and where it came from.
#[derive(Default)]
pub struct FoundConfig {
    /// The fields.
    pub file: ConfigFile,
    /// The file, if there is one.
    pub path: Option<PathBuf>,
    /// The same as a document, with what the environment sets.
    pub document: Value,
    /// Every value that is set, with its source.
    pub values: Vec<ConfigValue>,
    /// Whether there is a file with nothing in it, not even a comment.
    pub is_blank: bool,
}

impl FoundConfig {
    /// Where a field is set, as the beginning of an error.
    pub fn place_of(&self, field: &str) -> String {
        place_of(&self.values, self.path.as_deref(), field)
    }

    /// Paths in the file are relative to it; `~/` is the home directory.
    pub fn beside(&self, path: PathBuf) -> PathBuf {
        let path = from_home(path, |name| std::env::var_os(name).map(PathBuf::from));
        match self.path.as_deref().and_then(Path::parent) {
            Some(directory) => directory.join(path),
            None => path,
        }
    }
}

/// `~/x` as a shell would read it. Without a home directory, and for `~user`, it is left as it is.
fn from_home(path: PathBuf, variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    match (path.strip_prefix("~"), variable("HOME").filter(|home| home.is_absolute())) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

/// Reads the named file, or `tinclaw.toml` in the working directory when there is one, or that of [`home_file`].
pub fn find(
    named: Option<&Path>,
    variable: impl Fn(&str) -> Option<PathBuf>,
) -> Result<FoundConfig, Failure> {
    let path = match named {
        Some(path) => path.to_owned(),
        None if Path::new(DEFAULT_FILE).exists() => DEFAULT_FILE.into(),
        None => match home_file(variable).filter(|path| path.exists()) {
            Some(path) => path,
            None => return read(None),
        },
    };
    read(Some(path))
}

fn read(path: Option<PathBuf>) -> Result<FoundConfig, Failure> {
    let (text, place) = match &path {
        Some(path) => {
            let text = read_file(path).map_err(|error| {
                Failure::usage(format!("cannot read the configuration {}: {error}", path.display()))
            })?;
            (text, format!("{}, ", path.display()))
        }
        None => (String::new(), String::new()),
    };
    let parsed = parse_in(&text, &Environment::of_process());
    let ParsedConfig { file, document, values } = parsed.map_err(|error| {
        // What a variable says is not the fault of the file.
        let place = if error.is_in_file() { &*place } else { "" };
        Failure::usage(format!("{place}{error}"))
    })?;
    let is_blank = path.is_some() && text.trim().is_empty();
    Ok(FoundConfig { file, path, document, values, is_blank })
}

/// Reads a file, which is no pipe: nobody may ever write into one. What stands in `/dev` is named on purpose, such as
/// `/dev/stdin`.
pub fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    regular_file::read_named(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// The configuration file that is used in every working directory without one: by the XDG base directory specification
/// (which ignores relative values), `tinclaw/tinclaw.toml` in `$XDG_CONFIG_HOME` or `~/.config`.
pub fn home_file(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let base = variable("XDG_CONFIG_HOME").filter(|dir| dir.is_absolute());
    let home = || variable("HOME").filter(|home| home.is_absolute()).map(|home| home.join(".config"));
    Some(base.or_else(home)?.join("tinclaw").join(DEFAULT_FILE))
}

/// The state directory: as named, else by the XDG base directory specification (which ignores relative values).
pub fn state_dir(
    named: Option<PathBuf>,
    variable: impl Fn(&str) -> Option<PathBuf>,
) -> Result<PathBuf, Failure> {
    if let Some(named) = named {
        let named = from_home(named, &variable);
        if named.as_os_str().is_empty() {
            return Err(Failure::usage("the state directory has no name; name a directory with --state-dir"));
        }
        // Nobody means a directory of this name, and it is hard to remove safely.
        if named.to_string_lossy().starts_with('~') {
            let text = named.display();
            return Err(Failure::usage(format!(
                "state_dir {text}: write the path in full, `~` is only read as `~/`"
            )));
        }
        return Ok(named);
    }
    let base = || variable("XDG_STATE_HOME").filter(|dir| dir.is_absolute());
    let home = || variable("HOME").filter(|home| home.is_absolute()).map(|home| home.join(".local/state"));
    base().or_else(home).map(|base| base.join("tinclaw")).ok_or_else(|| {
        Failure::usage("there is no home directory to keep state in; name a directory with --state-dir")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_in_the_home_is_that_of_the_specification() {
        type Row = (&'static [(&'static str, &'static str)], Option<&'static str>);
        let rows: [Row; 4] = [
            (&[("XDG_CONFIG_HOME", "/x"), ("HOME", "/h")], Some("/x/tinclaw/tinclaw.toml")),
            (&[("XDG_CONFIG_HOME", "x"), ("HOME", "/h")], Some("/h/.config/tinclaw/tinclaw.toml")),
            (&[("HOME", "h")], None),
            (&[], None),
        ];
        for (variables, expected) in rows {
            let variable =
                |name: &str| variables.iter().find(|row| row.0 == name).map(|row| PathBuf::from(row.1));
            assert_eq!(home_file(variable), expected.map(PathBuf::from), "{variables:?}");
        }
    }

    #[test]
    fn the_state_directory_is_the_named_one_or_that_of_the_specification() {
        type Row = (
            &'static str,
            Option<&'static str>,
            &'static [(&'static str, &'static str)],
            Option<&'static str>,
        );
        let rows: [Row; 10] = [
            ("named", Some("s"), &[("XDG_STATE_HOME", "/x")], Some("s")),
            // It made a directory called `~`.
            ("home by tilde", Some("~/x"), &[("HOME", "/h")], Some("/h/x")),
            ("home itself", Some("~"), &[("HOME", "/h")], Some("/h")),
            ("another user's home", Some("~ann/x"), &[("HOME", "/h")], None),
            ("a tilde without a home", Some("~/x"), &[], None),
            ("a tilde within", Some("a/~/x"), &[("HOME", "/h")], Some("a/~/x")),
            ("xdg", None, &[("XDG_STATE_HOME", "/x"), ("HOME", "/h")], Some("/x/tinclaw")),
            (
                "relative xdg",
                None,
                &[("XDG_STATE_HOME", "x"), ("HOME", "/h")],
                Some("/h/.local/state/tinclaw"),
            ),
            ("home", None, &[("HOME", "/h")], Some("/h/.local/state/tinclaw")),
            ("nothing", None, &[], None),
        ];
        for (case, named, variables, expected) in rows {
            let variable =
                |name: &str| variables.iter().find(|row| row.0 == name).map(|row| PathBuf::from(row.1));
            assert_eq!(
                state_dir(named.map(PathBuf::from), variable).ok(),
                expected.map(PathBuf::from),
                "{case}"
            );
        }
    }
}
