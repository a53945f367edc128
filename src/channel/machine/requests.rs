//! Requests and their responses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::Level;

use super::served::name_request;
use super::turn::{Action, PendingResponse, Turn};
use super::{Channel, Phase};
use crate::channel::dedupe::Arrival;
use crate::channel::job::{Job, Purpose};
use crate::channel::lane::LaneKind;
use crate::event::arrival::{RequestIdentity, Webhook};
use crate::event::callback::{Callback, CallbackValue};
use crate::event::completion::RespondedRequest;
use crate::event::response::{ResponseSender, WebhookRefusal, WebhookResponse};
use crate::model::deadline::deadline_after;
use crate::net::channel_response::ChannelResponse;
use crate::store::{Batch, Change, DedupeId};

impl Channel {
    /// A request has come in: it is refused at once, recognised as a duplicate, or queued.
    pub fn request(&mut self, webhook: Webhook, turn: &mut Turn<'_>) {
        let Webhook { request, identities, client, received, responder, .. } = webhook;
        if let Some(refusal) = self.refusal(turn) {
            return turn.refuse(responder, refusal);
        }
        let responder = match self.recent_requests.arrive(&identities, responder, turn.at.steady_ms) {
            Arrival::New(responder) => responder,
            Arrival::Waits => return turn.act(Action::AwaitResponse),
            Arrival::Refused(responder) => return turn.refuse(responder, WebhookRefusal::Busy),
            Arrival::Duplicate { responder, id } => return self.respond_to_duplicate(responder, id, turn),
        };
        let purpose = Purpose::Webhook { identities, responder };
        let job = Job { client, ..Job::new(Callback::HttpRequest(request), purpose, received) };
        match self.enqueue(job, turn) {
            Ok(()) => turn.act(Action::RequestQueued(received)),
            Err(job) => self.refuse_job(*job, WebhookRefusal::Busy, turn),
        }
    }

    /// Why the channel takes no request now.
    fn refusal(&self, turn: &Turn<'_>) -> Option<WebhookRefusal> {
        if self.is_ending {
            return Some(WebhookRefusal::Stopping);
        }
        match self.state {
            Phase::Starting => return Some(WebhookRefusal::Starting),
            Phase::Stopping => return Some(WebhookRefusal::Stopping),
            Phase::Paused => {
                let until = self.breaker.pause().map_or(turn.at.now, |pause| pause.until);
                let retry_after = until.saturating_duration_since(turn.at.now);
                return Some(WebhookRefusal::Paused { retry_after });
            }
            Phase::Ready => {}
        }
        if !turn.host.store_takes_messages() {
            return Some(WebhookRefusal::StoreUnavailable);
        }
        turn.host.agent_is_busy().then_some(WebhookRefusal::Busy)
    }

    /// A duplicate gets what the first one got, if that was kept.
    fn respond_to_duplicate(&self, responder: ResponseSender, id: Option<DedupeId>, turn: &mut Turn<'_>) {
        let name = &self.settings.name;
        turn.log(
            Level::Debug,
            format!("channel {name}: a duplicate request gets its response without running the guest"),
        );
        match id {
            Some(id) => turn.act(Action::RespondFromStore(responder, id)),
            None => turn.respond(responder, WebhookResponse::Channel(Arc::new(ChannelResponse::empty_ok()))),
        }
    }

    /// The guest has returned its response, which leaves when everything that the callback did is durable.
    pub(super) fn request_succeeded(
        &mut self,
        mut identities: Vec<RequestIdentity>,
        responder: ResponseSender,
        value: CallbackValue,
        mut batch: Batch,
        turn: &mut Turn<'_>,
    ) {
        let CallbackValue::Http(response) = value else {
            turn.store(batch);
            return self.request_failed(&identities, responder, WebhookRefusal::CallbackFailed, turn);
        };
        let response = Arc::new(response);
        // The sender tries again after an error of the guest: it must not be taken for a duplicate.
        if response.status >= 500 {
            self.forget_identities(&identities, &WebhookResponse::Channel(response.clone()), turn);
            identities.clear();
        }
        let ids = &self.settings.ids;
        let stored: Vec<DedupeId> = identities.iter().map(|_| ids.dedupe_key()).collect();
        name_request(&mut batch.changes, stored.first().copied());
        batch.changes.extend(identities.iter().zip(&stored).map(|(identity, id)| Change::Dedupe {
            id: *id,
            channel: self.settings.name.shared(),
            key: *identity.key.as_bytes(),
            at_ms: turn.at.steady_ms,
            expires_ms: identity.expires_ms,
            response: identity.keep_response.then(|| Arc::clone(&response)),
        }));
        turn.act(Action::StoreThenRespond(
            batch,
            PendingResponse { identities, stored, response, responder },
        ));
    }

    /// A request got no response of the guest.
    pub(super) fn request_failed(
        &mut self,
        identities: &[RequestIdentity],
        responder: ResponseSender,
        refusal: WebhookRefusal,
        turn: &mut Turn<'_>,
    ) {
        let refused = WebhookResponse::Refused(refusal);
        self.forget_identities(identities, &refused, turn);
        turn.respond(responder, refused);
    }

    /// A request that has not run gets no response of the guest. Other jobs are dropped.
    pub(super) fn refuse_job(&mut self, job: Job, refusal: WebhookRefusal, turn: &mut Turn<'_>) {
        if let Purpose::Webhook { identities, responder } = job.purpose {
            self.request_failed(&identities, responder, refusal, turn);
        }
    }

    fn forget_identities(
        &mut self,
        identities: &[RequestIdentity],
        response: &WebhookResponse,
        turn: &mut Turn<'_>,
    ) {
        for waiting in self.recent_requests.forget(identities) {
            turn.respond(waiting, response.clone());
        }
    }

    /// The first of several equal requests has its response, and so have those that waited for it.
    pub fn responded(&mut self, responded: &RespondedRequest, turn: &mut Turn<'_>) {
        let RespondedRequest { identities, stored, is_delayed, response, .. } = responded;
        let waiting = match response {
            _ if *is_delayed => self.recent_requests.take_waiting(identities),
            WebhookResponse::Channel(_) => self.recent_requests.done(identities, stored),
            WebhookResponse::Refused(_) => self.recent_requests.forget(identities),
        };
        for responder in waiting {
            turn.respond(responder, response.clone());
        }
    }

    /// Refuses requests that have waited for `timeout`: the sender has given up, or is about to. Returns when the next one
    /// will have.
    pub fn refuse_overdue(&mut self, timeout: Duration, turn: &mut Turn<'_>) -> Option<Instant> {
        loop {
            let due = deadline_after(self.oldest_request()?, timeout);
            if due > turn.at.now {
                return Some(due);
            }
            let job = self.lane(LaneKind::Inbound).remove_first()?;
            self.refuse_job(job, WebhookRefusal::Busy, turn);
        }
    }

    /// Responds to all that wait for their turn, or for a change, because the channel takes no work now.
    pub(super) fn refuse_waiting_requests(&mut self, turn: &mut Turn<'_>) {
        let refusal = self.refusal(turn).unwrap_or(WebhookRefusal::Busy);
        self.refuse_parked(&refusal, turn);
        for job in self.lane(LaneKind::Inbound).take_all() {
            if job.purpose.is_request() {
                self.refuse_job(job, refusal.clone(), turn);
            } else {
                // The lane had room for it a moment ago.
                let _ = self.lane(LaneKind::Inbound).push(job);
            }
        }
    }
}
