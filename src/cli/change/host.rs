//! What the running host changes: channels that are reloaded, packages that are tried, and what is taken out.

use std::fmt::Display;
use std::sync::PoisonError;

use log::LevelFilter;
use serde_json::{Value, json};

use super::place::{accounts_of, directory_of, installed};
use super::reload::{ChangedFields, is_of_model};
use crate::admin::HostChange;
use crate::channel::{ChannelFiles, ChannelName, PlannedChannel};
use crate::cli::changed_files::changed_files;
use crate::cli::config::{AgentChoice, Settings};
use crate::cli::generate::SecretGenerator;
use crate::cli::held_channels;
#[cfg(feature = "cluster")]
use crate::cli::held_channels::HeldState;
use crate::cli::start_channel::ChannelStarter;
use crate::cli::start_checks::problems;
use crate::cli::{access_log, logging};
use crate::event::arrival::UpgradeError;
use crate::host::{ChannelState, DaemonOperator as _};
use crate::model::subject::about_channel;
use crate::package::{Approved, LOCK_TIME_AT_START, Pending, Staging, StagingError};
use crate::{ChannelManager, HostError, WasmChannel, WasmChannelLoader};

impl ChannelStarter {
    /// Does what is asked.
    ///
    /// # Errors
    /// A sentence for the operator. What ran before goes on.
    pub fn change(&self, manager: &ChannelManager, change: &HostChange) -> Result<Value, String> {
        let with_host = |act: &dyn Fn(&RunningHost<'_>) -> Result<Value, String>| {
            act(&RunningHost { manager, settings: &self.settings()?, loader: &self.loader })
        };
        match change {
            HostChange::Start { channel } => with_host(&|host| host.reload_channel(&name(channel)?)),
            HostChange::Apply { channel, guest, capabilities } => {
                with_host(&|host| host.apply(&name(channel)?, guest, capabilities))
            }
            HostChange::Remove { channel } => with_host(&|host| host.remove(&name(channel)?)),
            HostChange::Disable { channel } => with_host(&|host| host.disable(&name(channel)?)),
            HostChange::Enable { channel } => with_host(&|host| host.enable(&name(channel)?)),
            // It reads the configuration when it is its turn.
            HostChange::Reload => self.while_reloading(|| self.reload(manager)),
        }
    }

    /// Makes the log and the host as the configuration is now. All of it is found to be good before anything is changed.
    fn reload(&self, manager: &ChannelManager) -> Result<Value, String> {
        // Held until it is done: two at once would each change half.
        let mut held = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = &self.settings()?;
        let host = RunningHost { manager, settings, loader: &self.loader };
        let unchanged = |error: &dyn Display| format!("nothing was changed: {error}");
        if let Some(problem) = problems(&self.common, settings, self.loader.runtime()).first() {
            return Err(unchanged(problem));
        }
        let new_model = self.model.as_ref().and_then(|model| match &settings.agent {
            AgentChoice::OpenAi(new) if model.asks_the_server_of(new) => Some((model, new)),
            _ => None,
        });
        let fields = ChangedFields::between(&held, &settings.document, |field| {
            let is_log = field == "access_log" && self.access_log.is_some() && settings.access_log.is_some();
            is_log || new_model.is_some() && is_of_model(field)
        });
        let fields = fields.without(&self.options);
        let plan = host.plan(&held, fields).map_err(|error| unchanged(&error))?;
        let log =
            logging::prepare(&self.common, settings.log.as_deref(), LevelFilter::Info, &settings.log_output);
        let log = log.map_err(|error| unchanged(&error))?;
        let requests = self.access_log.as_ref().zip(settings.access_log.as_ref());
        let requests = requests.map(|(running, target)| {
            let write = access_log::writer(target, settings.log_output.format, settings.log_limits);
            write.map(|write| (running, write))
        });
        let requests = requests.transpose().map_err(|error| unchanged(&error))?;
        let done = host.carry_out(plan)?;
        if let Some((model, new)) = new_model {
            model.set_settings(new.clone());
        }
        log.install();
        if let Some((running, write)) = requests {
            running.write_with(write);
        }
        log::info!("the configuration was reloaded: {}", done.summary().trim_end().replace('\n', "; "));
        done.log_what_is_refused();
        let mut live = settings.document.clone();
        if self.model.is_some() && new_model.is_none() {
            // The model goes on with what it had.
            live["agent"] = held.live["agent"].clone();
        }
        held.live = live;
        held.failed = done.failed_names();
        *self.restart_for.lock().unwrap_or_else(PoisonError::into_inner) = done.restart_for();
        self.hold_file(settings);
        Ok(done.to_json())
    }

    /// The service manager is told what goes on.
    fn while_reloading<T>(&self, reload: impl FnOnce() -> T) -> T {
        if let Some(supervisor) = &self.supervisor {
            supervisor.reloading();
        }
        let done = reload();
        if let Some(supervisor) = &self.supervisor {
            supervisor.ready();
        }
        done
    }

    /// Tries the packages that were approved while no host ran.
    pub fn apply_approved(&self, manager: &ChannelManager) {
        let settings = match self.settings() {
            Ok(settings) => settings,
            Err(error) => return log::error!("packages that wait are not tried: {error}"),
        };
        let host = RunningHost { manager, settings: &settings, loader: &self.loader };
        for directory in settings.package_directories() {
            let records = settings.records();
            let staging = match Staging::open_within(&directory, &records, LOCK_TIME_AT_START) {
                Ok(staging) => staging,
                Err(error) => {
                    log::error!("packages that wait in {} are not tried: {error}", directory.display());
                    continue;
                }
            };
            let waiting = staging.waiting();
            let approved = waiting.into_iter().filter_map(|name| {
                let plan = staging.pending(&name).ok()??.plan;
                Some((name, plan.record.filter(|_| plan.approved)?))
            });
            let approved: Vec<(ChannelName, Approved)> = approved.collect();
            drop(staging);
            for (name, package) in approved {
                if let Err(error) = host.apply(&name, &package.guest, &package.capabilities) {
                    log::error!(target: name.as_str(), "{}", about_channel(name.as_str(), &error));
                }
            }
        }
    }

    /// What is held back, with the configuration as it is now; nothing while that cannot be read.
    pub fn held(&self, manager: &ChannelManager) -> Value {
        let (Ok(settings), Ok(health)) = (self.settings(), manager.health()) else { return json!([]) };
        let runs = |name: &ChannelName| health.channels.iter().any(|channel| channel.name == *name);
        let mut held = held_channels::held(&settings, Some(&runs));
        held.extend(changed_files(&settings, &runs, &self.digests));
        // What this host does not have may run on another one.
        #[cfg(feature = "cluster")]
        let held: Vec<_> = {
            let is_alone = manager.hosts().is_none();
            held.into_iter().filter(|held| is_alone || held.state != HeldState::NotLoaded).collect()
        };
        held_channels::to_json(&held)
    }
}

/// Why a channel was not put into the host.
pub(super) struct StartError {
    pub(super) reason: String,
    /// Whether the log has it: the channel itself reports how its `on-start` ended.
    pub(super) is_logged: bool,
}

impl StartError {
    fn of(error: HostError) -> Self {
        let is_logged = match &error {
            HostError::Upgrade(source) => {
                matches!(source.downcast_ref(), Some(UpgradeError::CannotStart { .. }))
            }
            _ => false,
        };
        Self { reason: error.to_string(), is_logged }
    }
}

impl From<String> for StartError {
    fn from(reason: String) -> Self {
        Self { reason, is_logged: false }
    }
}

fn name(channel: &str) -> Result<ChannelName, String> {
    ChannelName::new(channel).map_err(|error| error.to_string())
}

/// The host with the configuration as it is now.
pub(super) struct RunningHost<'a> {
    pub(super) manager: &'a ChannelManager,
    pub(super) settings: &'a Settings,
    pub(super) loader: &'a WasmChannelLoader,
}

impl RunningHost<'_> {
    /// The same as [`RunningHost::start`]; returns what was done, as a reload does.
    fn reload_channel(&self, name: &ChannelName) -> Result<Value, String> {
        let was_there = self.is_running(name)?;
        self.start(name)?;
        let is_same = self.settings.public_url() == self.manager.public_url().get().as_ref();
        let restart_for: &[&str] = if is_same { &[] } else { &["public_url"] };
        let done = if was_there { "upgraded" } else { "added" };
        Ok(json!({"channel": name, done: [name], "restart_for": restart_for}))
    }

    /// Loads a channel from its files, or reloads it when it runs. What was loaded before stays when the new one cannot be.
    fn start(&self, name: &ChannelName) -> Result<(), String> {
        let planned = self.settings.planned(name).ok_or_else(|| not_found(self.settings, name))?;
        if self.is_disabled(name) {
            return Err(format!("channel {name} is disabled; `tinclaw enable {name}` lets it run"));
        }
        let loader = self.settings.checked_loader_on(self.loader.runtime());
        let channel = loader.load_planned(&planned).map_err(|error| error.to_string())?;
        self.put_in(&channel).map_err(|error| error.reason)?;
        log::info!(target: name.as_str(), "channel {name} was reloaded, as the operator asked");
        Ok(())
    }

    /// Puts a channel into the host: in the place of the one that runs, which goes on when the new one cannot start.
    pub(super) fn put_in(&self, channel: &WasmChannel) -> Result<(), StartError> {
        let name = channel.name();
        let generator = SecretGenerator::new(self.settings).map_err(|error| error.to_string())?;
        generator.generate_missing(channel);
        let settings = self.settings.channel(name);
        if self.works(name)? {
            return self.manager.upgrade_with(channel, Some(settings)).map_err(StartError::of);
        }
        // One that has not started has nothing to lose.
        self.manager.remove(name).map_err(StartError::of)?;
        self.manager.set_channel_settings(name, settings);
        self.manager.add(Box::new(channel.clone())).map_err(StartError::of)
    }

    /// Whether a channel runs and has started.
    fn works(&self, name: &ChannelName) -> Result<bool, String> {
        let health = self.manager.health().map_err(|error| error.to_string())?;
        let channel = health.channels.iter().find(|channel| channel.name == *name);
        Ok(channel.is_some_and(|channel| channel.state != ChannelState::Starting))
    }

    fn is_running(&self, name: &ChannelName) -> Result<bool, String> {
        let health = self.manager.health().map_err(|error| error.to_string())?;
        Ok(health.channels.iter().any(|channel| channel.name == *name))
    }

    fn is_disabled(&self, name: &ChannelName) -> bool {
        self.settings.records().get(name).is_ok_and(|record| record.disabled)
    }

    /// Tries a package that waits, beside what runs, and lets it count when it starts.
    fn apply(&self, name: &ChannelName, guest: &str, capabilities: &str) -> Result<Value, String> {
        let records = self.settings.records();
        let staging =
            Staging::open(&directory_of(self.settings, name), &records).map_err(|error| error.to_string())?;
        let pending = staging.pending(name).map_err(|error| error.to_string())?;
        let Some(pending) = pending else {
            // Asked for twice, for one: a host that starts tries by itself what an installation has let wait.
            let counts = staging.counts(name, guest, capabilities).map_err(|error| error.to_string())?;
            return if counts { Ok(installed_as(name, &[name])) } else { Err(nothing_waits(name)) };
        };
        if !pending.plan.approved {
            return Err(format!("the package of channel {name} waits for `tinclaw approve {name}`"));
        }
        let bundled = pending.plan.record.as_ref().is_some_and(|record| record.bundled);
        let trusted = self.settings.trust.check(name, &pending.files, bundled);
        trusted.map_err(|refusal| format!("channel {name}: {refusal}"))?;
        let (new, old) = (self.channels_of(&pending)?, self.old_files(name));
        let mut replaced: Vec<&WasmChannel> = Vec::new();
        let mut failure = None;
        for channel in new.iter().filter(|channel| !self.is_disabled(channel.name())) {
            match self.put_in(channel) {
                Ok(()) => replaced.push(channel),
                Err(error) => {
                    failure = Some(error.reason);
                    break;
                }
            }
        }
        let committed = match failure {
            Some(failure) => Err(failure),
            None => match staging.commit(name) {
                // It counts: what runs now is what the files are going to be.
                Err(error @ StagingError::Incomplete { .. }) => return Err(error.to_string()),
                committed => committed.map_err(|error| error.to_string()),
            },
        };
        if let Err(error) = committed {
            self.put_back(&replaced, old.as_ref());
            // It could not start, or there is no room for it; tried again with each start of the host it would fail each time.
            let _ = staging.drop_pending(name);
            return Err(error);
        }
        log::info!(target: name.as_str(), "the package of channel {name} is installed");
        Ok(installed_as(name, &replaced.iter().map(|channel| channel.name()).collect::<Vec<_>>()))
    }

    /// The package as the channel of its name and as every other account of its guest.
    fn channels_of(&self, pending: &Pending) -> Result<Vec<WasmChannel>, String> {
        let loader = self.settings.loader_on(self.loader.runtime());
        let accounts = accounts_of(self.settings, &pending.name);
        let names = std::iter::once(pending.name.clone()).chain(accounts);
        let load = |name: ChannelName| {
            loader
                .prepare_files(name, pending.name.clone(), &pending.files.channel)
                .map_err(|error| error.to_string())
        };
        names.map(load).collect()
    }

    /// The files that count so far.
    fn old_files(&self, name: &ChannelName) -> Option<ChannelFiles> {
        installed(self.settings, name).and_then(|found| PlannedChannel::found(found).read().ok())
    }

    /// Undoes what was put in before something failed.
    fn put_back(&self, replaced: &[&WasmChannel], old: Option<&ChannelFiles>) {
        let loader = self.settings.loader_on(self.loader.runtime());
        for channel in replaced {
            let (name, guest) = (channel.name(), channel.guest_name());
            let before = old.and_then(|files| loader.prepare_files(name.clone(), guest.clone(), files).ok());
            let result = match before {
                Some(before) => self.put_in(&before).map_err(|error| error.reason),
                None => self.manager.remove(name).map(drop).map_err(|error| error.to_string()),
            };
            if let Err(error) = result {
                log::error!(target: name.as_str(), "channel {name}: its last good version is not put back: {error}");
            }
        }
    }

    fn remove(&self, name: &ChannelName) -> Result<Value, String> {
        let records = self.settings.records();
        super::manage::check_removable(self.settings, name)?;
        let staging =
            Staging::open(&directory_of(self.settings, name), &records).map_err(|error| error.to_string())?;
        // What needs room comes first: on a full disk the channel stays as it is.
        staging.prepare_removal(name).map_err(|error| error.to_string())?;
        let was_there = self.manager.remove(name).map_err(|error| error.to_string())?;
        staging.remove_prepared(name).map_err(|error| error.to_string())?;
        self.manager.forget_timers(name).map_err(|error| error.to_string())?;
        Ok(json!({"channel": name, "state": "removed", "running": was_there}))
    }

    fn disable(&self, name: &ChannelName) -> Result<Value, String> {
        super::manage::check_known(self.settings, name)?;
        let records = self.settings.records();
        records.change(name, |record| record.disabled = true).map_err(|error| error.to_string())?;
        let was_there = self.manager.remove(name).map_err(|error| error.to_string())?;
        Ok(json!({"channel": name, "state": "disabled", "running": was_there}))
    }

    fn enable(&self, name: &ChannelName) -> Result<Value, String> {
        super::manage::check_known(self.settings, name)?;
        let records = self.settings.records();
        records.change(name, |record| record.disabled = false).map_err(|error| error.to_string())?;
        if !self.is_running(name)? {
            self.start(name)?;
        }
        Ok(json!({"channel": name, "state": "enabled", "running": true}))
    }
}

fn installed_as(name: &ChannelName, running: &[&ChannelName]) -> Value {
    json!({"channel": name, "state": "installed", "running": running})
}

fn nothing_waits(name: &ChannelName) -> String {
    format!(
        "no package of channel {name} waits; when one was tried and could not start, the log of the host says why"
    )
}

fn not_found(settings: &Settings, name: &ChannelName) -> String {
    let places: Vec<String> =
        settings.channel_paths().iter().map(|path| path.display().to_string()).collect();
    let places = if places.is_empty() { "no directory".to_owned() } else { places.join(", ") };
    format!("there is no channel {name}; the running host looks in {places}")
}
