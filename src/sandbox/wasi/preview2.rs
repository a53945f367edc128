//! WASI 0.2, at any of its patch versions, as core functions under the canonical ABI.
//!
//! Layouts that are written here by hand, from the WIT of WASI 0.2 by the rules of `CanonicalABI.md`:
//! `stream-error` is a variant of an own handle and nothing (8 bytes, handle at 4), so `result<_, stream-error>` has 12
//! bytes with the variant at 4, `result<u64, stream-error>` 16 bytes with its payload at 8.

use std::time::{Duration, Instant};

use wit_abi::canonical::{CoreValue, GuestAlloc};

use super::output::{self, Output};
use super::preview1::wait_for_any;
use super::resources::{PollableReady, Resource};
use super::{
    Args, Wasi, WasiFunc, WasiOutcome, clock, fill_random, random_u64, read_u32, write_u32, write_u64,
};
use crate::model::deadline::deadline_after;
use crate::sandbox::error::Halt;
use crate::sandbox::state::Guest;

type Run = fn(&mut Guest<'_>, &Args<'_>) -> WasiOutcome;

/// The packages of WASI 0.2. What is in them and not given is known, and traps when it is called.
const PACKAGES: [&str; 7] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:http/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// Bytes that an output stream says it takes at once, as the preview 1 adapter's buffer is.
const WRITE_SIZE: u64 = 64 * 1024;
/// Bytes of zeroes that are written at once.
const MAX_ZEROES: u64 = 64 * 1024;
/// Pollables of one `poll`.
const MAX_POLLABLES: u32 = 1_000;

pub(super) fn find(module: &str, name: &str) -> Option<Wasi> {
    // The newer way of writing names (`BuildTargets.md` of the component model) leaves the patch version out.
    let (module, standard) = match module.strip_prefix("cm32p2|") {
        Some(rest) => (rest, true),
        None => (module, false),
    };
    let (interface, version) = module.split_once('@')?;
    let fits = match standard {
        true => version == "0.2",
        false => version.strip_prefix("0.2.").is_some_and(|patch| !patch.is_empty()),
    };
    if !fits || !PACKAGES.iter().any(|package| interface.starts_with(package)) {
        return None;
    }
    let dropped =
        name.strip_suffix("_drop").filter(|_| standard).map(|resource| format!("[resource-drop]{resource}"));
    Some(given(interface, dropped.as_deref().unwrap_or(name)).map_or(Wasi::NotGiven, Wasi::Given))
}

#[rustfmt::skip]
fn given(interface: &str, name: &str) -> Option<WasiFunc> {
    let (params, result, run): (&'static str, &'static str, Run) = match (interface, name) {
        ("wasi:cli/environment", "get-environment" | "get-arguments") => ("i", "", |guest, args| empty_list(guest, args.u32(0))),
        ("wasi:cli/environment", "initial-cwd") => ("i", "", |guest, args| none(guest, args.u32(0), 12)),
        ("wasi:cli/exit", "exit") => ("i", "", |_, args| Err(Halt::Exit(args.u32(0).cast_signed()))),
        ("wasi:cli/exit", "exit-with-code") => ("i", "", |_, args| Err(Halt::Exit(args.u32(0).cast_signed()))),
        ("wasi:cli/stdin", "get-stdin") => ("", "i", |guest, _| handle(guest, Resource::Input)),
        ("wasi:cli/stdout", "get-stdout") => ("", "i", |guest, _| handle(guest, Resource::Output(Output::Stdout))),
        ("wasi:cli/stderr", "get-stderr") => ("", "i", |guest, _| handle(guest, Resource::Output(Output::Stderr))),
        ("wasi:cli/terminal-stdin", "get-terminal-stdin")
        | ("wasi:cli/terminal-stdout", "get-terminal-stdout")
        | ("wasi:cli/terminal-stderr", "get-terminal-stderr") => ("i", "", |guest, args| none(guest, args.u32(0), 8)),

        ("wasi:cli/terminal-input", "[resource-drop]terminal-input")
        | ("wasi:cli/terminal-output", "[resource-drop]terminal-output")
        | ("wasi:io/error", "[resource-drop]error")
        | ("wasi:io/poll", "[resource-drop]pollable")
        | ("wasi:io/streams", "[resource-drop]input-stream" | "[resource-drop]output-stream")
        | ("wasi:filesystem/types", "[resource-drop]descriptor" | "[resource-drop]directory-entry-stream") => ("i", "", drop_resource),

        ("wasi:io/poll", "[method]pollable.ready") => ("i", "i", pollable_ready),
        ("wasi:io/poll", "[method]pollable.block") => ("i", "", pollable_block),
        ("wasi:io/poll", "poll") => ("iii", "", poll),

        ("wasi:io/streams", "[method]input-stream.read" | "[method]input-stream.blocking-read") => ("iIi", "", end_of_input),
        ("wasi:io/streams", "[method]input-stream.skip" | "[method]input-stream.blocking-skip") => ("iIi", "", end_of_skip),
        ("wasi:io/streams", "[method]input-stream.subscribe") => ("i", "i", subscribe_input),
        ("wasi:io/streams", "[method]output-stream.check-write") => ("ii", "", check_write),
        ("wasi:io/streams", "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush") => ("iiii", "", write),
        ("wasi:io/streams", "[method]output-stream.flush" | "[method]output-stream.blocking-flush") => ("ii", "", flush),
        ("wasi:io/streams", "[method]output-stream.write-zeroes" | "[method]output-stream.blocking-write-zeroes-and-flush") => ("iIi", "", write_zeroes),
        ("wasi:io/streams", "[method]output-stream.subscribe") => ("i", "i", subscribe_output),

        ("wasi:clocks/monotonic-clock", "now") => ("", "I", |guest, _| Ok(Some(CoreValue::I64(guest.state().channel.services.monotonic_nanos())))),
        ("wasi:clocks/monotonic-clock", "resolution") => ("", "I", |_, _| Ok(Some(CoreValue::I64(clock::RESOLUTION_NANOS)))),
        ("wasi:clocks/monotonic-clock", "subscribe-instant") => ("I", "i", subscribe_instant),
        ("wasi:clocks/monotonic-clock", "subscribe-duration") => ("I", "i", subscribe_duration),
        ("wasi:clocks/wall-clock", "now") => ("i", "", wall_clock),
        ("wasi:clocks/wall-clock", "resolution") => ("i", "", |guest, args| datetime(guest, args.u32(0), Duration::from_nanos(clock::RESOLUTION_NANOS))),

        ("wasi:random/random", "get-random-bytes") | ("wasi:random/insecure", "get-insecure-random-bytes") => ("Ii", "", random_bytes),
        ("wasi:random/random", "get-random-u64") | ("wasi:random/insecure", "get-insecure-random-u64") => ("", "I", |guest, _| Ok(Some(CoreValue::I64(random_u64(guest)?)))),
        ("wasi:random/insecure-seed", "insecure-seed" | "get-insecure-seed") => ("i", "", insecure_seed),

        ("wasi:filesystem/preopens", "get-directories") => ("i", "", |guest, args| empty_list(guest, args.u32(0))),
        ("wasi:filesystem/types", "filesystem-error-code") => ("ii", "", |guest, args| none(guest, args.u32(1), 2)),
        _ => return None,
    };
    Some(WasiFunc { params, result, run })
}

fn handle(guest: &mut Guest<'_>, resource: Resource) -> WasiOutcome {
    Ok(Some(CoreValue::I32(guest.state().wasi.resources.add(resource)?)))
}

fn drop_resource(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    guest.state().wasi.resources.remove(args.u32(0))?;
    Ok(None)
}

/// An empty list at `area`. The guest's allocator gives the pointer: for some languages it must not be null.
fn empty_list(guest: &mut Guest<'_>, area: u32) -> WasiOutcome {
    let pointer = guest.realloc(4, 0)?;
    write_u32(guest, area, pointer)?;
    write_u32(guest, area_at(area, 4)?, 0)?;
    Ok(None)
}

/// The case "none", or "ok" of a result without a value, of a type of `size` bytes.
fn none(guest: &mut Guest<'_>, area: u32, size: u32) -> WasiOutcome {
    guest.bytes("a result", area, size)?.fill(0);
    Ok(None)
}

fn area_at(area: u32, offset: u32) -> Result<u32, Halt> {
    area.checked_add(offset).ok_or_else(|| Halt::Abi(format!("a result at address {area:#x} wraps around")))
}

fn pollable_ready(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    let ready = guest.state().wasi.resources.pollable(args.u32(0))?;
    Ok(Some(CoreValue::I32(u32::from(ready.is_ready(Instant::now())))))
}

fn pollable_block(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    let ready = guest.state().wasi.resources.pollable(args.u32(0))?;
    wait_for_any(guest, [ready].into_iter())?;
    Ok(None)
}

fn poll(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    let (list, count, area) = (args.u32(0), args.u32(1), args.u32(2));
    if count == 0 || count > MAX_POLLABLES {
        return Err(Halt::Trap(format!("it polls {count} pollables, and 1 to {MAX_POLLABLES} are allowed")));
    }
    guest.charge_bytes(count as usize * 8)?;
    guest.bytes("a list of pollables", list, count * 4)?;
    let mut pollables = Vec::with_capacity(count as usize);
    for index in 0..count {
        let handle = read_u32(guest, list + index * 4)?;
        pollables.push(guest.state().wasi.resources.pollable(handle)?);
    }
    wait_for_any(guest, pollables.iter().copied())?;
    let now = Instant::now();
    let ready = (0..count).zip(&pollables).filter(|(_, pollable)| pollable.is_ready(now));
    let ready = ready.flat_map(|(index, _)| index.to_le_bytes()).collect::<Vec<_>>();
    let pointer = guest.realloc(4, ready.len() as u32)?;
    guest.bytes("a list of indices", pointer, ready.len() as u32)?.copy_from_slice(&ready);
    write_u32(guest, area, pointer)?;
    write_u32(guest, area_at(area, 4)?, ready.len() as u32 / 4)?;
    Ok(None)
}

/// `err(closed)`: nothing will ever come.
fn end_of_input(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    guest.state().wasi.resources.input(args.u32(0))?;
    closed(guest, args.u32(2), 12, 4)
}

fn end_of_skip(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    guest.state().wasi.resources.input(args.u32(0))?;
    closed(guest, args.u32(2), 16, 8)
}

fn closed(guest: &mut Guest<'_>, area: u32, size: u32, payload: usize) -> WasiOutcome {
    let result = guest.bytes("a result", area, size)?;
    result.fill(0);
    result[0] = 1;
    result[payload] = 1;
    Ok(None)
}

fn subscribe_input(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    guest.state().wasi.resources.input(args.u32(0))?;
    handle(guest, Resource::Pollable(PollableReady::Now))
}

fn subscribe_output(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    guest.state().wasi.resources.output(args.u32(0))?;
    handle(guest, Resource::Pollable(PollableReady::Now))
}

fn check_write(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    guest.state().wasi.resources.output(args.u32(0))?;
    none(guest, args.u32(1), 16)?;
    write_u64(guest, area_at(args.u32(1), 8)?, WRITE_SIZE)?;
    Ok(None)
}

fn write(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    let stream = guest.state().wasi.resources.output(args.u32(0))?;
    output::write(guest, stream, args.u32(1), args.u32(2))?;
    none(guest, args.u32(3), 12)
}

/// Lines go out as they end, so there is nothing to flush.
fn flush(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    guest.state().wasi.resources.output(args.u32(0))?;
    none(guest, args.u32(1), 12)
}

/// Zeroes are nothing that a log could show: they are taken and left out.
fn write_zeroes(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    guest.state().wasi.resources.output(args.u32(0))?;
    if args.u64(1) > MAX_ZEROES {
        return Err(Halt::Trap(format!(
            "it writes {} zeroes at once, and {MAX_ZEROES} are allowed",
            args.u64(1)
        )));
    }
    none(guest, args.u32(2), 12)
}

fn subscribe_instant(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    handle(guest, Resource::Pollable(PollableReady::At(clock::instant_at(args.u64(0)))))
}

fn subscribe_duration(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    let moment = deadline_after(Instant::now(), Duration::from_nanos(args.u64(0)));
    handle(guest, Resource::Pollable(PollableReady::At(moment)))
}

fn wall_clock(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    let now = guest.state().channel.services.wall_clock();
    datetime(guest, args.u32(0), now)
}

fn datetime(guest: &mut Guest<'_>, area: u32, time: Duration) -> WasiOutcome {
    let record = guest.bytes("a datetime", area, 16)?;
    record.fill(0);
    record[..8].copy_from_slice(&time.as_secs().to_le_bytes());
    record[8..12].copy_from_slice(&time.subsec_nanos().to_le_bytes());
    Ok(None)
}

fn random_bytes(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    let Ok(len) = u32::try_from(args.u64(0)) else {
        return Err(Halt::Abi(format!("it asks for {} random bytes, more than a memory holds", args.u64(0))));
    };
    let pointer = guest.realloc(1, len)?;
    fill_random(guest, pointer, len)?;
    write_u32(guest, args.u32(1), pointer)?;
    write_u32(guest, area_at(args.u32(1), 4)?, len)?;
    Ok(None)
}

fn insecure_seed(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    let (first, second) = (random_u64(guest)?, random_u64(guest)?);
    write_u64(guest, args.u32(0), first)?;
    write_u64(guest, area_at(args.u32(0), 8)?, second)?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_patch_version_is_known_and_no_other() {
        let rows = [
            ("wasi:clocks/wall-clock@0.2.0", "now", "given"),
            ("wasi:clocks/wall-clock@0.2.8", "now", "given"),
            ("wasi:io/streams@0.2.3", "[resource-drop]output-stream", "given"),
            ("wasi:sockets/tcp@0.2.0", "[method]tcp-socket.start-bind", "not given"),
            ("wasi:http/outgoing-handler@0.2.1", "handle", "not given"),
            ("wasi:filesystem/types@0.2.0", "[method]descriptor.open-at", "not given"),
            ("cm32p2|wasi:io/streams@0.2", "output-stream_drop", "given"),
            ("cm32p2|wasi:clocks/wall-clock@0.2", "now", "given"),
            ("cm32p2|wasi:clocks/wall-clock@0.3", "now", "unknown"),
            ("wasi:clocks/wall-clock@0.2", "now", "unknown"),
            ("wasi:clocks/wall-clock@0.3.0", "now", "unknown"),
            ("wasi:clocks/wall-clock@0.2.", "now", "unknown"),
            ("wasi:clocks/wall-clock", "now", "unknown"),
            ("wasi:nn/tensor@0.2.0", "load", "unknown"),
            ("near:agent/channel-host@0.2.0", "now", "unknown"),
        ];
        for (module, name, expected) in rows {
            let found = match find(module, name) {
                Some(Wasi::Given(_)) => "given",
                Some(Wasi::NotGiven) => "not given",
                None => "unknown",
            };
            assert_eq!(found, expected, "{module} {name}");
        }
    }
}
