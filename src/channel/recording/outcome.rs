//! What came of a callback, as JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use wit_abi::types::LogLevel;

use crate::event::callback::{CallbackReport, CallbackValue, Effects, TimerChange};

/// What a callback returned and did.
pub(crate) fn outcome(report: &CallbackReport, written: &[(String, Arc<str>)]) -> Value {
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
        "duration_us": u64::try_from(report.usage.elapsed.as_micros()).unwrap_or(u64::MAX),
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
            json!({"status": response.status, "headers": headers_json(&response.headers), "body": String::from_utf8_lossy(&response.body)})
        }
        // Tools have a command of their own.
        CallbackValue::Done | CallbackValue::Executed(_) | CallbackValue::Text(_) => json!({}),
        CallbackValue::NotExported => json!({"not_exported": true}),
    }
}

/// Headers as an object: a name that is there several times has a list.
fn headers_json(headers: &[(String, String)]) -> Value {
    let mut object = serde_json::Map::new();
    for (name, value) in headers {
        match object.get_mut(name) {
            Some(Value::Array(values)) => values.push(json!(value)),
            Some(first) => *first = json!([first.take(), value]),
            None => {
                object.insert(name.clone(), json!(value));
            }
        }
    }
    Value::Object(object)
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
