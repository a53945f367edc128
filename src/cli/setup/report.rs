//! What came of setting a channel up, for people and as JSON.

use serde_json::{Value, json};

use super::apply::{Applied, ChannelOnHost};
use super::check::AccountCheck;
use super::dialogue::pretty;
use super::steps::{OperatorStep, after, before};
use super::target::{SetupTarget, receives};
use crate::cli::config::Settings;
use crate::cli::output::print_json;
use crate::host::ServiceVerdict;
use crate::model::escape::{escaped, escaped_lines};

/// Everything that is to be said at the end.
pub struct SetupReport {
    name: String,
    guest: String,
    service: String,
    /// What the service calls the account.
    account: Option<String>,
    /// True when the service accepts it, null when it was not asked or did not respond.
    checked: Option<bool>,
    /// Why the service did not respond.
    service_error: Option<String>,
    receives: String,
    dm_policy: Option<String>,
    secrets_file: String,
    before: Vec<OperatorStep>,
    after: Vec<OperatorStep>,
    applied: Applied,
}

impl SetupReport {
    /// Puts together what is to be said. The configuration is reloaded for it.
    pub fn new(settings: &Settings, target: &SetupTarget, checked: &AccountCheck, applied: Applied) -> Self {
        let response = checked.response();
        let account = target.setup().account.and_then(|place| response.pointer(&place).cloned());
        let account =
            account.map(|account| account.as_str().map_or_else(|| account.to_string(), str::to_owned));
        let (checked, service_error) = match checked {
            AccountCheck::Asked(ServiceVerdict::Accepted(_)) => (Some(true), None),
            AccountCheck::Asked(ServiceVerdict::Refused(words)) => (Some(false), Some(words.clone())),
            AccountCheck::Asked(ServiceVerdict::Unavailable(words)) => (None, Some(words.clone())),
            AccountCheck::NotAsked => (None, None),
        };
        let policy = target.config(settings).get("dm_policy").cloned();
        Self {
            name: target.name().to_string(),
            guest: target.channel.guest_name().to_string(),
            service: target.service(),
            account,
            checked,
            service_error,
            receives: receives(settings, target),
            dm_policy: policy.and_then(|policy| Some(policy.as_str()?.to_owned())),
            secrets_file: settings.secrets.file.display().to_string(),
            before: before(settings, target),
            after: after(settings, target, response),
            applied,
        }
    }

    /// Prints it as one JSON object.
    pub fn print_json(&self) {
        let Applied { stored, generated, kept, changed_file, installed, running, .. } = &self.applied;
        let step = |when: &'static str| move |step: &OperatorStep| json!({"when": when, "text": step.text, "json": step.json});
        let steps = self.before.iter().map(step("before")).chain(self.after.iter().map(step("after")));
        let (state, error) = match running {
            ChannelOnHost::NoHost => (Value::Null, None),
            ChannelOnHost::Channel { health, .. } => (health["state"].clone(), last_failure(health)),
            ChannelOnHost::Refused(error) => (Value::from("refused"), Some(error.clone())),
        };
        let needs_restart = matches!(running, ChannelOnHost::Channel { needs_restart: true, .. });
        let restart_for: &[&str] = if needs_restart { &["public_url"] } else { &[] };
        print_json(&json!({
            "channel": self.name,
            "guest": self.guest,
            "account": self.account,
            "checked": self.checked,
            "service_error": self.service_error,
            "stored": stored,
            "generated": generated,
            "kept": kept,
            "config_file": changed_file.as_ref().map(|path| path.display().to_string()),
            "installed": installed.as_ref().map(|path| path.display().to_string()),
            "receives": self.receives,
            "running": !matches!(running, ChannelOnHost::NoHost),
            "state": state,
            "error": error,
            "restart_for": restart_for,
            "steps": steps.collect::<Value>(),
        }));
    }

    /// Prints it for people.
    pub fn print(&self) {
        let line = |label: &str, text: &str| outln!("{label:10}{}", escaped(text));
        outln!();
        match (self.checked, &self.service_error) {
            (Some(true), _) => {
                let account =
                    self.account.as_deref().map(|account| format!(" as {account}")).unwrap_or_default();
                line("service", &format!("{} knows it{account}", self.service));
            }
            (_, Some(words)) => {
                line("service", &format!("not checked, {} does not respond: {words}", self.service))
            }
            (_, None) => {}
        }
        self.print_stored();
        line("receives", &self.receives);
        if let Some(who) = self.who_may_talk() {
            line("who", &who);
        }
        if !self.after.is_empty() {
            outln!("\nLeft to do at {}:", escaped(&self.service));
        }
        for (number, OperatorStep { text, json }) in self.after.iter().enumerate() {
            outln!("{}. {}", number + 1, escaped_lines(text));
            if let Some(json) = json {
                outln!("\n{}\n", escaped_lines(&pretty(json)));
            }
        }
        outln!("\n{}", escaped(&self.next()));
    }

    fn print_stored(&self) {
        let Applied { stored, generated, kept, made_key, changed_file, installed, .. } = &self.applied;
        let line = |label: &str, text: &str| outln!("{label:10}{}", escaped(text));
        for (names, what) in [(stored, "stored in"), (generated, "generated, in")] {
            if !names.is_empty() {
                line("secrets", &format!("{} {what} {}", names.join(", "), self.secrets_file));
            }
        }
        if !kept.is_empty() {
            line("secrets", &format!("{} as before", kept.join(", ")));
        }
        if let Some(key) = made_key {
            line("key", &format!("{}; without it nobody can read the secrets, you included", key.display()));
        }
        if let Some(file) = changed_file {
            line("settings", &format!("written into {}", file.display()));
        }
        if let Some(directory) = installed {
            line("channel", &format!("{} installed into {}", self.name, directory.display()));
        }
    }

    /// Who may talk to the agent, where the channel has the usual policy.
    fn who_may_talk(&self) -> Option<String> {
        let name = &self.name;
        Some(match self.dm_policy.as_deref()? {
            "open" => format!(
                "everybody who finds it; `tinclaw setup {name} --set dm_policy=pairing` asks you about each"
            ),
            "allowlist" => {
                format!("those in allow_from; `tinclaw setup {name} --set allow_from=ID,ID` sets it")
            }
            _ => format!("an unknown sender gets a code; `tinclaw pairing approve {name} CODE` lets them in"),
        })
    }

    fn next(&self) -> String {
        let Self { name, .. } = self;
        match &self.applied.running {
            ChannelOnHost::NoHost => "Start it with `tinclaw run`.".to_owned(),
            ChannelOnHost::Refused(error) => format!("The running host does not take it: {error}"),
            ChannelOnHost::Channel { needs_restart: true, .. } => {
                "It runs; restart the host, so that its public address counts.".to_owned()
            }
            ChannelOnHost::Channel { health, .. } => match (health["state"].as_str(), last_failure(health)) {
                (_, Some(failure)) => {
                    format!("It runs in the host and does not start: {failure}; see `tinclaw status {name}`")
                }
                (Some("ready"), None) => "It runs in the host that is running.".to_owned(),
                _ => format!("It starts in the host that is running; see `tinclaw status {name}`."),
            },
        }
    }
}

/// Why a channel has failed last.
fn last_failure(health: &Value) -> Option<String> {
    let problems = health["diagnostics"].as_array().map(Vec::as_slice).unwrap_or_default();
    let failure = problems.iter().find(|problem| problem["code"] == "last-failure")?;
    Some(failure["message"].as_str()?.trim_start_matches("last failure: ").to_owned())
}
