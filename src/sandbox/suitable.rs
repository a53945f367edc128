//! Whether an engine, and the build that it is part of, can run guests safely.

use std::sync::{Arc, Mutex, PoisonError};

use wasmi::{Engine, Linker, Module, Store};

use super::error::WasmChannelError;

/// The probe, assembled from [`PROBE_TEXT`]; a test compares the two.
const PROBE: &[u8] =
    b"\0asm\x01\0\0\0\x01\x04\x01`\0\0\x02\x06\x01\0\x01p\0\0\x03\x03\x02\0\0\x05\x03\x01\0\0\x07\x09\x02\
    \x01f\0\x01\x01g\0\x02\x0a$\x02\x18\x01\x01\x7f\x10\0\x03@\x20\0A\x01j\"\0A\xe8\x07I\x0d\0\x0b\x10\0\x0b\
    \x09\x01\x01\x7f\x20\0@\0\x1a\x0b";
/// `f` calls the host, loops a thousand times, and calls the host again; `g` grows the memory by nothing.
#[cfg(test)]
const PROBE_TEXT: &str = r#"(module (import "" "p" (func)) (memory 0)
    (func (export "f") (local i32)
        call 0
        loop local.get 0 i32.const 1 i32.add local.tee 0 i32.const 1000 i32.lt_u br_if 0 end
        call 0)
    (func (export "g") (local i32) local.get 0 memory.grow drop))"#;
const PROBE_FUEL: u64 = 10_000_000;
/// What one `memory.grow` and one `table.grow` cost. They are the two instructions of wasmi 2.0 that do not end in a tail
/// call: each takes up to 176 bytes of native stack until its slice of fuel ends. At this price a slice of
/// [`MAX_SLICE_FUEL`](super::meter::MAX_SLICE_FUEL) units takes at most 700 KB, and a nested call of `cabi_realloc` as
/// much again, which a thread with the usual 2 MiB has room for.
pub(super) const GROW_FUEL: u8 = u8::MAX;
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
        // A first call that costs more has paid for its translation, in the middle of which no slice can be refilled.
        Some(Probe { first_call, second_call, .. }) if first_call != second_call => {
            unsuitable("translating a function costs fuel (wasmi::Config::fuel_cost must have zeros for it)")
        }
        Some(Probe { grow_cost, .. }) if grow_cost < GROW_FUEL.into() => {
            unsuitable("growing a memory costs too little fuel (wasmi::Config::operator_cost)")
        }
        Some(Probe { stack_growth, .. }) if stack_growth > STACK_TOLERANCE => unsuitable(
            "in this build of wasmi a guest's loop would overflow the native stack (build it without debug assertions \
             and with lto other than \"off\", or add the feature portable-dispatch of wasmi)",
        ),
        Some(_) => Ok(()),
    }
}

struct Probe {
    /// Units of fuel.
    first_call: u64,
    second_call: u64,
    grow_cost: u64,
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
    let mut call = |name| {
        let func = instance.get_typed_func::<(), ()>(&store, name)?;
        store.set_fuel(PROBE_FUEL)?;
        func.call(&mut store, ())?;
        Ok::<_, wasmi::Error>(PROBE_FUEL - store.get_fuel()?)
    };
    let (first_call, second_call, grow_cost) = (call("f")?, call("f")?, call("g")?);
    let depths = depths.lock().unwrap_or_else(PoisonError::into_inner);
    let stack_growth =
        depths.chunks_exact(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap_or(usize::MAX);
    Ok(Some(Probe { first_call, second_call, grow_cost, stack_growth }))
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
    use wasmi::{CompilationMode, Config, CustomFuelCosts, OperatorCost};

    use super::*;
    use crate::sandbox::WasmChannelRuntime;

    #[test]
    fn the_probe_is_what_its_text_says() {
        assert_eq!(wat::parse_str(PROBE_TEXT).unwrap(), PROBE);
    }

    #[test]
    fn an_engine_must_meter_fuel_charge_growth_and_translate_for_nothing() {
        let checked = |change: &dyn Fn(&mut Config)| {
            let mut config = WasmChannelRuntime::engine_config();
            change(&mut config);
            check(&Engine::new(&config)).map_err(|error| error.to_string())
        };
        assert_eq!(checked(&|_| {}), Ok(()));
        assert!(checked(&|c| _ = c.consume_fuel(false)).unwrap_err().contains("fuel metering"));
        let cheap = OperatorCost::default();
        assert!(checked(&|c| _ = c.operator_cost(cheap)).unwrap_err().contains("operator_cost"));
        assert_eq!(checked(&|c| _ = c.compilation_mode(CompilationMode::Eager)), Ok(()));
        let dear = |c: &mut Config| {
            c.fuel_cost(CustomFuelCosts {
                bytes_copied_per_fuel: 64,
                fuel_per_bytes_translated: 1,
                fuel_per_bytes_validated: 0,
            });
        };
        assert!(checked(&dear).unwrap_err().contains("translating a function costs fuel"));
    }
}
