//! `tinclaw channels`, and the channel that comes with the program.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tinclaw::channel::bundled::{bundled_channel_files, install_bundled_channel};
use tinclaw::default_channels_dir;
use tinclaw::{WasmChannel, WasmChannelLoader, WasmChannelRuntime, WasmChannelRuntimeConfig};

use super::args::{ChannelsCommand, Common, JsonArgs};
use super::config::Settings;
use super::control::{Request, Standing, ask_running};
use super::object::object;
use super::outcome::{Failure, Outcome};
use super::table::columns;
use tinclaw::model::escape::escaped;

/// The web chat.
pub fn webchat(runtime: &WasmChannelRuntime) -> Result<WasmChannel, Failure> {
    let missing =
        || Failure::problem("this program was built without the web chat; name channels with --channels");
    let files = bundled_channel_files("webchat").ok_or_else(missing)?;
    let name = "webchat".parse().map_err(Failure::problem)?;
    WasmChannel::from_bytes(runtime, name, &files.wasm, files.capabilities.as_deref())
        .map_err(Failure::problem)
}

/// Does what `tinclaw channels …` says.
pub fn channels(common: &Common, command: &ChannelsCommand) -> Outcome {
    let settings = Settings::load(common)?;
    super::logging::start(settings.log.as_deref(), "error");
    match command {
        ChannelsCommand::List(output) => list(&settings, *output),
        ChannelsCommand::Install { name, to, force } => install(&settings, name, to.as_deref(), *force),
    }
}

fn install(settings: &Settings, name: &str, to: Option<&Path>, force: bool) -> Outcome {
    let configured = settings.channels.iter().find(|path| path.is_dir());
    let directory = to.or(configured.map(PathBuf::as_path)).map_or_else(default_channels_dir, Path::to_owned);
    let installed = install_bundled_channel(name, &directory, force).map_err(Failure::problem)?;
    println!("installed {}", installed.wasm.display());
    let loads = settings.channel_paths().contains(&directory);
    let how = if loads { String::new() } else { format!(" --channels {}", directory.display()) };
    println!("it runs from the next start on: tinclaw run{how}");
    Ok(())
}

fn list(settings: &Settings, output: JsonArgs) -> Outcome {
    match ask_running(settings, &Request::Health)? {
        Standing::Running(health) => {
            if output.json {
                println!("{}", object!({"running": true, "channels": health["channels"]}));
            } else {
                print!("{}", running(&health));
            }
            Ok(())
        }
        Standing::NotRunning => would_load(settings, output),
    }
}

/// The channels of a running host, as columns and then what is wrong with them.
pub fn running(health: &Value) -> String {
    let channels = health["channels"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = channels.iter().map(row).collect();
    let mut text = columns(&["name", "state", "ok", "failed", "messages", "replies waiting", "paths"], &rows);
    for channel in channels {
        for problem in channel["problems"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let name = channel["name"].as_str().unwrap_or_default();
            let _ = writeln!(text, "{name}: {}", escaped(problem));
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
    let runtime = WasmChannelRuntime::new(WasmChannelRuntimeConfig::default()).map_err(Failure::problem)?;
    let loader = WasmChannelLoader::new(runtime);
    let (mut names, mut failed) = (Vec::new(), Vec::new());
    for path in settings.channel_paths() {
        let results = loader.load(&path).map_err(Failure::problem)?;
        names.extend(results.loaded.iter().map(|channel| channel.name().to_string()));
        failed.extend(results.failed.iter().map(ToString::to_string));
    }
    if settings.webchat.unwrap_or(names.is_empty() && failed.is_empty()) {
        names.push("webchat".to_owned());
    }
    if output.json {
        println!("{}", object!({"running": false, "channels": names, "failed": failed}));
    } else {
        println!(
            "no host runs; it would load: {}",
            if names.is_empty() { "nothing".into() } else { names.join(", ") }
        );
        failed.iter().for_each(|error| println!("{}", escaped(error)));
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::Told) }
}
