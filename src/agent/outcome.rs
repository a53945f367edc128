//! What every agent does with a message and with a response.

use std::time::Duration;

use wit_abi::types::{AgentResponse, StatusType, StatusUpdate};

use crate::channel::ChannelName;
use crate::host::{Host, ReplyError};
use crate::inbox::{Delivery, FailedAttempt};
#[cfg(any(feature = "agent-http", feature = "agent-openai"))]
use crate::model::human_duration::HumanDuration;
use crate::store::StateError;

/// The wait after the first failed attempt; it doubles with each attempt.
const INITIAL_BACKOFF: Duration = Duration::from_secs(2);
/// The longest wait.
const MAX_BACKOFF: Duration = Duration::from_secs(300);
/// The wait when the host could not keep a reply.
const UNAVAILABLE_WAIT: Duration = Duration::from_secs(2);

/// Shows the sender that their message is being worked on.
pub(super) fn begin(host: &Host, delivery: &Delivery) {
    Recipient::of(delivery).show(host, StatusType::Thinking, "");
}

/// Keeps a reply and then completes the message. When the reply is not kept, the message is redelivered.
pub(super) fn reply(host: &Host, delivery: Delivery, response: AgentResponse) {
    match keep(host, &delivery, response) {
        Ok(()) => complete(host, delivery),
        Err(not_kept) => not_kept.end(host, delivery),
    }
}

/// Keeps a reply; the message stays open.
pub(super) fn keep(host: &Host, delivery: &Delivery, response: AgentResponse) -> Result<(), NotKept> {
    let Err(error) = host.respond(delivery, response) else { return Ok(()) };
    // Expected at shutdown; the message is redelivered at the next start, or by the host that has the channel now.
    let level = if is_expected(&error) { log::Level::Debug } else { log::Level::Error };
    let (channel, id) = (delivery.channel(), delivery.id());
    if let Some(suppressed) = host.agent_report().may_log() {
        log::log!(target: channel.as_str(), level, "channel {channel}: the reply to message {id} was not stored: {error}{suppressed}");
    }
    Err(NotKept { error: error.to_string(), is_final: is_final(&error) })
}

/// Whether the message is redelivered here or elsewhere without that anything is the matter.
fn is_expected(error: &ReplyError) -> bool {
    match error {
        ReplyError::Closed => true,
        #[cfg(feature = "cluster")]
        ReplyError::Elsewhere => true,
        _ => false,
    }
}

/// Whether the same reply would be refused again: that counts as a failed attempt, an unavailable store does not.
fn is_final(error: &ReplyError) -> bool {
    matches!(error, ReplyError::UnknownChannel(_) | ReplyError::NotStored(StateError::Rejected { .. }))
}

/// A reply that the host did not keep.
pub(super) struct NotKept {
    error: String,
    is_final: bool,
}

impl NotKept {
    /// Ends the delivery of its message, which is redelivered.
    pub fn end(self, host: &Host, delivery: Delivery) {
        if self.is_final {
            fail(host, delivery, &format!("its reply was refused: {}", self.error), None);
        } else {
            release(host, delivery, UNAVAILABLE_WAIT);
        }
    }
}

/// The agent has dealt with the message.
pub(super) fn complete(host: &Host, delivery: Delivery) {
    host.agent_report().succeeded();
    Recipient::of(&delivery).show(host, StatusType::Done, "");
    delivery.ack();
}

/// This attempt has failed: the message is redelivered after `delay`, or else after a wait that grows with its attempts,
/// or becomes a dead letter.
pub(super) fn fail(host: &Host, delivery: Delivery, error: &str, delay: Option<Duration>) {
    let delay = delay.unwrap_or_else(|| wait_after(delivery.attempt()));
    fail_with(host, delivery, FailedAttempt::new(error, delay));
}

/// The same with more to say.
pub(super) fn fail_with(host: &Host, delivery: Delivery, failure: FailedAttempt<'_>) {
    host.agent_report().failed(&format!("message {}: {}", delivery.id(), failure.error));
    Recipient::of(&delivery).show(host, StatusType::Done, "");
    delivery.fail_with(failure);
}

/// The message is redelivered after `delay`; that the agent could not be asked is no failure of the message.
pub(super) fn release(host: &Host, delivery: Delivery, delay: Duration) {
    Recipient::of(&delivery).show(host, StatusType::Done, "");
    delivery.release(delay);
}

/// The same, and why the agent could not be asked; returns the try and the next one in words, for a line of the log.
#[cfg(any(feature = "agent-http", feature = "agent-openai"))]
pub(super) fn unavailable(host: &Host, delivery: Delivery, error: &str, delay: Duration) -> String {
    let next = format!("next try in {}", HumanDuration(delay));
    host.agent_report().failed(error);
    Recipient::of(&delivery).show(host, StatusType::Done, "");
    let tries = delivery.release_unasked(&format!("{error}; {next}"), delay);
    format!(" (try {tries}, {next})")
}

/// The person behind a message.
pub(super) struct Recipient {
    channel: ChannelName,
    metadata_json: String,
}

impl Recipient {
    /// Who wrote this.
    pub fn of(delivery: &Delivery) -> Self {
        let metadata_json = delivery.message().metadata_json.clone();
        Self { channel: delivery.channel().clone(), metadata_json }
    }

    /// Tells them what the agent is doing. A status is never worth an error.
    pub fn show(self, host: &Host, status: StatusType, message: &str) {
        let update = StatusUpdate { status, message: message.to_owned(), metadata_json: self.metadata_json };
        let _ = host.status_to(&self.channel, update);
    }
}

/// The wait after the `attempt`-th attempt, counted from 1.
pub(super) fn wait_after(attempt: u32) -> Duration {
    INITIAL_BACKOFF.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(MAX_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_with_the_attempts() {
        for (attempt, seconds) in [(0, 2), (1, 2), (2, 4), (3, 8), (8, 256), (9, 300), (u32::MAX, 300)] {
            assert_eq!(wait_after(attempt), Duration::from_secs(seconds), "{attempt}");
        }
    }
}
