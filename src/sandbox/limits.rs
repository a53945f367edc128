//! What is fixed about what one callback may use. All else is in
//! [`ChannelLimits`](crate::capability::limits::ChannelLimits).

/// Timers set and cancelled by one callback.
pub const MAX_TIMER_CHANGES: usize = 100;
/// Bytes of the fields of a message that are not its content: ids, names, metadata, extracted text and what else
/// describes attachments. A message with more is dropped.
pub const MAX_MESSAGE_FIELDS_BYTES: usize = 1024 * 1024;
/// Bytes of all messages of a callback, stored attachments aside. Messages beyond it are dropped.
pub const MAX_EMITTED_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of what a callback returns: a response to a request, what `on-start` declares, an error. More ends the callback.
pub const MAX_RESULT_BYTES: usize = 16 * 1024 * 1024;
