//! From files to channels that can be run.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value};
use wit_abi::abi_version::World;

use super::config::HOST_KEYS;
use super::discover::{ChannelFiles, DiscoveredChannel, Discovery, discover_channels};
use super::load_error::LoadError;
#[cfg(feature = "cli")]
use super::planned::stored_secret_name;
use super::planned::{PlannedChannel, mount_of};
use crate::capability::limits::{ChannelLimits, LimitCaps};
use crate::capability::{CapabilityError, CapabilityOverrides, ChannelCapabilitiesFile};
use crate::model::diagnostic::Diagnostic;
use crate::model::document::{is_comment, nearest};
use crate::model::name::ChannelName;
use crate::model::scoped_thread::spawn_scoped;
use crate::sandbox::{PREPARE_TIMEOUT, PreparedChannelModule, WasmChannelError, WasmChannelRuntime};

/// A channel that has been read and prepared, and is not running yet.
#[derive(Clone)]
pub struct WasmChannel {
    name: ChannelName,
    /// The name that its files have; another one than its own when it is one of several accounts.
    guest: ChannelName,
    module: Arc<PreparedChannelModule>,
    file: ChannelCapabilitiesFile,
    diagnostics: Vec<Diagnostic>,
}

impl WasmChannel {
    /// Prepares a channel from the bytes of its two files, as no operator changes it. Without a capability file it has no
    /// rights. With an operator's settings: [`WasmChannelLoader::load_bytes`].
    ///
    /// # Errors
    /// The guest is not one for this host, or its capability file is wrong; see [`LoadError`].
    pub fn from_bytes(
        runtime: &WasmChannelRuntime,
        name: ChannelName,
        wasm: &[u8],
        capabilities: Option<&[u8]>,
    ) -> Result<Self, LoadError> {
        WasmChannelLoader::new(runtime.clone()).load_bytes(name, wasm, capabilities)
    }

    /// The same channel with what the operator changes about its capability file.
    ///
    /// # Errors
    /// The changes are not acceptable.
    pub fn with_overrides(&self, overrides: &CapabilityOverrides) -> Result<Self, CapabilityError> {
        let file = self.file.overridden(&self.guest, &self.name, overrides)?;
        let mut diagnostics = file.inspect();
        diagnostics.extend(overrides.diagnostics());
        Ok(Self { file, diagnostics, ..self.clone() })
    }

    /// What about the operator's `config` this channel does not accept, or probably does not: values of another type than its file
    /// has, values that its file does not allow, keys that it does not declare.
    pub(crate) fn inspect_config(&self, config: &Map<String, Value>) -> Vec<Diagnostic> {
        let mut found = self.undeclared_keys(config);
        let refused = config.iter().filter_map(|(key, value)| {
            let expected = self.file.expected(key, value)?;
            let text = format!("channel {} does not accept this value", self.name);
            let place = format!("channel.{}.config.{key}", self.name);
            Some(Diagnostic::error("config-value", text).at(place).help(format!("give {expected}")))
        });
        found.extend(refused);
        found.sort_by_key(|found| found.severity);
        found
    }

    /// Keys of the operator's `config` that this channel does not declare, when its file declares keys.
    fn undeclared_keys(&self, config: &Map<String, Value>) -> Vec<Diagnostic> {
        let mapped = self.file.setup.iter().flat_map(|setup| &setup.secret_config_mappings);
        let mapped: Vec<&str> = mapped.map(|mapping| mapping.config_key.as_str()).collect();
        let declared = self.file.config.keys().map(String::as_str);
        let asked = self.file.setup.iter().flat_map(|setup| &setup.settings);
        let asked = asked.map(|setting| setting.name.as_str());
        let known: Vec<&str> = declared.chain(mapped).chain(asked).chain(HOST_KEYS.iter().copied()).collect();
        if self.file.config.is_empty() {
            return Vec::new();
        }
        let undeclared = config.keys().filter(|key| !known.contains(&key.as_str()) && !is_comment(key));
        undeclared.map(|key| self.undeclared_key(key, &known)).collect()
    }

    fn undeclared_key(&self, key: &str, known: &[&str]) -> Diagnostic {
        let name = &self.name;
        let text = format!("channel {name} does not declare this key");
        let finding =
            Diagnostic::warning("undeclared-config-key", text).at(format!("channel.{name}.config.{key}"));
        match nearest(key, known) {
            Some(nearest) => finding.help(format!("did you mean `{nearest}`?")),
            None => finding,
        }
    }

    /// The channel's name.
    #[must_use]
    pub fn name(&self) -> &ChannelName {
        &self.name
    }

    /// The name that its files have: its own, or that of the guest of which it is another account.
    #[must_use]
    pub fn guest_name(&self) -> &ChannelName {
        &self.guest
    }

    /// The name under which the operator stores what its files call `secret`.
    #[cfg(feature = "cli")]
    pub(crate) fn stored_secret_name(&self, secret: &str) -> String {
        stored_secret_name(&self.name, &self.guest, secret)
    }

    /// What is put before every path of its guest: nothing, or the name of an account.
    pub(crate) fn mount(&self) -> String {
        mount_of(&self.name, &self.guest)
    }

    /// Its guest.
    #[must_use]
    pub fn module(&self) -> &Arc<PreparedChannelModule> {
        &self.module
    }

    /// Its capability file.
    #[must_use]
    pub fn capabilities_file(&self) -> &ChannelCapabilitiesFile {
        &self.file
    }

    /// What is worth knowing about its capability file, although it is valid.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

/// Why a channel is refused whose capability file is. A tool has a file of its own kind: that it is a tool says more.
fn capability_error(
    runtime: &WasmChannelRuntime,
    name: &ChannelName,
    wasm: &[u8],
    source: CapabilityError,
) -> LoadError {
    match runtime.prepare(name.as_str(), wasm) {
        Err(error @ WasmChannelError::Tool { .. }) => error.into(),
        _ => LoadError::Capabilities { channel: name.clone(), source },
    }
}

impl fmt::Debug for WasmChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmChannel").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is asked before a channel is loaded.
pub(crate) trait LoadCheck: fmt::Debug + Send + Sync {
    /// Whether a channel with these files may be loaded.
    ///
    /// # Errors
    /// Why not, and what to do about it.
    fn check(&self, planned: &PlannedChannel, files: &ChannelFiles) -> Result<(), String>;

    /// Whether the operator does not want it to run.
    fn is_disabled(&self, channel: &ChannelName) -> bool;
}

/// What an operator decides about channels before their guests are prepared.
#[derive(Clone, Debug)]
pub struct LoadSettings {
    /// What is changed about capability files, by channel.
    pub overrides: BTreeMap<ChannelName, CapabilityOverrides>,
    /// Other accounts of guests: their names, and the names of their guests' files.
    pub accounts: BTreeMap<ChannelName, ChannelName>,
    /// What no channel gets more of.
    pub limit_caps: LimitCaps,
    /// How long preparing one guest may take; then it is refused, and others are not held up. Default 60 s, which is
    /// several times what the largest guest takes on a small board.
    pub prepare_timeout: Duration,
    /// What is asked before a channel is loaded; nothing without this.
    pub check: Option<Arc<dyn LoadCheck>>,
}

impl Default for LoadSettings {
    fn default() -> Self {
        Self {
            overrides: BTreeMap::new(),
            accounts: BTreeMap::new(),
            limit_caps: LimitCaps::default(),
            prepare_timeout: PREPARE_TIMEOUT,
            check: None,
        }
    }
}

/// Reads channels from files and prepares them with one runtime.
#[derive(Clone)]
pub struct WasmChannelLoader {
    runtime: WasmChannelRuntime,
    settings: LoadSettings,
}

impl WasmChannelLoader {
    /// A loader for this runtime.
    #[must_use]
    pub fn new(runtime: WasmChannelRuntime) -> Self {
        Self { runtime, settings: LoadSettings::default() }
    }

    /// The same loader with what an operator decides; a host's configuration has it
    /// ([`ManagerConfig::load_settings`](crate::ManagerConfig::load_settings)). A guest that needs more memory than usual
    /// loads only with the settings that give it.
    #[must_use]
    pub(crate) fn with_settings(self, settings: LoadSettings) -> Self {
        Self { settings, ..self }
    }

    /// The runtime that channels are prepared with.
    #[must_use]
    pub fn runtime(&self) -> &WasmChannelRuntime {
        &self.runtime
    }

    /// Loads every channel of a directory: `NAME.wasm` with `NAME.capabilities.json` beside it. A channel that cannot
    /// be loaded does not keep the others from it; the results say which and why.
    ///
    /// # Errors
    /// The directory itself cannot be read.
    pub fn load_from_dir(&self, dir: &Path) -> Result<LoadResults, LoadError> {
        let discovery = discover_channels(dir)?;
        let mut results = LoadResults { warnings: discovery.warnings, ..LoadResults::default() };
        if discovery.channels.is_empty() && discovery.refused.is_empty() {
            results.warnings.push(no_channel_in(dir));
        }
        results.failed.extend(discovery.refused);
        for result in self.load_all(&discovery.channels) {
            match result {
                Ok(channel) => results.loaded.push(channel),
                Err(error) => results.failed.push(error),
            }
        }
        Ok(results)
    }

    /// What an operator decides.
    pub(crate) fn settings(&self) -> &LoadSettings {
        &self.settings
    }

    fn load_all(&self, found: &[DiscoveredChannel]) -> Vec<Result<WasmChannel, LoadError>> {
        let found: Vec<PlannedChannel> = found.iter().cloned().map(PlannedChannel::found).collect();
        let in_order = Mutex::new(found.iter().map(|_| None).collect::<Vec<_>>());
        self.load_each(&found, &|index, result| {
            in_order.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result);
        });
        in_order.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect()
    }

    /// Loads channels on all processors, because preparing guests is nearly all of the time that a host takes to start.
    /// `take` gets each result as soon as it is there, with its place in `found`.
    pub(crate) fn load_each(
        &self,
        found: &[PlannedChannel],
        take: &(dyn Fn(usize, Result<WasmChannel, LoadError>) + Sync),
    ) {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(found.len());
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some((index, found)) = {
                let index = next.fetch_add(1, Ordering::Relaxed);
                found.get(index).map(|found| (index, found))
            } {
                take(index, self.load_planned(found));
            }
        };
        // Loading does not panic on any file; if it did, the panic would be the caller's to see.
        thread::scope(|scope| {
            // This thread loads whatever no other one takes, so one that cannot be started only takes time.
            (1..threads).for_each(|_| drop(spawn_scoped(scope, "tinclaw-load", work)));
            work();
        });
    }

    /// The channels at a path, a directory of channels or one `.wasm`, not yet read.
    ///
    /// # Errors
    /// There is nothing at the path, or it is no channel by its name.
    pub(crate) fn discover(path: &Path) -> Result<Discovery, LoadError> {
        if path.is_dir() {
            return discover_channels(path);
        }
        if !path.try_exists().unwrap_or(true) {
            return Err(LoadError::NotFound { path: path.to_owned() });
        }
        Ok(Discovery { channels: vec![DiscoveredChannel::at(path)?], ..Discovery::default() })
    }

    /// The paths that a channel's capability file allows. None when it is wrong, which loading the channel reports.
    pub(crate) fn allowed_paths(&self, found: &PlannedChannel) -> Vec<String> {
        let PlannedChannel { name, guest, .. } = found;
        let bytes = found.read_capabilities().ok();
        let file = bytes.and_then(|bytes| self.file(name, guest, bytes.as_deref()).ok());
        let section = file.and_then(|(file, _)| file.capabilities.channel);
        let paths = section.map(|section| section.allowed_paths).unwrap_or_default();
        let mount = mount_of(name, guest);
        paths.iter().map(|path| format!("{mount}{path}")).collect()
    }

    /// Loads one channel: a path to its `.wasm`.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load_file(&self, wasm: &Path) -> Result<WasmChannel, LoadError> {
        self.load_planned(&PlannedChannel::found(DiscoveredChannel::at(wasm)?))
    }

    /// Loads one channel under the name that is planned for it.
    pub(crate) fn load_planned(&self, found: &PlannedChannel) -> Result<WasmChannel, LoadError> {
        let files = found.read()?;
        if let Some(check) = &self.settings.check {
            check
                .check(found, &files)
                .map_err(|reason| LoadError::Refused { channel: found.name.clone(), reason })?;
        }
        self.prepare_files(found.name.clone(), found.guest.clone(), &files)
    }

    /// Prepares a channel from the bytes of its two files. Without a capability file it has no rights but those that the
    /// operator gives.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load_bytes(
        &self,
        name: ChannelName,
        wasm: &[u8],
        capabilities: Option<&[u8]>,
    ) -> Result<WasmChannel, LoadError> {
        let files = ChannelFiles { wasm: wasm.to_vec(), capabilities: capabilities.map(<[u8]>::to_vec) };
        self.prepare_files(name.clone(), name, &files)
    }

    /// Prepares a channel under a name from the bytes of its guest's files. Nothing is asked before.
    pub(crate) fn prepare_files(
        &self,
        name: ChannelName,
        guest: ChannelName,
        files: &ChannelFiles,
    ) -> Result<WasmChannel, LoadError> {
        let wasm = &files.wasm;
        let (file, mut changed) = self
            .file(&name, &guest, files.capabilities.as_deref())
            .map_err(|source| capability_error(&self.runtime, &name, wasm, source))?;
        let (limits, _) = ChannelLimits::resolve(&file.capabilities, &self.settings.limit_caps);
        let module = self.prepare(&name, wasm, limits)?;
        let mut diagnostics = file.inspect();
        diagnostics.append(&mut changed);
        Ok(WasmChannel { name, guest, module, file, diagnostics })
    }

    /// A channel's capability file with what the operator changes about it, and what is to be said of the changes.
    fn file(
        &self,
        name: &ChannelName,
        guest: &ChannelName,
        capabilities: Option<&[u8]>,
    ) -> Result<(ChannelCapabilitiesFile, Vec<Diagnostic>), CapabilityError> {
        let file = match capabilities {
            Some(bytes) => {
                ChannelCapabilitiesFile::parse(&format!("{guest}.capabilities.json"), guest, bytes)?
            }
            None => ChannelCapabilitiesFile::default(),
        };
        match self.settings.overrides.get(name) {
            Some(overrides) => Ok((file.overridden(guest, name, overrides)?, overrides.diagnostics())),
            None => Ok((file, Vec::new())),
        }
    }

    /// Prepares a guest in the time that one may take. One that takes longer is left to its thread, which ends by itself:
    /// what a guest may hold is bounded.
    fn prepare(
        &self,
        name: &ChannelName,
        wasm: &[u8],
        limits: ChannelLimits,
    ) -> Result<Arc<PreparedChannelModule>, WasmChannelError> {
        self.runtime.prepare_within(
            self.settings.prepare_timeout,
            World::Channel,
            name.as_str(),
            wasm,
            &limits,
        )
    }

    /// Loads every channel that `path` names: a directory of channels, or one `.wasm`.
    ///
    /// # Errors
    /// There is nothing at the path, or it is no channel by its name. A channel that cannot be loaded is in the results.
    pub fn load(&self, path: &Path) -> Result<LoadResults, LoadError> {
        if path.is_dir() {
            return self.load_from_dir(path);
        }
        let mut results = LoadResults::default();
        for result in self.load_all(&Self::discover(path)?.channels) {
            match result {
                Ok(channel) => results.loaded.push(channel),
                Err(error) => results.failed.push(error),
            }
        }
        Ok(results)
    }
}

/// What is said of a directory without channels.
pub(crate) fn no_channel_in(dir: &Path) -> Diagnostic {
    let text = format!(
        "there is no channel in {}: a channel is NAME.wasm with NAME.capabilities.json",
        dir.display()
    );
    Diagnostic::error("channel-files", text)
}

/// What became of the channels of a directory. Iterating gives those that were loaded.
#[derive(Debug, Default)]
pub struct LoadResults {
    /// Channels that can be run, in the order of their names.
    pub loaded: Vec<WasmChannel>,
    /// Channels that cannot, with the reason.
    pub failed: Vec<LoadError>,
    /// What is worth saying: a channel without a capability file, a capability file without a channel.
    pub warnings: Vec<Diagnostic>,
}

impl IntoIterator for LoadResults {
    type Item = WasmChannel;
    type IntoIter = std::vec::IntoIter<WasmChannel>;

    fn into_iter(self) -> Self::IntoIter {
        self.loaded.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{fixtures, temp_dir::TempDir};

    // An empty directory was taken without a word.
    #[test]
    fn a_directory_without_channels_is_a_warning_that_names_it() {
        let directory = TempDir::new();
        let loader = WasmChannelLoader::new(fixtures::runtime());
        let results = loader.load_from_dir(directory.path()).expect("it can be read");
        let warnings: Vec<String> = results.warnings.iter().map(ToString::to_string).collect();
        assert!(warnings[0].contains(&format!("there is no channel in {}", directory.path().display())));
        assert!(results.loaded.is_empty() && results.failed.is_empty());
    }
}
