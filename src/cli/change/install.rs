//! `tinclaw install` and `upgrade`: a package is read, held against what was approved, and put where the host takes it.

use log::LevelFilter;
use serde_json::{Value, json};

use super::asked::{ApprovalRequest, confirmed};
use super::outcome::InstallOutcome;
use super::place::{directory_of, installed};
use super::request::ask_host;
use crate::admin::HostChange;
use crate::channel::ChannelName;
use crate::cli::args::{Common, InstallArgs, UpgradeArgs};
use crate::cli::channels::WEBCHAT;
use crate::cli::config::Settings;
use crate::cli::logging;
use crate::cli::output::{CommandResult, Failure, print_json};
use crate::host::ChannelHarness;
use crate::package::{
    Approved, Fetcher, Package, PackageFiles, Staging, files_of, read_bundled, read_package,
};

/// How a package is put into its place.
struct PutOptions {
    /// It takes the place of another version.
    is_upgrade: bool,
    /// Somebody has agreed already.
    yes: bool,
    /// What was done is printed for programs.
    json: bool,
}

/// Installs a channel.
pub fn install(common: &Common, arguments: &InstallArgs) -> CommandResult {
    let settings = load(common)?;
    let package = read(&settings, &arguments.source, &arguments.sha256)?;
    if installed(&settings, &package.name).is_some() {
        let name = &package.name;
        let digests = arguments.sha256.iter().map(|digest| format!(" --sha256 {digest}"));
        return Err(Failure::problem(format!(
            "channel {name} is installed already; `tinclaw upgrade {name} {}{}` replaces it",
            arguments.source.join(" "),
            digests.collect::<String>()
        )));
    }
    put(&settings, package, PutOptions { is_upgrade: false, yes: arguments.yes, json: arguments.json })
}

/// Installs a channel of the program; with `force` also in place of one that is there.
pub fn install_bundled(settings: &Settings, name: &str, force: bool, yes: bool, json: bool) -> CommandResult {
    let package = read_bundled(name).map_err(Failure::problem)?;
    let is_upgrade = installed(settings, &package.name).is_some();
    if is_upgrade && !force {
        return Err(Failure::problem(format!(
            "channel {name} is installed already; `tinclaw upgrade {name}` or --force replaces it"
        )));
    }
    put(settings, package, PutOptions { is_upgrade, yes, json })
}

/// Replaces a channel that is installed.
pub fn upgrade(common: &Common, arguments: &UpgradeArgs) -> CommandResult {
    let settings = load(common)?;
    let name = ChannelName::new(&arguments.channel).map_err(Failure::problem)?;
    let Some(present) = installed(&settings, &name) else {
        return Err(Failure::problem(format!(
            "channel {name} is not installed; `tinclaw install` does that"
        )));
    };
    let mut source = arguments.source.clone();
    if source.is_empty() {
        let approved = settings.records().get(&name).map_err(Failure::problem)?.approved;
        source = approved.map(|approved| approved.source).unwrap_or_default();
    }
    if source.is_empty() && crate::bundled_channel_names().contains(&name.as_str()) {
        source.push(name.to_string());
    }
    if source.is_empty() {
        return Err(Failure::usage(format!("where channel {name} came from is not known; name its source")));
    }
    let package = read(&settings, &source, &arguments.sha256)?;
    if package.name != name {
        return Err(Failure::problem(format!("that is the channel {}, and not {name}", package.name)));
    }
    let present = files_of(&present).map_err(Failure::problem)?;
    let records = settings.records();
    let approved = records.get(&name).map_err(Failure::problem)?.approved;
    let is_approved = approved.is_some_and(|approved| approved.is_of(&package.files.channel));
    if is_approved && is_same(&present, &package.files) {
        let staging = Staging::open(&directory_of(&settings, &name), &records).map_err(Failure::problem)?;
        let waits = staging.pending(&name).map_err(Failure::problem)?.is_some();
        staging.drop_pending(&name).map_err(Failure::problem)?;
        let mut done = json!({"channel": name, "state": "unchanged"});
        let mut text = format!("channel {name} is this version already");
        if waits {
            done["discarded"] = true.into();
            text += "; the version that waited is discarded";
        }
        print_done(arguments.json, &done, &text);
        return Ok(());
    }
    put(&settings, package, PutOptions { is_upgrade: true, yes: arguments.yes, json: arguments.json })
}

/// Whether a package is what lies there: guest, capability file, and the manifest with its signature where it has one. The same
/// build that was signed again is another package.
fn is_same(present: &PackageFiles, package: &PackageFiles) -> bool {
    let has_same_files = Approved::of(&present.channel, Vec::new(), false).is_of(&package.channel);
    let has_same_signature = package.manifest == present.manifest && package.signature == present.signature;
    has_same_files && (package.manifest.is_none() || has_same_signature)
}

/// The configuration.
pub(super) fn load(common: &Common) -> Result<Settings, Failure> {
    let settings = Settings::load(common)?;
    logging::start(common, None, LevelFilter::Error)?;
    Ok(settings)
}

fn read(settings: &Settings, source: &[String], sha256: &[String]) -> Result<Package, Failure> {
    let fetcher = Fetcher::new(settings.outbound()).map_err(Failure::problem)?;
    read_package(source, sha256, &|url, limit| fetcher.fetch(url, limit)).map_err(Failure::problem)
}

/// Lets a package wait, and asks the host to take it when it is approved.
fn put(settings: &Settings, package: Package, way: PutOptions) -> CommandResult {
    let Package { name, files, source, bundled, needs_signature } = package;
    let refused = |error: &dyn std::fmt::Display| Failure::problem(format!("channel {name}: {error}"));
    let key = settings.trust.check(&name, &files, bundled).map_err(|refusal| refused(&refusal))?;
    if needs_signature && key.is_none() {
        return Err(refused(
            &"say with --sha256 which bytes are meant, or trust its author's key in [trust] keys",
        ));
    }
    // One that cannot run here is refused before anything is shown or written.
    let channel = &files.channel;
    let loaded = settings.loader()?.load_bytes(name.clone(), &channel.wasm, channel.capabilities.as_deref());
    let loaded = loaded.map_err(Failure::problem)?;
    ChannelHarness::new(&loaded, settings.manager_in_memory()?).map_err(|error| refused(&error))?;
    let records = settings.records();
    let approved = records.get(&name).map_err(Failure::problem)?.approved;
    let asked = ApprovalRequest::of(&name, approved.as_ref(), &files)?;
    asked.show(way.json);
    let is_approved = !asked.needs_approval || way.yes || confirmed(way.json);
    let record = Approved::of(&files.channel, source, bundled);
    {
        let staging = Staging::open(&directory_of(settings, &name), &records).map_err(Failure::problem)?;
        // Another command may have installed it since.
        if !way.is_upgrade && installed(settings, &name).is_some() {
            return Err(refused(&"another command has installed it meanwhile"));
        }
        staging.stage(&name, &files, record.clone(), is_approved).map_err(Failure::problem)?;
    }
    if is_approved {
        return finish(settings, &asked, &record, &files, way.is_upgrade, way.json);
    }
    let done = asked.to_json("waits_for_approval");
    print_done(
        way.json,
        &done,
        &format!("channel {name} is not {} yet", if way.is_upgrade { "replaced" } else { "installed" }),
    );
    Err(Failure::problem(format!(
        "it waits for `tinclaw approve {name}`, because nobody has agreed to what it asks for (--yes does); \
         `tinclaw approve {name} --reject` discards it"
    )))
}

/// Has the running host take a package that was approved; without a host its files are put in their places, unless they replace
/// others: then the host tries them when it starts.
///
/// # Errors
/// The host refuses it, or its files cannot be written; and when it was installed and does not work.
pub(super) fn finish(
    settings: &Settings,
    asked: &ApprovalRequest,
    package: &Approved,
    files: &PackageFiles,
    is_upgrade: bool,
    json: bool,
) -> CommandResult {
    let (name, guest, capabilities) = (&asked.name, &package.guest, &package.capabilities);
    let change = HostChange::Apply {
        channel: name.to_string(),
        guest: guest.clone(),
        capabilities: capabilities.clone(),
    };
    let done = if is_upgrade { "upgraded" } else { "installed" };
    if ask_host(settings, &change)?.is_some() {
        let outcome = InstallOutcome::of(settings, name, files)?;
        let mut value = asked.to_json("installed");
        value["running"] = outcome.is_running.into();
        value["diagnostics"] = outcome.diagnostics.clone().into();
        print_done(json, &value, &format!("{done} {name}; {}", outcome.text(name)));
        say_that_webchat_ends(settings, name, json);
        return if outcome.is_error { Err(Failure::Reported) } else { Ok(()) };
    }
    let records = settings.records();
    let staging = Staging::open(&directory_of(settings, name), &records).map_err(Failure::problem)?;
    // A host that was started just now has taken it, or another command has put it in its place.
    let counts = staging.counts(name, guest, capabilities).map_err(Failure::problem)?;
    let (state, text) = match counts {
        false if is_upgrade => (
            "approved",
            format!("approved {name}; it is tried, and replaces the present version, when the host starts"),
        ),
        counts => {
            if !counts {
                staging.commit(name).map_err(Failure::problem)?;
            }
            ("installed", format!("{done} {name}; it runs from the next start on: tinclaw run"))
        }
    };
    drop(staging);
    print_done(json, &asked.to_json(state), &text);
    say_that_webchat_ends(settings, name, json);
    Ok(())
}

/// When the first channel is installed: the web chat runs by itself only while there is none.
fn say_that_webchat_ends(settings: &Settings, name: &ChannelName, json: bool) {
    if !json
        && name.as_str() != WEBCHAT
        && settings.webchat.is_none()
        && settings.installed().len() == 1
        && settings.accounts().is_empty()
    {
        outln!(
            "the web chat, which runs by itself while there is no channel, does not run from the next start on; \
             `webchat = true` in tinclaw.toml keeps it"
        );
    }
}

/// Prints what was done, for programs or for people.
pub(super) fn print_done(json: bool, done: &Value, text: &str) {
    if json {
        print_json(done);
    } else {
        outln!("{text}");
    }
}
