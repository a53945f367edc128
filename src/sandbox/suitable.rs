//! Whether an engine, and the build that it is part of, can run guests safely.

use std::sync::{Arc, Mutex, PoisonError};

use wasmi::{Engine, Linker, Module, Store};

use super::error::WasmChannelError;

/// The probe, assembled from [`PROBE_TEXT`]; a test compares the two.
const PROBE: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x06\x01\0\x01p\0\0\x03\x02\x01\0\
    \x07\x05\x01\x01f\0\x01\x0a\x1a\x01\x18\x01\x01\x7f\x10\0\x03\x40\x20\0\x41\x01\x6a\x22\0\x41\xe8\x07\x49\x0d\0\x0b\
    \x10\0\x0b";
/// Calls the host, loops a thousand times, calls the host again.
#[cfg(test)]
const PROBE_TEXT: &str = r#"(module (import "" "p" (func)) (func (export "f") (local i32)
    call 0
    loop local.get 0 i32.const 1 i32.add local.tee 0 i32.const 1000 i32.lt_u br_if 0 end
    call 0))"#;
const PROBE_FUEL: u64 = 10_000_000;
/// Bytes of native stack by which the two calls may differ. A loop that grows the stack grows it by at least 8 bytes
/// in each of its thousand iterations.
const STACK_TOLERANCE: usize = 4_000;

/// Checks what wasmi does not tell: a small guest is run and watched.
///
/// # Errors
/// [`WasmChannelError::UnsuitableEngine`] says which setting is wrong.
pub(super) fn check(engine: &Engine) -> Result<(), WasmChannelError> {
    let unsuitable = |reason: &str| Err(WasmChannelError::UnsuitableEngine { reason: reason.to_owned() });
    let run = match probe(engine) {
        Ok(run) => run,
        Err(error) => return unsuitable(&format!("it cannot run a simple function: {error}")),
    };
    match run {
        None => unsuitable("fuel metering is off (wasmi::Config::consume_fuel)"),
        // Translating lazily is charged to the first call.
        Some(Probe { first_call, second_call, .. }) if first_call != second_call => {
            unsuitable("it translates lazily (wasmi::Config::compilation_mode must be Eager)")
        }
        Some(Probe { stack_growth, .. }) if stack_growth > STACK_TOLERANCE => unsuitable(
            "wasmi was built with optimisation and debug assertions: a guest's loop would overflow the native stack \
             (set debug-assertions = false and overflow-checks = false in [profile.dev.package.wasmi])",
        ),
        Some(_) => Ok(()),
    }
}

struct Probe {
    /// Units of fuel.
    first_call: u64,
    second_call: u64,
    /// Bytes between the stack before and after the loop.
    stack_growth: usize,
}

/// None when the engine does not meter fuel.
fn probe(engine: &Engine) -> Result<Option<Probe>, wasmi::Error> {
    let mut store = Store::new(engine, ());
    if store.set_fuel(PROBE_FUEL).is_err() {
        return Ok(None);
    }
    let depths = Arc::new(Mutex::new(Vec::new()));
    let mut linker = Linker::new(engine);
    let noted = Arc::clone(&depths);
    linker.func_wrap("", "p", move || note_depth(&noted))?;
    let module = Module::new(engine, PROBE)?;
    let instance = linker.instantiate_and_start(&mut store, &module)?;
    let func = instance.get_typed_func::<(), ()>(&store, "f")?;
    let mut call = || {
        store.set_fuel(PROBE_FUEL)?;
        func.call(&mut store, ())?;
        Ok::<_, wasmi::Error>(PROBE_FUEL - store.get_fuel()?)
    };
    let (first_call, second_call) = (call()?, call()?);
    let depths = depths.lock().unwrap_or_else(PoisonError::into_inner);
    let stack_growth =
        depths.chunks_exact(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap_or(usize::MAX);
    Ok(Some(Probe { first_call, second_call, stack_growth }))
}

/// Writes down where the native stack stands: the address of a local, only as a number.
#[inline(never)]
fn note_depth(depths: &Mutex<Vec<usize>>) {
    let here = 0_u8;
    let address = std::ptr::from_ref(std::hint::black_box(&here)).addr();
    depths.lock().unwrap_or_else(PoisonError::into_inner).push(address);
}

#[cfg(test)]
mod tests {
    use super::*;

    use wasmi::{CompilationMode, Config};

    use crate::sandbox::WasmChannelRuntime;

    #[test]
    fn the_probe_is_what_its_text_says() {
        assert_eq!(wat::parse_str(PROBE_TEXT).unwrap(), PROBE);
    }

    #[test]
    fn an_engine_must_meter_fuel_and_translate_eagerly() {
        let checked = |change: &dyn Fn(&mut Config)| {
            let mut config = WasmChannelRuntime::engine_config();
            change(&mut config);
            check(&Engine::new(&config)).map_err(|error| error.to_string())
        };
        assert_eq!(checked(&|_| {}), Ok(()));
        assert!(checked(&|c| _ = c.consume_fuel(false)).unwrap_err().contains("fuel metering"));
        for lazy in [CompilationMode::Lazy, CompilationMode::LazyTranslation] {
            assert!(checked(&|c| _ = c.compilation_mode(lazy)).unwrap_err().contains("lazily"), "{lazy:?}");
        }
    }
}
