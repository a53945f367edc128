//! `tinclaw hosts` and `tinclaw drain`.

use log::LevelFilter;
use serde_json::{Value, json};

use super::args::{Common, DrainArgs, JsonArgs};
use super::client::ask;
use super::config::Settings;
use super::layout::columns;
use super::logging;
use super::output::{CommandResult, print_json};
use crate::admin::ApiCall;

/// Shows the hosts that share a database, and who has which channel.
pub fn hosts(common: &Common, output: &JsonArgs) -> CommandResult {
    let settings = Settings::load(common)?;
    logging::start(common, None, LevelFilter::Error)?;
    let found = ask(&settings, &ApiCall::get(&["hosts"]))?;
    if output.json {
        print_json(&found);
    } else {
        out!("{}", to_text(&found));
    }
    Ok(())
}

/// Has the host hand its channels over, or take its share again.
pub fn drain(common: &Common, arguments: &DrainArgs) -> CommandResult {
    let settings = Settings::load(common)?;
    logging::start(common, None, LevelFilter::Error)?;
    let body = json!({"draining": !arguments.undo});
    let done = ask(&settings, &ApiCall::post(&["drain"]).body(body))?;
    if arguments.output.json {
        print_json(&done);
    } else if arguments.undo {
        outln!("this host takes its share of the channels again");
    } else {
        outln!("this host hands its channels over; `tinclaw hosts` shows how far it is");
    }
    Ok(())
}

fn to_text(found: &Value) -> String {
    let rows = |list: &str, row: &dyn Fn(&Value) -> Vec<String>| -> Vec<Vec<String>> {
        found[list].as_array().into_iter().flatten().map(row).collect()
    };
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let hosts = rows("hosts", &|host| {
        let state = match (host["alive"].as_bool(), host["draining"].as_bool()) {
            (Some(false), _) => "gone",
            (_, Some(true)) => "draining",
            _ => "alive",
        };
        let own = if host["this"].as_bool() == Some(true) { " (this one)" } else { "" };
        let name = format!("{}{own}", text(&host["name"]));
        vec![name, state.to_owned(), text(&host["weight"]), text(&host["channels"]), text(&host["url"])]
    });
    let channels = rows("channels", &|channel| {
        vec![
            text(&channel["name"]),
            text(&channel["host"]),
            text(&channel["epoch"]),
            text(&channel["reason"]),
        ]
    });
    let hosts = columns(&["host", "state", "weight", "channels", "url"], &hosts);
    format!("{hosts}\n{}", columns(&["channel", "host", "epoch", "reason"], &channels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_channels_are_two_tables() {
        let found = json!({
            "hosts": [
                {"name": "h1", "alive": true, "draining": false, "this": true, "weight": 2, "channels": 1, "url": "http://h1"},
                {"name": "h2", "alive": false, "draining": false, "this": false, "weight": 1, "channels": 0, "url": ""},
            ],
            "channels": [
                {"name": "a", "host": "h1", "epoch": 3, "reason": null},
                {"name": "b", "host": null, "epoch": 1, "reason": "no host that lives has its files"},
            ],
        });
        let text = to_text(&found);
        assert!(text.contains("h1 (this one)  alive") && text.contains("h2             gone"), "{text}");
        assert!(text.contains("b        -     1      no host that lives has its files"), "{text}");
    }
}
