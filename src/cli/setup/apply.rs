//! Stores what is known, installs the channel, and starts it in the running host.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::inputs::Given;
use super::needs::Needs;
use super::target::SetupTarget;
use crate::admin::ApiCall;
use crate::cli::client::{HostResponse, ask_running};
use crate::cli::config::{ConfigEdit, Settings};
use crate::cli::output::Failure;
use crate::model::deadline::deadline_after;
use crate::package::{Approved, Staging, read_bundled};
use crate::secrets::Secret;

/// How long the channel may take to start until it is said that it has not.
const START_TIME: Duration = Duration::from_secs(10);
/// How often the host is asked meanwhile.
const START_CHECK: Duration = Duration::from_millis(50);

/// What was done.
pub struct Applied {
    /// Secrets that were stored.
    pub stored: Vec<String>,
    /// Secrets that were generated.
    pub generated: Vec<String>,
    /// Secrets that were there and stay.
    pub kept: Vec<String>,
    /// The file with the key of the secrets, when it was made.
    pub made_key: Option<PathBuf>,
    /// The configuration file, when it was changed.
    pub changed_file: Option<PathBuf>,
    /// Where the channel was installed.
    pub installed: Option<PathBuf>,
    /// What the running host makes of it.
    pub running: ChannelOnHost,
}

/// What the running host makes of a channel.
pub enum ChannelOnHost {
    /// No host runs.
    NoHost,
    /// It runs, as the host's health shows it.
    Channel {
        /// The channel in the health of the host.
        health: Value,
        /// Whether the public address counts only after a restart of the host.
        needs_restart: bool,
    },
    /// The host cannot run it.
    Refused(String),
}

/// Stores, installs and starts.
///
/// # Errors
/// What cannot be stored or written.
pub fn apply(
    settings: &Settings,
    target: &SetupTarget,
    needs: &Needs,
    given: Given,
) -> Result<Applied, Failure> {
    let mut applied = store_secrets(settings, needs, &given)?;
    applied.changed_file = write_settings(settings, target, &given)?;
    applied.installed = install(settings, target)?;
    let is_changed = !applied.stored.is_empty()
        || !applied.generated.is_empty()
        || applied.changed_file.is_some()
        || applied.installed.is_some();
    applied.running = start(settings, target, is_changed)?;
    Ok(applied)
}

fn store_secrets(settings: &Settings, needs: &Needs, given: &Given) -> Result<Applied, Failure> {
    let mut applied = Applied {
        stored: Vec::new(),
        generated: Vec::new(),
        kept: Vec::new(),
        made_key: None,
        changed_file: None,
        installed: None,
        running: ChannelOnHost::NoHost,
    };
    let mut values: Vec<(String, Secret)> =
        given.secrets.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    applied.stored = given.secrets.keys().cloned().collect();
    for secret in needs.generated.iter().filter(|secret| !given.has_secret(secret)) {
        if secret.is_stored {
            applied.kept.push(secret.stored_name.clone());
            continue;
        }
        let length = secret.declared.auto_generate.unwrap_or_default().length;
        values.push((secret.stored_name.clone(), Secret::random(length).map_err(Failure::problem)?));
        applied.generated.push(secret.stored_name.clone());
    }
    let kept = needs.secrets.iter().filter(|secret| secret.is_stored && !given.has_secret(secret));
    applied.kept.extend(kept.map(|secret| secret.stored_name.clone()));
    if values.is_empty() {
        return Ok(applied);
    }
    let (editor, made) = settings.secrets.editor()?;
    applied.made_key = made;
    for (name, value) in values {
        editor.set(&name, value).map_err(Failure::problem)?;
    }
    Ok(applied)
}

fn write_settings(
    settings: &Settings,
    target: &SetupTarget,
    given: &Given,
) -> Result<Option<PathBuf>, Failure> {
    let name = target.name().as_str();
    let mut edit = ConfigEdit::open(&settings.edited)?;
    if target.is_account() && target.is_new_account {
        edit.set_in_channel(name, "guest", &Value::from(target.channel.guest_name().as_str()));
    }
    if let Some(url) = &given.public_url {
        edit.set("public_url", &Value::from(url.as_str()));
    }
    for (key, value) in &given.settings {
        match key.as_str() {
            "owner_id" => edit.set_in_channel(name, key, value),
            _ => edit.set_in_config(name, key, value),
        }
    }
    Ok(edit.save()?.then(|| settings.edited.clone()))
}

/// Writes the files of a channel that comes with the program. An account needs none of its own.
fn install(settings: &Settings, target: &SetupTarget) -> Result<Option<PathBuf>, Failure> {
    if target.is_account() || target.is_installed {
        return Ok(None);
    }
    let (directory, records) = (settings.install_dir(), settings.records());
    let package = read_bundled(target.name().as_str()).map_err(Failure::problem)?;
    let approved = Approved::of(&package.files.channel, package.source, true);
    let staging = Staging::open(&directory, &records).map_err(Failure::problem)?;
    // In place of a package that waits.
    staging.stage(&package.name, &package.files, approved, true).map_err(Failure::problem)?;
    staging.commit(&package.name).map_err(Failure::problem)?;
    Ok(Some(directory))
}

/// Has the running host reload the channel, and waits until it has started or failed to.
fn start(settings: &Settings, target: &SetupTarget, is_changed: bool) -> Result<ChannelOnHost, Failure> {
    let name = target.name().as_str();
    let Some(health) = health_of(settings, name)? else { return Ok(ChannelOnHost::NoHost) };
    if !is_changed && !health.is_null() {
        return Ok(ChannelOnHost::Channel { health, needs_restart: false });
    }
    let response = match ask_running(settings, &ApiCall::post(&["channels", name, "start"])) {
        Ok(HostResponse::Running(response)) => response,
        Ok(HostResponse::NotRunning(_)) => return Ok(ChannelOnHost::NoHost),
        Err(failure) => return Ok(ChannelOnHost::Refused(failure.to_string())),
    };
    let needs_restart = response["restart_for"].as_array().is_some_and(|fields| !fields.is_empty());
    Ok(match until_started(settings, name)? {
        Some(health) => ChannelOnHost::Channel { health, needs_restart },
        None => ChannelOnHost::NoHost,
    })
}

/// Waits until a channel has started or failed to. Returns it as the health of the host shows it; none when no host runs.
///
/// # Errors
/// The host cannot be asked.
pub fn until_started(settings: &Settings, name: &str) -> Result<Option<Value>, Failure> {
    let until = deadline_after(Instant::now(), START_TIME);
    loop {
        let Some(health) = health_of(settings, name)? else { return Ok(None) };
        if health["state"] != "starting" || has_failed(&health) || Instant::now() >= until {
            return Ok(Some(health));
        }
        thread::sleep(START_CHECK);
    }
}

fn has_failed(health: &Value) -> bool {
    let problems = health["diagnostics"].as_array().map(Vec::as_slice).unwrap_or_default();
    problems.iter().any(|problem| problem["code"] == "last-failure")
}

/// The channel in the health of the running host, null when it is not there. None when no host runs.
fn health_of(settings: &Settings, name: &str) -> Result<Option<Value>, Failure> {
    let HostResponse::Running(mut health) = ask_running(settings, &ApiCall::get(&["health"]))? else {
        return Ok(None);
    };
    let channels = health["channels"].as_array_mut().map(std::mem::take).unwrap_or_default();
    Ok(Some(channels.into_iter().find(|channel| channel["name"] == name).unwrap_or_default()))
}
