//! A bounded queue whose receiver drops what is queued when it ends.
//!
//! A bounded channel of crossbeam keeps what is queued until its last sender is gone, so a value that is sent while the receiver ends
//! would wait, with whoever waits for what becomes of it, for ever. Here every value is either received or dropped, in every
//! interleaving:
//!
//! - The receiver sets `closed` when it is dropped, and then drops what is queued.
//! - A sender looks at `closed` after it has sent. When it is set, the sender drops what is queued, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Where values are put in. Cheap to clone.
pub(crate) struct ClosingSender<T> {
    /// Sends only while the queue may have a receiver; what it sent after the receiver has ended is dropped by whoever sees `closed`.
    sender: Sender<T>,
    /// To drop what is queued when the receiver has ended; never to receive anything.
    queued: Receiver<T>,
    /// Set once, when the receiver is dropped, and never cleared. A value that is queued while it is set is dropped by the sender that
    /// queued it or by the receiver, whichever comes later: none is left in the queue.
    closed: Arc<AtomicBool>,
}

/// Where values come out. Dropped, it closes the queue.
pub(crate) struct ClosingReceiver<T> {
    queued: Receiver<T>,
    /// Set once, when this is dropped: nothing is received any more.
    closed: Arc<AtomicBool>,
}

/// A queue of at most `capacity` values.
pub(crate) fn closing_queue<T>(capacity: usize) -> (ClosingSender<T>, ClosingReceiver<T>) {
    let (sender, queued) = bounded(capacity);
    let closed = Arc::<AtomicBool>::default();
    let receiver = ClosingReceiver { queued: queued.clone(), closed: closed.clone() };
    (ClosingSender { sender, queued, closed }, receiver)
}

impl<T> ClosingSender<T> {
    /// Queues a value, and waits while the queue is full. It is dropped when the receiver has ended, or ends before it has received it.
    pub fn send(&self, value: T) {
        if self.closed.load(SeqCst) {
            return;
        }
        // A receiver that ends empties the queue, so nobody waits here for longer than it runs. It cannot be disconnected, since this
        // sender has a receiver of its own.
        let _ = self.sender.send(value);
        if self.closed.load(SeqCst) {
            drop_queued(&self.queued);
        }
    }
}

impl<T> Clone for ClosingSender<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), queued: self.queued.clone(), closed: self.closed.clone() }
    }
}

impl<T> ClosingReceiver<T> {
    /// The channel to receive from.
    pub fn channel(&self) -> &Receiver<T> {
        &self.queued
    }
}

impl<T> Drop for ClosingReceiver<T> {
    fn drop(&mut self) {
        self.closed.store(true, SeqCst);
        drop_queued(&self.queued);
    }
}

fn drop_queued<T>(queued: &Receiver<T>) {
    while queued.try_recv().is_ok() {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::oneshot;

    /// A value that was sent while the receiver ended stayed in the queue, and its sender waited for ever.
    #[test]
    fn every_value_is_received_or_dropped_whenever_the_receiver_ends() {
        for round in 0..2_000_usize {
            let (sender, receiver) = closing_queue(2);
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    let sender = sender.clone();
                    scope.spawn(move || {
                        for _ in 0..4 {
                            let (value, end) = oneshot::channel::<()>();
                            sender.send(value);
                            assert!(end.wait().is_none(), "it is dropped");
                        }
                    });
                }
                scope.spawn(move || {
                    for _ in 0..round % 8 {
                        drop(receiver.channel().try_recv());
                    }
                    drop(receiver);
                });
            });
            // And after its end.
            let (value, end) = oneshot::channel::<()>();
            sender.send(value);
            assert!(end.wait().is_none());
        }
    }
}
