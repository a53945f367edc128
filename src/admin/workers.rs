//! Threads for requests to the API: a few, which exist while there is work.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Requests that are worked on at a time. An installation may take a minute; the others go on meanwhile.
const MAX_THREADS: usize = 8;
/// Requests that may wait for a thread.
const MAX_WAITING: usize = 64;
/// How long a thread waits for another request before it ends.
const IDLE_TIME: Duration = Duration::from_secs(10);

type AdminWork = Box<dyn FnOnce() + Send>;

/// Runs work on threads of its own. Cloning shares them.
#[derive(Clone, Default)]
pub(super) struct AdminWorkers(Arc<WorkerShare>);

#[derive(Default)]
struct WorkerShare {
    /// Queue and counts belong together, hence a lock; it is held for a look only.
    state: Mutex<WorkQueue>,
    /// Notified when there is work for a thread that waits.
    changed: Condvar,
}

#[derive(Default)]
struct WorkQueue {
    waiting: VecDeque<AdminWork>,
    /// Threads that exist: whoever starts one adds it, and it takes itself away when it ends.
    threads: usize,
    /// Those of them that wait for work: each adds itself before it waits and takes itself away afterwards, so this is never more than
    /// `threads`.
    idle: usize,
}

impl AdminWorkers {
    /// Runs the work as soon as a thread is free. False when too much waits already; the work is dropped then.
    pub(super) fn run(&self, work: impl FnOnce() + Send + 'static) -> bool {
        let mut state = self.0.lock();
        if state.waiting.len() >= MAX_WAITING {
            return false;
        }
        state.waiting.push_back(Box::new(work));
        if state.idle >= state.waiting.len() || state.threads == MAX_THREADS {
            self.0.changed.notify_one();
            return true;
        }
        let shared = Arc::clone(&self.0);
        let started =
            std::thread::Builder::new().name("tinclaw-admin".to_owned()).spawn(move || shared.work());
        match started {
            Ok(_) => state.threads += 1,
            Err(error) if state.threads == 0 => {
                log::warn!("the admin API refused a request, because no thread can be started: {error}");
                state.waiting.pop_back();
                return false;
            }
            // Another thread does it later.
            Err(_) => self.0.changed.notify_one(),
        }
        true
    }
}

impl WorkerShare {
    fn work(&self) {
        while let Some(work) = self.next() {
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                log::error!("a request to the admin API panicked; please report this");
            }
        }
    }

    /// The next piece of work; none when the thread is to end.
    fn next(&self) -> Option<AdminWork> {
        let mut state = self.lock();
        state.idle += 1;
        let wait = self.changed.wait_timeout_while(state, IDLE_TIME, |state| state.waiting.is_empty());
        state = wait.unwrap_or_else(PoisonError::into_inner).0;
        state.idle -= 1;
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.threads -= 1;
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, WorkQueue> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{bounded, unbounded};

    use super::*;

    #[test]
    fn slow_work_keeps_others_waiting_only_when_all_threads_have_some() {
        let workers = AdminWorkers::default();
        let (go, wait) = bounded::<()>(0);
        let (done, ended) = unbounded();
        for _ in 0..MAX_THREADS - 1 {
            let wait = wait.clone();
            assert!(workers.run(move || {
                let _ = wait.recv();
            }));
        }
        for number in 0..3 {
            let done = done.clone();
            assert!(workers.run(move || {
                let _ = done.send(number);
            }));
            assert_eq!(ended.recv(), Ok(number));
        }
        drop(go);
    }

    #[test]
    fn as_much_may_wait_as_the_limit_says_and_a_panic_takes_no_thread() {
        let workers = AdminWorkers::default();
        assert!(workers.run(|| panic!("of a test")));
        let (go, wait) = bounded::<()>(0);
        let (begun, running) = unbounded();
        for _ in 0..MAX_THREADS {
            let (wait, begun) = (wait.clone(), begun.clone());
            assert!(workers.run(move || {
                let _ = begun.send(());
                let _ = wait.recv();
            }));
        }
        for _ in 0..MAX_THREADS {
            running.recv().expect("each has a thread");
        }
        for _ in 0..MAX_WAITING {
            assert!(workers.run(|| {}));
        }
        assert!(!workers.run(|| {}), "one past the limit");
        drop(go);
    }
}
