//! The scheduler thread: sleeps until the next deadline and tells the router what is due.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use crate::event::{Event, Wakeup};
use crate::model::deadline::deadline_after;

use super::deadlines::Deadlines;

/// How many commands may wait for the scheduler. It never blocks on the router, so a sender waits microseconds.
const COMMAND_CAPACITY: usize = 1024;

/// How long a due wake-up waits before it is offered again to a router whose queue is full.
const RETRY_WHEN_FULL: Duration = Duration::from_millis(20);

enum Command {
    Set(Wakeup, Instant),
    Cancel(Wakeup),
}

/// Sets and cancels deadlines. Cheap to clone; when the last handle is gone the thread ends.
#[derive(Clone, Debug)]
pub struct SchedulerHandle {
    commands: Sender<Command>,
}

impl SchedulerHandle {
    /// Sets or replaces the deadline of `wakeup`.
    pub fn set(&self, wakeup: Wakeup, at: Instant) {
        // The thread ends only after every handle is gone, so there is always a receiver.
        let _ = self.commands.send(Command::Set(wakeup, at));
    }

    /// Forgets `wakeup`.
    pub fn cancel(&self, wakeup: Wakeup) {
        let _ = self.commands.send(Command::Cancel(wakeup));
    }
}

/// Starts the scheduler thread.
///
/// # Errors
/// When the system gives no thread.
pub fn start(router: Sender<Event>) -> std::io::Result<(SchedulerHandle, JoinHandle<()>)> {
    let (commands, inbox) = bounded(COMMAND_CAPACITY);
    let thread =
        thread::Builder::new().name("tinclaw-scheduler".into()).spawn(move || run(&inbox, &router))?;
    Ok((SchedulerHandle { commands }, thread))
}

fn run(inbox: &Receiver<Command>, router: &Sender<Event>) {
    let mut deadlines = Deadlines::default();
    loop {
        let command = match deadlines.next() {
            Some(at) => inbox.recv_deadline(at),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match command {
            Ok(Command::Set(wakeup, at)) => deadlines.set(wakeup, at),
            Ok(Command::Cancel(wakeup)) => {
                deadlines.cancel(&wakeup);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if !fire_due(&mut deadlines, router) {
            return;
        }
    }
}

/// Offers all that is due to the router; false when the router is gone.
fn fire_due(deadlines: &mut Deadlines<Wakeup>, router: &Sender<Event>) -> bool {
    let now = Instant::now();
    while let Some(wakeup) = deadlines.pop_due(now) {
        match router.try_send(Event::Due(wakeup)) {
            Ok(()) => {}
            // Waiting for the router could stop both threads: it may be about to send a command here.
            Err(TrySendError::Full(Event::Due(wakeup))) => {
                deadlines.set(wakeup, deadline_after(now, RETRY_WHEN_FULL))
            }
            Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => return false,
        }
    }
    true
}
