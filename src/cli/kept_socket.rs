//! A host that starts again in its own process, with the listening socket that it has kept: who was to take over from it has ended
//! before it served.
//!
//! The program replaces itself, so that nothing of the stopped host is left. The file that it was started from may have been replaced
//! or removed meanwhile: the system has the one that runs.

#![expect(unsafe_code, reason = "a descriptor that the same process has kept is a number")]

use std::env;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{self, Command};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// Names the process and its descriptor. Not a field of the configuration, hence not `TINCLAW_…`.
const VARIABLE: &str = "_TINCLAW_KEPT_SOCKET";
/// The program that runs.
const PROGRAM: &str = "/proc/self/exe";

/// The socket that this process has kept from a host that it was before, if so.
pub fn kept_socket() -> Option<TcpListener> {
    let number = descriptor_of(&env::var(VARIABLE).ok()?, process::id())?;
    // SAFETY: the descriptor is only looked at, and whether it is open is what is asked.
    fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) }).ok()?;
    // SAFETY: this process has left it open for itself (the variable names its id), and nothing here has used it: this is called
    // once, before anything else is opened.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&socket, FdFlags::CLOEXEC).ok()?;
    let listener = TcpListener::from(socket);
    listener.local_addr().ok()?;
    Some(listener)
}

/// The descriptor that a value of the variable names for this process. A child inherits the variable, and no descriptor.
fn descriptor_of(value: &str, process: u32) -> Option<i32> {
    let (owner, number) = value.split_once(':')?;
    (owner.parse() == Ok(process)).then(|| number.parse().ok().filter(|number| *number > 2))?
}

/// Starts this program again in this process, with the arguments that it was started with and the socket. Returns only why it cannot.
pub fn start_again(listener: TcpListener) -> io::Error {
    let socket = OwnedFd::from(listener);
    if let Err(error) = fcntl_setfd(&socket, FdFlags::empty()) {
        return error.into();
    }
    let mut arguments = env::args_os();
    let mut command = Command::new(PROGRAM);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).env(VARIABLE, format!("{}:{}", process::id(), socket.as_raw_fd()));
    command.exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_that_kept_a_socket_has_it() {
        assert_eq!(descriptor_of("7:9", 7), Some(9));
        for value in ["7:9", "8:2", "8:-1", "8:x", "8", ""] {
            assert_eq!(descriptor_of(value, 8), None, "{value}");
        }
    }
}
