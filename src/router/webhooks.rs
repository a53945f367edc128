//! Requests and their answers.

use std::time::{Duration, Instant};

use wit_abi::types::OutgoingHttpResponse;

use crate::channel::ChannelName;
use crate::event::Wakeup;
use crate::event::arrival::{RequestIdentity, Webhook};
use crate::event::callback::{Callback, CallbackReport, CallbackValue};
use crate::event::completion::Answered;
use crate::event::response::{ResponseSender, WebhookRefusal, WebhookResponse};
use crate::model::deadline::deadline_after;
use crate::sandbox::WasmChannelError;
use crate::server::responses::headers_of;
use crate::store::{Batch, Change, CommitError, SeenId};

use super::answered::AnsweredSender;
use super::core::Router;
use crate::channel::dedupe::{Arrival, stored_response};
use crate::channel::job::{Job, Purpose};
use crate::channel::lane::LaneKind;
use crate::channel::state::State;
use crate::model::clock::steady_ms;

impl Router {
    /// A request has come in: it is refused at once, recognised as a repeat, or queued.
    pub(super) fn webhook_arrived(&mut self, webhook: Webhook) {
        let Webhook { channel, request, identities, received, answer } = webhook;
        if let Some(refusal) = self.refusal(&channel) {
            return answer.refuse(refusal);
        }
        let Some(slot) = self.channels.get_mut(&channel) else {
            return answer.refuse(WebhookRefusal::NotFound);
        };
        let answer = match slot.seen.arrive(&identities, answer, steady_ms()) {
            Arrival::New(answer) => answer,
            Arrival::Waits => return self.await_answer(),
            Arrival::Refused(answer) => return answer.refuse(WebhookRefusal::Busy),
            Arrival::Repeat { answer, id } => return self.answer_repeat(&channel, answer, id),
        };
        let job = Job {
            queued: received,
            ..Job::new(Callback::HttpRequest(request), Purpose::Webhook { identities, answer })
        };
        if let Err(job) = self.enqueue(&channel, job) {
            if let Purpose::Webhook { identities, answer } = job.purpose {
                self.webhook_failed(&channel, &identities, answer, WebhookRefusal::Busy);
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

    /// The guest has answered: the answer leaves when everything that the callback did is durable.
    pub(super) fn webhook_succeeded(
        &mut self,
        channel: &ChannelName,
        mut identities: Vec<RequestIdentity>,
        answer: ResponseSender,
        value: CallbackValue,
        mut batch: Batch,
    ) {
        let CallbackValue::Http(response) = value else {
            return self.webhook_failed(channel, &identities, answer, WebhookRefusal::CallbackFailed);
        };
        // The sender tries again after an error of the guest: it must not be taken for a repeat.
        if response.status >= 500 {
            self.forget_identities(channel, &identities, &WebhookResponse::Guest(response.clone()));
            identities.clear();
        }
        let now_ms = steady_ms();
        let stored: Vec<SeenId> = identities.iter().map(|_| self.storage.ids().seen()).collect();
        batch.changes.extend(identities.iter().zip(&stored).map(|(identity, id)| Change::Seen {
            id: *id,
            channel: channel.shared(),
            key: *identity.key.as_bytes(),
            at_ms: now_ms,
            expires_ms: identity.expires_ms,
            answer: identity.keep_answer.then(|| stored_response(&response)),
        }));
        // Without changes of its own the answer may still depend on an earlier callback's, which are in memory only: a guest
        // that recognises a repeat by its workspace says 200 for the first one as well.
        if batch.changes.is_empty() && self.storage.is_idle() {
            return answer.send(WebhookResponse::Guest(response));
        }
        let mut unanswered = Unanswered {
            channel: channel.clone(),
            identities,
            stored,
            response,
            answer: Some(answer),
            answered: self.answered.sender(),
        };
        self.storage.commit_then(batch, &self.mailbox, move |outcome| unanswered.stored(outcome));
    }

    /// A repeat waits for the answer to the first. That may have been given just now.
    fn await_answer(&mut self) {
        self.answered.wake_at_next();
        self.take_answered();
    }

    /// Notes what requests were answered with since the last time.
    pub(super) fn take_answered(&mut self) {
        while let Some(answered) = self.answered.take() {
            self.answered(&answered);
        }
    }

    /// The first of several equal requests has its answer.
    fn answered(&mut self, answered: &Answered) {
        let Answered { channel, identities, stored, is_delayed, answer } = answered;
        let Some(slot) = self.channels.get_mut(channel) else { return };
        let waiting = match answer {
            _ if *is_delayed => slot.seen.take_waiting(identities),
            WebhookResponse::Guest(_) => slot.seen.done(identities, stored),
            WebhookResponse::Refused(_) => slot.seen.forget(identities),
        };
        for slot in waiting {
            slot.send(answer.clone());
        }
    }

    /// A request got no answer of the guest.
    pub(super) fn webhook_failed(
        &mut self,
        channel: &ChannelName,
        identities: &[RequestIdentity],
        answer: ResponseSender,
        refusal: WebhookRefusal,
    ) {
        let refused = WebhookResponse::Refused(refusal);
        self.forget_identities(channel, identities, &refused);
        answer.send(refused);
    }

    fn forget_identities(
        &mut self,
        channel: &ChannelName,
        identities: &[RequestIdentity],
        answer: &WebhookResponse,
    ) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        for waiting in slot.seen.forget(identities) {
            waiting.send(answer.clone());
        }
    }

    /// A repeat gets what the first one got, if that was kept.
    fn answer_repeat(&mut self, channel: &ChannelName, answer: ResponseSender, id: Option<SeenId>) {
        log::debug!(target: channel.as_str(), "channel {channel}: a duplicate request is answered without running the guest");
        match id {
            Some(id) => self.storage.answer_from_store(id, answer),
            None => answer.send(WebhookResponse::Guest(crate::channel::dedupe::empty_ok())),
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
                if let Purpose::Webhook { identities, answer } = job.purpose {
                    self.webhook_failed(&channel, &identities, answer, WebhookRefusal::Busy);
                }
            }
        }
        self.watches_queues = next.is_some();
        if let Some(next) = next {
            self.scheduler
                .set(Wakeup::QueueTimeout, next.max(deadline_after(now, Duration::from_millis(100))));
        }
    }

    /// A channel that is paused or stops answers those that wait for it.
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
            if let Purpose::Webhook { identities, answer } = job.purpose {
                self.webhook_failed(channel, &identities, answer, refusal.clone());
            }
        }
    }
}

/// The answer to a request, until what its callback did is durable.
struct Unanswered {
    channel: ChannelName,
    identities: Vec<RequestIdentity>,
    /// Where they are kept.
    stored: Vec<SeenId>,
    response: OutgoingHttpResponse,
    /// None once the client has been told to come back.
    answer: Option<ResponseSender>,
    answered: AnsweredSender,
}

impl Unanswered {
    /// The store has the batch, has failed, or will never have it. After a failure the client is told to come back, although
    /// the batch will be kept: at-least-once allows that, and an id of the provider's makes it once.
    fn stored(&mut self, outcome: Result<(), CommitError>) {
        let is_delayed = matches!(outcome, Err(CommitError::Unavailable { .. }));
        let response = match outcome {
            Ok(()) => WebhookResponse::Guest(std::mem::take(&mut self.response)),
            Err(_) => WebhookResponse::Refused(WebhookRefusal::StoreUnavailable),
        };
        if !self.identities.is_empty() {
            self.answered.send(Answered {
                channel: self.channel.clone(),
                identities: self.identities.clone(),
                stored: self.stored.clone(),
                is_delayed,
                answer: response.clone(),
            });
        }
        if let Some(answer) = self.answer.take() {
            answer.send(response);
        }
    }
}

/// An answer that cannot be sent is an error of the callback, found before anything of it is kept: the sender is told 500
/// and tries again. Done by the worker.
pub(super) fn check_answer(channel: &str, report: &mut CallbackReport) {
    if let Ok(CallbackValue::Http(response)) = &report.result
        && let Err(reason) = headers_of(response)
    {
        report.result = Err(WasmChannelError::UnusableResponse { channel: channel.to_owned(), reason });
    }
}
