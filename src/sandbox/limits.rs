//! What one callback may use. Every number has its default here and is enforced in this room.

use std::time::Duration;

/// Units of wasmi fuel.
pub const DEFAULT_FUEL: u64 = 500_000_000;
/// Wall-clock time of a callback, host calls included. Capability field `callback_timeout_secs`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Linear memory.
pub const DEFAULT_MEMORY_BYTES: usize = 50 * 1024 * 1024;
/// Elements of one table.
pub const DEFAULT_TABLE_ELEMENTS: usize = 100_000;
/// Content of a message; longer is cut. Capability field `max_message_size`.
pub const DEFAULT_MESSAGE_BYTES: usize = 64 * 1024;
/// Messages of a callback.
pub const DEFAULT_MESSAGES: usize = 100;
/// Attachments of a message.
pub const DEFAULT_ATTACHMENTS_PER_MESSAGE: usize = 10;
/// Stored bytes of all attachments of a message, and of a single one.
pub const DEFAULT_ATTACHMENT_BYTES: usize = 20 * 1024 * 1024;
/// Stored attachment bytes of a callback.
pub const DEFAULT_ATTACHMENT_BYTES_PER_CALLBACK: usize = 50 * 1024 * 1024;
/// Log lines of a callback.
pub const DEFAULT_LOG_LINES: usize = 1000;
/// Bytes of one log line; longer is cut.
pub const DEFAULT_LOG_LINE_BYTES: usize = 4 * 1024;
/// Bytes of all log lines of a callback.
pub const DEFAULT_LOG_BYTES: usize = 256 * 1024;
/// Timer changes of a callback.
pub const DEFAULT_TIMER_CHANGES: usize = 100;
/// Bytes of a timer's name.
pub const MAX_TIMER_NAME_BYTES: usize = 128;
/// Bytes of a timer's payload.
pub const MAX_TIMER_PAYLOAD_BYTES: usize = 64 * 1024;
/// How far ahead a timer may be set.
pub const MAX_TIMER_DELAY: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// Bytes of the fields of a message that are not its content: ids, names, metadata, extracted text and what else
/// describes attachments. A message with more is dropped.
pub const MAX_MESSAGE_FIELDS_BYTES: usize = 1024 * 1024;
/// Bytes of all messages of a callback, stored attachments aside. Messages beyond it are dropped.
pub const MAX_EMITTED_BYTES: usize = 16 * 1024 * 1024;

/// What one callback of one channel may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallbackLimits {
    /// Units of fuel. Default [`DEFAULT_FUEL`].
    pub fuel: u64,
    /// Wall-clock time; from it the router computes the deadline. Default [`DEFAULT_TIMEOUT`].
    pub timeout: Duration,
    /// Bytes of linear memory. Default [`DEFAULT_MEMORY_BYTES`].
    pub memory_bytes: usize,
    /// Elements of one table. Default [`DEFAULT_TABLE_ELEMENTS`].
    pub table_elements: usize,
    /// Messages. Default [`DEFAULT_MESSAGES`]; what is more is dropped.
    pub messages: usize,
    /// Bytes of a message's content. Default [`DEFAULT_MESSAGE_BYTES`]; what is more is cut.
    pub message_bytes: usize,
    /// Attachments of one message. Default [`DEFAULT_ATTACHMENTS_PER_MESSAGE`]; what is more is dropped.
    pub attachments_per_message: usize,
    /// Stored bytes of one attachment and of all of one message. Default [`DEFAULT_ATTACHMENT_BYTES`].
    pub attachment_bytes: usize,
    /// Stored bytes of a callback. Default [`DEFAULT_ATTACHMENT_BYTES_PER_CALLBACK`].
    pub attachment_bytes_per_callback: usize,
    /// Log lines. Default [`DEFAULT_LOG_LINES`]; what is more is dropped.
    pub log_lines: usize,
    /// Bytes of one log line. Default [`DEFAULT_LOG_LINE_BYTES`]; what is more is cut.
    pub log_line_bytes: usize,
    /// Bytes of all log lines. Default [`DEFAULT_LOG_BYTES`]; what is more is dropped.
    pub log_bytes: usize,
    /// Timers set and cancelled. Default [`DEFAULT_TIMER_CHANGES`]; setting one more is an error for the guest.
    pub timer_changes: usize,
}

impl Default for CallbackLimits {
    fn default() -> Self {
        Self {
            fuel: DEFAULT_FUEL,
            timeout: DEFAULT_TIMEOUT,
            memory_bytes: DEFAULT_MEMORY_BYTES,
            table_elements: DEFAULT_TABLE_ELEMENTS,
            messages: DEFAULT_MESSAGES,
            message_bytes: DEFAULT_MESSAGE_BYTES,
            attachments_per_message: DEFAULT_ATTACHMENTS_PER_MESSAGE,
            attachment_bytes: DEFAULT_ATTACHMENT_BYTES,
            attachment_bytes_per_callback: DEFAULT_ATTACHMENT_BYTES_PER_CALLBACK,
            log_lines: DEFAULT_LOG_LINES,
            log_line_bytes: DEFAULT_LOG_LINE_BYTES,
            log_bytes: DEFAULT_LOG_BYTES,
            timer_changes: DEFAULT_TIMER_CHANGES,
        }
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
