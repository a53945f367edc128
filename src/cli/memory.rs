//! How the daemon sets up glibc's heap.
#![allow(
    unsafe_code,
    reason = "glibc is told how to manage its heap, which nothing but two of its functions can do"
)]

use std::time::Duration;

/// How often free memory is returned to the system. Between two rounds it stays, because the next callback needs it again
/// and pages of the system cost more than those that are there.
pub const RELEASE_EVERY: Duration = Duration::from_secs(30);

/// Lets all threads share one heap. With a heap for each thread, as glibc has it, what a thread has freed helps no other
/// one and is never returned to the system. To be called before a second thread starts.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it only sets a number that glibc reads when a thread first allocates.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Returns what is free to the system: what the start needed, or the largest callback of late.
pub fn release() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes glibc's own locks and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
