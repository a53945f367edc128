//! `capabilities.channel`: what a channel may do inside the host.

use std::time::Duration;

use super::WebhookCapability;
use crate::capability::limits::{DEFAULT_MESSAGES_PER_HOUR, DEFAULT_MESSAGES_PER_MINUTE};
use crate::fields::Fields;

/// Milliseconds between two polls when the file does not say, and the least that a file can ask for.
pub const DEFAULT_MIN_POLL_INTERVAL_MS: u64 = 30_000;

/// The `capabilities.channel` section.
///
/// The fields that set a limit are optional; [`LIMITS`](crate::capability::limits::LIMITS) has their defaults and bounds.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(default))]
pub struct ChannelSection {
    /// HTTP paths that the channel may register, exact. None: no HTTP.
    pub allowed_paths: Vec<String>,
    /// Whether the channel may poll.
    pub allow_polling: bool,
    /// Milliseconds between two polls, at least. 30000 when absent, and never lower than the host's floor.
    pub min_poll_interval_ms: Option<u64>,
    /// Where the channel's files live; must be `channels/<name>/` when present.
    pub workspace_prefix: Option<String>,
    /// Paths to keep across restarts. The whole workspace is durable, so this changes nothing.
    pub durable_workspace_paths: Vec<String>,
    /// How authentic webhooks are recognised. Absent: the channel has no authenticated route.
    pub webhook: Option<WebhookCapability>,
    /// Whether `emit-message` takes the id by which a repeated message is recognised from the `message_id` of
    /// `metadata-json`. A provider that sends an event twice is then answered twice and kept once.
    pub message_id_from_metadata: bool,

    /// Messages that the channel may emit per minute and hour.
    pub emit_rate_limit: Option<EmitRateLimitConfig>,
    /// Bytes of one message's content (65536); what is over is cut.
    pub max_message_size: Option<u64>,
    /// Seconds that a callback may take (30, at most 300).
    pub callback_timeout_secs: Option<u64>,
    /// Fuel that a callback may burn (500000000).
    pub fuel: Option<u64>,
    /// MiB of memory that a callback may use (50).
    pub memory_mb: Option<u64>,
    /// Table elements that an instance may have (10000).
    pub table_elements: Option<u64>,
    /// Callbacks of the inbound lane that may run at one time (1, at most 16).
    pub inbound_concurrency: Option<u64>,
    /// Callbacks of the outbound lane that may run at one time (1, at most 16).
    pub outbound_concurrency: Option<u64>,
    /// Messages that a callback may emit (100).
    pub max_messages_per_callback: Option<u64>,
    /// Bytes of a message's metadata (65536).
    pub max_metadata_bytes: Option<u64>,
    /// Attachments that a message may have (10).
    pub max_attachments_per_message: Option<u64>,
    /// Bytes of all attachments of a message (20 MiB).
    pub max_attachment_bytes_per_message: Option<u64>,
    /// Bytes of one stored attachment (20 MiB).
    pub max_stored_attachment_bytes: Option<u64>,
    /// Bytes of all attachments that a callback stores (50 MiB).
    pub max_attachment_bytes_per_callback: Option<u64>,
    /// Log lines of a callback (1000).
    pub max_log_lines: Option<u64>,
    /// Bytes of all log lines of a callback (64 KiB).
    pub max_log_bytes: Option<u64>,
    /// Bytes of a log line (4 KiB); what is over is cut.
    pub max_log_line_bytes: Option<u64>,
    /// Bytes of the whole workspace (16 MiB).
    pub workspace_max_bytes: Option<u64>,
    /// Bytes of one workspace file (1 MiB).
    pub workspace_max_file_bytes: Option<u64>,
    /// Files in the workspace (4096).
    pub workspace_max_files: Option<u64>,
    /// Timers set at one time (64).
    pub max_timers: Option<u64>,
    /// Bytes of a timer's payload (64 KiB).
    pub max_timer_payload_bytes: Option<u64>,
    /// Bytes of a timer's name (128).
    pub max_timer_name_bytes: Option<u64>,
    /// Days that a timer may be set ahead (366).
    pub max_timer_delay_days: Option<u64>,
}

impl ChannelSection {
    pub(super) fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            allowed_paths: fields.texts("allowed_paths").unwrap_or_default(),
            allow_polling: fields.flag("allow_polling").unwrap_or_default(),
            min_poll_interval_ms: fields.u64("min_poll_interval_ms"),
            workspace_prefix: fields.text("workspace_prefix"),
            durable_workspace_paths: fields.texts("durable_workspace_paths").unwrap_or_default(),
            webhook: fields.inner("webhook", WebhookCapability::read),
            message_id_from_metadata: fields.flag("message_id_from_metadata").unwrap_or_default(),
            emit_rate_limit: fields.inner("emit_rate_limit", EmitRateLimitConfig::read),
            max_message_size: fields.u64("max_message_size"),
            callback_timeout_secs: fields.u64("callback_timeout_secs"),
            fuel: fields.u64("fuel"),
            memory_mb: fields.u64("memory_mb"),
            table_elements: fields.u64("table_elements"),
            inbound_concurrency: fields.u64("inbound_concurrency"),
            outbound_concurrency: fields.u64("outbound_concurrency"),
            max_messages_per_callback: fields.u64("max_messages_per_callback"),
            max_metadata_bytes: fields.u64("max_metadata_bytes"),
            max_attachments_per_message: fields.u64("max_attachments_per_message"),
            max_attachment_bytes_per_message: fields.u64("max_attachment_bytes_per_message"),
            max_stored_attachment_bytes: fields.u64("max_stored_attachment_bytes"),
            max_attachment_bytes_per_callback: fields.u64("max_attachment_bytes_per_callback"),
            max_log_lines: fields.u64("max_log_lines"),
            max_log_bytes: fields.u64("max_log_bytes"),
            max_log_line_bytes: fields.u64("max_log_line_bytes"),
            workspace_max_bytes: fields.u64("workspace_max_bytes"),
            workspace_max_file_bytes: fields.u64("workspace_max_file_bytes"),
            workspace_max_files: fields.u64("workspace_max_files"),
            max_timers: fields.u64("max_timers"),
            max_timer_payload_bytes: fields.u64("max_timer_payload_bytes"),
            max_timer_name_bytes: fields.u64("max_timer_name_bytes"),
            max_timer_delay_days: fields.u64("max_timer_delay_days"),
        })
    }

    /// The least time between two polls: what the file says, or [`DEFAULT_MIN_POLL_INTERVAL_MS`] when it says nothing.
    ///
    /// The host's own floor comes on top, see [`resolve_registration`](crate::channel::resolve_registration).
    pub fn min_poll_interval(&self) -> Duration {
        Duration::from_millis(self.min_poll_interval_ms.unwrap_or(DEFAULT_MIN_POLL_INTERVAL_MS))
    }
}

/// Messages that a channel may emit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(default))]
pub struct EmitRateLimitConfig {
    /// Messages a minute (100).
    pub messages_per_minute: u32,
    /// Messages an hour (5000).
    pub messages_per_hour: u32,
}

impl EmitRateLimitConfig {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            messages_per_minute: fields.u32("messages_per_minute").unwrap_or(DEFAULT_MESSAGES_PER_MINUTE),
            messages_per_hour: fields.u32("messages_per_hour").unwrap_or(DEFAULT_MESSAGES_PER_HOUR),
        })
    }
}

impl Default for EmitRateLimitConfig {
    /// [`DEFAULT_MESSAGES_PER_MINUTE`] and [`DEFAULT_MESSAGES_PER_HOUR`].
    fn default() -> Self {
        Self {
            messages_per_minute: DEFAULT_MESSAGES_PER_MINUTE,
            messages_per_hour: DEFAULT_MESSAGES_PER_HOUR,
        }
    }
}
