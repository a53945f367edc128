//! Loading the channels that are known at the start, beside each other and while HTTP is served.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::channel::{
    ChannelName, DiscoverError, DiscoveredChannel, LoadError, WasmChannel, WasmChannelLoader, no_channel_in,
};
use crate::model::subject::about_channel;
use crate::server::WasmChannelRouter;

use super::error::HostError;
use super::manager::ChannelManager;

/// What is called with each channel before it starts.
pub(super) type BeforeStart = Box<dyn Fn(&WasmChannel) + Send + Sync>;

/// What is to be loaded, in the order in which it was named.
#[derive(Default)]
pub(super) struct LoadPlan {
    found: Vec<DiscoveredChannel>,
    failed: Vec<LoadError>,
}

impl LoadPlan {
    /// Adds the channels at a path: a directory, or one guest.
    ///
    /// # Errors
    /// The path itself cannot be read, or is no channel.
    pub fn discover(&mut self, path: &Path) -> Result<(), DiscoverError> {
        let discovery = WasmChannelLoader::discover(path)?;
        discovery.warnings.iter().for_each(|warning| log::warn!("{warning}"));
        if discovery.channels.is_empty() && discovery.refused.is_empty() {
            log::warn!("{}", no_channel_in(path));
        }
        discovery.refused.into_iter().for_each(|error| self.refuse(error.into()));
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
        for found in std::mem::take(&mut self.found) {
            if names.insert(found.name.clone()) {
                routes.set_owner(&found.name, &loader.allowed_paths(&found));
                self.found.push(found);
            } else {
                let reason = format!("{} has the name of another channel; rename it", found.wasm.display());
                self.refuse(LoadError::Refused { channel: found.name, reason });
            }
        }
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
        loader.load_each(&self.found, &|index, result| {
            took(index, &self.found[index].name, result.and_then(&add));
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
