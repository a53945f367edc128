//! `tinclaw setup` without a channel: those that can be set up, and how far they are.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::channel::{ChannelCapabilitiesFile, ChannelName, PlannedChannel, available_channel_names};
use crate::cli::config::Settings;
use crate::cli::output::{Failure, Outcome};
use crate::cli::output::{columns, print_json};

/// Lists the channels that come with the program, those that are installed, and other accounts.
pub fn list(settings: &Settings, as_json: bool) -> Outcome {
    let installed = settings.installed();
    let bundled = available_channel_names().into_iter().filter_map(|name| ChannelName::new(name).ok());
    let names: BTreeSet<ChannelName> = bundled
        .chain(installed.iter().map(|found| found.name.clone()))
        .chain(settings.accounts().into_keys())
        .collect();
    let (mut rows, mut channels) = (Vec::new(), Vec::new());
    for name in names {
        let Some(planned) = settings.planned(&name) else { continue };
        let is_there = planned.is_installed() || planned.name != planned.guest;
        let (description, state) = describe(settings, &planned, is_there)?;
        channels.push(json!({
            "name": name.as_str(), "guest": planned.guest.as_str(), "description": description, "state": state,
        }));
        rows.push(vec![name.to_string(), state, description]);
    }
    if as_json {
        print_json(&json!({"channels": Value::Array(channels)}));
        return Ok(());
    }
    print!("{}", columns(&["channel", "state", "what it is"], &rows));
    println!(
        "\n`tinclaw setup CHANNEL` sets one up; `tinclaw setup CHANNEL --name NAME` a second account of it."
    );
    println!("`tinclaw setup agent` tries the server of a language model.");
    Ok(())
}

/// What a channel is, and whether it is set up.
fn describe(
    settings: &Settings,
    planned: &PlannedChannel,
    is_there: bool,
) -> Result<(String, String), Failure> {
    let file = planned.read_capabilities().map_err(Failure::problem).and_then(|bytes| {
        let file = format!("{}.capabilities.json", planned.guest);
        let bytes = bytes.unwrap_or_else(|| b"{}".to_vec());
        ChannelCapabilitiesFile::parse(&file, &planned.guest, &bytes).map_err(Failure::problem)
    });
    let file = match file {
        Ok(file) => file,
        Err(error) => return Ok((error.to_string(), "unusable".to_owned())),
    };
    let description = file.description.unwrap_or_default();
    if !is_there {
        return Ok((description, "not set up".to_owned()));
    }
    let store = settings.secrets.store()?;
    let mut missing = Vec::new();
    for secret in file.setup.into_iter().flat_map(|setup| setup.required_secrets) {
        let stored_name = planned.stored_secret_name(&secret.name);
        let is_needed = !secret.optional && secret.applies(settings.public_url().is_some());
        if is_needed && store.get(&stored_name).map_err(Failure::problem)?.is_none() {
            missing.push(stored_name);
        }
    }
    let state =
        if missing.is_empty() { "set up".to_owned() } else { format!("lacks {}", missing.join(", ")) };
    Ok((description, state))
}
