//! What the machine has: memory, the limit of a control group, addresses. From it follow how much memory guests get by default and how
//! many workers there can be.
//!
//! Sources: proc(5) for `/proc/meminfo`, `/proc/self/status` and `/proc/self/cgroup`, the kernel's documentation of control groups for
//! `memory.max` (version 2) and `memory.limit_in_bytes` (version 1).

use std::fs;
use std::path::{Path, PathBuf};

use super::worker_pool::STACK_BYTES;
use crate::model::address_space::{self, GUESTS_PART, bytes_of};

const MIB: u64 = 1024 * 1024;

/// Guest memory by default where there is plenty.
const LARGEST_BUDGET: u64 = 256 * MIB;
/// Guests of channels need one to two megabytes each.
const SMALLEST_BUDGET: u64 = 8 * MIB;
/// The rest is for the host, the system and the agent.
const SHARE: u64 = 4;

/// Addresses that a host takes beside those it has when it starts, for a few workers: the stacks of about twenty threads with 2 MiB
/// each, and the heap.
const HOST_ADDRESSES: u64 = 64 * MIB;
/// A worker's stack and what its guest and its requests need.
const WORKER_ADDRESSES: u64 = STACK_BYTES as u64 + 4 * MIB;

/// There is too little address space for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the limit on address space is {} MB and the host needs {} MB: raise it (`ulimit -v`, `LimitAS=`), or limit memory instead (`MemoryMax=`)",
    limit / MIB,
    needed.div_ceil(MIB)
)]
pub(crate) struct TooFewAddresses {
    limit: u64,
    needed: u64,
}

/// Guest memory of all callbacks that run, by default: a quarter of what the process may use, 256 MiB at most.
pub(crate) fn default_memory_budget() -> usize {
    let usable = [memory_of_machine(), memory_of_group(), address_space::limit()];
    let budget = budget_for(usable.into_iter().flatten().min());
    usize::try_from(budget).unwrap_or(usize::MAX)
}

/// How many of the workers the limit on address space has room for.
///
/// # Errors
/// It has no room for one.
pub(crate) fn affordable_workers(wanted: usize) -> Result<usize, TooFewAddresses> {
    match address_space::limit() {
        Some(limit) => workers_within(limit, address_space::in_use(), wanted),
        None => Ok(wanted),
    }
}

fn budget_for(usable: Option<u64>) -> u64 {
    usable.map_or(LARGEST_BUDGET, |bytes| (bytes / SHARE).clamp(SMALLEST_BUDGET, LARGEST_BUDGET))
}

fn workers_within(limit: u64, in_use: u64, wanted: usize) -> Result<usize, TooFewAddresses> {
    let needed = in_use.saturating_add(HOST_ADDRESSES + WORKER_ADDRESSES);
    let Some(spare) = (limit - limit / GUESTS_PART).checked_sub(needed) else {
        let needed = needed.saturating_add(needed.div_ceil(GUESTS_PART - 1));
        return Err(TooFewAddresses { limit, needed });
    };
    let further = usize::try_from(spare / WORKER_ADDRESSES).unwrap_or(usize::MAX);
    Ok(wanted.min(further.saturating_add(1)))
}

fn memory_of_machine() -> Option<u64> {
    bytes_of(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")
}

/// The least that the process' control group and those around it allow.
fn memory_of_group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_files(&groups)
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .filter_map(|text| limit(&text))
        .min()
}

/// The files that may limit the memory of a process with these groups. A container often sees its own group as the root.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = Path::new(group.trim_start_matches('/'));
        files.extend(group.ancestors().map(|group| Path::new(root).join(group).join(name)));
    }
    files
}

/// `max` is no limit; neither is version 1's largest number, which is more than any machine has.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_get_a_quarter_of_a_small_machine_and_256_mib_of_a_large_one() {
        for (usable, budget) in [
            (Some(16 * MIB), 8 * MIB),
            (Some(32 * MIB), 8 * MIB),
            (Some(64 * MIB), 16 * MIB),
            (Some(512 * MIB), 128 * MIB),
            (Some(1024 * MIB), 256 * MIB),
            (Some(u64::MAX), 256 * MIB),
            (None, 256 * MIB),
        ] {
            assert_eq!(budget_for(usable), budget, "{usable:?}");
        }
    }

    #[test]
    fn the_groups_of_both_versions_and_those_around_them_count() {
        let two = limit_files("0::/system.slice/tinclaw.service\n");
        let names: Vec<_> = two.iter().map(|file| file.to_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "/sys/fs/cgroup/system.slice/tinclaw.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        let one = limit_files("9:name=systemd:/x\n4:cpu,memory:/a:b\nnot a line\n");
        let names: Vec<_> = one.iter().map(|file| file.to_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "/sys/fs/cgroup/memory/a:b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
    }

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        assert_eq!(limit("67108864\n"), Some(64 * MIB));
        assert_eq!(limit("max\n"), None);
    }

    #[test]
    fn workers_are_lowered_to_what_the_limit_has_room_for_and_one_must_fit() {
        // 20 and 64 and 8 MiB, and a third of it for the memories of guests.
        let (in_use, least) = (20 * MIB, 92 * MIB + 92 * MIB / 3 + 1);
        assert_eq!(workers_within(least, in_use, 32), Ok(1));
        let error = workers_within(least - 2, in_use, 32).unwrap_err();
        assert_eq!(error, TooFewAddresses { limit: least - 2, needed: least });
        assert_eq!(
            error.to_string(),
            "the limit on address space is 122 MB and the host needs 123 MB: raise it (`ulimit -v`, `LimitAS=`), or limit memory \
             instead (`MemoryMax=`)"
        );
        let another = WORKER_ADDRESSES + WORKER_ADDRESSES / 3 + 1;
        assert_eq!(workers_within(least + another - 2, in_use, 32), Ok(1));
        assert_eq!(workers_within(least + another, in_use, 32), Ok(2));
        assert_eq!(workers_within(u64::MAX, in_use, 32), Ok(32));
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(memory_of_machine().is_some_and(|bytes| bytes > MIB));
    }
}
