//! `tinclaw setup` without a channel: those that can be set up, and how far they are.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};

use super::needs::is_empty;
use super::target::concerns;
use crate::channel::{ChannelCapabilitiesFile, ChannelName, PlannedChannel, available_channel_names};
use crate::cli::config::Settings;
use crate::cli::layout::columns;
use crate::cli::output::print_json;
use crate::cli::output::{CommandResult, Failure};

/// Lists the channels that come with the program, those that are installed, and other accounts.
pub fn list(settings: &Settings, as_json: bool) -> CommandResult {
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
        let (description, progress) = describe(settings, &planned, is_there)?;
        channels.push(json!({
            "name": name.as_str(),
            "guest": planned.guest.as_str(),
            "description": description,
            "state": progress.word(),
            "missing_secrets": progress.missing().0,
            "missing_settings": progress.missing().1,
        }));
        rows.push(vec![name.to_string(), progress.to_string(), description]);
    }
    if as_json {
        print_json(&json!({"channels": Value::Array(channels)}));
        return Ok(());
    }
    out!("{}", columns(&["channel", "state", "what it is"], &rows));
    outln!(
        "\n`tinclaw setup CHANNEL` sets one up; `tinclaw setup CHANNEL --name NAME` a second account of it."
    );
    outln!("`tinclaw setup agent` tries the server of a language model.");
    Ok(())
}

/// How far a channel is set up.
enum SetupState {
    /// Its files cannot be used.
    Unusable,
    /// It is neither installed nor another account.
    NotSetUp,
    /// These secrets are not stored, and these settings have no value.
    Incomplete { secrets: Vec<String>, settings: Vec<String> },
    /// Nothing is missing.
    SetUp,
}

impl SetupState {
    /// The word for programs.
    fn word(&self) -> &'static str {
        match self {
            Self::Unusable => "unusable",
            Self::NotSetUp => "not_set_up",
            Self::Incomplete { .. } => "incomplete",
            Self::SetUp => "set_up",
        }
    }

    /// Secrets and settings.
    fn missing(&self) -> (&[String], &[String]) {
        match self {
            Self::Incomplete { secrets, settings } => (secrets, settings),
            _ => (&[], &[]),
        }
    }
}

impl fmt::Display for SetupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable => f.write_str("unusable"),
            Self::NotSetUp => f.write_str("not set up"),
            Self::Incomplete { secrets, settings } => {
                let names: Vec<&str> = secrets.iter().chain(settings).map(String::as_str).collect();
                write!(f, "missing {}", names.join(", "))
            }
            Self::SetUp => f.write_str("set up"),
        }
    }
}

/// What a channel is, and whether it is set up.
fn describe(
    settings: &Settings,
    planned: &PlannedChannel,
    is_there: bool,
) -> Result<(String, SetupState), Failure> {
    let file = planned.read_capabilities().map_err(Failure::problem).and_then(|bytes| {
        let file = format!("{}.capabilities.json", planned.guest);
        let bytes = bytes.unwrap_or_else(|| b"{}".to_vec());
        ChannelCapabilitiesFile::parse(&file, &planned.guest, &bytes).map_err(Failure::problem)
    });
    let file = match file {
        Ok(file) => file,
        Err(error) => return Ok((error.to_string(), SetupState::Unusable)),
    };
    let description = file.description.unwrap_or_default();
    if !is_there {
        return Ok((description, SetupState::NotSetUp));
    }
    let setup = file.setup.unwrap_or_default();
    let own = settings.channel(&planned.name).config;
    let value = |name: &str| own.get(name).or_else(|| file.config.get(name)).filter(|value| !is_empty(value));
    let asked = setup.settings.iter().filter(|setting| !setting.optional && concerns(settings, setting.when));
    let unset = asked.filter(|setting| value(&setting.name).is_none()).map(|setting| setting.name.clone());
    let unset: Vec<String> = unset.collect();
    let store = settings.secrets.store()?;
    let mut missing = Vec::new();
    for secret in setup.required_secrets {
        let stored_name = planned.stored_secret_name(&secret.name);
        let is_needed = !secret.optional && secret.applies(settings.public_url().is_some());
        if is_needed && store.get(&stored_name).map_err(Failure::problem)?.is_none() {
            missing.push(stored_name);
        }
    }
    let progress = match missing.is_empty() && unset.is_empty() {
        true => SetupState::SetUp,
        false => SetupState::Incomplete { secrets: missing, settings: unset },
    };
    Ok((description, progress))
}
