//! Addresses of the process: how many it may have (`ulimit -v`, `LimitAS=`) and how many it has. Source: proc(5), `/proc/self/status`.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// What stays free for the heap when threads are started that the host could do without.
const HEAP: u64 = 24 * 1024 * 1024;
/// The part of the limit that memories of guests may take.
pub(crate) const GUESTS_PART: u64 = 4;

/// How many bytes of addresses the process may have. `None` without a limit.
pub(crate) fn limit() -> Option<u64> {
    getrlimit(Resource::As).current
}

/// How many it has; 0 where the system does not say.
pub(crate) fn in_use() -> u64 {
    fs::read_to_string("/proc/self/status").ok().and_then(|status| bytes_of(&status, "VmSize:")).unwrap_or(0)
}

/// Whether there is room for a thread that the host could do without. Where the last addresses go to stacks, the next allocation ends the
/// process.
pub(crate) fn has_room() -> bool {
    limit().is_none_or(|limit| has_room_within(limit, in_use()))
}

fn has_room_within(limit: u64, in_use: u64) -> bool {
    limit.saturating_sub(in_use) >= HEAP + limit / GUESTS_PART
}

/// The value of a line of proc(5) such as `MemTotal:   443064 kB`.
pub(crate) fn bytes_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn the_heap_and_the_memories_of_guests_keep_their_room() {
        // A quarter for guests and 24 MiB for the heap.
        assert!(has_room_within(160 * MIB, 96 * MIB));
        assert!(!has_room_within(160 * MIB, 96 * MIB + 1));
        assert!(!has_room_within(16 * MIB, 0));
        assert!(!has_room_within(16 * MIB, 17 * MIB), "more than the limit allows now");
        assert!(has_room_within(u64::MAX, 1 << 40));
    }

    #[test]
    fn lines_are_read_as_the_kernel_writes_them() {
        let text = "MemTotal:         443064 kB\nMemFree:  1 kB\n";
        assert_eq!(bytes_of(text, "MemTotal:"), Some(443_064 * 1024));
        assert_eq!(bytes_of(text, "VmSize:"), None);
        assert_eq!(bytes_of(&format!("MemTotal: {} kB\n", u64::MAX), "MemTotal:"), None);
        assert!(in_use() > MIB);
    }
}
