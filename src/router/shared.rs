//! The router behind a lock, so that a thread with news can run it.
//!
//! Handing news to another thread costs two context switches, and each thread that is woken runs later than one that runs
//! already. So a worker that has ended a callback, and the HTTP thread that has a request, take the router when nobody has
//! it. When somebody does, they queue their news and go on: the router's own thread sleeps on the queues and takes what
//! is in them. Nobody else ever waits for the router.
//!
//! # Invariants
//! - Everything that runs the router holds the lock, so events and completions are handled one at a time.
//! - A request is handled at once only when no event is queued or in the hands of the router's thread
//!   ([`EventReceiver::is_caught_up`]): requests of one client stay in order.
//! - The store's thread and the scheduler's never run the router: it waits for the store's queue, and sets deadlines.
//! - During a shutdown only the router's own thread runs it, which notices the end.
//!
//! [`EventReceiver::is_caught_up`]: crate::event::queue::EventReceiver::is_caught_up

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use crossbeam_channel::{Receiver, select_biased};

use crate::event::Event;
use crate::event::callback::CallbackReport;
use crate::event::completion::{Completion, Ticket};
use crate::event::queue::HandleNow;
use crate::model::vital_thread::end_process_on_panic;

use super::dispatch::Work;
use super::state::Router;

/// A router that several threads may run, one at a time.
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
        select_biased! {
            recv(completions) -> completion => match (completion, self.lock().as_mut()) {
                (Ok(completion), Some(router)) => router.completed(completion),
                _ => return false,
            },
            recv(events) -> event => match (event, self.lock().as_mut()) {
                (Ok(event), Some(router)) => router.queued_event(event),
                _ => return false,
            },
        }
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
