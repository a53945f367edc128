//! The thread that notices deliveries whose time for an acknowledgement is over, also when nobody asks for a message.

use std::io;
use std::sync::{MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::dead_letter::FailedAttempt;
use super::mailbox::{Mailbox, MailboxState};

/// Why a delivery failed whose time is over.
const NOT_IN_TIME: &str = "it was not acknowledged in time";

impl Mailbox {
    /// Starts the thread. It ends when the mailbox is closed.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn watch_ack_timeouts(&self) -> io::Result<JoinHandle<()>> {
        let mailbox = self.clone();
        let watch = move || {
            let mut state = mailbox.lock();
            while !state.is_closed {
                state = match mailbox.fail_expired(state, Instant::now()) {
                    (state, true) => state,
                    (state, false) => mailbox.wait_for_expiry(state),
                };
            }
        };
        std::thread::Builder::new().name("tinclaw-ack-timeout".to_owned()).spawn(watch)
    }

    /// Ends one delivery whose time is over, and says whether there was one.
    pub(super) fn fail_expired<'a>(
        &'a self,
        state: MutexGuard<'a, MailboxState>,
        now: Instant,
    ) -> (MutexGuard<'a, MailboxState>, bool) {
        let Some(expired) = state.queue.expired(now) else { return (state, false) };
        drop(state);
        self.fail(expired, None, FailedAttempt::new(NOT_IN_TIME, Duration::ZERO));
        (self.lock(), true)
    }

    /// Waits until the first delivery expires that is under way now, or until there is one.
    fn wait_for_expiry<'a>(
        &'a self,
        mut state: MutexGuard<'a, MailboxState>,
    ) -> MutexGuard<'a, MailboxState> {
        let Some(until) = state.queue.next_expiry() else {
            state.watch_waits_for_delivery = true;
            return self.0.delivered.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let time = until.saturating_duration_since(Instant::now());
        self.0.delivered.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Something was delivered. The thread is told only when it has nothing to wait for: later deliveries expire later.
    pub(super) fn note_delivery(&self, state: &mut MailboxState) {
        if std::mem::take(&mut state.watch_waits_for_delivery) {
            self.0.delivered.notify_all();
        }
    }
}
