//! `tinclaw channels`, and the channel that comes with the program.

use std::fmt::Write as _;
use std::path::Path;

use log::LevelFilter;
use serde_json::{Value, json};

use super::args::{ChannelsCommand, Common, JsonArgs};
use super::change::{ApprovalRequest, confirmed, install_bundled};
use super::client::{HostResponse, ask_running};
use super::config::Settings;
use super::held_channels::{self, HeldChannel, HeldState};
use super::layout::columns;
use super::output::{CommandResult, Failure, print_json};
use super::start_checks::runs_bundled_webchat;
use crate::admin::ApiCall;
use crate::channel::{bundled_channel_files, install_bundled_channel};
use crate::model::diagnostic::Severity;
use crate::model::escape::escaped;
use crate::package::{Approved, read_bundled};
use crate::{ChannelCapabilitiesFile, DiscoveredChannel, WasmChannel, WasmChannelLoader};

/// The name of the channel that comes with the program and runs while there is no other.
pub const WEBCHAT: &str = "webchat";

/// The web chat.
pub fn webchat(loader: &WasmChannelLoader) -> Result<WasmChannel, Failure> {
    let missing =
        || Failure::problem("this program was built without the web chat; name channels with --channels");
    let files = bundled_channel_files(WEBCHAT).ok_or_else(missing)?;
    let name = WEBCHAT.parse().map_err(Failure::problem)?;
    loader.load_bytes(name, &files.wasm, files.capabilities.as_deref()).map_err(Failure::problem)
}

/// Does what `tinclaw channels …` says.
pub fn channels(common: &Common, command: &ChannelsCommand) -> CommandResult {
    let settings = Settings::load(common)?;
    super::logging::start(common, None, LevelFilter::Error)?;
    match command {
        ChannelsCommand::List(output) => list(&settings, *output),
        ChannelsCommand::Install { name, to: None, force, yes, output } => {
            install_bundled(&settings, name, *force, *yes, output.json)
        }
        ChannelsCommand::Install { name, to: Some(to), force, yes, output } => {
            copy(&settings, name, to, CopyOptions { force: *force, yes: *yes, json: output.json })
        }
    }
}

struct CopyOptions {
    /// Files that are there are replaced.
    force: bool,
    /// Somebody has agreed already.
    yes: bool,
    /// What was done is printed for programs.
    json: bool,
}

/// Copies a channel of the program into a directory, once somebody has agreed to what it asks for.
fn copy(settings: &Settings, name: &str, directory: &Path, options: CopyOptions) -> CommandResult {
    let package = read_bundled(name).map_err(Failure::problem)?;
    let records = settings.records();
    let approved = records.get(&package.name).map_err(Failure::problem)?.approved;
    let asked = ApprovalRequest::of(&package.name, approved.as_ref(), &package.files)?;
    asked.show(options.json);
    if asked.needs_approval && !options.yes && !confirmed(options.json) {
        return Err(Failure::problem(format!(
            "channel {} was not copied: agree to what it asks for at a terminal or with --yes",
            package.name
        )));
    }
    let copied =
        install_bundled_channel(package.name.as_str(), directory, options.force).map_err(Failure::problem)?;
    let approved = Approved::of(&package.files.channel, vec![package.name.to_string()], true);
    records.change(&package.name, |record| record.approved = Some(approved)).map_err(Failure::problem)?;
    let missing = unstored_secrets(settings, &copied)?;
    let loads = settings.channel_paths().iter().any(|path| path == directory);
    if options.json {
        print_json(&json!({
            "channel": copied.name,
            "installed": copied.wasm,
            "missing_secrets": missing,
            "loaded_by_default": loads,
        }));
        return Ok(());
    }
    outln!("installed {}", copied.wasm.display());
    for name in missing {
        outln!("it needs a secret: tinclaw secrets set {name}");
    }
    let how = if loads { String::new() } else { format!(" --channels {}", directory.display()) };
    match loads && matches!(ask_running(settings, &ApiCall::get(&["health"])), Ok(HostResponse::Running(_))) {
        true => outln!("the running host loads it with `tinclaw reload {}`", copied.name),
        false => outln!("it runs from the next start on: tinclaw run{how}"),
    }
    Ok(())
}

/// The secrets that a channel needs from a person and that are not stored.
fn unstored_secrets(settings: &Settings, channel: &DiscoveredChannel) -> Result<Vec<String>, Failure> {
    let files = channel.read().map_err(Failure::problem)?;
    let Some(bytes) = files.capabilities else { return Ok(Vec::new()) };
    let file = ChannelCapabilitiesFile::parse(&channel.capabilities_file_name(), &channel.name, &bytes)
        .map_err(Failure::problem)?;
    let store = settings.secrets.store()?;
    let mut unstored = Vec::new();
    for secret in file.setup.into_iter().flat_map(|setup| setup.required_secrets) {
        let is_made = settings.secrets.generates && secret.auto_generate.is_some();
        if !secret.optional && !is_made && store.get(&secret.name).map_err(Failure::problem)?.is_none() {
            unstored.push(secret.name);
        }
    }
    Ok(unstored)
}

fn list(settings: &Settings, output: JsonArgs) -> CommandResult {
    match ask_running(settings, &ApiCall::get(&["health"]))? {
        HostResponse::Running(health) => {
            if output.json {
                print_json(&json!({
                    "running": true, "channels": health["channels"], "failed": [], "held": health["held"],
                }));
            } else {
                out!("{}", running(&health));
            }
            Ok(())
        }
        HostResponse::NotRunning(_) => would_load(settings, output),
    }
}

/// The channels of a running host, as columns and then their errors and warnings.
pub fn running(health: &Value) -> String {
    let channels = health["channels"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = channels.iter().map(row).collect();
    let mut text =
        columns(&["name", "state", "callbacks ok", "failed", "messages", "replies pending", "paths"], &rows);
    for channel in channels {
        let name = channel["name"].as_str().unwrap_or_default();
        for problem in channel["diagnostics"].as_array().into_iter().flatten() {
            let part = |field: &str| problem[field].as_str().unwrap_or_default();
            let help = problem["help"].as_str().map(|help| format!("; {help}")).unwrap_or_default();
            let line = format!("{}: channel {name}: {}{help}", part("severity"), part("message"));
            let _ = writeln!(text, "{}", escaped(&line));
        }
    }
    text + &held_channels::to_text(&health["held"])
}

fn row(channel: &Value) -> Vec<String> {
    let number = |field: &str| channel[field].as_u64().unwrap_or_default().to_string();
    let paths =
        channel["paths"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    vec![
        channel["name"].as_str().unwrap_or_default().to_owned(),
        channel["state"].as_str().unwrap_or_default().to_owned(),
        number("succeeded"),
        number("failed"),
        number("emitted"),
        number("replies_pending"),
        paths.join(" "),
    ]
}

/// What a host would load with this configuration.
fn would_load(settings: &Settings, output: JsonArgs) -> CommandResult {
    let loader = settings.loader()?;
    let (mut names, mut failed, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    let held = held_channels::held(settings, None);
    let is_held = |channel: &WasmChannel| {
        let of_it = |held: &&HeldChannel| held.name == *channel.name();
        held.iter().filter(of_it).any(|held| held.state.is_error() || held.state == HeldState::Disabled)
    };
    let mut is_empty = settings.accounts().is_empty();
    let mut has_own_webchat = false;
    for path in settings.channel_paths() {
        let mut results = loader.load(&path).map_err(Failure::problem)?;
        // Files that are there count for the web chat, whether they are loaded or not.
        is_empty &= results.loaded.is_empty() && results.failed.is_empty();
        has_own_webchat |= results.loaded.iter().any(|channel| channel.name().as_str() == WEBCHAT);
        results.loaded.retain(|channel| !is_held(channel));
        names.extend(results.loaded.iter().map(|channel| channel.name().to_string()));
        for channel in &results.loaded {
            let found = channel.diagnostics().iter().filter(|found| found.severity < Severity::Note);
            warnings.extend(found.map(|found| format!("channel {}: {found}", channel.name())));
        }
        warnings.extend(results.warnings.iter().map(ToString::to_string));
        failed.extend(results.failed.iter().map(ToString::to_string));
    }
    if runs_bundled_webchat(settings, is_empty, has_own_webchat) {
        names.push(WEBCHAT.to_owned());
    }
    if output.json {
        let channels: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        print_json(
            &json!({"running": false, "channels": channels, "failed": failed, "held": held_channels::to_json(&held)}),
        );
    } else {
        outln!(
            "no host is running; it would load: {}",
            if names.is_empty() { "nothing".into() } else { names.join(", ") }
        );
        warnings.iter().for_each(|warning| outln!("warning: {}", escaped(warning)));
        failed.iter().for_each(|error| outln!("error: {}", escaped(error)));
        out!("{}", held_channels::to_text(&held_channels::to_json(&held)));
    }
    if failed.is_empty() && !held.iter().any(|held| held.state.is_error()) {
        Ok(())
    } else {
        Err(Failure::Reported)
    }
}
