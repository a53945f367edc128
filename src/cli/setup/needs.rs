//! What a channel needs of its operator, and what of that is there.

use serde_json::Value;

use super::inputs::Given;
use super::target::{SetupTarget, concerns};
use crate::capability::{AskedSetting, RequiredSecret};
use crate::cli::config::Settings;
use crate::cli::output::Failure;

/// What a channel needs on this host.
pub struct Needs {
    /// Secrets that a person has to bring.
    pub secrets: Vec<NeededSecret>,
    /// Secrets that are generated when they are not stored.
    pub generated: Vec<NeededSecret>,
    /// Settings that have to be chosen.
    pub settings: Vec<NeededSetting>,
}

/// A secret that a channel needs.
pub struct NeededSecret {
    /// What its file says.
    pub declared: RequiredSecret,
    /// The name under which it is stored.
    pub stored_name: String,
    /// Whether it is stored.
    pub is_stored: bool,
}

/// A setting that a channel needs.
pub struct NeededSetting {
    /// What its file says.
    pub declared: AskedSetting,
    /// What it is now.
    pub value: Option<Value>,
}

impl Needs {
    /// What the channel needs.
    ///
    /// # Errors
    /// The secrets cannot be read.
    pub fn of(settings: &Settings, target: &SetupTarget) -> Result<Self, Failure> {
        let store = settings.secrets.store()?;
        let (setup, config) = (target.setup(), target.config(settings));
        let (mut secrets, mut generated) = (Vec::new(), Vec::new());
        for declared in setup.required_secrets {
            let stored_name = target.channel.stored_secret_name(&declared.name);
            let is_generated = declared.auto_generate.is_some() && settings.secrets.generates;
            // One that is optional for the channel, and meant for this kind of host, is what set-up is about.
            let is_left_out = declared.optional && declared.when.is_none() && !is_generated;
            if is_left_out || !concerns(settings, declared.when) {
                continue;
            }
            let is_stored = store.get(&stored_name).map_err(Failure::problem)?.is_some();
            let list = if is_generated { &mut generated } else { &mut secrets };
            list.push(NeededSecret { declared, stored_name, is_stored });
        }
        let asked = setup.settings.into_iter();
        let asked = asked.filter(|setting| !setting.optional && concerns(settings, setting.when));
        let needed = |declared: AskedSetting| NeededSetting {
            value: config.get(&declared.name).filter(|value| !is_empty(value)).cloned(),
            declared,
        };
        Ok(Self { secrets, generated, settings: asked.map(needed).collect() })
    }

    /// Refuses to go on when something is neither given nor there, and says how to give it.
    ///
    /// # Errors
    /// What is missing.
    pub fn refuse_missing(&self, target: &SetupTarget, given: &Given) -> Result<(), Failure> {
        let secrets = self.secrets.iter().filter(|secret| !secret.is_stored && !given.has_secret(secret));
        let secrets = secrets.map(|secret| {
            let NeededSecret { declared, .. } = secret;
            let prompt = about(&declared.prompt, declared.url.as_deref());
            format!("--secret {}=FILE{prompt}", declared.name)
        });
        let settings = self.settings.iter().filter(|setting| {
            setting.value.is_none() && !given.settings.contains_key(&setting.declared.name)
        });
        let settings = settings.map(|setting| {
            let AskedSetting { name, prompt, url, .. } = &setting.declared;
            format!("--set {name}=VALUE{}", about(prompt, url.as_deref()))
        });
        let missing: Vec<String> = secrets.chain(settings).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "{} needs more, give it or run this at a terminal:\n  {}",
            target.name(),
            missing.join("\n  ")
        )))
    }
}

/// What something is and where it is found.
pub fn about(prompt: &str, url: Option<&str>) -> String {
    let url = url.map(|url| format!(" ({url})")).unwrap_or_default();
    if prompt.is_empty() { url } else { format!("  {prompt}{url}") }
}

/// Whether a setting has no value.
pub fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(str::is_empty)
}
