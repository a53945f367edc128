//! What the process takes of the system, as Linux says it in `/proc` (proc(5)). Elsewhere nothing is known.

use std::fs::read_to_string;

/// What the process takes. What is not known is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ProcessUsage {
    /// Bytes of physical memory.
    pub(super) memory_bytes: Option<u64>,
    /// Bytes that it has caused to be written to disks.
    pub(super) disk_written_bytes: Option<u64>,
}

impl ProcessUsage {
    /// Reads it.
    pub(super) fn read() -> Self {
        let status = read_to_string("/proc/self/status").unwrap_or_default();
        let io = read_to_string("/proc/self/io").unwrap_or_default();
        Self {
            memory_bytes: number(&status, "VmRSS:").map(|kib| kib.saturating_mul(1024)),
            disk_written_bytes: number(&io, "write_bytes:"),
        }
    }
}

/// The number after a name at the beginning of a line.
fn number(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_the_name_at_the_beginning_of_their_line() {
        let text = "VmHWM:\t  900 kB\nVmRSS:\t  812 kB\nx write_bytes: 1\ncancelled_write_bytes: 3\nwrite_bytes: 4096\n";
        assert_eq!(number(text, "VmRSS:"), Some(812));
        assert_eq!(number(text, "write_bytes:"), Some(4096));
        assert_eq!(number(text, "Threads:"), None);
    }
}
