//! What every agent does with a message and with an answer.

use std::time::Duration;

use wit_abi::types::{AgentResponse, StatusType, StatusUpdate};

use crate::channel::ChannelName;
use crate::host::{Host, ReplyError};
use crate::inbox::Delivery;

/// The wait after the first failure of an agent; it doubles with each attempt.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Shows the person that their message is being worked on.
pub(super) fn begin(host: &Host, delivery: &Delivery) {
    show(host, delivery, StatusType::Thinking);
}

/// Keeps a reply and then completes the message. When the reply is not kept, the message is redelivered.
pub(super) fn reply(host: &Host, delivery: Delivery, response: AgentResponse) {
    if keep(host, &delivery, response) {
        finish(host, delivery);
    } else {
        requeue(host, delivery, None);
    }
}

/// Keeps a reply; the message stays open.
pub(super) fn keep(host: &Host, delivery: &Delivery, response: AgentResponse) -> bool {
    match host.respond(delivery, response) {
        Ok(_) => true,
        Err(error) => {
            // Expected at shutdown; the message is redelivered at the next start.
            let level =
                if matches!(error, ReplyError::Closed) { log::Level::Debug } else { log::Level::Error };
            let (channel, id) = (delivery.channel(), delivery.id());
            log::log!(target: channel, level, "the reply to message {id} was not kept: {error}");
            false
        }
    }
}

/// The message has been dealt with.
pub(super) fn finish(host: &Host, delivery: Delivery) {
    show(host, &delivery, StatusType::Done);
    delivery.ack();
}

/// The message is redelivered after `delay`, or else after a wait that grows with its attempts.
pub(super) fn requeue(host: &Host, delivery: Delivery, delay: Option<Duration>) {
    show(host, &delivery, StatusType::Done);
    let delay = delay.unwrap_or_else(|| wait_after(delivery.attempt()));
    delivery.nack(delay);
}

fn show(host: &Host, delivery: &Delivery, status: StatusType) {
    Recipient::of(delivery).show(host, status, "");
}

/// The person behind a message.
pub(super) struct Recipient {
    channel: Option<ChannelName>,
    metadata_json: String,
}

impl Recipient {
    /// Who wrote this.
    pub(super) fn of(delivery: &Delivery) -> Self {
        let metadata_json = delivery.message().metadata_json.clone();
        Self { channel: delivery.channel().parse().ok(), metadata_json }
    }

    /// Tells them what the agent is doing. A status is never worth an error.
    pub(super) fn show(self, host: &Host, status: StatusType, message: &str) {
        let update = StatusUpdate { status, message: message.to_owned(), metadata_json: self.metadata_json };
        if let Some(channel) = self.channel {
            let _ = host.status(&channel, update);
        }
    }
}

/// The wait after the `attempt`-th attempt, counted from 1.
pub(super) fn wait_after(attempt: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST_WAIT)
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
