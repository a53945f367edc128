//! The threads that run guests.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::memory_pool;
use crate::model::wait::receive_within;

/// Native stack of a worker. Only a guest that does nothing but grow its memory ever touches more than a small part of
/// it; see [`GROW_FUEL`](super::suitable::GROW_FUEL).
pub(crate) const STACK_BYTES: usize = 4 * 1024 * 1024;
/// How long a thread waits for work before it ends.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// How long a thread waits for work before it returns the memory of guests to the system. The next callback makes its pages
/// again, in half a millisecond.
const RELEASE_TIME: Duration = Duration::from_secs(2);

/// Something for a worker to do.
pub type Task = Box<dyn FnOnce() + Send>;

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// More jobs were submitted than [`WorkerPool::capacity`] and the queue hold.
    #[error("all workers are busy and their queue is full: try again later, or raise `workers`")]
    Full,
    /// The pool is shut down.
    #[error("the worker pool is shut down: the host is stopping")]
    ShutDown,
    /// The system gives no thread, not even a first one.
    #[error("no worker thread could be started: raise the limit of processes, or lower `workers`")]
    NoThread,
}

/// A bounded number of named threads, started only when there is work for them.
///
/// Submitting never blocks. Whoever submits keeps at most [`capacity`](Self::capacity) jobs in flight; as many again
/// fit into the queue before [`PoolError::Full`].
pub struct WorkerPool {
    shared: Arc<PoolInner>,
    /// `None` once the pool is shut down.
    queue: Option<Arc<Sender<Task>>>,
}

/// A pool as those who do not own it use it. It keeps no pool from being shut down.
#[derive(Clone)]
pub struct WorkerHandle {
    shared: Arc<PoolInner>,
    queue: Weak<Sender<Task>>,
}

struct PoolInner {
    /// Jobs of the pool's owner.
    capacity: usize,
    /// Threads in all: for the owner, and for those who have a handle.
    max_threads: usize,
    idle_time: Duration,
    jobs: Receiver<Task>,
    /// Tasks that are queued or running. [`WorkerPool::submit`] counts up before a task is queued; the worker counts down
    /// after it has run, panicked or not, and whoever could not queue it takes it back.
    in_flight: AtomicUsize,
    /// Tasks that panicked. Only ever counted up, by the worker that ran one.
    panics: AtomicU64,
    /// Guards the decision to start or to end a thread: a thread must not leave while a job is put in the queue that
    /// counts on it.
    threads: Mutex<WorkerThreads>,
}

#[derive(Default)]
struct WorkerThreads {
    alive: usize,
    started: usize,
    handles: Vec<JoinHandle<()>>,
}

impl WorkerPool {
    /// A pool of at most `capacity` threads (at least one). None is started yet.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self::shared(capacity, 0)
    }

    /// A pool whose owner has `capacity` threads whatever others do, who have at most `others` jobs in flight.
    #[must_use]
    pub fn shared(capacity: usize, others: usize) -> Self {
        Self::with_idle_time(capacity, others, IDLE_TIME)
    }

    fn with_idle_time(capacity: usize, others: usize, idle_time: Duration) -> Self {
        let capacity = capacity.max(1);
        let max_threads = capacity.saturating_add(others);
        let (queue, jobs) = bounded(max_threads * 2);
        let shared = PoolInner {
            capacity,
            max_threads,
            idle_time,
            jobs,
            in_flight: AtomicUsize::new(0),
            panics: AtomicU64::new(0),
            threads: Mutex::default(),
        };
        Self { shared: Arc::new(shared), queue: Some(Arc::new(queue)) }
    }

    /// The pool for others.
    #[must_use]
    pub fn handle(&self) -> WorkerHandle {
        let queue = self.queue.as_ref().map(Arc::downgrade).unwrap_or_default();
        WorkerHandle { shared: Arc::clone(&self.shared), queue }
    }

    /// Jobs of the owner that can run at the same time.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }

    /// Tasks that are queued or running. [`WorkerPool::submit`] counts up before a task is queued; the worker counts down
    /// after it has run, panicked or not, and whoever could not queue it takes it back.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Acquire)
    }

    /// Threads that are alive.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.shared.lock().alive
    }

    /// Jobs that panicked. Each is a bug in the host.
    #[cfg(test)]
    pub fn panics(&self) -> u64 {
        self.shared.panics.load(Ordering::Relaxed)
    }

    /// Hands over a job. Starts a thread when all are busy and there may be more.
    ///
    /// # Errors
    /// The job was dropped: there is no room, or no thread to run it.
    pub fn submit(&self, job: Task) -> Result<(), PoolError> {
        let Some(queue) = &self.queue else { return Err(PoolError::ShutDown) };
        self.shared.submit(queue, job)
    }

    /// Ends without waiting for jobs that do not end. Their threads end with them.
    pub fn detach(mut self) {
        self.queue = None;
        self.shared.lock().handles.clear();
    }

    /// Waits for all jobs to end, then for all threads.
    pub fn shutdown(mut self) {
        self.close();
    }

    fn close(&mut self) {
        // Without a sender the threads finish what is queued and end.
        self.queue = None;
        let handles = std::mem::take(&mut self.shared.lock().handles);
        for handle in handles {
            // A worker catches panics of its jobs, so there is nothing to learn from the result.
            let _ = handle.join();
        }
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool")
            .field("capacity", &self.capacity())
            .field("threads", &self.threads())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl WorkerHandle {
    /// Hands over a job, as [`WorkerPool::submit`] does.
    ///
    /// # Errors
    /// The job was dropped: there is no room, no thread to run it, or no pool any more.
    pub fn submit(&self, job: Task) -> Result<(), PoolError> {
        let queue = self.queue.upgrade().ok_or(PoolError::ShutDown)?;
        self.shared.submit(&queue, job)
    }
}

impl PoolInner {
    fn submit(self: &Arc<Self>, queue: &Sender<Task>, job: Task) -> Result<(), PoolError> {
        let in_flight = self.in_flight.fetch_add(1, Ordering::AcqRel) + 1;
        if let Err(error) = queue.try_send(job) {
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
            return Err(match error {
                TrySendError::Full(_) => PoolError::Full,
                TrySendError::Disconnected(_) => PoolError::ShutDown,
            });
        }
        self.grow(in_flight)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, WorkerThreads> {
        // The counters are valid after every statement, so a poisoned lock is as good as another.
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn grow(self: &Arc<Self>, in_flight: usize) -> Result<(), PoolError> {
        let mut threads = self.lock();
        if in_flight <= threads.alive || threads.alive >= self.max_threads {
            return Ok(());
        }
        threads.handles.retain(|handle| !handle.is_finished());
        threads.started += 1;
        let shared = Arc::clone(self);
        let builder =
            Builder::new().name(format!("tinclaw-worker-{}", threads.started)).stack_size(STACK_BYTES);
        let spawned = builder.spawn(move || shared.work());
        match spawned {
            Ok(handle) => {
                threads.alive += 1;
                threads.handles.push(handle);
                Ok(())
            }
            Err(error) if threads.alive > 0 => {
                log::warn!("no further worker thread can be started; {} are running: {error}", threads.alive);
                Ok(())
            }
            Err(error) => {
                log::error!("no worker thread could be started: {error}");
                // Nobody would ever run what is queued.
                while self.jobs.try_recv().is_ok() {
                    self.in_flight.fetch_sub(1, Ordering::AcqRel);
                }
                Err(PoolError::NoThread)
            }
        }
    }

    fn work(&self) {
        loop {
            match self.next_job() {
                Ok(job) => self.run(job),
                Err(RecvTimeoutError::Timeout) => {
                    if self.may_leave() {
                        return;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.lock().alive -= 1;
                    return;
                }
            }
        }
    }

    fn next_job(&self) -> Result<Task, RecvTimeoutError> {
        match receive_within(&self.jobs, RELEASE_TIME) {
            Err(RecvTimeoutError::Timeout) => {
                memory_pool::release_idle(RELEASE_TIME);
                receive_within(&self.jobs, self.idle_time)
            }
            received => received,
        }
    }

    fn run(&self, job: Task) {
        let outcome = catch_unwind(AssertUnwindSafe(job));
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        if let Err(panic) = outcome {
            self.panics.fetch_add(1, Ordering::Relaxed);
            log::error!(
                "a worker's job panicked, which is a bug in the host: {}",
                panic_text(panic.as_ref())
            );
        }
    }

    /// The last thread stays, so that the next job needs none to be started.
    fn may_leave(&self) -> bool {
        let mut threads = self.lock();
        let leaves = threads.alive > 1 && self.jobs.is_empty();
        if leaves {
            threads.alive -= 1;
        }
        leaves
    }
}

/// What a panic said, as far as that is text.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Instant;

    use super::*;

    fn wait_until(what: impl Fn() -> bool) {
        let give_up = Instant::now() + Duration::from_secs(20);
        while !what() {
            assert!(Instant::now() < give_up, "waited in vain");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn threads_are_started_only_as_needed_and_never_beyond_the_capacity() {
        let pool = WorkerPool::new(2);
        assert_eq!((pool.capacity(), pool.threads()), (2, 0));
        let gate = Arc::new(Barrier::new(3));
        for started in 1..=2 {
            let gate = Arc::clone(&gate);
            pool.submit(Box::new(move || {
                gate.wait();
            }))
            .unwrap();
            assert_eq!(pool.threads(), started);
        }
        for _ in 0..2 {
            pool.submit(Box::new(|| {})).unwrap();
        }
        assert_eq!(pool.threads(), 2);
        gate.wait();
        wait_until(|| pool.in_flight() == 0);
        pool.submit(Box::new(|| {})).unwrap();
        wait_until(|| pool.in_flight() == 0);
        assert_eq!(pool.threads(), 2, "idle threads are used again");
    }

    #[test]
    fn a_full_pool_says_so_and_does_not_block() {
        let pool = WorkerPool::new(1);
        let gate = Arc::new(Barrier::new(2));
        let running = Arc::clone(&gate);
        pool.submit(Box::new(move || {
            running.wait();
        }))
        .unwrap();
        wait_until(|| pool.shared.jobs.is_empty());
        pool.submit(Box::new(|| {})).unwrap();
        pool.submit(Box::new(|| {})).unwrap();
        assert_eq!(pool.submit(Box::new(|| {})), Err(PoolError::Full));
        assert_eq!(pool.in_flight(), 3);
        gate.wait();
    }

    #[test]
    fn others_take_no_thread_from_the_owner() {
        let pool = WorkerPool::shared(1, 2);
        let others = pool.handle();
        let gate = Arc::new(Barrier::new(3));
        for _ in 0..2 {
            let gate = Arc::clone(&gate);
            others
                .submit(Box::new(move || {
                    gate.wait();
                }))
                .unwrap();
        }
        let (done, finished) = bounded(1);
        pool.submit(Box::new(move || done.send(()).unwrap())).unwrap();
        finished.recv_timeout(Duration::from_secs(60)).expect("the owner's job runs beside those of others");
        gate.wait();
        assert_eq!(pool.capacity(), 1);
        pool.shutdown();
        assert_eq!(others.submit(Box::new(|| {})), Err(PoolError::ShutDown));
    }

    #[test]
    fn a_panic_is_counted_and_the_thread_goes_on() {
        let pool = WorkerPool::new(1);
        pool.submit(Box::new(|| panic!("a bug on purpose"))).unwrap();
        let (done, finished) = bounded(1);
        pool.submit(Box::new(move || {
            done.send(std::thread::current().name().map(str::to_owned)).unwrap();
        }))
        .unwrap();
        assert_eq!(finished.recv().unwrap().as_deref(), Some("tinclaw-worker-1"));
        assert_eq!(pool.panics(), 1);
    }

    #[test]
    fn idle_threads_end_except_for_one() {
        let pool = WorkerPool::with_idle_time(3, 0, Duration::from_millis(5));
        let gate = Arc::new(Barrier::new(4));
        for _ in 0..3 {
            let gate = Arc::clone(&gate);
            pool.submit(Box::new(move || {
                gate.wait();
            }))
            .unwrap();
        }
        assert_eq!(pool.threads(), 3);
        gate.wait();
        wait_until(|| pool.threads() == 1);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(pool.threads(), 1);
    }

    #[test]
    fn shutting_down_finishes_what_is_queued() {
        let pool = WorkerPool::new(2);
        let count = Arc::new(AtomicUsize::new(0));
        for _ in 0..4 {
            let count = Arc::clone(&count);
            pool.submit(Box::new(move || {
                std::thread::sleep(Duration::from_millis(5));
                count.fetch_add(1, Ordering::SeqCst);
            }))
            .unwrap();
        }
        pool.shutdown();
        assert_eq!(count.load(Ordering::SeqCst), 4);
    }
}
