//! Requests that wait for a change of their channel's workspace.

use std::sync::Arc;
use std::time::Instant;

use wit_abi::types::IncomingHttpRequest;

use crate::channel::ChannelName;
use crate::channel::job::{Job, Purpose};
use crate::channel::waiting::{WaitingRequest, take_wait};
use crate::event::Wakeup;
use crate::event::arrival::RequestIdentity;
use crate::event::callback::{Callback, CallbackValue};
use crate::event::response::{ResponseSender, WebhookRefusal};

use super::core::Router;

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

impl Router {
    /// Lets a request wait when the guest asks for it; else gives it back.
    pub(super) fn wait_if_asked(
        &mut self,
        channel: &ChannelName,
        handled: HandledRequest,
        value: &mut CallbackValue,
    ) -> Option<HandledRequest> {
        let CallbackValue::Http(response) = value else { return Some(handled) };
        let Some(wait) = take_wait(response) else { return Some(handled) };
        let now = Instant::now();
        let since = handled.since.unwrap_or(now);
        let Some(slot) = self.channels.get_mut(channel) else { return Some(handled) };
        let until = slot.waiting_requests.until(since, wait, now);
        let Some(until) = until.filter(|_| self.stopping.is_none()) else { return Some(handled) };
        let HandledRequest { request, identities, responder, is_outdated, .. } = handled;
        let waiting = WaitingRequest { request, identities, responder: responder.park(), since, until };
        if is_outdated {
            self.run_waiting(channel, waiting);
        } else {
            slot.waiting_requests.add(waiting);
            self.watch_waiting(channel);
        }
        None
    }

    /// The channel's workspace has changed: every request that waits for that is run again.
    pub(super) fn workspace_changed(&mut self, channel: &ChannelName) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        for waiting in slot.waiting_requests.take_all() {
            self.run_waiting(channel, waiting);
        }
    }

    /// The time of requests that wait is up, perhaps.
    pub(super) fn waiting_due(&mut self, channel: &ChannelName) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        for waiting in slot.waiting_requests.take_due(Instant::now()) {
            self.run_waiting(channel, waiting);
        }
        self.watch_waiting(channel);
    }

    /// Responds to the requests that wait, because their channel takes no more work.
    pub(super) fn refuse_parked(&mut self, channel: &ChannelName, refusal: &WebhookRefusal) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        for waiting in slot.waiting_requests.take_all() {
            self.webhook_failed(channel, &waiting.identities, waiting.responder, refusal.clone());
        }
    }

    fn run_waiting(&mut self, channel: &ChannelName, waiting: WaitingRequest) {
        let request = waiting.again(Instant::now());
        let WaitingRequest { identities, responder, since, .. } = waiting;
        let purpose = Purpose::Webhook { identities, responder };
        let job = Job { waiting_since: Some(since), ..Job::new(Callback::HttpRequest(request), purpose) };
        if let Err(job) = self.enqueue(channel, job)
            && let Purpose::Webhook { identities, responder } = job.purpose
        {
            self.webhook_failed(channel, &identities, responder, WebhookRefusal::Busy);
        }
    }

    fn watch_waiting(&mut self, channel: &ChannelName) {
        let next = self.channels.get(channel).and_then(|slot| slot.waiting_requests.next_due());
        if let Some(next) = next {
            self.scheduler.set(Wakeup::WaitingRequests(channel.clone()), next);
        }
    }
}
