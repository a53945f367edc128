//! Requests and their responses.

use std::time::{Duration, Instant};

use wit_abi::types::OutgoingHttpResponse;

use crate::channel::ChannelName;
use crate::event::Wakeup;
use crate::event::arrival::{RequestIdentity, Webhook};
use crate::event::callback::{Callback, CallbackReport, CallbackValue};
use crate::event::completion::RespondedRequest;
use crate::event::response::{ResponseSender, WebhookRefusal, WebhookResponse};
use crate::model::deadline::deadline_after;
use crate::sandbox::WasmChannelError;
use crate::server::responses::headers_of;
use crate::store::{Batch, Change, CommitError, DedupeId};

use super::core::Router;
use super::responded::RespondedSender;
use crate::channel::dedupe::{Arrival, stored_response};
use crate::channel::job::{Job, Purpose};
use crate::channel::lane::LaneKind;
use crate::channel::state::State;
use crate::model::clock::steady_ms;

impl Router {
    /// A request has come in: it is refused at once, recognised as a repeat, or queued.
    pub(super) fn webhook_arrived(&mut self, webhook: Webhook) {
        let Webhook { channel, request, identities, received, responder } = webhook;
        if let Some(refusal) = self.refusal(&channel) {
            return responder.refuse(refusal);
        }
        let Some(slot) = self.channels.get_mut(&channel) else {
            return responder.refuse(WebhookRefusal::NotFound);
        };
        let responder = match slot.seen.arrive(&identities, responder, steady_ms()) {
            Arrival::New(responder) => responder,
            Arrival::Waits => return self.await_response(),
            Arrival::Refused(responder) => return responder.refuse(WebhookRefusal::Busy),
            Arrival::Repeat { responder, id } => return self.respond_to_duplicate(&channel, responder, id),
        };
        let job = Job {
            queued: received,
            ..Job::new(Callback::HttpRequest(request), Purpose::Webhook { identities, responder })
        };
        if let Err(job) = self.enqueue(&channel, job) {
            if let Purpose::Webhook { identities, responder } = job.purpose {
                self.webhook_failed(&channel, &identities, responder, WebhookRefusal::Busy);
            }
        } else if !self.watches_queues {
            // One deadline for all queues, set anew when it passes: one for each request would wake the scheduler for
            // each.
            self.watches_queues = true;
            self.scheduler.set(Wakeup::QueueTimeout, deadline_after(received, self.config.queue_timeout));
        }
    }

    /// Why a channel takes no request now.
    fn refusal(&self, channel: &ChannelName) -> Option<WebhookRefusal> {
        if self.stopping.is_some() {
            return Some(WebhookRefusal::Stopping);
        }
        let slot = self.channels.get(channel)?;
        match slot.state {
            State::Starting => return Some(WebhookRefusal::Starting),
            State::Stopping => return Some(WebhookRefusal::Stopping),
            State::Paused => {
                let until = slot.breaker.pause().map_or_else(Instant::now, |pause| pause.until);
                return Some(WebhookRefusal::Paused {
                    retry_after: until.saturating_duration_since(Instant::now()),
                });
            }
            State::Ready => {}
        }
        if !self.storage.takes_messages() {
            return Some(WebhookRefusal::StoreUnavailable);
        }
        self.mailbox.is_full().then_some(WebhookRefusal::Busy)
    }

    /// The guest has returned its response, which leaves when everything that the callback did is durable.
    pub(super) fn webhook_succeeded(
        &mut self,
        channel: &ChannelName,
        mut identities: Vec<RequestIdentity>,
        responder: ResponseSender,
        value: CallbackValue,
        mut batch: Batch,
    ) {
        let CallbackValue::Http(response) = value else {
            return self.webhook_failed(channel, &identities, responder, WebhookRefusal::CallbackFailed);
        };
        // The sender tries again after an error of the guest: it must not be taken for a repeat.
        if response.status >= 500 {
            self.forget_identities(channel, &identities, &WebhookResponse::Guest(response.clone()));
            identities.clear();
        }
        let now_ms = steady_ms();
        let stored: Vec<DedupeId> = identities.iter().map(|_| self.storage.ids().dedupe_key()).collect();
        batch.changes.extend(identities.iter().zip(&stored).map(|(identity, id)| Change::Dedupe {
            id: *id,
            channel: channel.shared(),
            key: *identity.key.as_bytes(),
            at_ms: now_ms,
            expires_ms: identity.expires_ms,
            response: identity.keep_response.then(|| stored_response(&response)),
        }));
        // Without changes of its own the response may still depend on an earlier callback's, which are in memory only: a guest
        // that recognises a repeat by its workspace says 200 for the first one as well.
        if batch.changes.is_empty() && self.storage.is_idle() {
            return responder.send(WebhookResponse::Guest(response));
        }
        let mut pending = PendingResponse {
            channel: channel.clone(),
            identities,
            stored,
            response,
            responder: Some(responder),
            responded: self.responded.sender(),
        };
        self.storage.commit_then(batch, &self.mailbox, move |outcome| pending.stored(outcome));
    }

    /// A repeat waits for the response to the first. That may have been given just now.
    fn await_response(&mut self) {
        self.responded.wake_at_next();
        self.take_responded();
    }

    /// Notes the responses to requests since the last time.
    pub(super) fn take_responded(&mut self) {
        while let Some(request) = self.responded.take() {
            self.request_responded(&request);
        }
    }

    /// The first of several equal requests has its response.
    fn request_responded(&mut self, responded: &RespondedRequest) {
        let RespondedRequest { channel, identities, stored, is_delayed, response } = responded;
        let Some(slot) = self.channels.get_mut(channel) else { return };
        let waiting = match response {
            _ if *is_delayed => slot.seen.take_waiting(identities),
            WebhookResponse::Guest(_) => slot.seen.done(identities, stored),
            WebhookResponse::Refused(_) => slot.seen.forget(identities),
        };
        for slot in waiting {
            slot.send(response.clone());
        }
    }

    /// A request got no response of the guest.
    pub(super) fn webhook_failed(
        &mut self,
        channel: &ChannelName,
        identities: &[RequestIdentity],
        responder: ResponseSender,
        refusal: WebhookRefusal,
    ) {
        let refused = WebhookResponse::Refused(refusal);
        self.forget_identities(channel, identities, &refused);
        responder.send(refused);
    }

    fn forget_identities(
        &mut self,
        channel: &ChannelName,
        identities: &[RequestIdentity],
        responder: &WebhookResponse,
    ) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        for waiting in slot.seen.forget(identities) {
            waiting.send(responder.clone());
        }
    }

    /// A repeat gets what the first one got, if that was kept.
    fn respond_to_duplicate(
        &mut self,
        channel: &ChannelName,
        responder: ResponseSender,
        id: Option<DedupeId>,
    ) {
        log::debug!(target: channel.as_str(), "channel {channel}: a duplicate request gets its response without running the guest");
        match id {
            Some(id) => self.storage.respond_from_store(id, responder),
            None => responder.send(WebhookResponse::Guest(crate::channel::dedupe::empty_ok())),
        }
    }

    /// Requests that waited too long for their turn: the sender has given up, or is about to.
    pub(super) fn refuse_overdue(&mut self) {
        let now = Instant::now();
        let timeout = self.config.queue_timeout;
        let channels: Vec<_> = self.channels.keys().cloned().collect();
        let mut next: Option<Instant> = None;
        for channel in channels {
            while let Some(slot) = self.channels.get_mut(&channel) {
                let lane = slot.lane(LaneKind::Inbound);
                let Some(job) = lane.peek() else { break };
                if deadline_after(job.queued, timeout) > now
                    || !matches!(job.purpose, Purpose::Webhook { .. })
                {
                    let due = deadline_after(job.queued, timeout);
                    next = Some(next.map_or(due, |next| next.min(due)));
                    break;
                }
                let Some(job) = lane.remove_first() else { break };
                if let Purpose::Webhook { identities, responder } = job.purpose {
                    self.webhook_failed(&channel, &identities, responder, WebhookRefusal::Busy);
                }
            }
        }
        self.watches_queues = next.is_some();
        if let Some(next) = next {
            self.scheduler
                .set(Wakeup::QueueTimeout, next.max(deadline_after(now, Duration::from_millis(100))));
        }
    }

    /// A channel that is paused or stops responds to those that wait for it.
    pub(super) fn refuse_waiting_webhooks(&mut self, channel: &ChannelName) {
        let refusal = self.refusal(channel).unwrap_or(WebhookRefusal::Busy);
        self.refuse_parked(channel, &refusal);
        let Some(slot) = self.channels.get_mut(channel) else { return };
        let waiting: Vec<Job> = slot.lane(LaneKind::Inbound).take_all().into();
        let (webhooks, others): (Vec<Job>, Vec<Job>) =
            waiting.into_iter().partition(|job| matches!(job.purpose, Purpose::Webhook { .. }));
        for job in others {
            // The lane had room for it a moment ago.
            let _ = slot.lane(LaneKind::Inbound).push(job);
        }
        for job in webhooks {
            if let Purpose::Webhook { identities, responder } = job.purpose {
                self.webhook_failed(channel, &identities, responder, refusal.clone());
            }
        }
    }
}

/// The response to a request, until what its callback did is durable.
struct PendingResponse {
    channel: ChannelName,
    identities: Vec<RequestIdentity>,
    /// Where they are kept.
    stored: Vec<DedupeId>,
    response: OutgoingHttpResponse,
    /// None once the client has been told to come back.
    responder: Option<ResponseSender>,
    responded: RespondedSender,
}

impl PendingResponse {
    /// The store has the batch, has failed, or will never have it. After a failure the client is told to come back, although
    /// the batch will be kept: at-least-once allows that, and an id of the provider's makes it once.
    fn stored(&mut self, outcome: Result<(), CommitError>) {
        let is_delayed = matches!(outcome, Err(CommitError::Unavailable { .. }));
        let response = match outcome {
            Ok(()) => WebhookResponse::Guest(std::mem::take(&mut self.response)),
            Err(_) => WebhookResponse::Refused(WebhookRefusal::StoreUnavailable),
        };
        if !self.identities.is_empty() {
            self.responded.send(RespondedRequest {
                channel: self.channel.clone(),
                identities: self.identities.clone(),
                stored: self.stored.clone(),
                is_delayed,
                response: response.clone(),
            });
        }
        if let Some(responder) = self.responder.take() {
            responder.send(response);
        }
    }
}

/// A response that cannot be sent is an error of the callback, found before anything of it is kept: the sender is told 500
/// and tries again. Done by the worker.
pub(super) fn check_response(channel: &str, report: &mut CallbackReport) {
    if let Ok(CallbackValue::Http(response)) = &report.result
        && let Err(reason) = headers_of(response)
    {
        report.result = Err(WasmChannelError::UnusableResponse { channel: channel.to_owned(), reason });
    }
}
