//! The engine that all channels share, and the guests that it has prepared.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest::{SHA256, digest};
use wasmi::{CompilationMode, Config, CustomFuelCosts, Engine, OperatorCost};

use super::config::WasmChannelRuntimeConfig;
use super::error::WasmChannelError;
use super::prepared::PreparedChannelModule;
use super::suitable;
use super::tool_chain;
use super::trial;
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

/// SHA-256 of a guest's file.
pub(super) type Digest = [u8; 32];

/// Compiles guests and keeps what it compiled. Cloning shares everything.
///
/// The same bytes are prepared once, under whatever name they come. wasmi keeps translated code for as long as its
/// engine lives, so a prepared guest is kept too, and a guest that was replaced is not given back.
#[derive(Clone)]
pub struct WasmChannelRuntime(Arc<Shared>);

struct Shared {
    engine: Engine,
    config: WasmChannelRuntimeConfig,
    /// Taken while channels are loaded, never while they run.
    prepared: Mutex<HashMap<Digest, Arc<PreparedChannelModule>>>,
}

impl WasmChannelRuntime {
    /// A runtime with an engine of its own.
    ///
    /// # Errors
    /// [`WasmChannelError::UnsuitableEngine`]: this build of wasmi cannot run guests safely, see there.
    pub fn new(config: WasmChannelRuntimeConfig) -> Result<Self, WasmChannelError> {
        Self::with_engine(Engine::new(&Self::engine_config()), config)
    }

    /// A runtime on an engine that something else uses too, such as a tool runtime.
    /// [`engine_config`](Self::engine_config) has the settings that it needs.
    ///
    /// # Errors
    /// [`WasmChannelError::UnsuitableEngine`]: the engine lacks one of these settings. For instance, running out of fuel in
    /// the middle of a translation cannot be resumed, so slices would fail.
    pub fn with_engine(engine: Engine, config: WasmChannelRuntimeConfig) -> Result<Self, WasmChannelError> {
        suitable::check(&engine)?;
        Ok(Self(Arc::new(Shared { engine, config, prepared: Mutex::default() })))
    }

    /// The engine settings that channels need: fuel metering with a price for growing, bounded stacks, one memory per
    /// module, and no charge for translating a function.
    ///
    /// A guest is validated when it is prepared; each function is translated when it is first called, so those that are
    /// never called take neither time nor memory. Translation takes time in proportion to a function's size, once in the
    /// life of the engine, so it goes without fuel; a function that cannot be translated traps.
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

    /// The engine, to share it.
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
    /// The file is no guest of a known flavour, imports something that the host does not have, or is not valid.
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
        let limit = self.0.config.max_guest_bytes;
        if bytes.len() > limit {
            let reason = format!("the file has {} bytes, and at most {limit} are read", bytes.len());
            return Err(WasmChannelError::NotLoadable { channel: name.to_owned(), reason });
        }
        let digest = sha256(bytes);
        if let Some(known) = self.prepared().get(&digest) {
            known.check_fits(name, limits)?;
            return Ok(Arc::clone(known));
        }
        // Not under the lock: two threads that load the same file at once prepare it twice, and the first one counts.
        let fresh = PreparedChannelModule::new(&self.0.engine, name, bytes, digest)
            .map_err(|error| error.with_advice(|| tool_chain::advice(bytes)))?;
        let fresh = Arc::new(fresh);
        fresh.check_fits(name, limits)?;
        trial::instantiate(&fresh, name, *limits)?;
        Ok(Arc::clone(self.prepared().entry(digest).or_insert(fresh)))
    }

    fn prepared(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<PreparedChannelModule>>> {
        // Entries are added whole, so a poisoned map is as good as another.
        self.0.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for WasmChannelRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmChannelRuntime")
            .field("config", &self.0.config)
            .field("prepared", &self.prepared().len())
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
