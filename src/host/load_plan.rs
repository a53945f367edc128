//! Loading the channels that are known at the start, beside each other and while HTTP is served; and what was durable for
//! channels before they are added.
//!
//! That is read once, when the host starts, and given out as channels are added. What nobody has asked for by then is
//! forgotten: a channel whose files were removed costs no memory. One that is added later is read by itself.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::HostError;
use super::manager::ChannelManager;
use crate::channel::{
    ChannelName, DiscoveredChannel, LoadError, PlannedChannel, WasmChannel, WasmChannelLoader, no_channel_in,
};
use crate::model::clock::steady_ms;
use crate::model::subject::about_channel;
use crate::server::WasmChannelRouter;
use crate::store::{ChannelKey, LoadedChannel, StateError, StoreHandle};

/// What is called with each channel before it starts.
pub(super) type BeforeStart = Box<dyn Fn(&WasmChannel) + Send + Sync>;

/// What is to be loaded, in the order in which it was named.
#[derive(Default)]
pub(super) struct LoadPlan {
    found: Vec<DiscoveredChannel>,
    /// What is loaded of it, and other accounts, once the paths are claimed.
    planned: Vec<PlannedChannel>,
    failed: Vec<LoadError>,
}

impl LoadPlan {
    /// Adds the channels at a path: a directory, or one guest.
    ///
    /// # Errors
    /// The path itself cannot be read, or is no channel.
    pub fn discover(&mut self, path: &Path) -> Result<(), LoadError> {
        let discovery = WasmChannelLoader::discover(path)?;
        discovery.warnings.iter().for_each(|warning| log::warn!("{warning}"));
        if discovery.channels.is_empty() && discovery.refused.is_empty() {
            log::warn!("{}", no_channel_in(path));
        }
        discovery.refused.into_iter().for_each(|error| self.refuse(error));
        self.found.extend(discovery.channels);
        Ok(())
    }

    /// Makes every channel the owner of its paths, in the order in which channels were named: `loaded` come first. Of several
    /// channels with one name, the first stays.
    pub fn claim_paths(
        &mut self,
        loaded: &[WasmChannel],
        loader: &WasmChannelLoader,
        routes: &WasmChannelRouter,
    ) {
        let mut names: HashSet<ChannelName> = HashSet::new();
        for channel in loaded {
            names.insert(channel.name().clone());
            let section = channel.capabilities_file().capabilities.channel.as_ref();
            routes.set_owner(
                channel.name(),
                section.map(|section| &*section.allowed_paths).unwrap_or_default(),
            );
        }
        let accounts = self.accounts(loader);
        let found = std::mem::take(&mut self.found).into_iter().map(PlannedChannel::found);
        for planned in found.chain(accounts).collect::<Vec<_>>() {
            let check = loader.settings().check.as_ref();
            if check.is_some_and(|check| check.is_disabled(&planned.name)) {
                let name = planned.name.as_str();
                log::info!(target: name, "channel {name} is disabled; `tinclaw enable {name}` lets it run");
            } else if names.insert(planned.name.clone()) {
                routes.set_owner(&planned.name, &loader.allowed_paths(&planned));
                self.planned.push(planned);
            } else {
                self.refuse(LoadError::second_of_name(&planned.name, &planned.place()));
            }
        }
    }

    /// The other accounts of guests that the operator has.
    fn accounts(&mut self, loader: &WasmChannelLoader) -> Vec<PlannedChannel> {
        let mut planned = Vec::new();
        for (name, guest) in &loader.settings().accounts {
            match PlannedChannel::account(name, guest, &self.found) {
                Some(account) => planned.push(account),
                None => self.refuse(LoadError::no_guest(name, guest)),
            }
        }
        planned
    }

    /// Loads everything and adds each channel as soon as it is ready; returns what could not be loaded.
    pub fn load(
        mut self,
        loaded: Vec<WasmChannel>,
        loader: &WasmChannelLoader,
        manager: &ChannelManager,
        before_start: Option<BeforeStart>,
    ) -> Vec<LoadError> {
        let add = |channel: WasmChannel| {
            if let Some(before_start) = &before_start {
                before_start(&channel);
            }
            let name = channel.name().clone();
            let refused = |error: HostError| LoadError::Refused { channel: name, reason: error.to_string() };
            manager.add(Box::new(channel)).map_err(refused)
        };
        let failed = Mutex::new(Vec::new());
        let took = |index: usize, name: &ChannelName, result: Result<(), LoadError>| {
            let Err(error) = result else { return };
            if !manager.has(name) {
                manager.routes().remove(name);
            }
            failed.lock().unwrap_or_else(PoisonError::into_inner).push((index, error));
        };
        for channel in loaded {
            took(0, &channel.name().clone(), add(channel));
        }
        loader.load_each(&self.planned, &|index, result| {
            took(index, &self.planned[index].name, result.and_then(&add));
        });
        manager.routes().loading_is_over();
        let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        failed.sort_by_key(|(index, _)| *index);
        failed.into_iter().for_each(|(_, error)| self.refuse(error));
        self.failed
    }

    fn refuse(&mut self, error: LoadError) {
        match &error {
            LoadError::Refused { channel, reason } => {
                log::error!(target: channel.as_str(), "{}", about_channel(channel.as_str(), reason));
            }
            error => log::error!("{error}"),
        }
        self.failed.push(error);
    }
}

/// What was durable when the host started, until [`StoredChannels::forget`].
pub(super) struct StoredChannels {
    /// Behind a lock, because any thread may add a channel; held for a look-up only.
    loaded: Mutex<Option<BTreeMap<ChannelKey, LoadedChannel>>>,
}

impl StoredChannels {
    /// What was loaded of all channels.
    pub fn new(loaded: BTreeMap<ChannelKey, LoadedChannel>) -> Self {
        Self { loaded: Mutex::new(Some(loaded)) }
    }

    /// The state of a channel that is about to be added.
    ///
    /// # Errors
    /// It must be read, and the store is not available.
    pub fn take(&self, channel: &ChannelKey, store: &StoreHandle) -> Result<LoadedChannel, StateError> {
        if let Some(loaded) = &mut *self.lock() {
            return Ok(loaded.remove(channel).unwrap_or_default());
        }
        let channel = channel.clone();
        let loaded = store.query(move |engine| engine.load_channel(&channel, steady_ms()))?;
        store.ids().raise(loaded.ids_after);
        Ok(loaded)
    }

    /// Forgets what is left. Also called when something of it has changed.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<BTreeMap<ChannelKey, LoadedChannel>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
