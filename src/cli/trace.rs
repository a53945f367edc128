//! `tinclaw trace`: what became of a message.

use std::time::Duration;

use log::LevelFilter;
use serde_json::Value;

use super::args::{Common, TraceArgs, TraceIdKind};
use super::client::ask;
use super::config::Settings;
use super::output::{CommandResult, Failure, print_json};
use crate::admin::ApiCall;
use crate::model::escape::escaped;
use crate::model::human_duration::HumanDuration;

/// Shows the story of a message, found by its id, that of a reply, or what its service calls it. Exit code 1 when nothing is known.
pub fn trace(common: &Common, options: &TraceArgs) -> CommandResult {
    let settings = Settings::load(common)?;
    super::logging::start(common, None, LevelFilter::Error)?;
    let kind = options.kind.map(|kind| match kind {
        TraceIdKind::Message => "message",
        TraceIdKind::Reply => "reply",
        TraceIdKind::Provider => "provider",
    });
    let found = ask(&settings, &ApiCall::get(&["trace", &options.id]).with("kind", kind))?;
    let stories = found["traces"].as_array().map(Vec::as_slice).unwrap_or_default();
    if options.output.json {
        print_json(&found);
    }
    if stories.is_empty() {
        return Err(Failure::problem(format!(
            "nothing is known of {}: no message and no reply has this id, and no service calls a message or a delivery so; \
             completed ones are kept for some days only",
            options.id
        )));
    }
    if !options.output.json {
        let shown: Vec<String> = stories.iter().map(story).collect();
        out!("{}", shown.join("\n"));
    }
    Ok(())
}

/// A story as lines.
fn story(story: &Value) -> String {
    let message = &story["message"];
    let mut text = match message.as_object() {
        Some(_) => format!(
            "message {} of channel {}, from {}: {}{}\n",
            message["id"],
            word(message, "channel"),
            word(message, "user_id"),
            word(message, "state"),
            reason(message)
        ),
        None => String::new(),
    };
    for step in story["steps"].as_array().into_iter().flatten() {
        text += &format!("  {}  {}\n", word(step, "at"), line(step));
    }
    for reply in story["replies"].as_array().into_iter().flatten() {
        let next = reply["next_attempt_at"].as_str().map(|at| format!(", next attempt at {at}"));
        let attempts = match reply["attempts"].as_u64() {
            Some(1) => "1 attempt".to_owned(),
            count => format!("{} attempts", count.unwrap_or_default()),
        };
        text += &format!(
            "reply {} of channel {}: {} after {attempts}{}{}\n",
            reply["id"],
            word(reply, "channel"),
            word(reply, "state"),
            next.unwrap_or_default(),
            reason(reply)
        );
    }
    text
}

/// What happened, with its numbers.
fn line(step: &Value) -> String {
    let (message, reply) = (&step["message_id"], &step["reply_id"]);
    let what = match step["what"].as_str().unwrap_or_default() {
        "accepted" => format!("message {message} accepted"),
        "acknowledged" => format!("message {message} delivered to the agent and acknowledged"),
        "agent_failed" => format!("message {message} delivered to the agent, which failed"),
        "agent_unavailable" => format!("message {message} waits, the agent could not be asked"),
        "replied" => format!("reply {reply} stored"),
        "sent" => format!("reply {reply} delivered"),
        "not_sent" => format!("reply {reply} not delivered"),
        other => other.to_owned(),
    };
    let noun = if step["what"] == "agent_unavailable" { "try" } else { "attempt" };
    let attempt = step["attempt"].as_u64().map(|attempt| format!("{noun} {attempt}"));
    let took =
        step["duration_us"].as_u64().map(|micros| HumanDuration(Duration::from_micros(micros)).to_string());
    let fuel = step["fuel"].as_u64().map(|fuel| format!("{fuel} fuel"));
    let numbers: Vec<String> = [attempt, took, fuel].into_iter().flatten().collect();
    let numbers = if numbers.is_empty() { String::new() } else { format!(" ({})", numbers.join(", ")) };
    let text = step["text"].as_str().map(|text| format!(": {}", escaped(text))).unwrap_or_default();
    format!("{what}{numbers}{text}")
}

fn reason(record: &Value) -> String {
    record["error"].as_str().map(|error| format!(" ({})", escaped(error))).unwrap_or_default()
}

fn word(record: &Value, field: &str) -> String {
    escaped(record[field].as_str().unwrap_or_default()).into_owned()
}
