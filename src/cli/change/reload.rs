//! The configuration that is reloaded while the host runs: validated whole, then what can change does, and what needs a restart is
//! named.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::host::{RunningHost, StartError};
use crate::WasmChannel;
use crate::channel::{ChannelName, LoadCheck, LoadError, PlannedChannel};
use crate::cli::args::RunArgs;
use crate::cli::channels::WEBCHAT;
use crate::cli::config::changed;
use crate::cli::output::count;
use crate::cli::start_channel::HeldConfig;
use crate::model::escape::escaped;
use crate::model::subject::about_channel;
use crate::package::files_of;

/// Fields that hold at once; all others need a restart.
const LIVE: &[&str] = &[
    "channel",
    "channels",
    "limits",
    "log",
    "log_file",
    "log_file_max_mb",
    "log_files",
    "log_format",
    "public_url",
    "trust",
];
/// Fields that concern every channel.
const OF_ALL_CHANNELS: &[&str] = &["limits", "public_url"];

/// Fields of `[agent]` that hold from the next message on, when the agent is a language model.
const OF_MODEL: &[&str] = &[
    "history",
    "images",
    "max_tokens",
    "model",
    "reset_command",
    "stream",
    "system_prompt",
    "temperature",
    "timeout_secs",
    "tools",
];

/// Whether a field is one of [`OF_MODEL`].
pub(super) fn is_of_model(field: &str) -> bool {
    field.strip_prefix("agent.").is_some_and(|field| OF_MODEL.contains(&first_part(field)))
}

/// The fields that differ from what the host runs with.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ChangedFields {
    /// Those that hold at once.
    live: Vec<String>,
    /// Those that hold from the next start on: they differ from what the host was started with.
    needs_restart: Vec<String>,
}

impl ChangedFields {
    /// Compares a configuration with what a host runs with. `is_live_now` says of further fields whether they hold at once.
    pub fn between(held: &HeldConfig, new: &Value, is_live_now: impl Fn(&str) -> bool) -> Self {
        let is_live = |field: &String| LIVE.contains(&first_part(field)) || is_live_now(field);
        let live = changed(&held.live, new).into_iter().filter(|field| is_live(field)).collect();
        let needs_restart = changed(&held.started, new).into_iter().filter(|field| !is_live(field)).collect();
        Self { live, needs_restart }
    }

    /// Without those that the command line of the host sets: it goes before the file, at the next start too.
    pub fn without(mut self, options: &RunArgs) -> Self {
        let RunArgs { listen, admin, channels, webchat, agent, public_url, .. } = options;
        let RunArgs { log_format, log_file, log_file_max_mb, log_files, .. } = options;
        let set = [
            ("listen", listen.is_some()),
            ("admin", admin.is_some()),
            ("channels", !channels.is_empty()),
            ("webchat", *webchat),
            ("agent", agent.is_some()),
            ("agent.kind", agent.is_some()),
            ("public_url", public_url.is_some()),
            ("log_format", log_format.is_some()),
            ("log_file", log_file.is_some()),
            ("log_file_max_mb", log_file_max_mb.is_some()),
            ("log_files", log_files.is_some()),
        ];
        let is_left = |field: &String| !set.contains(&(field.as_str(), true));
        self.live.retain(is_left);
        self.needs_restart.retain(is_left);
        self
    }
}

/// `queue` of `queue.max_messages`.
fn first_part(field: &str) -> &str {
    field.split_once('.').map_or(field, |(first, _)| first)
}

/// What is done to each channel.
#[derive(Debug, Default, PartialEq, Eq)]
struct ChannelChanges {
    added: Vec<ChannelName>,
    changed: Vec<ChannelName>,
    removed: Vec<ChannelName>,
}

/// What becomes of the channels: those that run, those that are wanted with whether something about them has changed.
fn channel_changes(running: &[ChannelName], wanted: &[(ChannelName, bool)]) -> ChannelChanges {
    let is_running = |name: &ChannelName| running.contains(name);
    let is_wanted = |name: &ChannelName| wanted.iter().any(|(wanted, _)| wanted == name);
    let named = |pick: &dyn Fn(&ChannelName, bool) -> bool| {
        wanted.iter().filter(|(name, changed)| pick(name, *changed)).map(|(name, _)| name.clone()).collect()
    };
    ChannelChanges {
        added: named(&|name, _| !is_running(name)),
        changed: named(&|name, changed| changed && is_running(name)),
        removed: running.iter().filter(|name| !is_wanted(name)).cloned().collect(),
    }
}

/// What a reload is to change; all of it is loaded.
pub(super) struct ReloadPlan {
    fields: ChangedFields,
    changes: ChannelChanges,
    loaded: Vec<WasmChannel>,
    failed: Vec<NotTaken>,
    refused_at_restart: Vec<NotTaken>,
}

/// A channel that is not as the configuration has it.
struct NotTaken {
    /// None when its file has no name of a channel.
    name: Option<ChannelName>,
    reason: String,
    is_logged: bool,
}

impl NotTaken {
    fn of(name: &ChannelName, StartError { reason, is_logged }: StartError) -> Self {
        let reason = about_channel(name.as_str(), &reason).into_owned();
        Self { name: Some(name.clone()), reason, is_logged }
    }
}

/// What a reload has changed.
pub(super) struct Reloaded(ReloadPlan);

impl RunningHost<'_> {
    /// What is to be changed so that the host is as the configuration is now; `held` is what it runs with. Channels that are refused or
    /// cannot be loaded go on as they are, as a start leaves them out; what is wrong with the configuration itself is an error.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub(super) fn plan(&self, held: &HeldConfig, fields: ChangedFields) -> Result<ReloadPlan, String> {
        self.check_places(&fields)?;
        let document = &self.settings.document;
        let check = self.settings.restart_check();
        let planned = self.wanted(&*check)?;
        let concerns_all = fields.live.iter().any(|field| OF_ALL_CHANNELS.contains(&first_part(field)));
        let of_channel =
            |name: &ChannelName| held.live["channel"][name.as_str()] != document["channel"][name.as_str()];
        let wanted: Vec<(ChannelName, bool)> = planned
            .iter()
            .map(|planned| {
                let name = &planned.name;
                let is_changed = concerns_all || of_channel(name) || held.failed.contains(name);
                (name.clone(), is_changed || self.has_new_files(planned))
            })
            .collect();
        let running = self.running()?;
        let mut changes = channel_changes(&running, &wanted);
        let mut failed = self.refused_files();
        // The web chat of the program lies in no directory. What runs is not taken out because its file is refused.
        let is_refused =
            |name: &ChannelName| failed.iter().any(|refused| refused.name.as_ref() == Some(name));
        changes.removed.retain(|name| name.as_str() != WEBCHAT && !is_refused(name));
        let loader = self.settings.checked_loader_on(self.loader.runtime());
        let (mut loaded, mut refused_at_restart) = (Vec::new(), Vec::new());
        for planned in &planned {
            let name = &planned.name;
            if !changes.added.contains(name) && !changes.changed.contains(name) {
                refused_at_restart.extend(self.refused_at_restart(planned, &*check));
                continue;
            }
            match loader.load_planned(planned) {
                Ok(channel) => loaded.push(channel),
                Err(error) if is_of_configuration(&error, &document["channel"][name.as_str()]) => {
                    return Err(error.to_string());
                }
                Err(error) => failed.push(NotTaken::of(name, error.to_string().into())),
            }
        }
        Ok(ReloadPlan { fields, changes, loaded, failed, refused_at_restart })
    }

    /// Whether what was there when the host was started is there still.
    fn check_places(&self, fields: &ChangedFields) -> Result<(), String> {
        let settings = self.settings;
        if settings.records().adopts() {
            return Err(format!(
                "{} does not have any more what was approved of channels; put the state directory back where it was",
                settings.state_dir.display()
            ));
        }
        let directory = crate::default_channels_dir();
        let is_same = !fields.live.iter().any(|field| field == "channels");
        if is_same && settings.channel_paths().is_empty() && self.runs_installed()? {
            return Err(format!("the directory {} of channels is not there any more", directory.display()));
        }
        Ok(())
    }

    /// Whether a channel runs that lay in a directory.
    fn runs_installed(&self) -> Result<bool, String> {
        let accounts = self.settings.accounts();
        let is_installed = |name: &ChannelName| name.as_str() != WEBCHAT && !accounts.contains_key(name);
        Ok(self.running()?.iter().any(is_installed))
    }

    /// Does what was planned.
    ///
    /// # Errors
    /// The host stops.
    pub(super) fn carry_out(&self, mut plan: ReloadPlan) -> Result<Reloaded, String> {
        self.manager.public_url().set(self.settings.public_url().cloned());
        for name in &plan.changes.removed {
            self.manager.remove(name).map_err(|error| error.to_string())?;
        }
        for channel in std::mem::take(&mut plan.loaded) {
            if let Err(error) = self.put_in(&channel) {
                plan.failed.push(NotTaken::of(channel.name(), error));
            }
        }
        let has_failed =
            |name: &ChannelName| plan.failed.iter().any(|failed| failed.name.as_ref() == Some(name));
        plan.changes.added.retain(|name| !has_failed(name));
        plan.changes.changed.retain(|name| !has_failed(name));
        Ok(Reloaded(plan))
    }

    /// The channels of the configuration, without those that are disabled.
    ///
    /// # Errors
    /// There is no guest for one of them.
    fn wanted(&self, check: &dyn LoadCheck) -> Result<Vec<PlannedChannel>, String> {
        let accounts = self.settings.accounts();
        let found = self.settings.installed().into_iter().map(|found| found.name);
        let names: BTreeSet<ChannelName> = found.chain(accounts.keys().cloned()).collect();
        let mut wanted = Vec::new();
        for name in names.into_iter().filter(|name| !check.is_disabled(name)) {
            match (self.settings.planned(&name), accounts.get(&name)) {
                (Some(planned), _) => wanted.push(planned),
                (None, Some(guest)) => return Err(LoadError::no_guest(&name, guest).to_string()),
                // Removed since it was listed.
                (None, None) => {}
            }
        }
        Ok(wanted)
    }

    /// Files in the directories that look like a channel and cannot be one.
    fn refused_files(&self) -> Vec<NotTaken> {
        let found = self.settings.channel_paths().into_iter();
        let found = found.filter_map(|path| crate::WasmChannelLoader::discover(&path).ok());
        let not_taken = |error: LoadError| NotTaken {
            name: name_of(&error),
            reason: error.to_string(),
            is_logged: false,
        };
        found.flat_map(|found| found.refused).map(not_taken).collect()
    }

    /// Why a channel that goes on as it is would not be loaded at a restart, if so: the keys of `[trust]` may be others.
    fn refused_at_restart(&self, planned: &PlannedChannel, check: &dyn LoadCheck) -> Option<NotTaken> {
        let checked =
            planned.read().map_err(|error| error.to_string()).and_then(|files| check.check(planned, &files));
        checked.err().map(|reason| NotTaken::of(&planned.name, reason.into()))
    }

    /// Whether a channel's files are others than those that were approved last.
    fn has_new_files(&self, planned: &PlannedChannel) -> bool {
        let approved = self.settings.records().get(&planned.guest).ok().and_then(|record| record.approved);
        let files = planned.found_files().and_then(|found| files_of(found).ok());
        files.is_some_and(|files| !approved.is_some_and(|approved| approved.is_of(&files.channel)))
    }

    fn running(&self) -> Result<Vec<ChannelName>, String> {
        let health = self.manager.health().map_err(|error| error.to_string())?;
        Ok(health.channels.into_iter().map(|channel| channel.name).collect())
    }
}

/// Whether the configuration is what is wrong with a channel: what it changes about the capability file.
fn is_of_configuration(error: &LoadError, settings: &Value) -> bool {
    matches!(error, LoadError::Capabilities { .. }) && !settings["capabilities"].is_null()
}

/// The channel that a refused file would be.
fn name_of(error: &LoadError) -> Option<ChannelName> {
    match error {
        LoadError::SameName { name, .. } => Some(name.clone()),
        LoadError::Link { path } => ChannelName::new(path.file_stem().and_then(|stem| stem.to_str())?).ok(),
        _ => None,
    }
}

impl Reloaded {
    /// What was done, for programs.
    pub fn to_json(&self) -> Value {
        let ReloadPlan { fields, changes, failed, refused_at_restart, .. } = &self.0;
        let reasons = |refused: &[NotTaken]| -> Vec<String> {
            refused.iter().map(|refused| refused.reason.clone()).collect()
        };
        json!({
            "changed": fields.live, "restart_for": fields.needs_restart, "added": changes.added,
            "upgraded": changes.changed, "removed": changes.removed, "failed": reasons(failed),
            "refused_at_restart": reasons(refused_at_restart),
        })
    }

    /// The same for the log, which has what was refused in lines of its own.
    pub fn summary(&self) -> String {
        let mut done = self.to_json();
        if let Some(fields) = done.as_object_mut() {
            fields.retain(|field, _| !REFUSED.contains(&field.as_str()));
        }
        let text = as_text(&done);
        match self.0.failed.len() + self.0.refused_at_restart.len() {
            0 => text,
            others => format!("{text}{} not as it has them\n", count(others, "channel")),
        }
    }

    /// A line for each channel that is not as the configuration has it, unless it has one.
    pub fn log_what_is_refused(&self) {
        let target =
            |refused: &NotTaken| refused.name.clone().map_or("reload".to_owned(), |name| name.to_string());
        for failed in self.0.failed.iter().filter(|failed| !failed.is_logged) {
            log::error!(target: &target(failed), "{}", failed.reason);
        }
        for refused in &self.0.refused_at_restart {
            log::warn!(target: &target(refused), "{}; it goes on until the next start", refused.reason);
        }
    }

    /// The fields that hold from the next start on.
    pub fn restart_for(&self) -> Vec<String> {
        self.0.fields.needs_restart.clone()
    }

    /// The channels that are to be tried again.
    pub fn failed_names(&self) -> BTreeSet<ChannelName> {
        self.0.failed.iter().filter_map(|failed| failed.name.clone()).collect()
    }
}

/// Lists of what is not as the configuration has it.
const REFUSED: [&str; 2] = ["failed", "refused_at_restart"];

/// Whether everything is as the configuration has it.
pub fn is_complete(done: &Value) -> bool {
    REFUSED.iter().all(|field| done[field].as_array().is_none_or(Vec::is_empty))
}

/// What was done, for people.
pub fn as_text(done: &Value) -> String {
    let mut text = String::new();
    for (field, what) in [
        ("changed", "changed"),
        ("added", "channels added"),
        ("upgraded", "channels changed"),
        ("removed", "channels removed"),
        ("failed", "failed"),
        ("refused_at_restart", "goes on, and would be refused at a restart"),
        ("restart_for", "needs a restart"),
    ] {
        let items = done[field].as_array().into_iter().flatten().filter_map(Value::as_str);
        let items: Vec<_> = items.map(escaped).collect();
        if REFUSED.contains(&field) {
            items.iter().for_each(|item| text += &format!("{what}: {item}\n"));
        } else if !items.is_empty() {
            let _ = writeln!(text, "{what}: {}", items.join(", "));
        }
    }
    if text.is_empty() { "nothing has changed\n".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<ChannelName> {
        names.iter().map(|name| name.parse().expect("a name")).collect()
    }

    #[test]
    fn channels_are_added_changed_and_removed_as_they_are_wanted() {
        let wanted = |rows: &[(&str, bool)]| -> Vec<(ChannelName, bool)> {
            rows.iter().map(|(name, changed)| (name.parse().expect("a name"), *changed)).collect()
        };
        for (case, running, rows, expected) in [
            ("nothing", &["a"][..], &[("a", false)][..], [&[][..], &[], &[]]),
            ("one is new", &["a"], &[("a", false), ("b", false)], [&["b"], &[], &[]]),
            ("one has changed", &["a", "b"], &[("a", true), ("b", false)], [&[], &["a"], &[]]),
            ("one is gone", &["a", "b"], &[("a", false)], [&[], &[], &["b"]]),
            ("a new one that has changed is added once", &[], &[("a", true)], [&["a"], &[], &[]]),
        ] {
            let [added, changed, removed] = expected.map(names);
            let changes = channel_changes(&names(running), &wanted(rows));
            assert_eq!(changes, ChannelChanges { added, changed, removed }, "{case}");
        }
    }

    fn held(started: &Value, live: &Value) -> HeldConfig {
        HeldConfig { started: started.clone(), live: live.clone(), failed: BTreeSet::new() }
    }

    #[test]
    fn fields_that_need_a_restart_are_listed_separately() {
        let old = json!({});
        let new = json!({
            "channel": {"a": {"owner_id": 1}}, "channels": [], "limits": {"channel": {"fuel": 1}}, "listen": "x",
            "log": "info", "logs": 1, "queue": {"messages": 1}, "access_log": "a",
        });
        let fields = ChangedFields::between(&held(&old, &old), &new, |field| field == "access_log");
        assert_eq!(
            fields.live,
            ["access_log", "channel.a.owner_id", "channels", "limits.channel.fuel", "log"]
        );
        assert_eq!(fields.needs_restart, ["listen", "logs", "queue.messages"]);
        let fields = ChangedFields::between(&held(&old, &old), &new, |_| false);
        assert_eq!(fields.needs_restart, ["access_log", "listen", "logs", "queue.messages"]);
        let text = as_text(&json!({"changed": fields.live, "restart_for": fields.needs_restart}));
        assert!(text.ends_with("needs a restart: access_log, listen, logs, queue.messages\n"), "{text}");
        assert_eq!(as_text(&json!({})), "nothing has changed\n");
        let options = RunArgs { listen: Some(([127, 0, 0, 1], 2).into()), ..RunArgs::default() };
        assert_eq!(fields.without(&options).needs_restart, ["access_log", "logs", "queue.messages"]);
    }

    /// The file read last was what the next one was compared with: a restart that was needed was named once, and when the old value
    /// had been put back, again.
    #[test]
    fn restart_fields_are_compared_with_the_configuration_at_start() {
        let started = json!({"listen": "a", "log": "info"});
        let read = json!({"listen": "b", "log": "warn"});
        for (case, new, live, needs_restart) in
            [("read again", &read, &[][..], &["listen"][..]), ("put back", &started, &["log"], &[])]
        {
            let fields = ChangedFields::between(&held(&started, &read), new, |_| false);
            assert_eq!(fields.live, live, "{case}");
            assert_eq!(fields.needs_restart, needs_restart, "{case}");
        }
    }
}
