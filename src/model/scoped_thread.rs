//! Threads that borrow from whoever starts them.
//!
//! [`Scope::spawn`] panics when the system gives no thread. Here that is an error, in words for the operator.

use std::io;
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Why a thread was not started.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot start the thread `{name}`: {source}; look at the limits on processes and memory (`ulimit -u`, `ulimit -v`)"
)]
pub(crate) struct NoThread {
    name: &'static str,
    source: io::Error,
}

/// Starts a named thread that ends before its scope does.
///
/// # Errors
/// The system gives no thread: there are too many, or there is no address space for its stack.
pub(crate) fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, NoThread> {
    let thread = Builder::new().name(name.to_owned());
    // Boxed, so that what the standard library does for a thread is in the program once, and not for each kind of work.
    let work: Box<dyn FnOnce() -> T + Send + 'scope> = Box::new(work);
    thread.spawn_scoped(scope, work).map_err(|source| NoThread { name, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_its_name_and_returns_its_value() {
        let name = std::thread::scope(|scope| {
            let work = || std::thread::current().name().map(str::to_owned);
            spawn_scoped(scope, "tinclaw-test", work).unwrap().join().unwrap()
        });
        assert_eq!(name.as_deref(), Some("tinclaw-test"));
    }

    #[test]
    fn the_error_names_the_thread_and_the_limits_to_look_at() {
        let error = NoThread { name: "tinclaw-test", source: io::ErrorKind::WouldBlock.into() }.to_string();
        assert!(error.starts_with("cannot start the thread `tinclaw-test`: "), "{error}");
        assert!(error.contains("ulimit -u"), "{error}");
    }
}
