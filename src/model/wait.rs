//! Waiting for a queue.
//!
//! `Receiver::recv` and `recv_timeout` yield the processor several times before they sleep. Beside a busy process each yield costs a
//! turn of the scheduler, and on a quiet machine it only heats. `Select` sleeps at once.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvError, RecvTimeoutError, Select};

use super::deadline::deadline_after;

/// Takes the next value, waiting for at most `timeout`. A value that is there is taken even when the time is up.
///
/// # Errors
/// None came in time, or none can come any more.
pub(crate) fn receive_within<T>(queue: &Receiver<T>, timeout: Duration) -> Result<T, RecvTimeoutError> {
    receive_until(queue, deadline_after(Instant::now(), timeout))
}

/// The same with a deadline.
///
/// # Errors
/// As [`receive_within`].
pub(crate) fn receive_until<T>(queue: &Receiver<T>, deadline: Instant) -> Result<T, RecvTimeoutError> {
    let mut select = Select::new();
    select.recv(queue);
    match select.select_deadline(deadline) {
        Ok(operation) => operation.recv(queue).map_err(|_| RecvTimeoutError::Disconnected),
        Err(_) => Err(RecvTimeoutError::Timeout),
    }
}

/// Takes the next value, waiting without end.
///
/// # Errors
/// None can come any more.
pub(crate) fn receive<T>(queue: &Receiver<T>) -> Result<T, RecvError> {
    let mut select = Select::new();
    select.recv(queue);
    select.select().recv(queue)
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn a_value_that_is_there_is_taken_although_the_time_is_up() {
        let (sender, queue) = bounded(1);
        sender.send(7).unwrap();
        assert_eq!(receive_until(&queue, Instant::now()), Ok(7));
        assert_eq!(receive_until(&queue, Instant::now()), Err(RecvTimeoutError::Timeout));
    }

    #[test]
    fn waiting_ends_with_a_value_from_another_thread() {
        let (sender, queue) = bounded(1);
        let waiting = std::thread::spawn(move || receive_within(&queue, Duration::MAX));
        sender.send(7).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(7));
    }

    #[test]
    fn waiting_ends_when_every_sender_is_dropped() {
        let (sender, queue) = bounded::<u8>(1);
        let waiting = std::thread::spawn(move || receive_within(&queue, Duration::MAX));
        drop(sender);
        assert_eq!(waiting.join().unwrap(), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn one_value_wakes_one_of_two_waiting_threads() {
        let (sender, queue) = bounded(1);
        let wait =
            |queue: Receiver<u8>| std::thread::spawn(move || receive_within(&queue, Duration::from_secs(60)));
        let waiting = [wait(queue.clone()), wait(queue)];
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        let mut got = waiting.map(|thread| thread.join().unwrap().unwrap());
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    }
}
