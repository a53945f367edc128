//! A value that one thread waits for and another brings, once.
//!
//! All types of values share one type of queue, through which nothing ever goes: that it is closed says that the value is
//! there, or will never be. A queue for each type would bring 5 KB of code with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::wait::receive;

/// The two ends.
pub fn once<T>() -> (Teller<T>, Waiter<T>) {
    let value = Arc::new(Place(Mutex::new(None)));
    let (open, closed) = bounded(1);
    (Teller { value: Arc::clone(&value), _open: open }, Waiter { value, closed })
}

/// Where the value is put. The lock is held only to put and to take.
#[derive(Debug)]
struct Place<T>(Mutex<Option<T>>);

impl<T> Place<T> {
    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the value. Dropped without, it says that there will be none.
#[derive(Debug)]
pub struct Teller<T> {
    value: Arc<Place<T>>,
    _open: Sender<()>,
}

impl<T> Teller<T> {
    /// Never waits. Nobody needs to be listening.
    pub fn tell(self, value: T) {
        *self.value.lock() = Some(value);
    }
}

/// Waits for the value.
#[derive(Debug)]
pub struct Waiter<T> {
    value: Arc<Place<T>>,
    closed: Receiver<()>,
}

impl<T> Waiter<T> {
    /// Waits without end; `None` when nobody can tell the value any more.
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
        let (teller, waiter) = once();
        let waiting = std::thread::spawn(|| waiter.wait());
        teller.tell("told");
        assert_eq!(waiting.join().unwrap(), Some("told"));
    }

    #[test]
    fn a_teller_that_is_dropped_ends_the_waiting() {
        let (teller, waiter) = once::<u8>();
        drop(teller);
        assert_eq!(waiter.wait(), None);
    }

    #[test]
    fn sending_without_a_receiver_is_harmless() {
        let (teller, waiter) = once();
        drop(waiter);
        teller.tell(1);
    }
}
