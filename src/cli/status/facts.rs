//! What is known of one channel.

use serde_json::Value;

use crate::admin::ApiCall;
use crate::capability::StatusQuery;
use crate::channel::ChannelName;
use crate::cli::changed_files::{FileDigests, changed_files};
use crate::cli::client::{HostResponse, ask, ask_running};
use crate::cli::config::Settings;
use crate::cli::held_channels::{self, HeldChannel};
use crate::cli::output::Failure;
use crate::cli::setup::{Needs, SetupTarget, questions_of, receives};
use crate::host::ServiceVerdict;

/// Dead letters that are looked at.
const REPLIES: usize = 20;

/// What is known of one channel. Parts that nobody knows are null.
#[derive(Default)]
pub struct Facts {
    /// The channel.
    pub name: String,
    /// Why it, or a package of it, is held back.
    pub held: Vec<HeldChannel>,
    /// Whether its files are in a directory of channels, or the configuration has it as another account.
    pub is_set_up: bool,
    /// Why it cannot be loaded.
    pub load_error: Option<String>,
    /// Names of the secrets that are stored, and of those that are missing.
    pub stored_secrets: Vec<String>,
    /// See above.
    pub missing_secrets: Vec<String>,
    /// Whether a host runs.
    pub is_running: bool,
    /// The channel in the health of the running host, null when it is not there.
    pub health: Value,
    /// How messages are to arrive, in words.
    pub receives: String,
    /// Its newest message, null when there is none.
    pub message: Value,
    /// Its newest replies that are pending or dead.
    pub replies: Vec<Value>,
    /// Senders that wait for approval.
    pub pending: Vec<Value>,
    /// What its service was asked, and what it said.
    pub verdicts: Vec<(StatusQuery, ServiceVerdict)>,
}

impl Facts {
    /// Gathers what is known: from the files, from the running host or else its store, and from the service.
    ///
    /// # Errors
    /// There is no such channel, or the host cannot be asked.
    pub fn gather(settings: &Settings, name: &ChannelName) -> Result<Self, Failure> {
        let mut facts = Self { name: name.to_string(), ..Self::default() };
        if let HostResponse::Running(health) = ask_running(settings, &ApiCall::get(&["health"]))? {
            facts.is_running = true;
            let channels = health["channels"].as_array().map(Vec::as_slice).unwrap_or_default();
            facts.health =
                channels.iter().find(|channel| channel["name"] == name.as_str()).cloned().unwrap_or_default();
        }
        let (is_running, is_there) = (facts.is_running, !facts.health.is_null());
        let runs = |_: &ChannelName| is_there;
        let mut held =
            held_channels::held(settings, is_running.then_some(&runs as &dyn Fn(&ChannelName) -> bool));
        held.extend(changed_files(settings, &|of| is_there && of == name, &FileDigests::default()));
        facts.held = held.into_iter().filter(|held| held.name == *name).collect();
        let planned = settings.planned(name);
        facts.is_set_up =
            planned.as_ref().is_some_and(|planned| planned.is_installed() || planned.name != planned.guest);
        match SetupTarget::find(settings, name.as_str(), None) {
            Ok(target) => facts.of_files(settings, &target)?,
            // Nothing of it is installed yet.
            Err(_) if planned.is_none() && !facts.held.is_empty() => {}
            Err(failure) if planned.is_some() => facts.load_error = Some(failure.to_string()),
            Err(failure) => return Err(failure),
        }
        if facts.is_running || settings.state_dir.join("tinclaw.db").exists() {
            facts.of_store(settings, name.as_str())?;
        }
        Ok(facts)
    }

    /// What follows from its files and its secrets.
    fn of_files(&mut self, settings: &Settings, target: &SetupTarget) -> Result<(), Failure> {
        let needs = Needs::of(settings, target)?;
        for secret in needs.secrets.iter().chain(&needs.generated) {
            let is_needed = !secret.declared.optional;
            match secret.is_stored {
                true => self.stored_secrets.push(secret.stored_name.clone()),
                false if is_needed => self.missing_secrets.push(secret.stored_name.clone()),
                false => {}
            }
        }
        // The host may have secrets that this command cannot read: what it says counts.
        if let Some(missing) = self.health["missing_secrets"].as_array() {
            self.missing_secrets = missing.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        }
        self.receives = receives(settings, target);
        if self.missing_secrets.is_empty() {
            self.verdicts = questions_of(settings, target)?;
        }
        Ok(())
    }

    fn of_store(&mut self, settings: &Settings, name: &str) -> Result<(), Failure> {
        let rows = |resource: &str, limit: usize| {
            ApiCall::get(&[resource]).with("channel", Some(name)).with("limit", Some(limit))
        };
        let mut messages = ask(settings, &rows("messages", 1))?;
        self.message = messages["messages"].get_mut(0).map(Value::take).unwrap_or_default();
        let replies = ask(settings, &rows("replies", REPLIES))?;
        let replies = replies["replies"].as_array().cloned().unwrap_or_default();
        self.replies = replies
            .into_iter()
            .filter(|reply| reply["state"] == "pending" || reply["state"] == "dead")
            .collect();
        let pairing = ask(settings, &ApiCall::get(&["pairing"]))?;
        let pending = pairing["pending"].as_array().cloned().unwrap_or_default();
        self.pending = pending.into_iter().filter(|pending| pending["channel"] == name).collect();
        Ok(())
    }
}
