//! `tinclaw replay`, and `tinclaw call --replay`: recorded callbacks, run again without the network.

use std::fmt::Write as _;
use std::path::Path;

use log::LevelFilter;
use serde_json::{Value, json};

use super::args::{Common, ReplayArgs};
use super::call_input::{call_input, kind};
use super::config::Settings;
use super::output::{CommandResult, Failure, count, print_json};
use crate::channel::recording::RecordedCallback;
use crate::host::{ChannelHarness, Replayed};
use crate::model::escape::escaped;
use crate::model::regular_file;

/// The largest recording that is read, in bytes: several times what a host writes.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Runs every callback of a recording in a build of its channel. Exit code 1 when one of them does something else.
pub fn replay(common: &Common, options: &ReplayArgs) -> CommandResult {
    let settings = Settings::load(common)?;
    super::logging::start(common, None, LevelFilter::Off)?;
    let recorded = read(&options.recording)?;
    let mut harness = harness(&settings, &options.channel)?;
    let replayed: Vec<Replayed> =
        recorded.iter().map(|callback| run(&mut harness, callback)).collect::<Result<_, _>>()?;
    let different = replayed.iter().filter(|replayed| !replayed.differences.is_empty()).count();
    if options.output.json {
        let rows = recorded.iter().zip(&replayed).map(|(recorded, replayed)| {
            json!({
                "callback": recorded.callback,
                "differences": replayed.differences,
                "outcome": replayed.outcome,
            })
        });
        print_json(&json!({"callbacks": rows.collect::<Value>(), "different": different}));
    } else {
        out!("{}", text(&recorded, &replayed, options.diff));
    }
    if different > 0 { Err(Failure::Reported) } else { Ok(()) }
}

/// What every callback came to; with `diff` only those that do something else.
fn text(recorded: &[RecordedCallback], replayed: &[Replayed], diff: bool) -> String {
    let mut text = String::new();
    for (place, (recorded, replayed)) in recorded.iter().zip(replayed).enumerate() {
        let differences = &replayed.differences;
        if diff && differences.is_empty() {
            continue;
        }
        let what = if differences.is_empty() {
            "the same".to_owned()
        } else {
            count(differences.len(), "difference")
        };
        let _ = writeln!(text, "{:>4}  {:<16}{what}", place + 1, recorded.callback);
        for difference in differences {
            let _ = writeln!(text, "      {}", escaped(difference));
        }
    }
    let different = replayed.iter().filter(|replayed| !replayed.differences.is_empty()).count();
    let _ = writeln!(text, "{}: {different} different", count(replayed.len(), "callback"));
    text
}

/// Runs one callback of a recording again, counted from 1, and shows everything that it did.
pub fn one(
    settings: &Settings,
    channel: &Path,
    recording: &Path,
    number: usize,
) -> Result<Replayed, Failure> {
    let recorded = read(recording)?;
    let found = number.checked_sub(1).and_then(|place| recorded.get(place)).ok_or_else(|| {
        Failure::usage(format!("--number {number}: the recording has {}", count(recorded.len(), "callback")))
    })?;
    run(&mut harness(settings, channel)?, found)
}

fn harness(settings: &Settings, channel: &Path) -> Result<ChannelHarness, Failure> {
    let channel = settings.loader()?.load_file(channel).map_err(Failure::problem)?;
    ChannelHarness::new(&channel, settings.manager_in_memory()?).map_err(Failure::problem)
}

fn run(harness: &mut ChannelHarness, recorded: &RecordedCallback) -> Result<Replayed, Failure> {
    let kind = kind(&recorded.callback).map_err(Failure::usage)?;
    let config = recorded.config_json.as_deref().unwrap_or("{}");
    let input = call_input(kind, &recorded.input.to_string(), config.into(), None).map_err(Failure::usage)?;
    harness.replay(recorded, &input.callback).map_err(Failure::usage)
}

/// Reads a recording: one callback in each line.
fn read(path: &Path) -> Result<Vec<RecordedCallback>, Failure> {
    use std::io::Read as _;
    let text_of =
        |error: &dyn std::fmt::Display| format!("the recording {} cannot be read: {error}", path.display());
    let wrong = |error: &dyn std::fmt::Display| Failure::usage(text_of(error));
    let mut text = String::new();
    regular_file::read_named(path)
        .and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text))
        .map_err(|error| Failure::problem(text_of(&error)))?;
    if text.trim().is_empty() {
        return Err(wrong(&"it has no callbacks"));
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(place, line)| {
            serde_json::from_str(line).map_err(|error| wrong(&format_args!("line {}: {error}", place + 1)))
        })
        .collect()
}
