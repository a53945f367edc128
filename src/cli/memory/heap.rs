//! glibc's heap.
#![allow(
    unsafe_code,
    reason = "glibc is told how to manage its heap, which nothing but two of its functions can do"
)]

/// Lets all threads share one heap. With a heap for each thread, as glibc has it, what a thread has freed helps no other
/// one and is never given back. To be called before a second thread starts.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it only sets a number that glibc reads when a thread first allocates.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives what is free back to the system.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes glibc's own locks and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
