//! What a thread that panics says: a line of the log. The standard library would write to standard error, with a lock on it, and wait
//! there for ever when nobody reads it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::thread;

use crate::model::vital_thread::reason_of;

/// From now on a panic is a line of the log, which is written before the thread goes on.
pub fn log_panics() {
    panic::set_hook(Box::new(|info| {
        log::error!("{}", text(info));
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            trace.to_string().lines().for_each(|line| log::error!("{line}"));
        }
        // The process may end with it.
        log::logger().flush();
    }));
}

fn text(info: &PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let name = thread.name().unwrap_or("without a name");
    let place = info.location().map(|place| format!(" at {place}")).unwrap_or_default();
    let reason = reason_of(info.payload());
    format!("thread {name} panicked{place}: {reason}")
}
