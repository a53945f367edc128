//! Whether the system has threads to give.
//!
//! tiny_http starts threads with [`std::thread::spawn`], which panics when there is none: it then loses its accept loop and a worker's panic is
//! all that the operator sees. So threads of the same size are started, all at once, before tiny_http is asked for as many.

use std::io;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::bounded;

use crate::model::address_space;

/// The workers that tiny_http starts with, one for a private connection.
const WORKERS_OF_A_BACKEND: usize = 4;
/// Its accept loop is one more.
pub(crate) const THREADS_OF_A_BACKEND: usize = WORKERS_OF_A_BACKEND + 1;

/// Whether tiny_http will find a thread for one more private connection than there are: without it its accept loop panics. What the host can
/// serve without leaves addresses for the rest of it.
///
/// # Errors
/// The system gives none, or it would take the last addresses.
pub(crate) fn thread_for_connection(connections: usize) -> io::Result<()> {
    if connections >= WORKERS_OF_A_BACKEND && !address_space::has_room() {
        return Err(io::Error::other(
            "the limit on address space (`ulimit -v`, `LimitAS=`) has no room for it",
        ));
    }
    threads_left(1)
}

/// Starts as many threads and ends them again.
///
/// # Errors
/// The system gives fewer.
pub(crate) fn threads_left(count: usize) -> io::Result<()> {
    // Nobody sends: each thread lives until the sender goes.
    let (release, released) = bounded::<()>(0);
    let start = |_| {
        let released = released.clone();
        Builder::new().name("tinclaw-spare".to_owned()).spawn(move || released.recv().is_err())
    };
    let started: Vec<_> = (0..count).map(start).collect();
    drop(release);
    let (threads, errors): (Vec<_>, Vec<_>) = started.into_iter().partition(Result::is_ok);
    // Their stacks shall be free again before the next thread is started.
    threads.into_iter().flatten().map(JoinHandle::join).for_each(drop);
    errors.into_iter().find_map(Result::err).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_threads_for_a_backend() {
        threads_left(THREADS_OF_A_BACKEND).unwrap();
        threads_left(0).unwrap();
        thread_for_connection(WORKERS_OF_A_BACKEND).unwrap();
    }
}
