//! The scheduler thread: sleeps until the next deadline and tells the router what is due.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::deadlines::Deadlines;
use crate::channel::ChannelName;
use crate::event::queue::{EventSender, NotQueued};
use crate::event::{Event, Wakeup};
use crate::model::clock::{self, ClockJump, ClockWatch, millis};
use crate::model::deadline::deadline_after;
use crate::model::vital_thread::spawn_vital;
use crate::model::wait::{receive, receive_until};

/// How many commands may wait for the scheduler. It never blocks on the router, so a sender waits microseconds.
const COMMAND_CAPACITY: usize = 1024;

/// How long a due wake-up waits before it is offered again to a router whose queue is full.
const RETRY_WHEN_FULL: Duration = Duration::from_millis(20);

/// How often the clocks are compared while something waits.
const COMPARE_CLOCKS: Duration = Duration::from_secs(15);

enum TimerCommand {
    Set(Wakeup, Instant),
    Cancel(Wakeup),
    CancelChannel(ChannelName),
}

/// Sets and cancels deadlines. Cheap to clone; when the last handle is gone the thread ends.
#[derive(Clone, Debug)]
pub struct SchedulerHandle {
    commands: Sender<TimerCommand>,
}

impl SchedulerHandle {
    /// Sets or replaces the deadline of `wakeup`.
    pub fn set(&self, wakeup: Wakeup, at: Instant) {
        // The thread ends only after every handle is gone, so there is always a receiver.
        let _ = self.commands.send(TimerCommand::Set(wakeup, at));
    }

    /// Forgets `wakeup`.
    pub fn cancel(&self, wakeup: Wakeup) {
        let _ = self.commands.send(TimerCommand::Cancel(wakeup));
    }

    /// Forgets every deadline of a channel.
    pub fn cancel_channel(&self, channel: ChannelName) {
        let _ = self.commands.send(TimerCommand::CancelChannel(channel));
    }
}

/// Starts the scheduler thread.
///
/// # Errors
/// When the system gives no thread.
pub fn start(router: EventSender) -> std::io::Result<(SchedulerHandle, JoinHandle<()>)> {
    if let Some(doubt) = clock::implausible(clock::unix_ms()) {
        log::warn!("{doubt}; times in the log and signatures that name a time are not right until it is set");
    }
    start_with(router, clock::unix_ms, COMPARE_CLOCKS)
}

fn start_with(
    router: EventSender,
    wall: impl Fn() -> u64 + Send + 'static,
    compare_every: Duration,
) -> std::io::Result<(SchedulerHandle, JoinHandle<()>)> {
    let (commands, inbox) = bounded(COMMAND_CAPACITY);
    let watch = ClockWatch::new(Instant::now(), wall());
    let mut scheduler = Scheduler { deadlines: Deadlines::default(), router, watch, wall, compare_every };
    let thread = spawn_vital("tinclaw-scheduler", move || while scheduler.turn(&inbox) {})?;
    Ok((SchedulerHandle { commands }, thread))
}

struct Scheduler<W> {
    deadlines: Deadlines<Wakeup>,
    router: EventSender,
    watch: ClockWatch,
    wall: W,
    compare_every: Duration,
}

impl<W: Fn() -> u64> Scheduler<W> {
    /// Waits for a command or a deadline, and deals with it; false when nobody can use the scheduler any more.
    fn turn(&mut self, inbox: &Receiver<TimerCommand>) -> bool {
        let command = match self.deadlines.next() {
            Some(at) => receive_until(inbox, at.min(deadline_after(Instant::now(), self.compare_every))),
            None => receive(inbox).map_err(|_| RecvTimeoutError::Disconnected),
        };
        match command {
            Ok(TimerCommand::Set(wakeup, at)) => self.deadlines.set(wakeup, at),
            Ok(TimerCommand::Cancel(wakeup)) => {
                self.deadlines.cancel(&wakeup);
            }
            Ok(TimerCommand::CancelChannel(channel)) => {
                self.deadlines.cancel_all(|wakeup| wakeup.channel() == Some(&channel));
            }
            Err(RecvTimeoutError::Timeout) => self.compare_clocks(),
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        self.fire_due()
    }

    /// Deadlines are moments of the monotonic clock. When the wall clock was set ahead, what waits for one of its moments
    /// may be due earlier. When it was set back, everything lasts for as long as it was going to.
    fn compare_clocks(&mut self) {
        let now = Instant::now();
        match self.watch.look(now, (self.wall)()) {
            Some(ClockJump::Ahead(by)) => {
                log::info!(
                    "this host's clock was set ahead by {}, or the machine slept",
                    clock::in_words(millis(by))
                );
                self.deadlines.set(Wakeup::ClockAhead, now);
            }
            Some(ClockJump::Back(by)) => {
                log::info!("this host's clock was set back by {}", clock::in_words(millis(by)));
            }
            None => {}
        }
    }

    /// Offers all that is due to the router; false when the router is gone.
    fn fire_due(&mut self) -> bool {
        let now = Instant::now();
        while let Some(wakeup) = self.deadlines.pop_due(now) {
            match self.router.try_send(Event::Due(wakeup)) {
                Ok(()) => {}
                // Waiting for the router could stop both threads: it may be about to send a command here.
                Err(NotQueued::Full(Event::Due(wakeup))) => {
                    self.deadlines.set(wakeup, deadline_after(now, RETRY_WHEN_FULL));
                }
                Err(NotQueued::Full(_)) => {}
                Err(NotQueued::Closed(_)) => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::event::queue::event_queue;

    const GENEROUS: Duration = Duration::from_secs(60);

    // A board boots in 1972 and hears of the year later: a guest's timer that was due by then did not fire.
    #[test]
    fn the_router_hears_of_a_wall_clock_that_was_set_ahead_and_not_of_one_that_was_set_back() {
        let wall = Arc::new(AtomicU64::new(clock::unix_ms()));
        let shown = wall.clone();
        let (router, events) = event_queue(16);
        let begin = Instant::now();
        // The fake clock runs with the real one, plus what is added to it.
        let now = move || shown.load(Ordering::SeqCst) + millis(begin.elapsed());
        let (scheduler, thread) = start_with(router, now, Duration::from_millis(5)).unwrap();
        scheduler.set(Wakeup::QueueTimeout, Instant::now() + GENEROUS * 60);
        wall.fetch_sub(3_600_000, Ordering::SeqCst);
        assert!(events.channel().recv_timeout(Duration::from_millis(100)).is_err(), "nothing is due");
        wall.fetch_add(7_200_000, Ordering::SeqCst);
        let event = events.channel().recv_timeout(GENEROUS).expect("an event");
        assert!(matches!(event, Event::Due(Wakeup::ClockAhead)), "{event:?}");
        assert!(events.channel().recv_timeout(Duration::from_millis(100)).is_err(), "it is told once");
        drop(scheduler);
        thread.join().unwrap();
    }
}
