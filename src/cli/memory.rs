//! How the daemon deals with the memory that it no longer needs.
#![allow(
    unsafe_code,
    reason = "glibc is told how to manage its heap, which nothing but two of its functions can do"
)]

use std::time::Duration;

/// How often memory is given back. Between two rounds it stays, because the next callback needs it again and pages of the
/// system cost more than those that are there.
pub const GIVE_BACK_EVERY: Duration = Duration::from_secs(30);

/// Lets all threads share one heap. With a heap for each thread, as glibc has it, what a thread has freed helps no other
/// one and is never given back. To be called before a second thread starts.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it only sets a number that glibc reads when a thread first allocates.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives memory that is free back to the system: what the start needed, or the largest callback of late.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes glibc's own locks and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
