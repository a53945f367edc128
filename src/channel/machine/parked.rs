//! Requests that wait for a change of their channel's workspace.

use std::sync::Arc;
use std::time::Instant;

use wit_abi::types::IncomingHttpRequest;

use super::Channel;
use super::turn::Turn;
use crate::channel::job::{Job, Purpose};
use crate::channel::waiting_requests::{WaitingRequest, take_wait};
use crate::event::arrival::{Due, RequestIdentity};
use crate::event::callback::{Callback, CallbackValue};
use crate::event::response::{ResponseSender, WebhookRefusal};

/// A request that a guest has handled.
pub(super) struct HandledRequest {
    pub request: Arc<IncomingHttpRequest>,
    pub identities: Vec<RequestIdentity>,
    pub responder: ResponseSender,
    /// When it began to wait, if it has waited.
    pub since: Option<Instant>,
    /// The workspace has changed since the guest read it.
    pub is_outdated: bool,
}

impl Channel {
    /// Lets a request wait when the guest asks for it; else returns it.
    pub(super) fn wait_if_asked(
        &mut self,
        handled: HandledRequest,
        value: &mut CallbackValue,
        turn: &mut Turn<'_>,
    ) -> Option<HandledRequest> {
        let CallbackValue::Http(response) = value else { return Some(handled) };
        let Some(wait) = take_wait(response) else { return Some(handled) };
        let since = handled.since.unwrap_or(turn.at.now);
        self.end_abandoned(turn);
        let until = self.waiting_requests.until(since, wait, turn.at.now);
        let Some(until) = until.filter(|_| !self.is_ending) else { return Some(handled) };
        let HandledRequest { request, identities, responder, is_outdated, .. } = handled;
        let waiting = WaitingRequest { request, identities, responder: responder.park(), since, until };
        if is_outdated {
            self.run_waiting(waiting, turn);
        } else {
            self.waiting_requests.add(waiting);
            self.watch_waiting(turn);
        }
        None
    }

    /// The channel's workspace has changed: every request that waits for that is run again.
    pub(super) fn workspace_changed(&mut self, turn: &mut Turn<'_>) {
        self.end_abandoned(turn);
        for waiting in self.waiting_requests.take_all() {
            self.run_waiting(waiting, turn);
        }
    }

    /// Gives the places of requests whose clients have left to others.
    fn end_abandoned(&mut self, turn: &mut Turn<'_>) {
        for waiting in self.waiting_requests.take_abandoned() {
            self.request_failed(&waiting.identities, waiting.responder, WebhookRefusal::Busy, turn);
        }
    }

    /// The time of requests that wait is up, perhaps.
    pub(super) fn waiting_due(&mut self, turn: &mut Turn<'_>) {
        for waiting in self.waiting_requests.take_due(turn.at.now) {
            self.run_waiting(waiting, turn);
        }
        self.watch_waiting(turn);
    }

    /// Responds to those that wait, because the channel takes no more work.
    pub(super) fn refuse_parked(&mut self, refusal: &WebhookRefusal, turn: &mut Turn<'_>) {
        for waiting in self.waiting_requests.take_all() {
            self.request_failed(&waiting.identities, waiting.responder, refusal.clone(), turn);
        }
    }

    fn run_waiting(&mut self, waiting: WaitingRequest, turn: &mut Turn<'_>) {
        let request = waiting.again(turn.at.now);
        let WaitingRequest { identities, responder, since, .. } = waiting;
        let purpose = Purpose::Webhook { identities, responder };
        let job = Job {
            waiting_since: Some(since),
            ..Job::new(Callback::HttpRequest(request), purpose, turn.at.now)
        };
        if let Err(job) = self.enqueue(job, turn) {
            self.refuse_job(*job, WebhookRefusal::Busy, turn);
        }
    }

    fn watch_waiting(&mut self, turn: &mut Turn<'_>) {
        if let Some(next) = self.waiting_requests.next_due() {
            turn.set(Due::WaitingRequests, next);
        }
    }
}
