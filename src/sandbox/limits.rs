//! What one callback may use. The numbers, their defaults and their capability fields are those of
//! [`ChannelLimits`](crate::capability::limits::ChannelLimits); what is fixed stands here.

use std::time::Duration;

use crate::capability::limits::ChannelLimits;

/// Timers set and cancelled by one callback.
pub const MAX_TIMER_CHANGES: usize = 100;
/// Bytes of the fields of a message that are not its content: ids, names, metadata, extracted text and what else
/// describes attachments. A message with more is dropped.
pub const MAX_MESSAGE_FIELDS_BYTES: usize = 1024 * 1024;
/// Bytes of all messages of a callback, stored attachments aside. Messages beyond it are dropped.
pub const MAX_EMITTED_BYTES: usize = 16 * 1024 * 1024;

/// What one callback of one channel may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallbackLimits {
    /// Units of fuel.
    pub fuel: u64,
    /// Wall-clock time; from it the router computes the deadline.
    pub timeout: Duration,
    /// Bytes of linear memory.
    pub memory_bytes: usize,
    /// Elements of all tables.
    pub table_elements: usize,
    /// Messages; what is more is dropped.
    pub messages: usize,
    /// Bytes of a message's content; what is more is cut.
    pub message_bytes: usize,
    /// Bytes of a message's metadata, and of each other text of it but its content; a message with more is dropped.
    pub metadata_bytes: usize,
    /// Attachments of one message; what is more is dropped.
    pub attachments_per_message: usize,
    /// Stored bytes of all attachments of one message; attachments beyond it are dropped.
    pub attachment_bytes_per_message: usize,
    /// Stored bytes of one attachment; storing more is an error for the guest.
    pub stored_attachment_bytes: usize,
    /// Stored bytes of a callback; storing more is an error for the guest.
    pub attachment_bytes_per_callback: usize,
    /// Log lines; what is more is dropped.
    pub log_lines: usize,
    /// Bytes of one log line; what is more is cut.
    pub log_line_bytes: usize,
    /// Bytes of all log lines; what is more is dropped.
    pub log_bytes: usize,
    /// Outbound HTTP requests; one more is an error for the guest.
    pub http_calls: usize,
    /// Timers that the channel may have set; a callback that sets more by itself gets an error.
    pub timers: usize,
    /// Bytes of a timer's name; a longer one is an error for the guest.
    pub timer_name_bytes: usize,
    /// Bytes of a timer's payload; a longer one is an error for the guest.
    pub timer_payload_bytes: usize,
    /// How far ahead a timer may be set; further is an error for the guest.
    pub timer_delay: Duration,
}

impl From<&ChannelLimits> for CallbackLimits {
    fn from(limits: &ChannelLimits) -> Self {
        Self {
            fuel: limits.fuel,
            timeout: limits.callback_timeout,
            memory_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
            messages: limits.messages_per_callback,
            message_bytes: limits.message_bytes,
            metadata_bytes: limits.metadata_bytes,
            attachments_per_message: limits.attachments_per_message,
            attachment_bytes_per_message: limits.attachment_bytes_per_message,
            stored_attachment_bytes: limits.stored_attachment_bytes,
            attachment_bytes_per_callback: limits.attachment_bytes_per_callback,
            log_lines: limits.log_lines,
            log_line_bytes: limits.log_line_bytes,
            log_bytes: limits.log_bytes,
            http_calls: limits.http_calls,
            timers: limits.timers,
            timer_name_bytes: limits.timer_name_bytes,
            timer_payload_bytes: limits.timer_payload_bytes,
            timer_delay: limits.timer_delay,
        }
    }
}

impl Default for CallbackLimits {
    /// What a channel gets whose capability file asks for nothing else.
    fn default() -> Self {
        Self::from(&ChannelLimits::default())
    }
}

impl CallbackLimits {
    /// Small and quick: 20,000,000 units of fuel, 5 s, 10 MiB of memory; the rest as usual.
    #[must_use]
    pub fn for_testing() -> Self {
        Self {
            fuel: 20_000_000,
            timeout: Duration::from_secs(5),
            memory_bytes: 10 * 1024 * 1024,
            ..Self::default()
        }
    }
}
