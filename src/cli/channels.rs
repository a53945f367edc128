//! `tinclaw channels`, and the channel that comes with the program.

use std::fmt::Write as _;
use std::path::Path;

use crate::channel::{bundled_channel_files, install_bundled_channel};
use crate::{ChannelCapabilitiesFile, DiscoveredChannel, WasmChannel, WasmChannelLoader};
use log::LevelFilter;
use serde_json::{Value, json};

use super::args::{ChannelsCommand, Common, JsonArgs};
use super::config::Settings;
use super::control::{ControlRequest, HostResponse, ask_running};
use super::output::{Failure, Outcome, columns, print_json};
use crate::model::diagnostic::Severity;
use crate::model::escape::escaped;

/// The web chat.
pub fn webchat(loader: &WasmChannelLoader) -> Result<WasmChannel, Failure> {
    let missing =
        || Failure::problem("this program was built without the web chat; name channels with --channels");
    let files = bundled_channel_files("webchat").ok_or_else(missing)?;
    let name = "webchat".parse().map_err(Failure::problem)?;
    loader.load_bytes(name, &files.wasm, files.capabilities.as_deref()).map_err(Failure::problem)
}

/// Does what `tinclaw channels …` says.
pub fn channels(common: &Common, command: &ChannelsCommand) -> Outcome {
    let settings = Settings::load(common)?;
    super::logging::start(common, None, LevelFilter::Error)?;
    match command {
        ChannelsCommand::List(output) => list(&settings, *output),
        ChannelsCommand::Install { name, to, force } => install(&settings, name, to.as_deref(), *force),
    }
}

fn install(settings: &Settings, name: &str, to: Option<&Path>, force: bool) -> Outcome {
    let directory = to.map_or_else(|| settings.install_dir(), Path::to_owned);
    let installed = install_bundled_channel(name, &directory, force).map_err(Failure::problem)?;
    println!("installed {}", installed.wasm.display());
    for name in unstored_secrets(settings, &installed)? {
        println!("it needs a secret: tinclaw secrets set {name}");
    }
    let loads = settings.channel_paths().contains(&directory);
    let how = if loads { String::new() } else { format!(" --channels {}", directory.display()) };
    println!("it runs from the next start on: tinclaw run{how}");
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

fn list(settings: &Settings, output: JsonArgs) -> Outcome {
    match ask_running(settings, &ControlRequest::Health)? {
        HostResponse::Running(health) => {
            if output.json {
                print_json(&json!({"running": true, "channels": health["channels"], "failed": []}));
            } else {
                print!("{}", running(&health));
            }
            Ok(())
        }
        HostResponse::NotRunning => would_load(settings, output),
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
        for problem in channel["problems"].as_array().into_iter().flatten() {
            let part = |field: &str| problem[field].as_str().unwrap_or_default();
            let help = problem["help"].as_str().map(|help| format!("; {help}")).unwrap_or_default();
            let line = format!("{}: channel {name}: {}{help}", part("severity"), part("message"));
            let _ = writeln!(text, "{}", escaped(&line));
        }
    }
    text
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
fn would_load(settings: &Settings, output: JsonArgs) -> Outcome {
    let loader = settings.loader()?;
    let (mut names, mut failed, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    for path in settings.channel_paths() {
        let results = loader.load(&path).map_err(Failure::problem)?;
        names.extend(results.loaded.iter().map(|channel| channel.name().to_string()));
        for channel in &results.loaded {
            let found = channel.diagnostics().iter().filter(|found| found.severity < Severity::Note);
            warnings.extend(found.map(|found| format!("channel {}: {found}", channel.name())));
        }
        warnings.extend(results.warnings.iter().map(ToString::to_string));
        failed.extend(results.failed.iter().map(ToString::to_string));
    }
    if settings.webchat.unwrap_or(names.is_empty() && failed.is_empty()) {
        names.push("webchat".to_owned());
    }
    if output.json {
        let channels: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        print_json(&json!({"running": false, "channels": channels, "failed": failed}));
    } else {
        println!(
            "no host is running; it would load: {}",
            if names.is_empty() { "nothing".into() } else { names.join(", ") }
        );
        warnings.iter().for_each(|warning| println!("warning: {}", escaped(warning)));
        failed.iter().for_each(|error| println!("error: {}", escaped(error)));
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::Reported) }
}
