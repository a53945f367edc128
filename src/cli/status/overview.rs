//! Everything on one screen.

use std::time::Duration;

use serde_json::{Value, json};

use super::screen::{bars, coloured, watch};
use crate::admin::ApiCall;
use crate::channel::ChannelName;
use crate::cli::args::JsonArgs;
use crate::cli::client::{HostResponse, ask_running, ask_running_within};
use crate::cli::colours;
use crate::cli::config::{AgentChoice, Settings};
use crate::cli::health::{is_healthy, summary};
use crate::cli::held_channels;
use crate::cli::layout::{columns, fitted, terminal_width};
use crate::cli::output::{CommandResult, Failure};
use crate::cli::output::{age, now_ms, print_json};
use crate::model::escape::escaped;

/// Shows all channels, the agent and the store, and goes on with `watch`. Exit code 1 when something does not work.
pub fn overview(settings: &Settings, output: JsonArgs, is_watched: bool) -> CommandResult {
    let has_colours = colours::on_stdout();
    if is_watched {
        return watch(has_colours, || {
            let asked = ask_running_within(settings, &ApiCall::get(&["health"]), WATCH_TIME)?;
            let HostResponse::Running(health) = asked else {
                return Ok("host      does not run\n".to_owned());
            };
            Ok(screen(settings, &health, &others(settings, &health)))
        });
    }
    let HostResponse::Running(health) = ask_running(settings, &ApiCall::get(&["health"]))? else {
        return not_running(settings, output);
    };
    let others = others(settings, &health);
    if output.json {
        print_json(&json!({"running": true, "health": health, "others": others}));
    } else {
        let text = fitted(&screen(settings, &health, &others), terminal_width());
        out!("{}", if has_colours { coloured(&text) } else { text });
        if matches!(settings.agent, AgentChoice::Echo) {
            let note =
                "The agent repeats what is said. `tinclaw setup agent openai:URL` tries a language model.";
            out!("\n{}", fitted(note, terminal_width()));
        }
    }
    if is_healthy(&health) && others.is_empty() { Ok(()) } else { Err(Failure::Reported) }
}

/// How long the host may take for each part of a screen that is drawn again and again.
const WATCH_TIME: Duration = Duration::from_secs(3);

/// The text with the last hour and with people who wait, where the host has them.
fn screen(settings: &Settings, health: &Value, others: &[String]) -> String {
    let part = |name: &str| match ask_running_within(settings, &ApiCall::get(&[name]), WATCH_TIME) {
        Ok(HostResponse::Running(found)) => found,
        Ok(HostResponse::NotRunning(_)) | Err(_) => Value::Null,
    };
    shown(health, &part("history"), &part("pairing"), others, now_ms())
}

/// Who waits for approval; empty when nobody does.
fn people(pairing: &Value) -> String {
    let pending = pairing["pending"].as_array().map(Vec::as_slice).unwrap_or_default();
    let person = |one: &Value| {
        let text = |field: &str| escaped(one[field].as_str().unwrap_or_default()).into_owned();
        format!("`tinclaw pairing approve {} {}` for {}", text("channel"), text("code"), text("external_id"))
    };
    match pending {
        [] => String::new(),
        [one] => format!("people    1 waits: {}\n", person(one)),
        [one, ..] => format!(
            "people    {} wait; `tinclaw pairing list` has all of them; {}\n",
            pending.len(),
            person(one)
        ),
    }
}

fn not_running(settings: &Settings, output: JsonArgs) -> CommandResult {
    let channels = set_up(settings);
    let held = held_channels::to_json(&held_channels::held(settings, None));
    if output.json {
        print_json(&json!({"running": false, "health": null, "others": channels, "held": held}));
    } else {
        let names = if channels.is_empty() { "none".to_owned() } else { channels.join(", ") };
        outln!("host      does not run; `tinclaw run` starts it");
        outln!("channels  {names}; `tinclaw setup` lists what can be set up");
        outln!("state     {}", settings.state_dir.display());
        out!("{}", held_channels::to_text(&held));
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
    // What the host says that it does not have is said with its reason.
    let held = health["held"].as_array().map(Vec::as_slice).unwrap_or_default();
    let known = channels.iter().chain(held);
    set_up(settings)
        .into_iter()
        .filter(|name| !known.clone().any(|known| known["name"] == name.as_str()))
        .collect()
}

fn shown(health: &Value, history: &Value, pairing: &Value, others: &[String], now_ms: u64) -> String {
    let channels = health["channels"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = channels.iter().map(|channel| row(channel, now_ms)).collect();
    let mut text = host_line(&health["host"]);
    text += &summary(health);
    text += &people(pairing);
    text += &last_hour(history);
    text += "\n";
    text += &columns(
        &[
            "channel",
            "state",
            "last message",
            "replies",
            "fuel",
            "memory",
            "time",
            "requests",
            "sent",
            "receives",
            "problem",
        ],
        &rows,
    );
    let held = held_channels::to_text(&health["held"]);
    if !held.is_empty() {
        text += &format!("\n{held}");
    }
    if !others.is_empty() {
        text += &format!("\nset up and not in the running host: {}\n", escaped(&others.join(", ")));
    }
    text + "\n`tinclaw status CHANNEL` looks at one of them in detail.\n"
}

fn row(channel: &Value, now_ms: u64) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let problems = channel["diagnostics"].as_array().map(Vec::as_slice).unwrap_or_default();
    let wrong = problems.iter().find(|problem| problem["severity"] == "error").or(problems.first());
    vec![
        text(&channel["name"]),
        text(&channel["state"]),
        age(&channel["last_message_at"], now_ms),
        channel["replies_pending"].to_string(),
        part(channel, "max_fuel", "fuel_limit", 1),
        part(channel, "max_memory_bytes", "memory_limit_bytes", 1),
        part(channel, "max_duration_us", "timeout_ms", 1_000),
        part(channel, "max_http_calls", "http_calls_limit", 1),
        part(channel, "max_sent_bytes", "sent_bytes_limit", 1),
        ways_in(channel),
        wrong.map(|problem| text(&problem["message"])).unwrap_or_default(),
    ]
}

/// The most that one callback took, of its limit, which is in units of `scale`.
fn part(channel: &Value, value: &str, limit: &str, scale: u128) -> String {
    let number = |field: &str| channel["budget"][field].as_u64();
    match (number(value), number(limit)) {
        (Some(value), Some(limit @ 1..)) => {
            format!("{} %", u128::from(value) * 100 / (u128::from(limit) * scale))
        }
        _ => String::new(),
    }
}

/// The process; empty for a host that does not say.
fn host_line(host: &Value) -> String {
    let Some(uptime) = host["uptime_secs"].as_u64() else { return String::new() };
    let version = host["version"].as_str().unwrap_or_default();
    let uptime = match uptime {
        0..=119 => format!("{uptime} s"),
        120..=7_199 => format!("{} min", uptime / 60),
        7_200..=172_799 => format!("{} h", uptime / 3600),
        _ => format!("{} d", uptime / 86_400),
    };
    let memory = host["memory_bytes"].as_u64();
    let memory = memory.map(|bytes| format!(", {:.1} MiB of memory", bytes as f64 / 1_048_576.0));
    format!("host      tinclaw {}, up {uptime}{}\n", escaped(version), memory.unwrap_or_default())
}

/// What waited in the last hour, and how long commits took.
fn last_hour(history: &Value) -> String {
    let line = |name: &str, column: &Value, most: &dyn Fn(u64) -> String| {
        let bars = bars(column);
        let highest = column.as_array().into_iter().flatten().filter_map(Value::as_u64).max();
        let most = highest.map(|value| format!("  at most {}", most(value))).unwrap_or_default();
        if bars.is_empty() { String::new() } else { format!("{name:<10}{bars}{most}\n") }
    };
    let waiting = line("waiting", &history["waiting"], &|value| value.to_string());
    let commits = line("commits", &history["commit_us"], &|us| format!("{:.1} ms", us as f64 / 1000.0));
    let memory =
        line("memory", &history["memory_bytes"], &|bytes| format!("{:.1} MiB", bytes as f64 / 1_048_576.0));
    waiting + &commits + &memory
}

fn ways_in(channel: &Value) -> String {
    let mut ways = Vec::new();
    if let Some(state) = channel["link"]["state"].as_str() {
        ways.push(format!("websocket {}", state.replace('_', " ")));
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
            "host": {"version": "1.0.0", "uptime_secs": 185, "memory_bytes": 2_097_152},
            "store": {"state": "up", "reason": null, "usage": {"bytes": 2048}, "commits": 3},
            "agent": {"kind": "echo", "last_success_at": null, "restarts": 0},
            "messages_waiting": 0, "messages_in_flight": 0,
            "channels": [
                {"name": "a", "state": "ready", "poll_interval_ms": 30_000, "paths": ["/webhook/a"], "replies_pending": 2,
                 "budget": {"max_fuel": 50, "fuel_limit": 100, "max_memory_bytes": 1, "memory_limit_bytes": 10,
                    "max_duration_us": 1_500_000, "timeout_ms": 30_000, "max_http_calls": 3, "http_calls_limit": 50,
                    "max_sent_bytes": 7, "sent_bytes_limit": 100},
                 "last_message_at": "1970-01-01T00:00:05Z", "diagnostics": [
                    {"severity": "warning", "message": "small"}, {"severity": "error", "message": "large\u{1b}"}]},
                {"name": "b", "state": "starting", "link": {"state": "not_used"}, "replies_pending": 0},
            ],
            "held": [{"name": "d", "state": "waiting", "message": "a package waits", "help": "`tinclaw approve d`"}],
        });
        let history = json!({"waiting": [0, 7], "commit_us": [1500, 3000], "memory_bytes": []});
        let person = json!({"channel": "a", "code": "ABCD", "external_id": "7\u{1b}"});
        let text = shown(&health, &history, &json!({"pending": [person]}), &["c".to_owned()], 10_000);
        for part in [
            "store     up, 2 KiB",
            "agent     echo",
            "host      tinclaw 1.0.0, up 3 min, 2.0 MiB of memory\n",
            "waiting   ▁█  at most 7\n",
            "commits   ▅█  at most 3.0 ms\n",
            "a        ready     5 s ago       2        50 %  10 %    5 %   6 %       7 %   polls every 30 s, /webhook/a  large\\u{1b}",
            "people    1 waits: `tinclaw pairing approve a ABCD` for 7\\u{1b}\n",
            "  websocket not used",
            "\nwaiting: channel d: a package waits; `tinclaw approve d`\n",
            "not in the running host: c",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
