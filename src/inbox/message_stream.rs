//! How readers read.

use std::time::{Duration, Instant};

use super::delivery::Delivery;
use super::mailbox::{Mailbox, Nothing};

/// The messages of all channels, as they become durable.
///
/// An iterator that waits for the next message and ends when the host shuts down. Cloning gives a second reader of the
/// same messages: each message goes to one of them.
#[derive(Clone)]
pub struct MessageStream {
    mailbox: Mailbox,
}

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// None came in time.
    #[error("no message came in time")]
    TimedOut,
    /// The host has shut down; there will be none.
    #[error("the host has shut down")]
    Closed,
}

impl MessageStream {
    pub(crate) fn new(mailbox: Mailbox) -> Self {
        Self { mailbox }
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// [`RecvError::Closed`] when the host has shut down.
    pub fn recv(&self) -> Result<Delivery, RecvError> {
        self.take(None)
    }

    /// Waits for the next message, at most for `timeout`.
    ///
    /// # Errors
    /// [`RecvError`]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Delivery, RecvError> {
        // A timeout beyond what the clock can tell is no timeout.
        self.take(Instant::now().checked_add(timeout))
    }

    /// The next message, if one waits.
    ///
    /// # Errors
    /// [`RecvError`]
    pub fn try_recv(&self) -> Result<Delivery, RecvError> {
        self.take(Some(Instant::now()))
    }

    fn take(&self, until: Option<Instant>) -> Result<Delivery, RecvError> {
        match self.mailbox.take(until) {
            Ok((taken, message)) => Ok(Delivery::new(self.mailbox.clone(), &taken, message)),
            Err(Nothing::TimedOut) => Err(RecvError::TimedOut),
            Err(Nothing::Closed) => Err(RecvError::Closed),
        }
    }
}

impl Iterator for MessageStream {
    type Item = Delivery;

    fn next(&mut self) -> Option<Delivery> {
        self.recv().ok()
    }
}
