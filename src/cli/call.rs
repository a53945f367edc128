//! `tinclaw call`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use crate::WasmChannel;
use crate::event::callback::{Callback, CallbackKind, CallbackReport, CallbackValue, Effects, TimerChange};
use crate::host::{ChannelHarness, ManagerConfig};
use crate::model::human_duration::HumanDuration;
use log::LevelFilter;
use serde_json::{Map, Value, json};
use wit_abi::types::LogLevel;

use super::args::{CallArgs, Common};
use super::call_input::{call_input, kind};
use super::config::Settings;
use super::output::{Failure, Outcome, print_json};
use crate::model::escape::{escaped, escaped_lines};

/// The largest input, in bytes.
const MAX_INPUT_BYTES: u64 = 64 * 1024 * 1024;

/// Runs one callback and shows everything that it did. Exit code 1 when it failed.
pub fn call(common: &Common, options: &CallArgs) -> Outcome {
    let settings = Settings::load(common)?;
    super::logging::start(common, None, LevelFilter::Off)?;
    let kind = kind(&options.callback).map_err(Failure::usage)?;
    let input = options.input.as_deref().map_or(Ok(String::new()), read_input)?;
    let channel = settings.loader()?.load_file(&options.channel).map_err(Failure::problem)?;
    let config = configure(settings.manager_in_memory()?, &channel, options)?;
    let mut trial = ChannelHarness::new(&channel, config).map_err(Failure::problem)?;
    let start_config = trial.start_config().map_err(Failure::problem)?;
    let section = channel.capabilities_file().capabilities.channel.as_ref();
    let first_path = section.and_then(|section| section.allowed_paths.first()).map(String::as_str);
    let input = call_input(kind, &input, start_config.clone(), first_path).map_err(Failure::usage)?;
    for (path, content) in &input.workspace {
        trial
            .put_file(path, content)
            .map_err(|error| Failure::usage(format!("workspace {path:?}: {error}")))?;
    }
    if kind != CallbackKind::Start && !options.no_start {
        let (report, _) = trial.run(&Callback::Start { config_json: start_config });
        if let Err(error) = report.result {
            return Err(Failure::problem(format!(
                "{error}; --no-start leaves out the on-start before the call"
            )));
        }
    }
    let (report, written) = trial.run(&input.callback);
    if options.output.json {
        print_json(&as_json(&report, &written));
    } else {
        print!("{}", to_text(&report, &written));
    }
    if report.result.is_ok() { Ok(()) } else { Err(Failure::Reported) }
}

fn read_input(path: &Path) -> Result<String, Failure> {
    let failed = |error| Failure::usage(format!("cannot read the input {}: {error}", path.display()));
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(MAX_INPUT_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_INPUT_BYTES).read_to_string(&mut text))
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
        let fields: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| Failure::usage(format!("--settings is no JSON object: {error}")))?;
        config.channels.entry(channel.name().clone()).or_default().config.extend(fields);
    }
    for rewrite in &options.http_rewrite {
        let Some((host, base)) = rewrite.split_once('=') else {
            return Err(Failure::usage(format!("--http-rewrite {rewrite:?} is not HOST=URL")));
        };
        config.outbound.http_rewrite.insert(host.to_owned(), base.to_owned());
    }
    Ok(config)
}

fn as_json(report: &CallbackReport, written: &[(String, Arc<str>)]) -> Value {
    let Effects { messages, timers, dropped, had_side_effects, retry_after, .. } = &report.effects;
    let messages: Value = messages
        .iter()
        .map(|emitted| {
            let message = &emitted.message;
            let files = message.attachments.iter().zip(&emitted.attachment_data);
            let files: Value = files
                .map(|(file, data)| {
                    json!({
                        "id": file.id,
                        "mime_type": file.mime_type,
                        "filename": file.filename,
                        "stored_bytes": data.as_ref().map(|data| data.len()),
                    })
                })
                .collect();
            json!({
                "user_id": message.user_id,
                "user_name": message.user_name,
                "content": message.content,
                "thread_id": message.thread_id,
                "metadata_json": message.metadata_json,
                "attachments": files,
            })
        })
        .collect();
    let timers: Value = timers
        .iter()
        .map(|change| match change {
            TimerChange::Set { name, delay, payload } => {
                json!({"set": &**name, "delay_ms": millis(*delay), "payload": &**payload})
            }
            TimerChange::Cancel { name } => json!({"cancel": &**name}),
        })
        .collect();
    let logs: Value = report
        .logs
        .iter()
        .map(|line| json!({"level": level_name(line.level), "message": line.message}))
        .collect();
    let mut files = BTreeMap::new();
    for (path, content) in written {
        files.insert(path.to_string(), content.to_string());
    }
    let (result, error) = match &report.result {
        Ok(value) => (value_json(value), None),
        Err(error) => (Value::Null, Some(error.to_string())),
    };
    json!({
        "callback": report.kind.name(),
        "result": result,
        "error": error,
        "messages": messages,
        "workspace": files,
        "timers": timers,
        "logs": logs,
        "dropped": json!({
            "messages": dropped.messages,
            "truncated": dropped.truncated,
            "attachments": dropped.attachments,
            "unused_attachment_data": dropped.unused_attachment_data,
            "timer_changes": dropped.timer_changes,
            "log_lines": dropped.log_lines,
        }),
        "had_side_effects": had_side_effects,
        "retry_after_ms": retry_after.map(millis),
        "fuel": report.usage.fuel,
        "peak_memory_bytes": report.usage.peak_memory,
        "http_calls": report.usage.http_calls,
        "elapsed_us": u64::try_from(report.usage.elapsed.as_micros()).unwrap_or(u64::MAX),
    })
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn value_json(value: &CallbackValue) -> Value {
    match value {
        CallbackValue::Started(config) => {
            let endpoints: Value = config
                .http_endpoints
                .iter()
                .map(|endpoint| {
                    json!({
                        "path": endpoint.path,
                        "methods": endpoint.methods,
                        "require_secret": endpoint.require_secret,
                    })
                })
                .collect();
            let poll =
                config.poll.map(|poll| json!({"interval_ms": poll.interval_ms, "enabled": poll.enabled}));
            json!({"display_name": config.display_name, "http_endpoints": endpoints, "poll": poll})
        }
        CallbackValue::Http(response) => {
            let headers = serde_json::from_str(&response.headers_json)
                .unwrap_or_else(|_| Value::String(response.headers_json.clone()));
            json!({"status": response.status, "headers": headers, "body": String::from_utf8_lossy(&response.body)})
        }
        // Tools have a command of their own.
        CallbackValue::Done | CallbackValue::Executed(_) | CallbackValue::Text(_) => json!({}),
        CallbackValue::NotExported => json!({"not_exported": true}),
    }
}

/// A level of a guest's log, as options of the command line and JSON name it.
fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

fn to_text(report: &CallbackReport, written: &[(String, Arc<str>)]) -> String {
    let json = as_json(report, written);
    let mut text = match &report.result {
        Ok(CallbackValue::Http(response)) => {
            let body = escaped_lines(&String::from_utf8_lossy(&response.body));
            format!(
                "{} responded with {} {}\n{body}\n",
                report.kind,
                response.status,
                escaped(&response.headers_json)
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
        line("log", &format!("{}: {}", level_name(line_of_guest.level), line_of_guest.message));
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
