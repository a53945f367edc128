//! `tinclaw call`.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use log::LevelFilter;
use serde_json::Value;

use super::args::{CallArgs, Common};
use super::call_input::{call_input, kind};
use super::config::Settings;
use super::output::{CommandResult, Failure, print_json};
use crate::WasmChannel;
use crate::channel::recording::outcome;
use crate::event::callback::{Callback, CallbackKind, CallbackReport, CallbackValue};
use crate::host::{ChannelHarness, ManagerConfig, Replayed};
use crate::model::escape::{escaped, escaped_lines};
use crate::model::human_duration::HumanDuration;
use crate::model::regular_file;
use crate::model::unique_json::parse_json;
use crate::net::quotable;

/// The largest input, in bytes.
const MAX_INPUT_BYTES: u64 = 64 * 1024 * 1024;

/// Runs one callback and shows everything that it did. Exit code 1 when it failed.
pub fn call(common: &Common, options: &CallArgs) -> CommandResult {
    let settings = Settings::load(common)?;
    super::logging::start(common, None, LevelFilter::Off)?;
    if let Some(recording) = &options.replay {
        return replayed(&super::replay::one(&settings, &options.channel, recording, options.number)?);
    }
    let kind = kind(options.callback.as_deref().unwrap_or_default()).map_err(Failure::usage)?;
    let input = options.input.as_deref().map_or(Ok(String::new()), read_input)?;
    let channel = settings.loader()?.load_file(&options.channel).map_err(Failure::problem)?;
    let config = configure(settings.manager_in_memory()?, &channel, options)?;
    let mut harness = ChannelHarness::new(&channel, config).map_err(Failure::problem)?;
    let start_config = harness.start_config().map_err(Failure::problem)?;
    let section = channel.capabilities_file().capabilities.channel.as_ref();
    let first_path = section.and_then(|section| section.allowed_paths.first()).map(String::as_str);
    let input = call_input(kind, &input, start_config.clone(), first_path).map_err(Failure::usage)?;
    for (path, content) in &input.workspace {
        harness
            .put_file(path, content)
            .map_err(|error| Failure::usage(format!("workspace {path:?}: {error}")))?;
    }
    if kind != CallbackKind::Start && !options.no_start {
        let (report, _) = harness.run(&Callback::Start { config_json: start_config });
        if let Err(error) = report.result {
            return Err(Failure::problem(format!(
                "{error}; --no-start leaves out the on-start before the call"
            )));
        }
    }
    let (report, written) = harness.run(&input.callback);
    if options.output.json {
        print_json(&outcome(&report, &written));
    } else {
        out!("{}", to_text(&report, &written));
    }
    if report.result.is_ok() { Ok(()) } else { Err(Failure::Reported) }
}

/// Shows what a recorded callback did this time. Exit code 1 when that is something else than before.
fn replayed(replayed: &Replayed) -> CommandResult {
    print_json(&replayed.outcome);
    for difference in &replayed.differences {
        errln!("{}", escaped(difference));
    }
    if replayed.differences.is_empty() { Ok(()) } else { Err(Failure::Reported) }
}

fn read_input(path: &Path) -> Result<String, Failure> {
    let failed = |error| Failure::problem(format!("cannot read the input {}: {error}", path.display()));
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(MAX_INPUT_BYTES).read_to_string(&mut text)
    } else {
        regular_file::read_named(path).and_then(|file| file.take(MAX_INPUT_BYTES).read_to_string(&mut text))
    };
    read.map_err(failed)?;
    Ok(text)
}

fn configure(
    mut config: ManagerConfig,
    channel: &WasmChannel,
    options: &CallArgs,
) -> Result<ManagerConfig, Failure> {
    if let Some(text) = &options.settings {
        let wrong = |reason: String| Failure::usage(format!("--settings is no JSON object: {reason}"));
        let Value::Object(fields) = parse_json(text.as_bytes()).map_err(|error| wrong(error.to_string()))?
        else {
            return Err(wrong("write it as {\"KEY\": VALUE}".to_owned()));
        };
        config.channels.entry(channel.name().clone()).or_default().config.extend(fields);
    }
    for rewrite in &options.http_rewrite {
        let Some((host, base)) = rewrite.split_once('=') else {
            let rewrite = quotable(rewrite);
            return Err(Failure::usage(format!("--http-rewrite {rewrite:?} is not HOST=URL")));
        };
        config.outbound.http_rewrite.insert(host.to_owned(), base.to_owned());
    }
    Ok(config)
}

fn to_text(report: &CallbackReport, written: &[(String, Arc<str>)]) -> String {
    let json = outcome(report, written);
    let mut text = match &report.result {
        Ok(CallbackValue::Http(response)) => {
            let body = escaped_lines(&String::from_utf8_lossy(&response.body));
            format!(
                "{} responded with {} {}\n{body}\n",
                report.kind,
                response.status,
                escaped(&json["result"]["headers"].to_string())
            )
        }
        Ok(CallbackValue::Done | CallbackValue::Executed(_) | CallbackValue::Text(_)) => {
            format!("{} succeeded\n", report.kind)
        }
        Ok(CallbackValue::NotExported) => format!("{} is not exported by this guest\n", report.kind),
        Ok(CallbackValue::Started(_)) => {
            format!("{} returned {}\n", report.kind, escaped(&json["result"].to_string()))
        }
        Err(error) => format!("{} failed: {}\n", report.kind, escaped(&error.to_string())),
    };
    let mut line = |what: &str, value: &str| {
        let _ = writeln!(text, "  {what:<10}{}", escaped(value));
    };
    for line_of_guest in &report.logs {
        let level = format!("{:?}", line_of_guest.level).to_lowercase();
        line("log", &format!("{level}: {}", line_of_guest.message));
    }
    for message in json["messages"].as_array().into_iter().flatten() {
        line("message", &message.to_string());
    }
    for (path, content) in written {
        line("file", &format!("{path} ({} bytes): {content}", content.len()));
    }
    for timer in json["timers"].as_array().into_iter().flatten() {
        line("timer", &timer.to_string());
    }
    for (what, count) in json["dropped"].as_object().into_iter().flatten() {
        if count.as_u64() != Some(0) {
            line("dropped", &format!("{count} {} over a limit", what.replace('_', " ")));
        }
    }
    let usage = &report.usage;
    let (memory, time) = (usage.peak_memory / 1024, usage.elapsed);
    line(
        "used",
        &format!(
            "{} fuel, {memory} KiB of memory, {} HTTP calls, {}",
            usage.fuel,
            usage.http_calls,
            HumanDuration(time)
        ),
    );
    text
}
