//! Changes of the host that this process runs, with the configuration as it is at that moment.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::access_log_queue::AccessLog;
use super::args::{Common, RunArgs};
use super::changed_files::FileDigests;
use super::config::Settings;
use super::supervisor::Supervisor;
use crate::admin::{ChangeError, HostChange, HostChanges};
use crate::agent::OpenAiAgent;
use crate::channel::ChannelName;
use crate::{ChannelManager, WasmChannelLoader};

/// Changes the running host. What it does is in `change::host`.
pub struct ChannelStarter {
    /// The options that the host was started with, and its state directory.
    pub(super) common: Common,
    pub(super) options: RunArgs,
    pub(super) loader: WasmChannelLoader,
    /// What the host runs with. A lock, because requests and signals change it; held while the configuration is reloaded.
    pub(super) config: Mutex<HeldConfig>,
    /// The file that was read last. Behind a lock of its own, because every change reads it; held for a look only.
    pub(super) file: Mutex<HeldFile>,
    /// What the last reload found to need a restart. Behind a lock of its own, because a reload may take long; held for a look only.
    pub(super) restart_for: Mutex<Vec<String>>,
    /// Files of channels as they were read last.
    pub(super) digests: FileDigests,
    /// Who wants to know when the configuration is reloaded.
    pub(super) supervisor: Option<Arc<Supervisor>>,
    /// Where requests are noted, when they are.
    pub(super) access_log: Option<AccessLog>,
    /// The agent, when it is a language model: its settings may change.
    pub(super) model: Option<Arc<OpenAiAgent>>,
}

/// The configuration that a host runs with.
pub struct HeldConfig {
    /// The one it was started with, whose fields hold that need a restart.
    pub(super) started: Value,
    /// The one that was read last, for all other fields.
    pub(super) live: Value,
    /// Channels that could not be made as it says. They are tried again.
    pub(super) failed: BTreeSet<ChannelName>,
}

/// The file that a configuration was read from.
#[derive(Clone)]
pub struct HeldFile {
    /// None when there was none.
    pub(super) path: Option<PathBuf>,
    /// It had nothing in it.
    pub(super) is_blank: bool,
}

impl HeldFile {
    fn of(settings: &Settings) -> Self {
        Self { path: settings.path.clone(), is_blank: settings.is_blank }
    }
}

impl ChannelStarter {
    /// For the host that was started with these options; `settings` are what they came to.
    pub fn new(common: &Common, options: &RunArgs, settings: &Settings, loader: WasmChannelLoader) -> Self {
        let document = &settings.document;
        let held = HeldConfig { started: document.clone(), live: document.clone(), failed: BTreeSet::new() };
        Self {
            // A host has one state directory from its start to its end.
            common: Common { state_dir: Some(settings.state_dir.clone()), ..common.clone() },
            options: options.clone(),
            loader,
            config: Mutex::new(held),
            file: Mutex::new(HeldFile::of(settings)),
            restart_for: Mutex::default(),
            digests: FileDigests::default(),
            supervisor: None,
            access_log: None,
            model: None,
        }
    }

    /// The configuration as it is now. A file that was there must be there still: without it a host would run with the defaults, and
    /// no channels.
    ///
    /// # Errors
    /// It cannot be read, or there is nothing in it any more.
    pub(super) fn settings(&self) -> Result<Settings, String> {
        let held = self.file.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let common =
            Common { config: held.path.or_else(|| self.common.config.clone()), ..self.common.clone() };
        if let Some(path) = common.config.as_ref().filter(|path| path.exists() && !path.is_file()) {
            return Err(format!(
                "the configuration {} is not an ordinary file, so it cannot be reloaded",
                path.display()
            ));
        }
        let settings =
            Settings::load_for_run(&common, self.options.clone()).map_err(|error| error.to_string())?;
        if settings.is_blank && !held.is_blank {
            let path = settings.path.as_deref().unwrap_or(std::path::Path::new("")).display();
            return Err(format!(
                "the configuration {path} is empty, as it is while it is being written; a comment in it says that it is meant"
            ));
        }
        Ok(settings)
    }

    /// Whether there is the channel that a change is about, with a file or in the host. True when that cannot be found out.
    fn knows(&self, manager: &ChannelManager, change: &HostChange) -> bool {
        let name = change.channel().and_then(|name| ChannelName::new(name).ok());
        let (Some(name), Ok(settings), Ok(health)) = (name, self.settings(), manager.health()) else {
            return true;
        };
        settings.planned(&name).is_some() || health.channels.iter().any(|channel| channel.name == name)
    }

    /// From now on this file must be there.
    pub(super) fn hold_file(&self, settings: &Settings) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = HeldFile::of(settings);
    }
}

impl HostChanges for Arc<ChannelStarter> {
    fn change(&self, manager: &ChannelManager, change: &HostChange) -> Result<Value, ChangeError> {
        ChannelStarter::change(self, manager, change).map_err(|text| match self.knows(manager, change) {
            true => ChangeError::Failed(text),
            false => ChangeError::UnknownChannel(text),
        })
    }

    fn held(&self, manager: &ChannelManager) -> Value {
        ChannelStarter::held(self, manager)
    }

    fn restart_for(&self) -> Vec<String> {
        self.restart_for.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
