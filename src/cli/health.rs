//! `tinclaw health`.

use serde_json::Value;

use super::args::{Common, JsonArgs};
use super::channels::running;
use super::config::Settings;
use super::control::{Request, Standing, ask_running};
use super::outcome::{Failure, Outcome};

/// Asks the running host. Exit code 1 when none runs, its store is down, or a channel is not ready.
pub fn health(common: &Common, output: &JsonArgs) -> Outcome {
    let settings = Settings::load(common)?;
    let Standing::Running(health) = ask_running(&settings, &Request::Health)? else {
        let directory = settings.state_dir.display();
        return Err(Failure::problem(format!("no host runs with the state directory {directory}")));
    };
    if output.json {
        println!("{health}");
    } else {
        print!("{}", shown(&health));
    }
    if is_well(&health) { Ok(()) } else { Err(Failure::Told) }
}

fn shown(health: &Value) -> String {
    let store = &health["store"];
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let reason = store["reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!(
        "store     {}{reason}, {} KiB, {} commits\nmessages  {} waiting, {} with the agent\n\n{}",
        store["state"].as_str().unwrap_or_default(),
        number(&store["usage"]["bytes"]) / 1024,
        number(&store["commits"]),
        number(&health["messages_waiting"]).saturating_sub(number(&health["messages_handed_out"])),
        number(&health["messages_handed_out"]),
        running(health)
    )
}

fn is_well(health: &Value) -> bool {
    let channels = health["channels"].as_array().map(Vec::as_slice).unwrap_or_default();
    health["store"]["state"] == "up" && channels.iter().all(is_channel_well)
}

fn is_channel_well(channel: &Value) -> bool {
    channel["state"] == "ready" && channel["lacks_secrets"] != true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_host_is_well_when_its_store_and_all_channels_are() {
        let health = |store: &str, states: &[&str]| {
            let channels: Vec<Value> =
                states.iter().map(|state| json!({"name": "a", "state": state})).collect();
            json!({"store": {"state": store, "usage": {}}, "channels": channels})
        };
        assert!(is_well(&health("up", &["ready", "ready"])));
        assert!(!is_well(&health("down", &["ready"])));
        assert!(!is_well(&health("up", &["ready", "paused"])));
        let mut lacking = health("up", &["ready", "ready"]);
        lacking["channels"][1]["lacks_secrets"] = json!(true);
        assert!(!is_well(&lacking));
        assert!(shown(&health("up", &["ready"])).contains("up"));
    }
}
