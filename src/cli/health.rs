//! `tinclaw health`.

use serde_json::Value;

use super::args::{Common, JsonArgs};
use super::channels::running;
use super::client::{HostResponse, ask_running, not_running};
use super::colours::{self, marked};
use super::config::Settings;
use super::held_channels;
use super::layout::{fitted, terminal_width};
use super::output::{CommandResult, Failure, age, now_ms};
use crate::admin::ApiCall;
use crate::model::escape::escaped;

/// Asks the running host. Exit code 1 when none runs or it is degraded: its store is down, or a channel is not ready
/// or has a missing secret.
pub fn health(common: &Common, output: &JsonArgs) -> CommandResult {
    let settings = Settings::load(common)?;
    let health = match ask_running(&settings, &ApiCall::get(&["health"]))? {
        HostResponse::Running(health) => health,
        HostResponse::NotRunning(looked) => return Err(not_running(&looked)),
    };
    if output.json {
        super::output::print_json(&health);
    } else {
        let text = fitted(&to_text(&health), terminal_width());
        out!("{}", marked(&text, colours::on_stdout()));
    }
    if is_healthy(&health) { Ok(()) } else { Err(Failure::Reported) }
}

fn to_text(health: &Value) -> String {
    format!("{}\n{}", summary(health), running(health))
}

/// Store, messages and agent, a line each.
pub fn summary(health: &Value) -> String {
    let store = &health["store"];
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let reason = store["reason"].as_str().map(|reason| format!(" ({})", escaped(reason))).unwrap_or_default();
    let oldest = Some(age(&health["oldest_message_at"], now_ms())).filter(|age| !age.is_empty());
    let oldest = oldest.map(|age| format!(", the oldest {age}")).unwrap_or_default();
    let agent = agent_line(&health["agent"]);
    let commit = store["commit_us"]["mean"].as_u64();
    let commit = commit.map(|us| format!(", {:.1} ms each", us as f64 / 1000.0)).unwrap_or_default();
    let restart = restart_line(&health["restart_for"]);
    let unrouted = match number(&health["unrouted_requests"]) {
        0 => String::new(),
        count => format!("requests  {count} to paths or methods that no channel takes; the log has them\n"),
    };
    format!(
        "store     {}{reason}, {} KiB, {} commits{commit}\nmessages  {} waiting, {} in flight{oldest}\n{unrouted}{agent}{restart}",
        store["state"].as_str().unwrap_or_default(),
        number(&store["usage"]["bytes"]) / 1024,
        number(&store["commits"]),
        number(&health["messages_waiting"]).saturating_sub(number(&health["messages_in_flight"])),
        number(&health["messages_in_flight"]),
    )
}

/// What of the configuration holds from the next start on only; empty when everything holds.
fn restart_line(fields: &Value) -> String {
    let fields: Vec<_> =
        fields.as_array().into_iter().flatten().filter_map(Value::as_str).map(escaped).collect();
    match fields.is_empty() {
        true => String::new(),
        false => {
            format!("config    needs a restart: the host runs with other values of {}\n", fields.join(", "))
        }
    }
}

/// What is known of the agent; empty when there is none that reports its state.
fn agent_line(agent: &Value) -> String {
    let Some(kind) = agent["kind"].as_str() else { return String::new() };
    let ago = |field: &str| Some(age(&agent[field], now_ms())).filter(|age| !age.is_empty());
    let mut line = format!("agent     {kind}");
    line +=
        &ago("last_success_at").map_or(", no success yet".to_owned(), |ago| format!(", last success {ago}"));
    if let (Some(ago), Some(error)) = (ago("last_error_at"), agent["last_error"].as_str()) {
        line += &format!(", last error {ago}: {}", escaped(error));
    }
    match agent["restarts"].as_u64() {
        None | Some(0) => {}
        Some(1) => line += ", 1 restart",
        Some(restarts) => line += &format!(", {restarts} restarts"),
    }
    line + "\n"
}

/// Whether the store is up, and every channel that is installed and not disabled is ready and lacks no secret.
pub fn is_healthy(health: &Value) -> bool {
    let channels = health["channels"].as_array().map(Vec::as_slice).unwrap_or_default();
    health["store"]["state"] == "up"
        && channels.iter().all(is_channel_healthy)
        && !held_channels::has_error(&health["held"])
}

fn is_channel_healthy(channel: &Value) -> bool {
    channel["state"] == "ready" && channel["missing_secrets"].as_array().is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::json;

    use super::*;
    use crate::admin::rfc3339;

    #[test]
    fn the_agent_has_a_line() {
        assert_eq!(agent_line(&Value::Null), "");
        let agent = json!({"kind": "exec", "last_success_at": null, "last_error_at": null, "restarts": 0});
        assert_eq!(agent_line(&agent), "agent     exec, no success yet\n");
        let ago = |hours: u64| rfc3339(SystemTime::now() - Duration::from_secs(hours * 3600));
        let agent = json!({"kind": "http", "last_success_at": ago(1), "last_error_at": ago(2),
            "last_error": "status 500: a\u{1b}b", "restarts": 2});
        assert_eq!(
            agent_line(&agent),
            "agent     http, last success 60 min ago, last error 2 h ago: status 500: a\\u{1b}b, 2 restarts\n"
        );
    }

    #[test]
    fn a_host_is_healthy_when_its_store_and_all_channels_are() {
        let health = |store: &str, states: &[&str]| {
            let channels: Vec<Value> =
                states.iter().map(|state| json!({"name": "a", "state": state})).collect();
            json!({"store": {"state": store, "usage": {}}, "channels": channels})
        };
        assert!(is_healthy(&health("up", &["ready", "ready"])));
        assert!(!is_healthy(&health("down", &["ready"])));
        assert!(!is_healthy(&health("up", &["ready", "paused"])));
        let mut lacking = health("up", &["ready", "ready"]);
        lacking["channels"][1]["missing_secrets"] = json!(["a"]);
        assert!(!is_healthy(&lacking));
        for (state, expected) in [
            ("waiting", true),
            ("disabled", true),
            ("not_approved", false),
            ("refused", false),
            ("not_loaded", false),
        ] {
            let mut held = health("up", &["ready"]);
            held["held"] = json!([{"name": "b", "state": state, "message": "why\u{1b}", "help": "do this"}]);
            assert_eq!(is_healthy(&held), expected, "{state}");
            let line = format!("{state}: channel b: why\\u{{1b}}; do this\n");
            assert!(to_text(&held).contains(&line), "{}", to_text(&held));
        }
        assert!(to_text(&health("up", &["ready"])).contains("up"));
    }
}
