//! Prints to standard output and standard error. Nothing of it panics: a command whose reader has gone does its work to the end and
//! then ends quietly, and one whose output finds no room fails.

use std::fmt::Arguments;
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;

use crate::model::wait::receive_within;

/// Prints to standard output.
macro_rules! out {
    ($($text:tt)*) => { $crate::cli::print::to_stdout(format_args!($($text)*)) };
}

/// Prints a line to standard output.
macro_rules! outln {
    () => { $crate::cli::print::to_stdout(format_args!("\n")) };
    ($($text:tt)*) => { $crate::cli::print::to_stdout(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints to standard error.
macro_rules! err {
    ($($text:tt)*) => { $crate::cli::print::to_stderr(format_args!($($text)*)) };
}

/// Prints a line to standard error.
macro_rules! errln {
    () => { $crate::cli::print::to_stderr(format_args!("\n")) };
    ($($text:tt)*) => { $crate::cli::print::to_stderr(format_args!("{}\n", format_args!($($text)*))) };
}

/// The first failure to write to standard output: nothing is written after it. Any thread of a command may print; held for a write.
static FAILED: Mutex<Option<ErrorKind>> = Mutex::new(None);

/// Whether a command has written to standard output.
static HAS_PRINTED: AtomicBool = AtomicBool::new(false);

/// Whether something was printed to standard output, also when it found no reader.
pub fn has_printed() -> bool {
    HAS_PRINTED.load(Ordering::Relaxed)
}

/// Prints, unless a print before failed.
pub fn to_stdout(text: Arguments<'_>) {
    HAS_PRINTED.store(true, Ordering::Relaxed);
    print_with(|out| out.write_fmt(text));
}

/// The same for whoever writes bytes.
pub fn print_with(write: impl FnOnce(&mut io::Stdout) -> io::Result<()>) {
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    if failed.is_none() {
        *failed = write(&mut io::stdout()).err().map(|error| error.kind());
    }
}

/// Standard output without the lock of the standard library: whoever writes may wait for ever for somebody who reads, and keeps no other
/// thread from ending the program.
pub fn stdout_file() -> io::Result<File> {
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

/// Prints and goes on after a second, whether or not anybody reads it. What cannot be written is no error.
pub fn for_a_second(text: String) {
    let (done, written) = bounded::<()>(1);
    let write = move || {
        if let Ok(mut out) = stdout_file() {
            let _ = out.write_all(text.as_bytes());
        }
        drop(done);
    };
    if thread::Builder::new().name("tinclaw-greeting".to_owned()).spawn(write).is_ok() {
        let _ = receive_within(&written, Duration::from_secs(1));
    }
}

/// Prints for a person. There is no other place to say that nobody reads it.
pub fn to_stderr(text: Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

/// Writes what is still in memory, and says why not all of it was written.
pub fn finish() -> Result<(), ErrorKind> {
    print_with(io::Write::flush);
    match *FAILED.lock().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(()),
        Some(kind) => Err(kind),
    }
}
