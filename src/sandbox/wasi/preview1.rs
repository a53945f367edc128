//! `wasi_snapshot_preview1`: types, error numbers and layouts as in WASI's `witx` files of that snapshot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wit_abi::canonical::CoreValue;

use super::output::{self, Output};
use super::resources::PollableReady;
use super::{Args, Wasi, WasiFunc, WasiOutcome, clock, fill_random, read_u32, write_u32, write_u64};
use crate::model::deadline::deadline_after;
use crate::sandbox::error::Halt;
use crate::sandbox::state::Guest;

const SUCCESS: u32 = 0;
const BADF: u32 = 8;
const INVAL: u32 = 28;
const SPIPE: u32 = 70;

const CHARACTER_DEVICE: u8 = 2;
const RIGHT_FD_READ: u64 = 1 << 1;
const RIGHT_FD_WRITE: u64 = 1 << 6;

const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;

const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: u32 = 32;
/// Subscriptions of one `poll_oneoff`.
const MAX_SUBSCRIPTIONS: u32 = 1_000;

pub(super) fn find(name: &str) -> Option<Wasi> {
    let (params, run): (&'static str, fn(&mut Guest<'_>, &Args<'_>) -> WasiOutcome) = match name {
        "args_get" | "environ_get" => ("ii", |_, _| errno(SUCCESS)),
        "args_sizes_get" | "environ_sizes_get" => ("ii", no_texts),
        "clock_res_get" => ("ii", clock_resolution),
        "clock_time_get" => ("iIi", clock_time),
        "random_get" => ("ii", random),
        "fd_write" => ("iiii", fd_write),
        "fd_read" => ("iiii", fd_read),
        "fd_close" | "fd_sync" | "fd_datasync" => ("i", |_, args| errno(if_stream(args, SUCCESS))),
        "fd_fdstat_get" => ("ii", fd_fdstat),
        "fd_fdstat_set_flags" => ("ii", |_, args| errno(if_stream(args, SUCCESS))),
        "fd_filestat_get" => ("ii", fd_filestat),
        "fd_seek" => ("iIii", |_, args| errno(if_stream(args, SPIPE))),
        "fd_tell" => ("ii", |_, args| errno(if_stream(args, SPIPE))),
        // There are no files and directories, so no descriptor that these could be called with.
        "fd_prestat_get" | "fd_renumber" => ("ii", no_file),
        "fd_prestat_dir_name" | "path_create_directory" | "path_remove_directory" | "path_unlink_file" => {
            ("iii", no_file)
        }
        "fd_advise" => ("iIIi", no_file),
        "fd_allocate" | "fd_fdstat_set_rights" => ("iII", no_file),
        "fd_filestat_set_size" => ("iI", no_file),
        "fd_filestat_set_times" => ("iIIi", no_file),
        "fd_pread" | "fd_pwrite" | "fd_readdir" => ("iiiIi", no_file),
        "path_filestat_get" | "path_symlink" => ("iiiii", no_file),
        "path_filestat_set_times" => ("iiiiIIi", no_file),
        "path_link" => ("iiiiiii", no_file),
        "path_open" => ("iiiiiIIii", no_file),
        "path_readlink" | "path_rename" => ("iiiiii", no_file),
        "poll_oneoff" => ("iiii", poll_oneoff),
        "sched_yield" => ("", |_, _| errno(SUCCESS)),
        "proc_exit" => {
            let run = |_: &mut Guest<'_>, args: &Args<'_>| Err(Halt::Exit(args.u32(0).cast_signed()));
            return Some(Wasi::Given(WasiFunc { params: "i", result: "", run }));
        }
        "proc_raise" | "sock_accept" | "sock_recv" | "sock_send" | "sock_shutdown" => {
            return Some(Wasi::NotGiven);
        }
        _ => return None,
    };
    Some(Wasi::Given(WasiFunc { params, result: "i", run }))
}

fn errno(number: u32) -> WasiOutcome {
    Ok(Some(CoreValue::I32(number)))
}

/// `number` for the three standard streams, which come first in the arguments; else "bad descriptor".
fn if_stream(args: &Args<'_>, number: u32) -> u32 {
    if args.u32(0) <= 2 { number } else { BADF }
}

fn no_file(_: &mut Guest<'_>, _: &Args<'_>) -> WasiOutcome {
    errno(BADF)
}

fn no_texts(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    write_u32(guest, args.u32(0), 0)?;
    write_u32(guest, args.u32(1), 0)?;
    errno(SUCCESS)
}

fn clock_resolution(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    if args.u32(0) > MONOTONIC {
        return errno(INVAL);
    }
    write_u64(guest, args.u32(1), clock::RESOLUTION_NANOS)?;
    errno(SUCCESS)
}

fn clock_time(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    let services = Arc::clone(&guest.state().channel.services);
    let now = match args.u32(0) {
        REALTIME => clock::nanos(services.wall_clock()),
        MONOTONIC => services.monotonic_nanos(),
        _ => return errno(INVAL),
    };
    write_u64(guest, args.u32(2), now)?;
    errno(SUCCESS)
}

fn random(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    fill_random(guest, args.u32(0), args.u32(1))?;
    errno(SUCCESS)
}

fn fd_write(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    let stream = match args.u32(0) {
        1 => Output::Stdout,
        2 => Output::Stderr,
        _ => return errno(BADF),
    };
    let (list, count) = (args.u32(1), args.u32(2));
    // The list is looked at as a whole first, so that the additions below cannot overflow.
    guest.bytes("a list of buffers", list, count.saturating_mul(8))?;
    let mut written = 0_u32;
    for index in 0..count {
        guest.charge_bytes(8)?;
        let address = read_u32(guest, list + index * 8)?;
        let len = read_u32(guest, list + index * 8 + 4)?;
        output::write(guest, stream, address, len)?;
        written = written.saturating_add(len);
    }
    write_u32(guest, args.u32(3), written)?;
    errno(SUCCESS)
}

fn fd_read(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    if args.u32(0) != 0 {
        return errno(BADF);
    }
    write_u32(guest, args.u32(3), 0)?;
    errno(SUCCESS)
}

fn fd_fdstat(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    let rights = match args.u32(0) {
        0 => RIGHT_FD_READ,
        1 | 2 => RIGHT_FD_WRITE,
        _ => return errno(BADF),
    };
    let stat = guest.bytes("an fdstat", args.u32(1), 24)?;
    stat.fill(0);
    stat[0] = CHARACTER_DEVICE;
    stat[8..16].copy_from_slice(&rights.to_le_bytes());
    errno(SUCCESS)
}

fn fd_filestat(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    if args.u32(0) > 2 {
        return errno(BADF);
    }
    let stat = guest.bytes("a filestat", args.u32(1), 64)?;
    stat.fill(0);
    stat[16] = CHARACTER_DEVICE;
    errno(SUCCESS)
}

/// One thing that `poll_oneoff` waits for.
struct Subscription {
    userdata: [u8; 8],
    tag: u8,
    ready: PollableReady,
    error: u32,
}

fn poll_oneoff(guest: &mut Guest<'_>, args: &Args<'_>) -> WasiOutcome {
    let (input, out, count) = (args.u32(0), args.u32(1), args.u32(2));
    if count == 0 || count > MAX_SUBSCRIPTIONS {
        return errno(INVAL);
    }
    guest.charge_bytes((count * SUBSCRIPTION_BYTES) as usize)?;
    guest.bytes("a list of events", out, count * EVENT_BYTES)?;
    let bytes = guest.bytes("a list of subscriptions", input, count * SUBSCRIPTION_BYTES)?;
    let now = Instant::now();
    let subscriptions = bytes
        .chunks_exact(SUBSCRIPTION_BYTES as usize)
        .map(|bytes| subscription(bytes, now))
        .collect::<Vec<_>>();
    wait_for_any(guest, subscriptions.iter().map(|subscription| subscription.ready))?;
    let now = Instant::now();
    let mut events = 0;
    for subscription in subscriptions.iter().filter(|subscription| subscription.ready.is_ready(now)) {
        let event = guest.bytes("an event", out + events * EVENT_BYTES, EVENT_BYTES)?;
        event.fill(0);
        event[..8].copy_from_slice(&subscription.userdata);
        event[8..10].copy_from_slice(&(subscription.error as u16).to_le_bytes());
        event[10] = subscription.tag;
        events += 1;
    }
    write_u32(guest, args.u32(3), events)?;
    errno(SUCCESS)
}

fn subscription(bytes: &[u8], now: Instant) -> Subscription {
    let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]));
    let clock_id = u64_at(16) as u32;
    let (timeout, absolute) = (u64_at(24), bytes[40] & 1 == 1);
    let tag = bytes[8];
    let (ready, error) = match (tag, clock_id) {
        (0, REALTIME) if absolute => {
            let left = Duration::from_nanos(timeout).saturating_sub(clock::wall());
            (PollableReady::At(deadline_after(now, left)), SUCCESS)
        }
        (0, MONOTONIC) if absolute => (PollableReady::At(clock::instant_at(timeout)), SUCCESS),
        (0, REALTIME | MONOTONIC) => {
            (PollableReady::At(deadline_after(now, Duration::from_nanos(timeout))), SUCCESS)
        }
        (0, _) => (PollableReady::Now, INVAL),
        // Descriptors: the standard streams never block.
        (_, 0..=2) => (PollableReady::Now, SUCCESS),
        _ => (PollableReady::Now, BADF),
    };
    Subscription { userdata: u64_at(0).to_le_bytes(), tag, ready, error }
}

/// Blocks until one of `readies` is ready; where none will ever be, until the callback ends.
pub(super) fn wait_for_any(
    guest: &mut Guest<'_>,
    readies: impl Iterator<Item = PollableReady>,
) -> Result<(), Halt> {
    let mut first = guest.state().meter.deadline();
    for ready in readies {
        match ready {
            PollableReady::Now => return Ok(()),
            PollableReady::At(moment) => first = first.min(moment),
        }
    }
    guest.sleep_until(first)
}
