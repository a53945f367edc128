//! Wakes a thread that waits for sockets.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// One end is written to by whoever wants the thread's attention, the other is among what the thread waits for.
#[derive(Debug)]
pub(crate) struct Waker {
    sender: UnixStream,
    receiver: UnixStream,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        let (sender, receiver) = UnixStream::pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        Ok(Waker { sender, receiver })
    }

    pub(crate) fn wake(&self) {
        // A full socket means that a wake-up is pending already.
        let _ = (&self.sender).write(&[1]);
    }

    /// Takes in all wake-ups so far.
    pub(crate) fn clear(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.receiver).read(&mut bytes), Ok(count) if count == bytes.len()) {}
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}
