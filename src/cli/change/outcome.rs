//! What the running host makes of a package that it has taken.

use serde_json::{Value, json};

use crate::channel::ChannelName;
use crate::cli::config::Settings;
use crate::cli::output::Failure;
use crate::cli::setup::until_started;
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::model::escape::escaped;
use crate::package::{PackageFiles, parsed};

/// What the running host makes of a package.
pub struct InstallOutcome {
    /// It has started.
    pub is_running: bool,
    /// What is wrong, as diagnostics of the host's health; the most severe first.
    pub diagnostics: Vec<Value>,
    /// It does not work, for another reason than a secret that is asked for next.
    pub is_error: bool,
    is_disabled: bool,
}

impl InstallOutcome {
    /// Waits until it has started or failed to.
    ///
    /// # Errors
    /// The host cannot be asked.
    pub fn of(settings: &Settings, name: &ChannelName, files: &PackageFiles) -> Result<Self, Failure> {
        let health = until_started(settings, name.as_str())?.unwrap_or_default();
        let paths = parsed(name, &files.channel).ok().and_then(|file| file.capabilities.channel);
        let paths = paths.map(|section| section.allowed_paths).unwrap_or_default();
        let is_disabled = settings.records().get(name).is_ok_and(|record| record.disabled);
        Ok(Self::seen(&health, &paths, is_disabled))
    }

    fn seen(health: &Value, paths: &[String], is_disabled: bool) -> Self {
        let is_running = health["state"] == "ready" || health["state"] == "degraded";
        let is_empty = |field: &str| health[field].as_array().is_none_or(Vec::is_empty);
        let mut diagnostics = Vec::new();
        let mut is_error = !is_disabled && !is_running && is_empty("missing_secrets");
        let found = health["diagnostics"].as_array().map(Vec::as_slice).unwrap_or_default();
        let with = |severity: &'static str| found.iter().filter(move |found| found["severity"] == severity);
        for problem in with("error").chain(with("warning")) {
            is_error |= is_running && problem["severity"] == "error";
            diagnostics.push(problem.clone());
        }
        if is_running && is_empty("paths") && !paths.is_empty() {
            let has_other_ways = !health["link"].is_null() || !health["poll_interval_ms"].is_null();
            is_error |= !has_other_ways;
            let severity = if has_other_ways { Severity::Warning } else { Severity::Error };
            let message =
                format!("the guest serves none of the paths of its capability file ({})", paths.join(", "));
            let found = Diagnostic::new(severity, "unserved-paths", message);
            diagnostics.push(json!(found.help("check that both files are of one channel")));
        }
        Self { is_running, diagnostics, is_error, is_disabled }
    }

    /// The end of a sentence about the channel, and a line for each problem.
    pub fn text(&self, name: &ChannelName) -> String {
        let mut text = match (self.is_disabled, self.is_running) {
            (true, _) => format!("it is disabled: `tinclaw enable {name}` runs it"),
            (false, true) if self.is_error => "it runs, and does not work".to_owned(),
            (false, true) => "it runs".to_owned(),
            (false, false) => format!("it has not started: `tinclaw status {name}` says more"),
        };
        for found in &self.diagnostics {
            let part = |field: &str| found[field].as_str().unwrap_or_default();
            let help = found["help"].as_str().map(|help| format!("; {help}")).unwrap_or_default();
            text += &format!("\n{}", escaped(&format!("{}: {}{help}", part("severity"), part("message"))));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "installed; it runs" was said of a guest that served none of the paths, and of one whose path another channel had.
    #[test]
    fn a_running_channel_with_an_error_is_a_failed_installation() {
        let paths = ["/a".to_owned()];
        let health = |change: Value| {
            let mut health = json!({"state": "ready", "paths": ["/a"], "diagnostics": [], "missing_secrets": [],
                "link": null, "poll_interval_ms": null});
            health.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
            health
        };
        let wrong = json!([{"severity": "error", "message": "its path is taken"}]);
        for (case, change, is_error, part) in [
            ("good", json!({}), false, "it runs"),
            ("no path", json!({"paths": []}), true, "serves none of the paths of its capability file (/a)"),
            (
                "it polls",
                json!({"paths": [], "poll_interval_ms": 5}),
                false,
                "warning: the guest serves none",
            ),
            ("taken", json!({"diagnostics": wrong}), true, "error: its path is taken"),
            ("not started", json!({"state": "starting"}), true, "it has not started"),
            (
                "to be set up",
                json!({"state": "starting", "missing_secrets": ["a"]}),
                false,
                "it has not started",
            ),
        ] {
            let outcome = InstallOutcome::seen(&health(change), &paths, false);
            let text = outcome.text(&"a".parse().expect("a name"));
            assert!(outcome.is_error == is_error && text.contains(part), "{case}: {text}");
        }
        assert!(!InstallOutcome::seen(&Value::Null, &paths, true).is_error, "a disabled one need not run");
    }
}
