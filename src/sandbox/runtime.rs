//! The engine that all channels share, and the guests that it has prepared.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use ring::digest::{SHA256, digest};
use wasmi::{CompilationMode, Config, CustomFuelCosts, Engine, OperatorCost};
use wit_abi::abi_version::World;

use super::error::WasmChannelError;
use super::prepared::PreparedChannelModule;
use super::{instance, suitable, tool_chain};
use crate::capability::limits::ChannelLimits;

/// How deep guest functions may call each other. wasmi's own limit of 1,000 is met by honest parsers; what bounds the
/// memory of a call stack is [`MAX_VALUE_STACK_BYTES`].
const MAX_CALL_DEPTH: usize = 10_000;
/// Bytes of locals and operands of all active calls.
const MAX_VALUE_STACK_BYTES: usize = 1024 * 1024;
/// Bytes that one unit of fuel copies or clears: wasmi's own value.
const BYTES_COPIED_PER_FUEL: u32 = 64;
/// Call stacks that are kept for the next callback.
const MAX_CACHED_STACKS: usize = 8;
/// The same where each guest has its own engine: most have one callback at a time.
const MAX_CACHED_STACKS_OF_A_GUEST: usize = 1;

/// Bytes of code of a guest whose functions are translated when they are first called. Nobody looks at the clock or the stop
/// flag meanwhile, so one callback that calls every function once is late by what all of them take: a fifth of a second
/// on a desktop computer, a second on a small board.
const MAX_LAZY_CODE_BYTES: u64 = 2 * 1024 * 1024;

/// Bytes of a guest's file that are read at most.
pub const DEFAULT_MAX_GUEST_BYTES: usize = 16 * 1024 * 1024;

/// The settings of a [`WasmChannelRuntime`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WasmChannelRuntimeConfig {
    /// What a callback may use, unless its channel's capability file says otherwise.
    pub limits: ChannelLimits,
    /// Bytes of a guest's file. Default 16 MiB; a larger one is refused.
    pub max_guest_bytes: usize,
}

impl Default for WasmChannelRuntimeConfig {
    /// 500,000,000 units of fuel, 30 s and 50 MiB of memory per callback.
    fn default() -> Self {
        Self { limits: ChannelLimits::default(), max_guest_bytes: DEFAULT_MAX_GUEST_BYTES }
    }
}

impl WasmChannelRuntimeConfig {
    /// A small and quick configuration: see [`ChannelLimits::for_testing`].
    #[must_use]
    pub fn for_testing() -> Self {
        Self { limits: ChannelLimits::for_testing(), ..Self::default() }
    }
}

/// SHA-256 of a guest's file.
pub(super) type Digest = [u8; 32];

/// Compiles guests and keeps what it compiled. Cloning shares everything.
///
/// The same bytes are prepared once, under whatever name they come. wasmi frees translated code with its engine and not
/// before, so each guest has an engine of its own, and both go when nobody uses the guest any more. Guests on an engine that
/// the caller shares stay for as long as the runtime.
#[derive(Clone)]
pub struct WasmChannelRuntime(Arc<RuntimeInner>);

struct RuntimeInner {
    engine: Engine,
    /// Whether `engine` belongs to somebody else too, so that guests are prepared with it; else each has its own.
    is_shared: bool,
    config: WasmChannelRuntimeConfig,
    /// Taken while channels are loaded, never while they run.
    prepared: Mutex<Prepared>,
    /// Set once when the host is stopped by a signal, never cleared: nobody waits for a guest that is prepared then.
    stops: OnceLock<Arc<AtomicBool>>,
}

/// The guests that are prepared.
#[derive(Default)]
struct Prepared {
    known: HashMap<(World, Digest), Weak<PreparedChannelModule>>,
    /// Those whose code the shared engine keeps anyway: preparing one again would keep it twice.
    pinned: Vec<Arc<PreparedChannelModule>>,
}

impl WasmChannelRuntime {
    /// A runtime with an engine of its own.
    ///
    /// # Errors
    /// [`WasmChannelError::UnsuitableEngine`]: this build of wasmi cannot run guests safely, see there.
    pub fn new(config: WasmChannelRuntimeConfig) -> Result<Self, WasmChannelError> {
        Self::on(Engine::new(&Self::engine_config()), false, config)
    }

    /// A runtime on an engine that something else uses too, such as a tool runtime.
    /// [`engine_config`](Self::engine_config) has the settings that it needs.
    ///
    /// # Errors
    /// [`WasmChannelError::UnsuitableEngine`]: the engine lacks one of these settings. For instance, running out of fuel in
    /// the middle of a translation cannot be resumed, so slices would fail.
    pub fn with_engine(engine: Engine, config: WasmChannelRuntimeConfig) -> Result<Self, WasmChannelError> {
        Self::on(engine, true, config)
    }

    fn on(
        engine: Engine,
        is_shared: bool,
        config: WasmChannelRuntimeConfig,
    ) -> Result<Self, WasmChannelError> {
        suitable::check(&engine)?;
        Ok(Self(Arc::new(RuntimeInner {
            engine,
            is_shared,
            config,
            prepared: Mutex::default(),
            stops: OnceLock::new(),
        })))
    }

    /// When this flag is set, guests that are being prepared are not waited for. The first one counts.
    #[cfg(feature = "cli")]
    pub(crate) fn stop_preparing_by(&self, flag: Arc<AtomicBool>) {
        // A second one would be of another host that shares the engine, which ends with the process as well.
        let _ = self.0.stops.set(flag);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.0.stops.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// The engine for a guest with so many bytes of code.
    fn engine_for_guest(&self, code_bytes: u64) -> Engine {
        let is_translated_now = code_bytes > MAX_LAZY_CODE_BYTES;
        if self.0.is_shared && !is_translated_now {
            return self.0.engine.clone();
        }
        let mut config = Self::engine_config();
        config.set_max_cached_stacks(MAX_CACHED_STACKS_OF_A_GUEST);
        if is_translated_now {
            config.compilation_mode(CompilationMode::Eager);
        }
        Engine::new(&config)
    }

    /// The engine settings that channels need: fuel metering with a price for growing, bounded stacks, one memory per
    /// module, and no charge for translating a function.
    ///
    /// A guest is validated when it is prepared; each function is translated when it is first called, so those that are
    /// never called take neither time nor memory. Translation takes time in proportion to a function's size, once in the
    /// life of the engine, so it goes without fuel; a function that cannot be translated traps. A guest with more than
    /// 2 MiB of code gets an engine of its own, whatever this runtime was made with, and is translated whole when it is
    /// prepared.
    ///
    /// SIMD is not compiled in: the interpreter gains nothing from it, and it costs a third more program.
    #[must_use]
    pub fn engine_config() -> Config {
        let cost = OperatorCost {
            memory_grow: suitable::GROW_FUEL,
            table_grow: suitable::GROW_FUEL,
            ..OperatorCost::default()
        };
        let translation = CustomFuelCosts {
            bytes_copied_per_fuel: BYTES_COPIED_PER_FUEL,
            fuel_per_bytes_translated: 0,
            fuel_per_bytes_validated: 0,
        };
        let mut config = Config::default();
        config
            .operator_cost(cost)
            .fuel_cost(translation)
            .consume_fuel(true)
            .compilation_mode(CompilationMode::LazyTranslation)
            .ignore_custom_sections(true)
            .wasm_multi_memory(false)
            .set_max_recursion_depth(MAX_CALL_DEPTH)
            .set_max_stack_height(MAX_VALUE_STACK_BYTES)
            .set_max_cached_stacks(MAX_CACHED_STACKS);
        config
    }

    /// An engine with the settings that channels need: the one that this runtime was made with, to share it.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The settings that this runtime was made with.
    #[must_use]
    pub fn config(&self) -> &WasmChannelRuntimeConfig {
        &self.0.config
    }

    /// Reads, checks, links and translates a guest: everything that is the same for each of its callbacks. `name` is
    /// only for messages. Its initial state must fit [`WasmChannelRuntimeConfig::limits`].
    ///
    /// # Errors
    /// The file is no guest of a known ABI version, imports something that the host does not have, or is not valid.
    pub fn prepare(&self, name: &str, bytes: &[u8]) -> Result<Arc<PreparedChannelModule>, WasmChannelError> {
        self.prepare_for(name, bytes, &self.0.config.limits)
    }

    /// The same for a channel with limits of its own.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub fn prepare_for(
        &self,
        name: &str,
        bytes: &[u8],
        limits: &ChannelLimits,
    ) -> Result<Arc<PreparedChannelModule>, WasmChannelError> {
        self.prepare_guest(World::Channel, name, bytes, limits)
    }

    /// The same for a guest of either world.
    pub(crate) fn prepare_guest(
        &self,
        world: World,
        name: &str,
        bytes: &[u8],
        limits: &ChannelLimits,
    ) -> Result<Arc<PreparedChannelModule>, WasmChannelError> {
        let limit = self.0.config.max_guest_bytes;
        if bytes.len() > limit {
            let reason = format!("the file has {} bytes, and at most {limit} are read", bytes.len());
            return Err(WasmChannelError::NotLoadable { channel: name.to_owned(), reason });
        }
        let digest = sha256(bytes);
        let known = self.prepared().known.get(&(world, digest)).and_then(Weak::upgrade);
        if let Some(known) = known {
            known.check_fits(name, limits)?;
            return Ok(known);
        }
        // Not under the lock: two threads that load the same file at once prepare it twice, and the first one counts.
        let engine = |code_bytes| self.engine_for_guest(code_bytes);
        let fresh = PreparedChannelModule::new(engine, world, name, bytes, digest)
            .map_err(|error| error.with_advice(|| tool_chain::advice(bytes)))?;
        let fresh = Arc::new(fresh);
        fresh.check_fits(name, limits)?;
        instance::check_instantiation(&fresh, name, *limits)?;
        Ok(self.keep((world, digest), fresh))
    }

    fn keep(&self, key: (World, Digest), fresh: Arc<PreparedChannelModule>) -> Arc<PreparedChannelModule> {
        let mut prepared = self.prepared();
        if let Some(first) = prepared.known.get(&key).and_then(Weak::upgrade) {
            return first;
        }
        prepared.known.retain(|_, known| known.strong_count() > 0);
        prepared.known.insert(key, Arc::downgrade(&fresh));
        if self.0.is_shared && Engine::same(fresh.module.engine(), &self.0.engine) {
            prepared.pinned.push(Arc::clone(&fresh));
        }
        fresh
    }

    fn prepared(&self) -> std::sync::MutexGuard<'_, Prepared> {
        // Entries are added whole, so a poisoned map is as good as another.
        self.0.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for WasmChannelRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmChannelRuntime")
            .field("config", &self.0.config)
            .field("prepared", &self.prepared().known.len())
            .finish_non_exhaustive()
    }
}

fn sha256(bytes: &[u8]) -> Digest {
    let mut value = Digest::default();
    value.copy_from_slice(digest(&SHA256, bytes).as_ref());
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest() -> Vec<u8> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/echo.wasm");
        std::fs::read(path).expect("the fixture")
    }

    // What happened: a wasmi engine keeps the code of every module for as long as it lives, so a guest that was removed or
    // replaced stayed in memory until the process ended.
    #[test]
    fn dropping_a_prepared_guest_frees_its_code() {
        let runtime = WasmChannelRuntime::new(WasmChannelRuntimeConfig::default()).unwrap();
        let first = runtime.prepare("chan", &guest()).unwrap();
        let again = runtime.prepare("other", &guest()).unwrap();
        assert!(Arc::ptr_eq(&first, &again), "the same bytes are prepared once");
        let engine = first.module.engine().weak();
        drop(first);
        assert!(engine.upgrade().is_some());
        drop(again);
        assert!(engine.upgrade().is_none(), "its engine, and all code in it, is gone");
        assert!(runtime.prepare("chan", &guest()).is_ok());
        assert_eq!(runtime.prepared().known.len(), 1);
    }

    #[test]
    fn guests_on_a_shared_engine_use_it_and_are_prepared_once() {
        let engine = Engine::new(&WasmChannelRuntime::engine_config());
        let runtime =
            WasmChannelRuntime::with_engine(engine.clone(), WasmChannelRuntimeConfig::default()).unwrap();
        let first = runtime.prepare("chan", &guest()).unwrap();
        assert!(Engine::same(first.module.engine(), &engine));
        let address = Arc::as_ptr(&first);
        drop(first);
        assert_eq!(Arc::as_ptr(&runtime.prepare("chan", &guest()).unwrap()), address);
    }

    #[test]
    fn a_guest_with_more_code_than_may_be_lazy_gets_an_engine_that_translates_at_once() {
        let engine = Engine::new(&WasmChannelRuntime::engine_config());
        let runtime =
            WasmChannelRuntime::with_engine(engine.clone(), WasmChannelRuntimeConfig::default()).unwrap();
        assert!(Engine::same(&runtime.engine_for_guest(MAX_LAZY_CODE_BYTES), &engine));
        assert!(!Engine::same(&runtime.engine_for_guest(MAX_LAZY_CODE_BYTES + 1), &engine));
    }

    #[test]
    fn a_file_over_the_limit_is_not_read() {
        let config =
            WasmChannelRuntimeConfig { max_guest_bytes: 10, ..WasmChannelRuntimeConfig::for_testing() };
        let runtime = WasmChannelRuntime::new(config).unwrap();
        let reason = |bytes: &[u8]| match runtime.prepare("chan", bytes) {
            Err(WasmChannelError::NotLoadable { reason, .. }) => reason,
            other => panic!("{other:?}"),
        };
        assert!(reason(&[0; 11]).contains("at most 10"));
        assert!(!reason(&[0; 10]).contains("at most 10"));
    }
}
