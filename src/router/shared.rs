//! The router behind a lock, so that a thread with news can run it.
//!
//! Handing news to another thread costs two context switches, and each thread that is woken runs later than one that runs
//! already. So a worker that has ended a callback, and the HTTP thread that has a request, take the router when nobody has
//! it. When somebody does, they queue their news and go on: the router's own thread sleeps on the queues and takes what
//! is in them. Nobody else ever waits for the router.
//!
//! # Invariants
//! - Everything that runs the router holds the lock, so events and completions are handled one at a time. They are taken out of their
//!   queues under it, too, so they are handled in the order in which they were sent.
//! - A request is handled at once only when no event is queued or in the hands of the router's thread
//!   ([`EventReceiver::is_caught_up`]): requests of one client stay in order.
//! - The store's thread and the scheduler's never run the router: it waits for the store's queue, and sets deadlines.
//! - During a shutdown only the router's own thread runs it, which notices the end.
//!
//! [`EventReceiver::is_caught_up`]: crate::event::queue::EventReceiver::is_caught_up

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use crossbeam_channel::{Receiver, Select, TryRecvError};

use super::dispatch::Work;
use super::state::Router;
use crate::event::Event;
use crate::event::callback::CallbackReport;
use crate::event::completion::{Completion, Ticket};
use crate::event::queue::HandleNow;
use crate::model::vital_thread::end_process_on_panic;

/// A router that several threads may run, one at a time: whoever holds the lock runs it. It is there until its own thread takes it out
/// at the end.
pub struct SharedRouter(Mutex<Option<Router>>);

impl SharedRouter {
    /// Shares a router. It works when [`SharedRouter::run`] is called.
    #[must_use]
    pub fn new(router: Router) -> Arc<Self> {
        Arc::new_cyclic(|shared: &Weak<Self>| Self(Mutex::new(Some(router.shared_as(shared.clone())))))
    }

    /// Works until a shutdown is complete, or until nobody can send events any more.
    pub fn run(&self) {
        let Some((completions, events)) = self.lock().as_ref().map(Router::queues) else { return };
        while self.lock().as_mut().is_some_and(|router| !router.is_done()) {
            if !self.take_next(&completions, &events) {
                break;
            }
        }
        let router = self.lock().take();
        if let Some(router) = router {
            router.end();
        }
    }

    /// Waits for news and handles them. False when there will be none.
    fn take_next(&self, completions: &Receiver<Completion>, events: &Receiver<Event>) -> bool {
        let mut news = Select::new();
        news.recv(completions);
        news.recv(events);
        // Nothing is taken yet: a worker that has the router would handle later completions before one in these hands.
        news.ready();
        let mut guard = self.lock();
        let Some(router) = guard.as_mut() else { return false };
        let event = match events.try_recv() {
            Ok(event) => Some(event),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => return false,
        };
        router.news(event);
        true
    }

    /// A worker has ended a callback. Returns another one that this worker is to run, when there is one.
    pub(super) fn callback_ended(
        &self,
        ticket: Ticket,
        report: Box<CallbackReport>,
    ) -> Result<Option<Work>, Box<CallbackReport>> {
        let Ok(mut guard) = self.0.try_lock() else { return Err(report) };
        match guard.as_mut().filter(|router| router.may_be_run_by_all()) {
            Some(router) => {
                Ok(end_process_on_panic("tinclaw-router", || router.ended_on_worker(ticket, *report)))
            }
            None => Err(report),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Router>> {
        // A panic under the lock ends the process.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl HandleNow for SharedRouter {
    fn handle_now(&self, event: Event) -> Result<(), Event> {
        let Ok(mut guard) = self.0.try_lock() else { return Err(event) };
        match guard.as_mut().filter(|router| router.may_be_run_by_all() && router.has_no_event()) {
            Some(router) => {
                end_process_on_panic("tinclaw-router", || router.event_at_once(event));
                Ok(())
            }
            None => Err(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use crossbeam_channel::unbounded;

    use super::*;
    use crate::event::arrival::RouterCommand;
    use crate::event::queue::event_queue;
    use crate::inbox::{DeadLetterNotice, DeliveryPolicy, Mailbox, QueueLimits, StoredMessage};
    use crate::router::{RouterConfig, RouterParts, scheduler};
    use crate::sandbox::{StopFlag, WorkerPool};
    use crate::store::{MemoryStore, MessageId, NewReply, PendingReply, Retention, StoreThread};
    use crate::test_support::eventually;

    struct Silent;

    impl DeadLetterNotice for Silent {
        fn reply_to(&self, _: MessageId, _: &StoredMessage, _: Option<&str>) -> Option<NewReply> {
            None
        }

        fn stored(&self, _: PendingReply) {}
    }

    /// The router's thread took a completion and then waited for the router, which a worker had. That one handled those behind it first: a
    /// reply came to its channel after later ones of its conversation, and was sent after them.
    #[test]
    fn a_completion_stays_in_its_queue_while_another_thread_has_the_router() {
        let (completed, completions) = unbounded();
        let (events, inbox) = event_queue(1);
        let (scheduler, _scheduler_thread) = scheduler::start(events.clone()).unwrap();
        let store = StoreThread::in_memory(MemoryStore::new(), &Retention::default());
        let (limits, policy) = (QueueLimits::default(), DeliveryPolicy::default());
        let parts = RouterParts {
            events: inbox,
            completions: completions.clone(),
            completed: completed.clone(),
            scheduler,
            workers: WorkerPool::shared(1, 0),
            store: store.handle(),
            mailbox: Mailbox::new(store.handle(), limits, policy, Box::new(Silent)),
            stop: StopFlag::default(),
            end_webhook_requests: Box::new(|| {}),
            replies_waiting: Arc::default(),
        };
        let router = SharedRouter::new(Router::new(RouterConfig::default(), parts));
        let running = thread::spawn({
            let router = Arc::clone(&router);
            move || router.run()
        });
        completed.send(Completion::MemoryFreed).unwrap();
        eventually("the thread works", || completions.is_empty().then_some(()));
        let in_use = router.lock();
        completed.send(Completion::MemoryFreed).unwrap();
        let until = Instant::now() + Duration::from_millis(300);
        while Instant::now() < until {
            assert_eq!(completions.len(), 1, "somebody has taken it without having the router");
            thread::sleep(Duration::from_millis(1));
        }
        drop(in_use);
        eventually("it is handled", || completions.is_empty().then_some(()));
        events.send(Event::Command(RouterCommand::Shutdown { grace: Duration::ZERO })).ok().unwrap();
        running.join().unwrap();
    }
}
