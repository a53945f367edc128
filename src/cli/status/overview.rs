//! Everything on one screen.

use serde_json::{Value, json};

use crate::channel::ChannelName;
use crate::cli::args::JsonArgs;
use crate::cli::config::{AgentChoice, Settings};
use crate::cli::control::{ControlRequest, HostResponse, ask_running};
use crate::cli::health::{is_healthy, summary};
use crate::cli::output::{Failure, Outcome};
use crate::cli::output::{age, columns, now_ms, print_json};
use crate::model::escape::escaped;

/// Shows all channels, the agent and the store. Exit code 1 when something does not work.
pub fn overview(settings: &Settings, output: JsonArgs) -> Outcome {
    let HostResponse::Running(health) = ask_running(settings, &ControlRequest::Health)? else {
        return not_running(settings, output);
    };
    let others = others(settings, &health);
    if output.json {
        print_json(&json!({"running": true, "health": health, "others": others}));
    } else {
        print!("{}", shown(&health, &others, now_ms()));
        if matches!(settings.agent, AgentChoice::Echo) {
            println!(
                "\nThe agent repeats what is said. `tinclaw setup agent openai:URL` tries a language model."
            );
        }
    }
    if is_healthy(&health) && others.is_empty() { Ok(()) } else { Err(Failure::Reported) }
}

fn not_running(settings: &Settings, output: JsonArgs) -> Outcome {
    let channels = set_up(settings);
    if output.json {
        print_json(&json!({"running": false, "health": null, "others": channels}));
    } else {
        let names = if channels.is_empty() { "none".to_owned() } else { channels.join(", ") };
        println!("host      does not run; `tinclaw run` starts it");
        println!("channels  {names}; `tinclaw setup` lists what can be set up");
        println!("state     {}", settings.state_dir.display());
    }
    Err(Failure::Reported)
}

/// Channels that are set up.
fn set_up(settings: &Settings) -> Vec<String> {
    let installed = settings.installed().into_iter().map(|found| found.name);
    let mut names: Vec<ChannelName> = installed.chain(settings.accounts().into_keys()).collect();
    names.sort();
    names.dedup();
    names.iter().map(ToString::to_string).collect()
}

/// Channels that are set up and not in the running host.
fn others(settings: &Settings, health: &Value) -> Vec<String> {
    let channels = health["channels"].as_array().map(Vec::as_slice).unwrap_or_default();
    let runs = |name: &String| channels.iter().any(|channel| channel["name"] == name.as_str());
    set_up(settings).into_iter().filter(|name| !runs(name)).collect()
}

fn shown(health: &Value, others: &[String], now_ms: u64) -> String {
    let channels = health["channels"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = channels.iter().map(|channel| row(channel, now_ms)).collect();
    let mut text = summary(health);
    text += "\n";
    text += &columns(
        &["channel", "state", "receives", "last message", "replies pending", "what is wrong"],
        &rows,
    );
    if !others.is_empty() {
        text += &format!("\nset up and not in the running host: {}\n", escaped(&others.join(", ")));
    }
    text + "\n`tinclaw status CHANNEL` looks at one of them in detail.\n"
}

fn row(channel: &Value, now_ms: u64) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let problems = channel["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
    let wrong = problems.iter().find(|problem| problem["severity"] == "error").or(problems.first());
    vec![
        text(&channel["name"]),
        text(&channel["state"]),
        ways_in(channel),
        age(&channel["last_message_at"], now_ms),
        channel["replies_pending"].to_string(),
        wrong.map(|problem| text(&problem["message"])).unwrap_or_default(),
    ]
}

fn ways_in(channel: &Value) -> String {
    let mut ways = Vec::new();
    if let Some(state) = channel["link"]["state"].as_str() {
        ways.push(format!("websocket {state}"));
    }
    if let Some(ms) = channel["poll_interval_ms"].as_u64() {
        ways.push(format!("polls every {} s", ms.div_ceil(1000)));
    }
    ways.extend(
        channel["paths"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned),
    );
    ways.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_agent_and_store_are_on_one_screen() {
        let health = json!({
            "store": {"state": "up", "reason": null, "usage": {"bytes": 2048}, "commits": 3},
            "agent": {"kind": "echo", "last_success_at": null, "restarts": 0},
            "messages_waiting": 0, "messages_in_flight": 0,
            "channels": [
                {"name": "a", "state": "ready", "poll_interval_ms": 30_000, "paths": ["/webhook/a"], "replies_pending": 2,
                 "last_message_at": "1970-01-01T00:00:05Z", "problems": [
                    {"severity": "warning", "message": "small"}, {"severity": "error", "message": "large\u{1b}"}]},
                {"name": "b", "state": "starting", "link": {"state": "waiting"}, "replies_pending": 0},
            ],
        });
        let text = shown(&health, &["c".to_owned()], 10_000);
        for part in [
            "store     up, 2 KiB",
            "agent     echo",
            "a        ready     polls every 30 s, /webhook/a  5 s ago       2                large\\u{1b}",
            "b        starting  websocket waiting",
            "not in the running host: c",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
