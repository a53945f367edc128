//! Channels, their secrets, and the store.

use serde_json::Value;

use super::{Finding, ask_host};
use crate::channel::ChannelName;
use crate::cli::config::Settings;
use crate::cli::held_channels::{self, HeldChannel, HeldState};
use crate::cli::output::Failure;
use crate::host::ChannelHarness;
use crate::model::diagnostic::{Diagnostic, Severity};

pub(super) fn findings(settings: &Settings) -> Result<Vec<Finding>, Failure> {
    let health = ask_host(settings, &["health"])?;
    let mut findings = of_files(settings)?;
    match &health {
        Some(health) => findings.extend(of_host(health)),
        None => findings.push(Finding::note(
            "host",
            format!("no host runs with the state directory {}", settings.state_dir.display()),
            "`tinclaw run` starts one",
        )),
    }
    Ok(findings)
}

/// Loads every channel as a host would.
fn of_files(settings: &Settings) -> Result<Vec<Finding>, Failure> {
    let loader = settings.loader()?;
    let mut findings = Vec::new();
    let installed = settings.installed().into_iter().map(|found| found.name);
    let mut names: Vec<ChannelName> = installed.chain(settings.accounts().into_keys()).collect();
    names.sort();
    names.dedup();
    let held = held_channels::held(settings, None);
    for held in &held {
        let text = format!("{}: {}", held.name, held.text);
        findings.push(match held.state.is_error() {
            true => Finding::error("channel", text, &held.help),
            false => Finding::note("channel", text, &held.help),
        });
    }
    // One that cannot run is not looked at any further.
    let stays_out = |held: &HeldChannel| held.state.is_error() || held.state == HeldState::Disabled;
    names.retain(|name| !held.iter().any(|held| held.name == *name && stays_out(held)));
    for name in names {
        let Some(planned) = settings.planned(&name) else { continue };
        let loaded = loader.load_planned(&planned).map_err(|error| error.to_string());
        let harness = loaded.and_then(|channel| {
            let config = settings.manager_in_memory().map_err(|error| error.to_string())?;
            ChannelHarness::new(&channel, config).map_err(|error| error.to_string())
        });
        match harness {
            Ok(harness) => findings.extend(of_channel(&name, harness.diagnostics())),
            Err(reason) => findings.push(Finding::error(
                "channel",
                format!("{name} cannot be loaded: {reason}"),
                "`tinclaw check` says more about its files",
            )),
        }
    }
    if findings.is_empty() {
        findings.push(Finding::good("channel", "none is installed; the web chat runs"));
    }
    Ok(findings)
}

/// What was found about a channel.
fn of_channel(name: &ChannelName, diagnostics: &[Diagnostic]) -> Vec<Finding> {
    let told = diagnostics.iter().filter(|found| found.severity != Severity::Note);
    let mut findings: Vec<Finding> = told
        .map(|found| {
            let check = if found.code.contains("secret") { "secrets" } else { "channel" };
            let help = found.help.clone().unwrap_or_else(|| format!("`tinclaw status {name}` says more"));
            let text = format!("{name}: {}", found.message);
            match found.severity {
                Severity::Error => Finding::error(check, text, help),
                _ => Finding::note(check, text, help),
            }
        })
        .collect();
    if findings.is_empty() {
        findings.push(Finding::good("channel", format!("{name} can be loaded and has its secrets")));
    }
    findings
}

/// What the running host says of its store and its channels.
fn of_host(health: &Value) -> Vec<Finding> {
    let store = &health["store"];
    let mut findings = vec![match store["state"].as_str() {
        Some("up") => Finding::good("store", "it is up"),
        state => Finding::error(
            "store",
            format!(
                "it is {}: {}",
                state.unwrap_or("unknown"),
                store["reason"].as_str().unwrap_or("no reason")
            ),
            "look at the disk and the log of the host",
        ),
    }];
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let restart_for = texts(&health["restart_for"]);
    if !restart_for.is_empty() {
        let fields = restart_for.join(", ");
        findings.push(Finding::note(
            "host",
            format!("it runs with other values of {fields} than the configuration has"),
            "restart it",
        ));
    }
    let changed = |held: &&Value| held["state"] == HeldState::FilesChanged.word();
    for held in health["held"].as_array().into_iter().flatten().filter(changed) {
        let part = |field: &str| held[field].as_str().unwrap_or_default();
        let text = format!("{}: {}", part("name"), part("message"));
        findings.push(Finding::note("channel", text, part("help")));
    }
    for channel in health["channels"].as_array().into_iter().flatten() {
        let name = channel["name"].as_str().unwrap_or_default();
        if channel["state"] != "ready" {
            let state = channel["state"].as_str().unwrap_or("unknown");
            findings.push(Finding::error(
                "channel",
                format!("{name} is {state} in the running host"),
                format!("`tinclaw status {name}` says why"),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::CheckState;
    use super::*;

    #[test]
    fn a_store_that_is_down_and_a_channel_that_is_paused_are_errors() {
        let health = json!({
            "store": {"state": "down", "reason": "the disk is full"},
            "channels": [{"name": "a", "state": "ready"}, {"name": "b", "state": "paused"}],
        });
        let found = of_host(&health);
        assert!(found.iter().all(|found| found.health == CheckState::Error && found.help.is_some()));
        let texts: Vec<&str> = found.iter().map(|found| found.text.as_str()).collect();
        assert_eq!(texts, ["it is down: the disk is full", "b is paused in the running host"]);
    }
}
