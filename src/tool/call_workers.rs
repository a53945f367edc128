//! Where calls run: on the threads and in the memory of a host, or on their own when there is none.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use crate::sandbox::{MemoryBudget, PoolError, Task, WorkerHandle, WorkerPool};

/// Calls that wait for each that may run.
const WAITING_PER_CALL: usize = 2;

/// What a host lends to tools.
#[derive(Clone)]
pub(crate) struct HostRoom {
    /// The threads that run the callbacks of channels, with as many more as calls may run at a time.
    pub(crate) workers: WorkerHandle,
    /// What all guests may have together.
    pub(crate) memory: MemoryBudget,
    /// Called when a call has ended: a callback may have waited for its memory.
    pub(crate) memory_freed: Arc<dyn Fn() + Send + Sync>,
}

/// At most so many calls at a time, in at most so much memory.
pub(super) struct CallRoom {
    calls: usize,
    memory_limit: usize,
    own_memory: MemoryBudget,
    /// Made when a call needs it: with a host, none does.
    own_workers: OnceLock<WorkerPool>,
    /// The host's, and the part of its memory that tools may have. Held for a look only.
    host: RwLock<Option<(HostRoom, MemoryBudget)>>,
    /// Held to count and to take a call out of the queue, never while one runs.
    turns: Arc<Mutex<Turns>>,
}

/// Which calls run and wait. A call is counted in `running` from before it is given to a worker until it has ended or was
/// dropped: [`CallRoom::submit`] adds one, and [`CallTurn`] takes it away when it is dropped, or passes its place on to the next one. Only
/// while as many run as may is there one in `waiting`.
#[derive(Default)]
struct Turns {
    running: usize,
    waiting: VecDeque<Task>,
}

impl CallRoom {
    pub fn new(calls: usize, memory_limit: usize) -> Self {
        Self {
            calls: calls.max(1),
            memory_limit,
            own_memory: MemoryBudget::new(memory_limit),
            own_workers: OnceLock::new(),
            host: RwLock::new(None),
            turns: Arc::default(),
        }
    }

    /// From now on calls run in this host's room.
    pub fn move_to(&self, host: HostRoom) {
        let memory = host.memory.part(self.memory_limit);
        *self.host.write().unwrap_or_else(PoisonError::into_inner) = Some((host, memory));
    }

    /// What the calls that run may have together.
    pub fn memory(&self) -> MemoryBudget {
        let host = self.host.read().unwrap_or_else(PoisonError::into_inner);
        host.as_ref().map_or_else(|| self.own_memory.clone(), |(_, memory)| memory.clone())
    }

    /// Hands over a call, which waits when as many run as may.
    ///
    /// # Errors
    /// The call was dropped: too many wait, or there is no thread for it.
    pub fn submit(&self, call: Task) -> Result<(), PoolError> {
        let mut turns = lock(&self.turns);
        if turns.running >= self.calls {
            if turns.waiting.len() >= self.calls * WAITING_PER_CALL {
                return Err(PoolError::Full);
            }
            turns.waiting.push_back(call);
            return Ok(());
        }
        turns.running += 1;
        drop(turns);
        let (workers, memory_freed) = self.workers();
        start(CallTurn { turns: Arc::clone(&self.turns), workers, memory_freed, call: Some(call) })
    }

    fn workers(&self) -> (WorkerHandle, Option<Arc<dyn Fn() + Send + Sync>>) {
        let host = self.host.read().unwrap_or_else(PoisonError::into_inner);
        match host.as_ref() {
            Some((host, _)) => (host.workers.clone(), Some(Arc::clone(&host.memory_freed))),
            None => (self.own_workers.get_or_init(|| WorkerPool::new(self.calls)).handle(), None),
        }
    }
}

/// A call that counts as running. It holds nothing that owns a pool: the last owner of a pool waits for its threads, and must
/// not be one of them.
struct CallTurn {
    turns: Arc<Mutex<Turns>>,
    workers: WorkerHandle,
    memory_freed: Option<Arc<dyn Fn() + Send + Sync>>,
    call: Option<Task>,
}

fn start(turn: CallTurn) -> Result<(), PoolError> {
    let workers = turn.workers.clone();
    workers.submit(Box::new(move || turn.run()))
}

impl CallTurn {
    fn run(mut self) {
        if let Some(call) = self.call.take() {
            call();
        }
    }
}

/// Also when the call panicked, or no worker took it.
impl Drop for CallTurn {
    fn drop(&mut self) {
        if let Some(memory_freed) = &self.memory_freed {
            memory_freed();
        }
        let next = {
            let mut turns = lock(&self.turns);
            let next = turns.waiting.pop_front();
            if next.is_none() {
                turns.running = turns.running.saturating_sub(1);
            }
            next
        };
        let Some(call) = next else { return };
        let (workers, memory_freed) = (self.workers.clone(), self.memory_freed.clone());
        // One that finds no worker is dropped, which tells its caller.
        let _ = start(CallTurn { turns: Arc::clone(&self.turns), workers, memory_freed, call: Some(call) });
    }
}

fn lock(turns: &Mutex<Turns>) -> MutexGuard<'_, Turns> {
    // Nothing that holds it panics half-way.
    turns.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use crossbeam_channel::{Receiver, bounded, unbounded};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A call that says that it runs, and ends when told.
    fn held(started: &crossbeam_channel::Sender<()>, gate: &Receiver<()>) -> Task {
        let (started, gate) = (started.clone(), gate.clone());
        Box::new(move || {
            started.send(()).unwrap();
            let _ = gate.recv_timeout(PATIENCE);
        })
    }

    #[test]
    fn so_many_calls_run_twice_as_many_wait_and_one_more_is_refused() {
        let room = CallRoom::new(2, 1 << 20);
        let (started, starts) = unbounded();
        let (open, gate) = unbounded();
        for _ in 0..2 * (1 + WAITING_PER_CALL) {
            room.submit(held(&started, &gate)).unwrap();
        }
        assert_eq!(room.submit(Box::new(|| {})), Err(PoolError::Full));
        for _ in 0..2 {
            starts.recv_timeout(PATIENCE).unwrap();
        }
        assert!(starts.is_empty(), "only two run");
        for _ in 0..6 {
            open.send(()).unwrap();
        }
        for _ in 0..4 {
            starts.recv_timeout(PATIENCE).expect("those that waited run");
        }
    }

    #[test]
    fn in_a_host_its_threads_and_its_memory_are_used_and_it_hears_of_each_end() {
        let (pool, whole) = (WorkerPool::shared(1, 1), MemoryBudget::new(100));
        let (freed, (told, ends)) = (Arc::new(AtomicUsize::new(0)), bounded(8));
        let counted = Arc::clone(&freed);
        let memory_freed: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            told.send(()).unwrap();
        });
        let room = CallRoom::new(1, 60);
        room.move_to(HostRoom { workers: pool.handle(), memory: whole.clone(), memory_freed });
        assert!(room.memory().reserve(61).is_none());
        let held = room.memory().reserve(60);
        assert!(held.is_some() && whole.reserve(41).is_none(), "what tools have, channels have not");
        room.submit(Box::new(|| panic!("a bug on purpose"))).unwrap();
        ends.recv_timeout(PATIENCE).unwrap();
        room.submit(Box::new(|| {})).unwrap();
        ends.recv_timeout(PATIENCE).expect("a call that panicked keeps no other from running");
        assert!(room.own_workers.get().is_none());
        pool.shutdown();
        assert_eq!(room.submit(Box::new(|| {})), Err(PoolError::ShutDown));
        assert_eq!(room.submit(Box::new(|| {})), Err(PoolError::ShutDown), "a refused call is not counted");
    }
}
