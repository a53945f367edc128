//! The thread that writes large responses.
//!
//! A response that does not fit into a socket's buffer is written as fast as the front reads it. Whoever has the response must
//! not wait for that: it may be the thread of the store, and all commits would wait with it.

use std::sync::OnceLock;

use crossbeam_channel::{Sender, unbounded};

use crate::model::wait::receive;

/// What fits into the buffer of a socket on every system.
pub(crate) const FITS_BYTES: usize = 16 << 10;

type WriteTask = Box<dyn FnOnce() + Send>;

/// Starts its thread with the first job. The thread ends when this is dropped and all is written. What waits is bounded by
/// the memory for responses.
#[derive(Default)]
pub(crate) struct ResponseThread(OnceLock<Option<Sender<WriteTask>>>);

impl ResponseThread {
    /// Runs a job on the thread, or here when the system gives no thread.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        match self.0.get_or_init(start) {
            // The thread ends after all senders.
            Some(jobs) => drop(jobs.send(Box::new(job))),
            None => job(),
        }
    }
}

fn start() -> Option<Sender<WriteTask>> {
    let (jobs, queue) = unbounded::<WriteTask>();
    let work = move || {
        while let Ok(job) = receive(&queue) {
            job();
        }
    };
    let started = std::thread::Builder::new().name("tinclaw-responses".to_owned()).spawn(work);
    started
        .map(|_| jobs)
        .map_err(|error| log::warn!("large responses are written without a thread: {error}"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;

    // The store's thread wrote a response of 4 MiB into a socket, and every commit waited for its reader.
    #[test]
    fn a_waiting_write_does_not_block_its_caller() {
        let thread = ResponseThread::default();
        let (go, wait) = bounded::<()>(0);
        let (done, ended) = bounded(2);
        let first = done.clone();
        thread.run(move || {
            let _ = wait.recv();
            let _ = first.send(1);
        });
        // This is reached although the first job waits.
        thread.run(move || {
            let _ = done.send(2);
        });
        go.send(()).unwrap();
        drop(thread);
        assert_eq!(ended.iter().collect::<Vec<_>>(), [1, 2]);
    }
}
