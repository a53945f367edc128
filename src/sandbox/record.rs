//! What a callback does while it runs, within its limits, until it is known whether it succeeded.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wit_abi::types::{EmittedMessage, HttpResponse, InboundAttachment, LogLevel};

use super::context::{
    GuestHttpError, GuestLogRate, MAX_EMITTED_BYTES, MAX_MESSAGE_FIELDS_BYTES, MAX_TIMER_CHANGES,
};
use super::host_call_error::HostCallError;
use super::text;
use crate::capability::limits::ChannelLimits;
use crate::channel::workspace::{WorkspaceChanges, WorkspaceView};
use crate::egress::OutboundResponse;
use crate::event::callback::{Dropped, Effects, Emitted, LogLine, TimerChange};
use crate::event::guest_failure::GuestFailure;
use crate::event::upstream::UpstreamOutcome;
use crate::model::escape::escaped;

/// Collects messages, attachments, timers and log lines of one callback.
#[derive(Debug)]
pub(super) struct Record {
    channel: Arc<str>,
    limits: ChannelLimits,
    log_rate: GuestLogRate,
    messages: Vec<EmittedMessage>,
    message_bytes: usize,
    stored: HashMap<String, Arc<[u8]>>,
    stored_bytes: usize,
    timers: Vec<TimerChange>,
    logs: Vec<LogLine>,
    log_bytes: usize,
    dropped: Dropped,
    had_side_effects: bool,
    retry_after: Option<Duration>,
    upstream: UpstreamOutcome,
}

impl Record {
    pub(super) fn new(channel: Arc<str>, limits: ChannelLimits, log_rate: GuestLogRate) -> Self {
        Self {
            channel,
            limits,
            log_rate,
            messages: Vec::new(),
            message_bytes: 0,
            stored: HashMap::new(),
            stored_bytes: 0,
            timers: Vec::new(),
            logs: Vec::new(),
            log_bytes: 0,
            dropped: Dropped::default(),
            had_side_effects: false,
            retry_after: None,
            upstream: UpstreamOutcome::default(),
        }
    }

    /// Takes a log line, and hands it to the `log` crate at once: a guest that hangs later has still said it.
    pub(super) fn log(&mut self, level: LogLevel, message: &str) {
        if self.logs.len() >= self.limits.log_lines || self.log_bytes >= self.limits.log_bytes {
            self.dropped.log_lines = self.dropped.log_lines.saturating_add(1);
            return;
        }
        let room = self.limits.log_line_bytes.min(self.limits.log_bytes - self.log_bytes);
        let message = text::short_line(message, room);
        self.log_bytes += message.len();
        self.push_line(level, message);
    }

    fn push_line(&mut self, level: LogLevel, message: String) {
        if let Some(suppressed) = self.log_rate.check(Instant::now()) {
            // The line names its guest as the host's lines do.
            let (name, level, text) = (&*self.channel, log_level(level), escaped(&message));
            if self.log_rate.is_tool() {
                log::log!(target: name, level, tool = name; "tool {name}: {text}{suppressed}");
            } else {
                log::log!(target: name, level, "channel {name}: {text}{suppressed}");
            }
        }
        self.logs.push(LogLine { level, message });
    }

    /// Takes a message, or counts it as dropped.
    pub(super) fn emit(&mut self, mut message: EmittedMessage) {
        if text::cut(&mut message.content, self.limits.message_bytes) {
            self.dropped.truncated = self.dropped.truncated.saturating_add(1);
        }
        let surplus = message.attachments.len().saturating_sub(self.limits.attachments_per_message);
        message.attachments.truncate(self.limits.attachments_per_message);
        message.attachments.shrink_to_fit();
        self.dropped.attachments = self.dropped.attachments.saturating_add(surplus as u32);
        let fields = field_bytes(&message);
        let bytes = self.message_bytes.saturating_add(fields + message.content.len());
        if self.messages.len() >= self.limits.messages_per_callback
            || longest_field(&message) > self.limits.metadata_bytes
            || fields > MAX_MESSAGE_FIELDS_BYTES
            || bytes > MAX_EMITTED_BYTES
        {
            self.dropped.messages = self.dropped.messages.saturating_add(1);
            return;
        }
        self.message_bytes = bytes;
        self.messages.push(message);
    }

    /// Whether the bytes of this attachment are stored.
    pub(super) fn has_attachment(&self, id: &str) -> bool {
        self.stored.contains_key(id)
    }

    /// Keeps the bytes of an attachment that the callback has emitted or will emit.
    pub(super) fn store_attachment(&mut self, id: String, data: Vec<u8>) -> Result<(), HostCallError> {
        let limit = self.limits.stored_attachment_bytes;
        if data.len() > limit {
            return Err(HostCallError::AttachmentTooLarge { size: data.len(), limit });
        }
        let replaced = self.stored.get(&id).map_or(0, |old| old.len() + id.len());
        let total = self.stored_bytes - replaced + data.len() + id.len();
        let limit = self.limits.attachment_bytes_per_callback;
        if total > limit {
            return Err(HostCallError::AttachmentsTooLarge { total, limit });
        }
        let most = self.limits.messages_per_callback.saturating_mul(self.limits.attachments_per_message);
        if self.stored.len() >= most && !self.stored.contains_key(&id) {
            return Err(HostCallError::TooManyAttachments(most));
        }
        self.stored_bytes = total;
        self.stored.insert(id, data.into());
        Ok(())
    }

    /// Sets a timer; a change of the same name that this callback made before is replaced.
    pub(super) fn set_timer(
        &mut self,
        name: &str,
        delay: Duration,
        payload: &str,
    ) -> Result<(), HostCallError> {
        let ChannelLimits { timer_name_bytes, timer_payload_bytes, timer_delay, timers, .. } = self.limits;
        if name.is_empty() || name.len() > timer_name_bytes {
            return Err(HostCallError::TimerName { size: name.len(), limit: timer_name_bytes });
        }
        if payload.len() > timer_payload_bytes {
            return Err(HostCallError::TimerPayload { size: payload.len(), limit: timer_payload_bytes });
        }
        if delay > timer_delay {
            return Err(HostCallError::TimerDelay(timer_delay.as_secs() / 86_400));
        }
        let others =
            |change: &&TimerChange| matches!(change, TimerChange::Set { .. }) && change.name() != name;
        if self.timers.iter().filter(others).count() >= timers {
            return Err(HostCallError::TooManyTimers(timers));
        }
        let change = TimerChange::Set { name: name.into(), delay, payload: payload.into() };
        match self.change_timer(change) {
            true => Ok(()),
            false => Err(HostCallError::TooManyTimerChanges),
        }
    }

    /// Cancels a timer. There is no way to tell the guest that it did too much.
    pub(super) fn cancel_timer(&mut self, name: &str) {
        // No timer has such a name.
        if name.len() > self.limits.timer_name_bytes {
            return;
        }
        if !self.change_timer(TimerChange::Cancel { name: name.into() }) {
            self.dropped.timer_changes = self.dropped.timer_changes.saturating_add(1);
        }
    }

    fn change_timer(&mut self, change: TimerChange) -> bool {
        let before = self.timers.len();
        self.timers.retain(|old| old.name() != change.name());
        let fits = self.timers.len() < before || before < MAX_TIMER_CHANGES;
        if fits {
            self.timers.push(change);
        }
        fits
    }

    /// Bytes that this holds until the callback ends.
    pub(super) fn kept_bytes(&self) -> usize {
        let timer = |change: &TimerChange| match change {
            TimerChange::Set { name, payload, .. } => name.len() + payload.len(),
            TimerChange::Cancel { name } => name.len(),
        };
        self.message_bytes + self.stored_bytes + self.log_bytes + self.timers.iter().map(timer).sum::<usize>()
    }

    /// Something has left the host, so the callback cannot simply be run again.
    pub(super) fn had_side_effects(&mut self) {
        self.had_side_effects = true;
    }

    /// An upstream server responded.
    pub(super) fn responded(
        &mut self,
        url: &str,
        response: &OutboundResponse,
        redact: impl Fn(String) -> String,
    ) {
        self.retry_after = self.retry_after.max(response.retry_after);
        let HttpResponse { status, body, .. } = &response.response;
        self.upstream.responded(url, *status, body, response.retry_after.is_some(), redact);
    }

    /// An outbound request was refused by the host, or had no response.
    pub(super) fn failed_to_respond(&mut self, error: &GuestHttpError, redact: impl Fn(String) -> String) {
        if error.is_permanent {
            self.upstream.refused_by_host(&redact(error.message.clone()));
        } else {
            self.upstream.failed();
        }
    }

    /// The callback succeeded: all that it did.
    pub(super) fn commit(mut self, workspace: WorkspaceChanges) -> (Effects, Vec<LogLine>) {
        let messages = self.link_attachments();
        self.say_what_was_dropped();
        let effects = Effects {
            messages,
            workspace,
            timers: self.timers,
            had_side_effects: self.had_side_effects,
            retry_after: self.retry_after,
            upstream: self.upstream,
            dropped: self.dropped,
        };
        (effects, self.logs)
    }

    /// The callback failed: only what cannot be undone, and what it wrote when it says itself that it wants to be tried
    /// again.
    pub(super) fn abandon(
        mut self,
        failure: Option<(GuestFailure, &str)>,
        workspace: WorkspaceView,
    ) -> (Effects, Vec<LogLine>) {
        self.say_what_was_dropped();
        if let Some((GuestFailure::Unauthorized, words)) = failure {
            self.upstream.unauthorized = Some(words.to_owned());
        }
        let is_temporary = matches!(failure, Some((GuestFailure::Temporary { .. }, _)));
        let effects = Effects {
            workspace: if is_temporary { workspace.into_changes() } else { WorkspaceChanges::default() },
            had_side_effects: self.had_side_effects,
            retry_after: self.retry_after,
            upstream: self.upstream,
            dropped: self.dropped,
            ..Effects::default()
        };
        (effects, self.logs)
    }

    /// Brings messages and stored data together. Guests store before they emit or after it.
    fn link_attachments(&mut self) -> Vec<Emitted> {
        let mut used = std::collections::HashSet::new();
        let mut linked = Vec::with_capacity(self.messages.len());
        for mut message in std::mem::take(&mut self.messages) {
            let mut left = self.limits.attachment_bytes_per_message;
            let mut attachment_data = Vec::with_capacity(message.attachments.len());
            let attachments = std::mem::take(&mut message.attachments);
            for attachment in attachments {
                let data = self.stored.get(&attachment.id).cloned();
                used.extend(data.is_some().then(|| attachment.id.clone()));
                match left.checked_sub(data.as_ref().map_or(0, |data| data.len())) {
                    Some(rest) => left = rest,
                    None => {
                        self.dropped.attachments = self.dropped.attachments.saturating_add(1);
                        continue;
                    }
                }
                message.attachments.push(attachment);
                attachment_data.push(data);
            }
            linked.push(Emitted { message, attachment_data });
        }
        self.dropped.unused_attachment_data =
            self.stored.keys().filter(|id| !used.contains(*id)).count() as u32;
        linked
    }

    fn say_what_was_dropped(&mut self) {
        let dropped = self.dropped;
        let parts = [
            (dropped.messages, "messages over a limit (max_messages_per_callback, max_metadata_bytes)"),
            (dropped.truncated, "messages cut to their limit (max_message_size)"),
            (
                dropped.attachments,
                "attachments over a limit (max_attachments_per_message, max_attachment_bytes_per_message)",
            ),
            (dropped.unused_attachment_data, "stored attachments that no message has"),
            (dropped.timer_changes, "timer changes over the limit"),
            (dropped.log_lines, "log lines over a limit (max_log_lines, max_log_bytes)"),
        ];
        let parts =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        let parts = parts.collect::<Vec<_>>();
        if !parts.is_empty() {
            self.push_line(LogLevel::Warn, format!("not kept of this callback: {}", parts.join(", ")));
        }
    }
}

/// The level of a guest's line, as the `log` crate has it.
pub(crate) fn log_level(level: LogLevel) -> log::Level {
    match level {
        LogLevel::Trace => log::Level::Trace,
        LogLevel::Debug => log::Level::Debug,
        LogLevel::Info => log::Level::Info,
        LogLevel::Warn => log::Level::Warn,
        LogLevel::Error => log::Level::Error,
    }
}

/// Bytes of all fields of a message except for its content.
pub(super) fn field_bytes(message: &EmittedMessage) -> usize {
    field_lengths(message).sum()
}

/// Bytes of the longest field of a message except for its content.
fn longest_field(message: &EmittedMessage) -> usize {
    field_lengths(message).max().unwrap_or(0)
}

fn field_lengths(message: &EmittedMessage) -> impl Iterator<Item = usize> {
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let of_attachment = move |a: &InboundAttachment| {
        let [filename, source, key, text] =
            [&a.filename, &a.source_url, &a.storage_key, &a.extracted_text].map(optional);
        [a.id.len(), a.mime_type.len(), a.extras_json.len(), filename, source, key, text]
    };
    let own = [message.user_id.len(), message.metadata_json.len()];
    let optionals = [&message.user_name, &message.thread_id].map(optional);
    own.into_iter().chain(optionals).chain(message.attachments.iter().flat_map(of_attachment))
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
