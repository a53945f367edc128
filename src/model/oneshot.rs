//! A value that one thread waits for and another brings, once.
//!
//! All types of values share one type of queue, through which nothing ever goes: that it is closed says that the value is
//! there, or will never be. A queue for each type would bring 5 KB of code with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::bounded;

use super::wait::receive;

/// The two ends.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let value = Arc::new(SharedValue(Mutex::new(None)));
    let (open, closed) = bounded(1);
    (Sender { value: Arc::clone(&value), _open: open }, Receiver { value, closed })
}

/// Where the value is put. The lock is held only to put and to take.
#[derive(Debug)]
struct SharedValue<T>(Mutex<Option<T>>);

impl<T> SharedValue<T> {
    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends the value. Dropped without, it says that there will be none.
#[derive(Debug)]
pub struct Sender<T> {
    value: Arc<SharedValue<T>>,
    _open: crossbeam_channel::Sender<()>,
}

impl<T> Sender<T> {
    /// Never waits. Nobody needs to be listening.
    pub fn send(self, value: T) {
        *self.value.lock() = Some(value);
    }
}

/// Waits for the value.
#[derive(Debug)]
pub struct Receiver<T> {
    value: Arc<SharedValue<T>>,
    closed: crossbeam_channel::Receiver<()>,
}

impl<T> Receiver<T> {
    /// Waits without end; `None` when nobody can send the value any more.
    pub fn wait(self) -> Option<T> {
        // Nothing is ever sent.
        let _ = receive(&self.closed);
        self.value.lock().take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sent_value_arrives_on_another_thread() {
        let (sender, receiver) = channel();
        let waiting = std::thread::spawn(|| receiver.wait());
        sender.send("value");
        assert_eq!(waiting.join().unwrap(), Some("value"));
    }

    #[test]
    fn a_sender_that_is_dropped_ends_the_waiting() {
        let (sender, receiver) = channel::<u8>();
        drop(sender);
        assert_eq!(receiver.wait(), None);
    }

    #[test]
    fn sending_without_a_receiver_is_harmless() {
        let (sender, receiver) = channel();
        drop(receiver);
        sender.send(1);
    }
}
