//! The parts of WASI that guests import because their standard library does.
//!
//! Given are clocks, randomness, and standard output and error as log lines; environment, arguments and preopened
//! directories are empty, standard input is at its end. What exists in WASI 0.1 or 0.2 but is not given traps with
//! its name when it is called. Nothing here reaches the host's files, network or processes.

mod clock;
mod output;
mod preview1;
mod preview2;
mod resources;

use std::sync::Arc;

use wit_abi::canonical::{CoreFuncType, CoreType, CoreValue};

use super::error::Halt;
use super::state::Guest;

pub(super) use clock::{monotonic_nanos, wall};

pub(super) use output::flush;

/// What one instance has of WASI.
#[derive(Debug, Default)]
pub(super) struct WasiState {
    resources: resources::Resources,
    stdout: output::LineBuffer,
    stderr: output::LineBuffer,
}

/// A WASI function that is given.
#[derive(Clone, Copy)]
pub(super) struct WasiFunc {
    /// Core parameters, one letter each: `i` for i32 and `I` for i64.
    params: &'static str,
    /// The same for the result; empty for none.
    result: &'static str,
    run: fn(&mut Guest<'_>, &Args<'_>) -> WasiOutcome,
}

/// What a WASI function returns, or why the callback ends.
type WasiOutcome = Result<Option<CoreValue>, Halt>;

impl WasiFunc {
    pub(super) fn core_type(&self) -> CoreFuncType {
        let types = |letters: &str| letters.chars().map(core_type).collect::<Vec<_>>();
        CoreFuncType::new(types(self.params), types(self.result))
    }

    pub(super) fn call(&self, guest: &mut Guest<'_>, args: &[CoreValue]) -> WasiOutcome {
        (self.run)(guest, &Args(args))
    }
}

fn core_type(letter: char) -> CoreType {
    match letter {
        'I' => CoreType::I64,
        _ => CoreType::I32,
    }
}

/// What the host has for an import of this name.
#[derive(Clone, Copy)]
pub(super) enum Wasi {
    /// A function of this type.
    Given(WasiFunc),
    /// It exists in WASI, and calling it traps.
    NotGiven,
}

/// Finds a WASI import; none when WASI has no such thing.
pub(super) fn find(module: &str, name: &str) -> Option<Wasi> {
    match module {
        "wasi_snapshot_preview1" => preview1::find(name),
        _ => preview2::find(module, name),
    }
}

/// The core arguments of a call. The types were checked when the guest was prepared, so a missing one is 0.
struct Args<'a>(&'a [CoreValue]);

impl Args<'_> {
    fn u32(&self, index: usize) -> u32 {
        match self.0.get(index) {
            Some(CoreValue::I32(value)) => *value,
            _ => 0,
        }
    }

    fn u64(&self, index: usize) -> u64 {
        match self.0.get(index) {
            Some(CoreValue::I64(value)) => *value,
            _ => 0,
        }
    }
}

fn write_u32(guest: &mut Guest<'_>, address: u32, value: u32) -> Result<(), Halt> {
    guest.bytes("a u32", address, 4)?.copy_from_slice(&value.to_le_bytes());
    Ok(())
}

fn write_u64(guest: &mut Guest<'_>, address: u32, value: u64) -> Result<(), Halt> {
    guest.bytes("a u64", address, 8)?.copy_from_slice(&value.to_le_bytes());
    Ok(())
}

fn read_u32(guest: &mut Guest<'_>, address: u32) -> Result<u32, Halt> {
    let bytes = guest.bytes("a u32", address, 4)?;
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// Fills a stretch of the guest's memory with random bytes.
fn fill_random(guest: &mut Guest<'_>, address: u32, len: u32) -> Result<(), Halt> {
    guest.bytes("a buffer", address, len)?;
    // The system's generator is slower than a copy.
    guest.charge_bytes((len as usize).saturating_mul(4))?;
    let services = Arc::clone(&guest.state().channel.services);
    let bytes = guest.bytes("a buffer", address, len)?;
    if services.fill_random(bytes) { Ok(()) } else { Err(no_random()) }
}

fn random_u64(guest: &mut Guest<'_>) -> Result<u64, Halt> {
    let mut bytes = [0; 8];
    match guest.state().channel.services.fill_random(&mut bytes) {
        true => Ok(u64::from_le_bytes(bytes)),
        false => Err(no_random()),
    }
}

fn no_random() -> Halt {
    Halt::Host("the system's random number generator failed".to_owned())
}
