//! What the router says in the log for its channels, and of messages that are durable.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::channel::ChannelName;
use crate::channel::machine::ChannelLogLine;
use crate::inbox::Posted;
use crate::model::human_duration::HumanDuration;
use crate::model::log_throttle::{LogThrottle, PROGRESS_LINES_A_MINUTE};
use crate::store::{Batch, Change, MessageId, TraceStep, TraceSubject};

/// Writes a line that a channel's turn led to.
pub(super) fn write(channel: &ChannelName, line: &ChannelLogLine) {
    let ChannelLogLine { level, reply, text } = line;
    match reply {
        Some(id) => log::log!(target: channel.as_str(), *level, reply_id = id.0; "{text}"),
        None => log::log!(target: channel.as_str(), *level, "{text}"),
    }
}

/// What callbacks emitted messages for, and how long they took, by message.
pub(super) fn causes(batch: &Batch) -> Vec<String> {
    let steps = batch.changes.iter().filter_map(|change| match change {
        Change::Trace(step) => Some(step),
        _ => None,
    });
    let of_message = |id: MessageId| {
        let step = steps.clone().find(|step| step.subject == TraceSubject::Message(id));
        step.map(cause).unwrap_or_default()
    };
    batch
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::AddMessage(message) => Some(of_message(message.id)),
            _ => None,
        })
        .collect()
}

fn cause(step: &TraceStep) -> String {
    format!(" ({}, {})", step.text, HumanDuration(Duration::from_micros(step.took_us)))
}

/// Lines about messages that are durable, by channel. Behind a lock, because any thread may commit to a store in memory; held for a
/// look-up.
#[derive(Clone)]
pub(super) struct AcceptedLog(Arc<Mutex<LogThrottle<Arc<str>>>>);

impl Default for AcceptedLog {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LogThrottle::new(PROGRESS_LINES_A_MINUTE, Duration::from_secs(60)))))
    }
}

impl AcceptedLog {
    /// Says that messages are durable.
    pub(super) fn say(&self, messages: &[Posted], causes: &[String]) {
        for (message, cause) in messages.iter().zip(causes) {
            let (id, channel) = (message.id(), message.channel());
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let checked = lines.check(channel, Instant::now());
            drop(lines);
            let Some(suppressed) = checked else { continue };
            log::info!(
                target: &**channel, message_id = id.0;
                "channel {channel}: message {id} is accepted{cause}{suppressed}"
            );
        }
    }
}
