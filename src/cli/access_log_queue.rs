//! The way of access log entries to the thread that writes them.
//!
//! Entries are written by a thread of their own, because the front of the HTTP server waits for nothing. When it cannot keep up,
//! entries are left out and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use crossbeam_channel::{Sender, bounded};

use crate::model::wait::receive;
use crate::server::{AccessEntry, AccessSink};

/// Entries that may wait for the thread.
const CAPACITY: usize = 1024;

/// The way to the thread that writes entries; cheap to clone.
#[derive(Clone)]
pub struct AccessLog {
    sender: Sender<Line>,
    /// Entries that found no room and were not reported yet: whoever has such an entry adds one, the thread sets it to 0 when it logs
    /// them.
    left_out: Arc<AtomicU64>,
}

/// Writes an entry.
pub type WriteEntry = Box<dyn FnMut(&AccessEntry) + Send>;

enum Line {
    Entry(Box<AccessEntry>),
    /// What comes after it is written in this way.
    WriteWith(WriteEntry),
    /// Everything before it is to be written; then a response is sent.
    Flush(Sender<()>),
}

impl AccessLog {
    /// Starts the thread. It ends with the last clone of this.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(mut write: WriteEntry) -> io::Result<(Self, JoinHandle<()>)> {
        let (sender, lines) = bounded(CAPACITY);
        let left_out = Arc::new(AtomicU64::new(0));
        let missed = left_out.clone();
        let run = move || {
            while let Ok(line) = receive(&lines) {
                match line {
                    Line::Entry(entry) => write(&entry),
                    Line::WriteWith(other) => write = other,
                    Line::Flush(done) => drop(done.send(())),
                }
                match missed.swap(0, Ordering::Relaxed) {
                    0 => {}
                    count => {
                        log::warn!("{count} requests are not in the access log: it is written too slowly")
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("tinclaw-access-log".to_owned()).spawn(run)?;
        Ok((Self { sender, left_out }, thread))
    }

    /// Where the server puts its entries. Never waits.
    pub fn sink(&self) -> AccessSink {
        let log = self.clone();
        Arc::new(move |entry| {
            if log.sender.try_send(Line::Entry(Box::new(entry))).is_err() {
                log.left_out.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// Writes what comes from now on in another way. One that cannot keep up takes a second at most, and goes on as before.
    pub fn write_with(&self, write: WriteEntry) {
        if self.sender.send_timeout(Line::WriteWith(write), Duration::from_secs(1)).is_err() {
            log::warn!("the access log goes on where it was: it is written too slowly");
        }
    }

    /// Waits until everything so far is written, for a second at most.
    pub fn flush(&self) {
        let (done, written) = bounded(1);
        let limit = Duration::from_secs(1);
        if self.sender.send_timeout(Line::Flush(done), limit).is_ok() {
            // Whether it came in time makes no difference to a program that ends.
            let _ = written.recv_timeout(limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_log_that_is_written_too_slowly_holds_up_nobody_and_says_how_much_is_missing() {
        let (go, wait) = bounded::<()>(0);
        let (written, entries) = crossbeam_channel::unbounded();
        let (log, thread) = AccessLog::start(Box::new(move |entry| {
            let _ = wait.recv();
            let _ = written.send(entry.status);
        }))
        .unwrap();
        let sink = log.sink();
        // One is with the thread, as many as may wait do so, and the rest is left out.
        for _ in 0..CAPACITY + 10 {
            sink(AccessEntry {
                client: IpAddr::from([192, 0, 2, 1]),
                at: SystemTime::UNIX_EPOCH,
                asked: None,
                status: 408,
                bytes: 0,
                took: Duration::ZERO,
            });
        }
        assert!((8..=10).contains(&log.left_out.load(Ordering::Relaxed)));
        drop(go);
        log.flush();
        assert!(entries.len() >= CAPACITY && log.left_out.load(Ordering::Relaxed) == 0);
        drop((log, sink));
        thread.join().unwrap();
    }
}
