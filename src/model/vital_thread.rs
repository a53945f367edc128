//! Threads without which the host is of no use: when one of them panics, the process ends with an error, so that a
//! supervisor restarts it. Everything that was acknowledged is durable.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};

/// The exit status of a process whose vital thread has panicked (`EX_SOFTWARE` of sysexits.h).
pub(crate) const EXIT_STATUS: i32 = 70;

/// Starts a thread whose panic ends the process.
pub(crate) fn spawn_vital(
    name: &'static str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    // Boxed, so that what the standard library does for a thread is in the program once, and not for each kind of work.
    let work: Box<dyn FnOnce() + Send> = Box::new(move || end_process_on_panic(name, work));
    thread::Builder::new().name(name.into()).spawn(work)
}

/// Does the work of a vital thread, on whichever thread: a panic ends the process.
pub(crate) fn end_process_on_panic<T>(name: &str, work: impl FnOnce() -> T) -> T {
    // Nothing is used after the panic, so no broken state can be seen.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(value) => value,
        Err(panic) => {
            log::error!(
                "thread {name} panicked and the process ends: {}; please report this",
                reason_of(&*panic)
            );
            log::logger().flush();
            std::process::exit(EXIT_STATUS);
        }
    }
}

/// What a panic says.
pub(crate) fn reason_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::own_process::test_in_a_child;

    const IS_CHILD: &str = "TINCLAW_TEST_VITAL_THREAD";

    /// A panic on the router's thread left a process that took requests and responded to none of them.
    #[test]
    fn a_vital_thread_that_panics_ends_the_process_with_an_error() {
        if std::env::var_os(IS_CHILD).is_some() {
            spawn_vital("vital", || panic!("oh no")).expect("a thread").join().expect("never returns");
            return;
        }
        let name = "a_vital_thread_that_panics_ends_the_process_with_an_error";
        let child =
            test_in_a_child(module_path!(), name).env(IS_CHILD, "1").output().expect("a child process");
        assert_eq!(child.status.code(), Some(EXIT_STATUS), "{}", String::from_utf8_lossy(&child.stderr));
        assert!(String::from_utf8_lossy(&child.stderr).contains("oh no"));
    }

    #[test]
    fn a_vital_thread_may_end_well() {
        spawn_vital("vital", || {}).expect("a thread").join().expect("it ended well");
    }

    #[test]
    fn the_reason_of_a_panic_is_its_text() {
        for (panic, reason) in [
            (catch_unwind(|| panic!("plain")), "plain"),
            (catch_unwind(|| panic!("with {}", 1)), "with 1"),
            (catch_unwind(|| std::panic::panic_any(1)), "no reason given"),
        ] {
            assert_eq!(reason_of(&*panic.expect_err("it panicked")), reason);
        }
    }
}
