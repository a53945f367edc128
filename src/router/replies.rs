//! Replies on their way: put on record, sent, and in the end accounted for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wit_abi::types::{AgentResponse, Attachment};

use crate::channel::ChannelName;
use crate::channel::changes;
use crate::channel::job::{Job, Purpose, ReplyAttempt};
use crate::channel::outbox::{AfterFailure, AttemptFailed, Next};
use crate::channel::state::{Channel, LogKind};
use crate::event::Wakeup;
use crate::event::callback::{Callback, CallbackValue, Effects};
use crate::event::guest_failure::GuestFailure;
use crate::model::clock::{millis, unix_ms};
use crate::model::deadline::deadline_after;
use crate::model::human_duration::HumanDuration;
use crate::model::subject::without_channel;
use crate::sandbox::WasmChannelError;
use crate::store::{Batch, Change, PendingReply, ReplyId, ReplyKind, ReplyRecord, ReplyState};

use super::core::{Router, random};

/// The wait of a reply that finds the store busy with other work.
const SOON: Duration = Duration::from_millis(200);

impl Router {
    /// A reply is durable.
    pub(super) fn reply_stored(&mut self, reply: PendingReply) {
        if let Some(slot) = self.channels.get_mut(&*reply.channel) {
            // One that was dropped and is wanted again while it is still under way has been counted all the time.
            if !slot.outbox.add(&reply, &self.config.retry, Instant::now()) {
                self.replies_waiting.fetch_sub(1, Ordering::Relaxed);
            }
            let name = slot.setup.name.clone();
            self.begin_due_replies(&name);
        } else {
            // Counted, and read from the store, when its channel is added.
            self.replies_waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Puts as many due replies on their way as the lane can take.
    pub(super) fn begin_due_replies(&mut self, channel: &ChannelName) {
        self.settle_and_begin(channel, Batch::default());
    }

    /// The same when an attempt has ended, with what came of it.
    fn settle_and_begin(&mut self, channel: &ChannelName, outcome: Batch) {
        let rest = self.begin_due_replies_after(channel, outcome);
        self.storage.commit(rest, &self.mailbox);
    }

    /// Has `outcome` go on record with the first attempt that begins; gives it back when there is none.
    fn begin_due_replies_after(&mut self, channel: &ChannelName, mut outcome: Batch) -> Batch {
        if self.stopping.is_some() || !self.is_ready(channel) || !self.storage.works() {
            return outcome;
        }
        if !self.storage.takes_work() {
            self.scheduler.set(Wakeup::Replies(channel.clone()), deadline_after(Instant::now(), SOON));
            return outcome;
        }
        let Some(slot) = self.channels.get_mut(channel) else { return outcome };
        let width = slot.setup.limits.outbound_concurrency;
        let now = Instant::now();
        while let Some((id, attempt)) = slot.outbox.begin(width, now) {
            self.storage.begin_reply(channel, id, attempt, std::mem::take(&mut outcome), &self.mailbox);
        }
        if let Some(due) = slot.outbox.next_due(width) {
            self.scheduler.set(Wakeup::Replies(channel.clone()), due);
        }
        outcome
    }

    /// The attempt is on record, and here is the reply.
    pub(super) fn reply_ready(
        &mut self,
        channel: &ChannelName,
        id: ReplyId,
        record: Option<Box<ReplyRecord>>,
    ) {
        let Some(begun) = self.channels.get(channel).and_then(|slot| slot.outbox.attempt(id)) else { return };
        let is_wanted = |record: &ReplyRecord| record.state == ReplyState::Pending && !begun.is_dropped;
        let Some(record) = record.filter(|record| is_wanted(record)) else {
            return self.reply_is_over(channel, id, Batch::default());
        };
        // The response is on its way: nobody needs to see that the agent thinks any more.
        self.end_thinking(channel, &record.body.metadata_json.as_str().into());
        self.drop_thinking(channel, &record.body.metadata_json);
        let attempt = ReplyAttempt { id, attempt: begun.number };
        if self.stopping.is_some() {
            return self.reply_not_tried(channel, &attempt);
        }
        self.warn_of_attachments(channel, &record);
        let job = Job::new(callback_for(*record, begun.redelivery), Purpose::Reply(attempt));
        // The lane takes every reply, and the channel is there.
        let _ = self.enqueue(channel, job);
    }

    /// Replies of a guest that is built for an older ABI have no attachments.
    fn warn_of_attachments(&self, channel: &ChannelName, record: &ReplyRecord) {
        let Some(slot) = self.channels.get(channel) else { return };
        let abi_version = slot.setup.module.abi_version();
        if !record.body.attachments.is_empty() && !abi_version.response_attachments {
            log::warn!(
                target: channel.as_str(),
                "channel {channel}: reply {} is sent without its attachments: the guest is built for {abi_version}",
                record.id
            );
        }
    }

    /// The host stops before the attempt that is on record was made. Without this the next start would take it for one
    /// whose outcome is unknown.
    pub(super) fn reply_not_tried(&mut self, channel: &ChannelName, attempt: &ReplyAttempt) {
        let at_ms = unix_ms();
        let error = "the host was stopped before it was tried".to_owned();
        let traps = self.channels.get(channel).map_or(0, |slot| slot.outbox.traps(attempt.id));
        let change =
            Change::ReplyRetry { id: attempt.id, at_ms, next_ms: at_ms, error, uncertain: false, traps };
        self.storage.commit(Batch::of(change), &self.mailbox);
    }

    /// The store has rejected the record of the attempt, so it is not made.
    pub(super) fn reply_not_ready(&mut self, channel: &ChannelName, id: ReplyId) {
        let Some(slot) = self.channels.get_mut(channel).filter(|slot| slot.outbox.has(id)) else { return };
        slot.outbox.not_made(id);
        self.reply_waits(channel, id, Duration::from_secs(1), Batch::default());
    }

    /// It is tried again after `wait`; `outcome` is what came of the attempt that was made, if one was.
    fn reply_waits(&mut self, channel: &ChannelName, id: ReplyId, wait: Duration, outcome: Batch) {
        let due = deadline_after(Instant::now(), wait);
        let slot = self.channels.get_mut(channel);
        if !slot.is_some_and(|slot| slot.outbox.retry_at(id, due)) {
            return self.reply_is_over(channel, id, outcome);
        }
        self.settle_and_begin(channel, outcome);
    }

    fn reply_is_over(&mut self, channel: &ChannelName, id: ReplyId, outcome: Batch) {
        if self.channels.get_mut(channel).is_some_and(|slot| slot.outbox.finish(id)) {
            self.replies_waiting.fetch_sub(1, Ordering::Relaxed);
        }
        self.settle_and_begin(channel, outcome);
    }

    /// `on-respond` or `on-broadcast` succeeded.
    pub(super) fn reply_delivered(
        &mut self,
        channel: &ChannelName,
        attempt: &ReplyAttempt,
        value: &CallbackValue,
        mut batch: Batch,
    ) {
        if super::finish::was_not_exported(value) {
            return self.give_up(channel, attempt.id, "the guest does not export this callback", false);
        }
        batch.changes.push(Change::ReplyDelivered { id: attempt.id, at_ms: unix_ms() });
        self.reply_is_over(channel, attempt.id, batch);
    }

    /// An attempt failed. `progress`: what it wrote to its workspace and wants to know at the next one.
    pub(super) fn reply_failed(
        &mut self,
        channel: &ChannelName,
        attempt: &ReplyAttempt,
        error: &WasmChannelError,
        effects: &Effects,
        progress: Vec<Change>,
    ) {
        let policy = self.config.retry;
        let now_ms = unix_ms();
        let Some(slot) = self.channels.get_mut(channel) else { return };
        let is_response = matches!(error, WasmChannelError::GuestError { .. });
        let said = said_by_guest(error);
        let refused = effects.upstream.refused.as_deref().filter(|_| is_response && said.is_none());
        let uncertain = !is_response && effects.had_side_effects;
        let failed = AttemptFailed {
            number: attempt.attempt,
            is_trap: is_trap(error),
            is_uncertain: uncertain,
            retry_after: effects.retry_after.max(said.and_then(GuestFailure::retry_after)),
            is_permanent: refused.is_some() || said.is_some_and(GuestFailure::is_permanent),
        };
        let after = slot.outbox.failed(attempt.id, failed, &policy, Instant::now(), random());
        let Some(AfterFailure { next, traps, tried_for, stepped_aside }) = after else { return };
        let Next::Retry { after: wait, .. } = next else {
            if !progress.is_empty() {
                self.storage.commit(Batch { changes: progress }, &self.mailbox);
            }
            return self.give_up(channel, attempt.id, &with_words(error, refused), uncertain);
        };
        if stepped_aside && let Some(suppressed) = slot.may_log(LogKind::ReplyStepsAside) {
            log::warn!(
                target: channel.as_str(),
                "channel {channel}: reply {} has failed for {} and no longer holds up its conversation: {}{suppressed}",
                attempt.id,
                HumanDuration(tried_for),
                without_channel(channel.as_str(), &error.to_string())
            );
        }
        let change = Change::ReplyRetry {
            id: attempt.id,
            at_ms: now_ms,
            next_ms: now_ms.saturating_add(millis(wait)),
            error: error.to_string(),
            uncertain,
            traps,
        };
        let mut batch = Batch::of(change);
        batch.changes.extend(progress);
        self.reply_waits(channel, attempt.id, wait, batch);
    }

    fn give_up(&mut self, channel: &ChannelName, id: ReplyId, reason: &str, uncertain: bool) {
        if let Some(suppressed) = self.may_log(channel, LogKind::ReplyGivenUp) {
            log::error!(
                target: channel.as_str(),
                "channel {channel}: reply {id} is given up and kept as a dead letter: {}{suppressed}",
                without_channel(channel.as_str(), reason)
            );
        }
        let change = Change::ReplyDead { id, at_ms: unix_ms(), error: reason.to_owned(), uncertain };
        self.reply_is_over(channel, id, Batch::of(change));
    }

    /// The operator does not want a reply to be tried any more. The store knows already.
    pub(super) fn drop_reply(&mut self, id: ReplyId) {
        let has_it = |(_, slot): &(&ChannelName, &mut Channel)| slot.outbox.has(id);
        let Some((channel, slot)) = self.channels.iter_mut().find(has_it) else { return };
        if slot.outbox.drop(id) {
            self.replies_waiting.fetch_sub(1, Ordering::Relaxed);
        }
        let channel = channel.clone();
        self.begin_due_replies(&channel);
    }
}

/// What the guest says about its failure.
fn said_by_guest(error: &WasmChannelError) -> Option<GuestFailure> {
    match error {
        WasmChannelError::GuestError { message, .. } => GuestFailure::read(message),
        _ => None,
    }
}

/// The error of an attempt with the words of the service that refused it, unless the guest has quoted them.
fn with_words(error: &WasmChannelError, refused: Option<&str>) -> String {
    let error = error.to_string();
    match refused {
        Some(words) if !error.contains(words) => format!("{error} ({words})"),
        _ => error,
    }
}

/// Traps, loops and hangs count towards giving up early; an upstream that is away does not.
fn is_trap(error: &WasmChannelError) -> bool {
    !matches!(
        error,
        WasmChannelError::GuestError { .. }
            | WasmChannelError::Stopped { .. }
            | WasmChannelError::HostMemoryExhausted { .. }
            | WasmChannelError::HostFailure { .. }
    )
}

fn callback_for(record: ReplyRecord, redelivery: bool) -> Callback {
    let body = record.body;
    let redelivery = redelivery || record.redelivery;
    let response = AgentResponse {
        message_id: body.message_id,
        content: body.content,
        thread_id: body.thread_id,
        metadata_json: if redelivery {
            changes::mark_redelivery(&body.metadata_json)
        } else {
            body.metadata_json
        },
        attachments: body
            .attachments
            .into_iter()
            .map(|file| Attachment {
                filename: file.filename,
                mime_type: file.mime_type,
                data: file.data.to_vec(),
            })
            .collect(),
    };
    match record.kind {
        ReplyKind::Respond => Callback::Respond(Arc::new(response)),
        ReplyKind::Broadcast { user_id } => {
            Callback::Broadcast { user_id: user_id.into(), response: Arc::new(response) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_has_the_words_of_the_service_once() {
        let error = |message: &str| WasmChannelError::GuestError {
            channel: "echo".into(),
            callback: crate::event::callback::CallbackKind::Respond,
            message: message.into(),
        };
        let words = Some("api.example responded with 400: chat not found");
        assert!(
            with_words(&error("not sent"), words)
                .ends_with("not sent (api.example responded with 400: chat not found)")
        );
        assert!(
            with_words(&error("api.example responded with 400: chat not found"), words)
                .ends_with("chat not found")
        );
        assert!(with_words(&error("not sent"), None).ends_with("not sent"));
    }
}
