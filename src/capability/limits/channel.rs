//! What one callback, and one channel, may take: one row a limit.

use std::time::Duration;

use super::ceilings::{ClampedLimit, LimitCaps};
use super::{KIB, MIB};
use crate::capability::http::DEFAULT_MAX_REQUESTS_PER_CALLBACK;
use crate::capability::{ChannelCapabilities, ChannelSection, EmitRateLimitConfig};

/// Fuel of one callback, when the file does not ask for another amount.
pub const DEFAULT_FUEL: u64 = 500_000_000;
/// Seconds of wall-clock time of one callback.
pub const DEFAULT_CALLBACK_TIMEOUT_SECS: u64 = 30;
/// MiB of linear memory of one callback.
pub const DEFAULT_MEMORY_MB: u64 = 50;
/// Elements of all tables of one instance.
pub const DEFAULT_TABLE_ELEMENTS: u64 = 10_000;
/// Messages that one callback may emit.
pub const DEFAULT_MESSAGES_PER_CALLBACK: u64 = 100;
/// Bytes of one message's content; what is over is cut on a character boundary.
pub const DEFAULT_MESSAGE_BYTES: u64 = 64 * KIB;
/// Bytes of one message's `metadata-json`, and of every other text of a message but its content.
pub const DEFAULT_METADATA_BYTES: u64 = 64 * KIB;
/// Attachments of one message.
pub const DEFAULT_ATTACHMENTS_PER_MESSAGE: u64 = 10;
/// Bytes of all attachments of one message.
pub const DEFAULT_ATTACHMENT_BYTES_PER_MESSAGE: u64 = 20 * MIB;
/// Bytes of one attachment that a guest stores.
pub const DEFAULT_STORED_ATTACHMENT_BYTES: u64 = 20 * MIB;
/// Bytes of all attachments that one callback stores.
pub const DEFAULT_ATTACHMENT_BYTES_PER_CALLBACK: u64 = 50 * MIB;
/// Log lines of one callback.
pub const DEFAULT_LOG_LINES: u64 = 1_000;
/// Bytes of all log lines of one callback.
pub const DEFAULT_LOG_BYTES: u64 = 64 * KIB;
/// Bytes of one log line; what is over is cut.
pub const DEFAULT_LOG_LINE_BYTES: u64 = 4 * KIB;
/// Bytes of a channel's whole workspace, paths and contents together.
pub const DEFAULT_WORKSPACE_BYTES: u64 = 16 * MIB;
/// Bytes of one workspace file.
pub const DEFAULT_WORKSPACE_FILE_BYTES: u64 = MIB;
/// Files in a channel's workspace.
pub const DEFAULT_WORKSPACE_FILES: u64 = 4_096;
/// Timers that a channel may have set at one time.
pub const DEFAULT_TIMERS: u64 = 64;
/// Bytes of a timer's payload.
pub const DEFAULT_TIMER_PAYLOAD_BYTES: u64 = 64 * KIB;
/// Bytes of a timer's name.
pub const DEFAULT_TIMER_NAME_BYTES: u64 = 128;
/// Days that a timer may be set ahead.
pub const DEFAULT_TIMER_DELAY_DAYS: u64 = 366;
/// Callbacks of the inbound lane that run at one time; real channels keep cursors, so one.
pub const DEFAULT_INBOUND_CONCURRENCY: u64 = 1;
/// Replies of different conversations that are sent at one time.
pub const DEFAULT_OUTBOUND_CONCURRENCY: u64 = 4;
/// Messages that a channel may emit in a minute.
pub const DEFAULT_MESSAGES_PER_MINUTE: u32 = 100;
/// Messages that a channel may emit in an hour.
pub const DEFAULT_MESSAGES_PER_HOUR: u32 = 5_000;

/// The most callbacks of one lane that can ever run at one time, whatever the host's configuration says.
pub const MAX_LANE_CONCURRENCY: u64 = 16;
/// The longest that a callback can ever take, in seconds, whatever the host's configuration says.
pub const MAX_CALLBACK_TIMEOUT_SECS: u64 = 300;

/// What one channel may take, with every default filled in and every ceiling applied.
///
/// Bytes are bytes, counts are counts; "per callback" starts anew with each callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelLimits {
    /// Fuel of one callback ([`DEFAULT_FUEL`]; `fuel`).
    pub fuel: u64,
    /// Wall-clock time of one callback ([`DEFAULT_CALLBACK_TIMEOUT_SECS`]; `callback_timeout_secs`).
    pub callback_timeout: Duration,
    /// Linear memory of one callback ([`DEFAULT_MEMORY_MB`]; `memory_mb`).
    pub memory_bytes: usize,
    /// Elements of all tables of an instance ([`DEFAULT_TABLE_ELEMENTS`]; `table_elements`).
    pub table_elements: usize,
    /// Messages emitted per callback ([`DEFAULT_MESSAGES_PER_CALLBACK`]; `max_messages_per_callback`).
    pub messages_per_callback: usize,
    /// Content of one message ([`DEFAULT_MESSAGE_BYTES`]; `max_message_size`).
    pub message_bytes: usize,
    /// `metadata-json` of one message, and each other text of it ([`DEFAULT_METADATA_BYTES`]; `max_metadata_bytes`).
    pub metadata_bytes: usize,
    /// Attachments of one message ([`DEFAULT_ATTACHMENTS_PER_MESSAGE`]; `max_attachments_per_message`).
    pub attachments_per_message: usize,
    /// All attachments of one message ([`DEFAULT_ATTACHMENT_BYTES_PER_MESSAGE`]; `max_attachment_bytes_per_message`).
    pub attachment_bytes_per_message: usize,
    /// One stored attachment ([`DEFAULT_STORED_ATTACHMENT_BYTES`]; `max_stored_attachment_bytes`).
    pub stored_attachment_bytes: usize,
    /// Attachments stored per callback ([`DEFAULT_ATTACHMENT_BYTES_PER_CALLBACK`]; `max_attachment_bytes_per_callback`).
    pub attachment_bytes_per_callback: usize,
    /// Log lines per callback ([`DEFAULT_LOG_LINES`]; `max_log_lines`).
    pub log_lines: usize,
    /// Log bytes per callback ([`DEFAULT_LOG_BYTES`]; `max_log_bytes`).
    pub log_bytes: usize,
    /// One log line ([`DEFAULT_LOG_LINE_BYTES`]; `max_log_line_bytes`).
    pub log_line_bytes: usize,
    /// Outbound HTTP requests per callback ([`DEFAULT_MAX_REQUESTS_PER_CALLBACK`];
    /// `http.max_requests_per_callback`).
    pub http_calls: usize,
    /// The whole workspace ([`DEFAULT_WORKSPACE_BYTES`]; `workspace_max_bytes`).
    pub workspace_bytes: u64,
    /// One workspace file ([`DEFAULT_WORKSPACE_FILE_BYTES`]; `workspace_max_file_bytes`).
    pub workspace_file_bytes: usize,
    /// Files in the workspace ([`DEFAULT_WORKSPACE_FILES`]; `workspace_max_files`).
    pub workspace_files: usize,
    /// Timers set at one time ([`DEFAULT_TIMERS`]; `max_timers`).
    pub timers: usize,
    /// Payload of a timer ([`DEFAULT_TIMER_PAYLOAD_BYTES`]; `max_timer_payload_bytes`).
    pub timer_payload_bytes: usize,
    /// Name of a timer ([`DEFAULT_TIMER_NAME_BYTES`]; `max_timer_name_bytes`).
    pub timer_name_bytes: usize,
    /// How far ahead a timer may be set ([`DEFAULT_TIMER_DELAY_DAYS`]; `max_timer_delay_days`).
    pub timer_delay: Duration,
    /// Width of the inbound lane ([`DEFAULT_INBOUND_CONCURRENCY`], never above [`MAX_LANE_CONCURRENCY`];
    /// `inbound_concurrency`).
    pub inbound_concurrency: usize,
    /// Width of the outbound lane ([`DEFAULT_OUTBOUND_CONCURRENCY`], never above [`MAX_LANE_CONCURRENCY`];
    /// `outbound_concurrency`).
    pub outbound_concurrency: usize,
    /// Messages emitted per minute and hour ([`DEFAULT_MESSAGES_PER_MINUTE`], [`DEFAULT_MESSAGES_PER_HOUR`];
    /// `emit_rate_limit`).
    pub emit_rate: EmitRateLimitConfig,
}

impl Default for ChannelLimits {
    /// Every limit at its default: what a channel gets whose file asks for nothing else.
    fn default() -> Self {
        Self {
            fuel: DEFAULT_FUEL,
            callback_timeout: Duration::from_secs(DEFAULT_CALLBACK_TIMEOUT_SECS),
            memory_bytes: size(DEFAULT_MEMORY_MB * MIB),
            table_elements: size(DEFAULT_TABLE_ELEMENTS),
            messages_per_callback: size(DEFAULT_MESSAGES_PER_CALLBACK),
            message_bytes: size(DEFAULT_MESSAGE_BYTES),
            metadata_bytes: size(DEFAULT_METADATA_BYTES),
            attachments_per_message: size(DEFAULT_ATTACHMENTS_PER_MESSAGE),
            attachment_bytes_per_message: size(DEFAULT_ATTACHMENT_BYTES_PER_MESSAGE),
            stored_attachment_bytes: size(DEFAULT_STORED_ATTACHMENT_BYTES),
            attachment_bytes_per_callback: size(DEFAULT_ATTACHMENT_BYTES_PER_CALLBACK),
            log_lines: size(DEFAULT_LOG_LINES),
            log_bytes: size(DEFAULT_LOG_BYTES),
            log_line_bytes: size(DEFAULT_LOG_LINE_BYTES),
            http_calls: size(DEFAULT_MAX_REQUESTS_PER_CALLBACK.into()),
            workspace_bytes: DEFAULT_WORKSPACE_BYTES,
            workspace_file_bytes: size(DEFAULT_WORKSPACE_FILE_BYTES),
            workspace_files: size(DEFAULT_WORKSPACE_FILES),
            timers: size(DEFAULT_TIMERS),
            timer_payload_bytes: size(DEFAULT_TIMER_PAYLOAD_BYTES),
            timer_name_bytes: size(DEFAULT_TIMER_NAME_BYTES),
            timer_delay: days(DEFAULT_TIMER_DELAY_DAYS),
            inbound_concurrency: size(DEFAULT_INBOUND_CONCURRENCY),
            outbound_concurrency: size(DEFAULT_OUTBOUND_CONCURRENCY),
            emit_rate: EmitRateLimitConfig::default(),
        }
    }
}

impl ChannelLimits {
    /// The limits of a channel: what its file asks for, else the default, and never above the host's ceiling.
    ///
    /// Also returned is what was asked for and not given as it was asked, in the order of [`LIMITS`].
    pub fn resolve(capabilities: &ChannelCapabilities, ceilings: &LimitCaps) -> (Self, Vec<ClampedLimit>) {
        let mut limits = Self::default();
        let mut adjusted = Vec::new();
        for limit in LIMITS {
            let asked = (limit.asked)(capabilities);
            let wanted = asked.unwrap_or(limit.default);
            let given = wanted.max(limit.least).min((limit.get)(ceilings.as_limits()));
            (limit.set)(&mut limits, given);
            if let Some(asked) = asked.filter(|asked| *asked != given) {
                adjusted.push(ClampedLimit { field: limit.field, unit: limit.unit, asked, given });
            }
        }
        (limits, adjusted)
    }
}

/// One row of [`LIMITS`]. Numbers are counted in `unit`, as the capability file counts them.
pub struct Limit {
    /// The field, below `capabilities`.
    pub field: &'static str,
    /// What the number counts.
    pub unit: &'static str,
    /// The value for a file that does not have the field.
    pub default: u64,
    /// The lowest value that makes sense; a file with a lower one is refused.
    pub least: u64,
    /// The host's ceiling, when its configuration does not set another.
    pub ceiling: u64,
    /// The highest ceiling that the host's configuration may set.
    pub most: u64,
    pub(crate) asked: fn(&ChannelCapabilities) -> Option<u64>,
    pub(super) get: fn(&ChannelLimits) -> u64,
    pub(super) set: fn(&mut ChannelLimits, u64),
}

fn channel(capabilities: &ChannelCapabilities) -> Option<&ChannelSection> {
    capabilities.channel.as_ref()
}

fn emit_rate(capabilities: &ChannelCapabilities) -> Option<EmitRateLimitConfig> {
    channel(capabilities)?.emit_rate_limit
}

/// A row whose value is a plain number in [`ChannelLimits`], times `$scale`.
macro_rules! limit {
    ($field:ident => $slot:ident: $default:expr, $unit:literal, least $least:expr, ceiling $ceiling:expr, most $most:expr) => {
        limit!($field => $slot: $default, $unit, least $least, ceiling $ceiling, most $most, scale 1)
    };
    ($field:ident => $slot:ident: $default:expr, $unit:literal, least $least:expr, ceiling $ceiling:expr, most $most:expr, scale $scale:expr) => {
        Limit {
            field: concat!("channel.", stringify!($field)),
            unit: $unit,
            default: $default,
            least: $least,
            ceiling: $ceiling,
            most: $most,
            asked: |all| channel(all)?.$field,
            get: |limits| limits.$slot as u64 / $scale,
            set: |limits, value| limits.$slot = narrow(value.saturating_mul($scale)),
        }
    };
}

/// Every limit of a channel. The capability file, the host's ceilings and the documentation are made from this table.
pub const LIMITS: &[Limit] = &[
    limit!(fuel => fuel: DEFAULT_FUEL, "units of fuel", least 1_000_000, ceiling 10_000_000_000, most u64::MAX),
    Limit {
        field: "channel.callback_timeout_secs",
        unit: "seconds",
        default: DEFAULT_CALLBACK_TIMEOUT_SECS,
        least: 1,
        ceiling: MAX_CALLBACK_TIMEOUT_SECS,
        most: MAX_CALLBACK_TIMEOUT_SECS,
        asked: |all| channel(all)?.callback_timeout_secs,
        get: |limits| limits.callback_timeout.as_secs(),
        set: |limits, value| limits.callback_timeout = Duration::from_secs(value),
    },
    limit!(memory_mb => memory_bytes: DEFAULT_MEMORY_MB, "MiB", least 1, ceiling 256, most 4_095, scale MIB),
    limit!(table_elements => table_elements: DEFAULT_TABLE_ELEMENTS, "elements", least 1, ceiling 100_000, most 10_000_000),
    limit!(max_messages_per_callback => messages_per_callback: DEFAULT_MESSAGES_PER_CALLBACK, "messages", least 1, ceiling 1_000, most 100_000),
    limit!(max_message_size => message_bytes: DEFAULT_MESSAGE_BYTES, "bytes", least 1, ceiling MIB, most 64 * MIB),
    limit!(max_metadata_bytes => metadata_bytes: DEFAULT_METADATA_BYTES, "bytes", least 256, ceiling MIB, most 64 * MIB),
    limit!(max_attachments_per_message => attachments_per_message: DEFAULT_ATTACHMENTS_PER_MESSAGE, "attachments", least 0, ceiling 100, most 10_000),
    limit!(max_attachment_bytes_per_message => attachment_bytes_per_message: DEFAULT_ATTACHMENT_BYTES_PER_MESSAGE, "bytes", least 0, ceiling 100 * MIB, most 4_095 * MIB),
    limit!(max_stored_attachment_bytes => stored_attachment_bytes: DEFAULT_STORED_ATTACHMENT_BYTES, "bytes", least 0, ceiling 100 * MIB, most 4_095 * MIB),
    limit!(max_attachment_bytes_per_callback => attachment_bytes_per_callback: DEFAULT_ATTACHMENT_BYTES_PER_CALLBACK, "bytes", least 0, ceiling 200 * MIB, most 4_095 * MIB),
    limit!(max_log_lines => log_lines: DEFAULT_LOG_LINES, "lines", least 0, ceiling 10_000, most 1_000_000),
    limit!(max_log_bytes => log_bytes: DEFAULT_LOG_BYTES, "bytes", least 0, ceiling MIB, most 64 * MIB),
    limit!(max_log_line_bytes => log_line_bytes: DEFAULT_LOG_LINE_BYTES, "bytes", least 64, ceiling 64 * KIB, most MIB),
    Limit {
        field: "http.max_requests_per_callback",
        unit: "requests",
        default: DEFAULT_MAX_REQUESTS_PER_CALLBACK as u64,
        least: 0,
        ceiling: 200,
        most: 10_000,
        asked: |all| all.http.as_ref().map(|http| http.max_requests_per_callback.into()),
        get: |limits| limits.http_calls as u64,
        set: |limits, value| limits.http_calls = narrow(value),
    },
    limit!(workspace_max_bytes => workspace_bytes: DEFAULT_WORKSPACE_BYTES, "bytes", least 0, ceiling 256 * MIB, most 4_095 * MIB),
    limit!(workspace_max_file_bytes => workspace_file_bytes: DEFAULT_WORKSPACE_FILE_BYTES, "bytes", least 0, ceiling 16 * MIB, most 1_024 * MIB),
    limit!(workspace_max_files => workspace_files: DEFAULT_WORKSPACE_FILES, "files", least 0, ceiling 65_536, most 10_000_000),
    limit!(max_timers => timers: DEFAULT_TIMERS, "timers", least 0, ceiling 1_024, most 100_000),
    limit!(max_timer_payload_bytes => timer_payload_bytes: DEFAULT_TIMER_PAYLOAD_BYTES, "bytes", least 0, ceiling MIB, most 16 * MIB),
    limit!(max_timer_name_bytes => timer_name_bytes: DEFAULT_TIMER_NAME_BYTES, "bytes", least 1, ceiling KIB, most KIB),
    Limit {
        field: "channel.max_timer_delay_days",
        unit: "days",
        default: DEFAULT_TIMER_DELAY_DAYS,
        least: 1,
        ceiling: 3_660,
        most: 36_600,
        asked: |all| channel(all)?.max_timer_delay_days,
        get: |limits| limits.timer_delay.as_secs() / SECS_PER_DAY,
        set: |limits, value| limits.timer_delay = days(value),
    },
    limit!(inbound_concurrency => inbound_concurrency: DEFAULT_INBOUND_CONCURRENCY, "callbacks", least 1, ceiling MAX_LANE_CONCURRENCY, most MAX_LANE_CONCURRENCY),
    limit!(outbound_concurrency => outbound_concurrency: DEFAULT_OUTBOUND_CONCURRENCY, "callbacks", least 1, ceiling MAX_LANE_CONCURRENCY, most MAX_LANE_CONCURRENCY),
    Limit {
        field: "channel.emit_rate_limit.messages_per_minute",
        unit: "messages",
        default: DEFAULT_MESSAGES_PER_MINUTE as u64,
        least: 0,
        ceiling: 1_000_000,
        most: 1_000_000,
        asked: |all| emit_rate(all).map(|rate| rate.messages_per_minute.into()),
        get: |limits| limits.emit_rate.messages_per_minute.into(),
        set: |limits, value| limits.emit_rate.messages_per_minute = narrow(value),
    },
    Limit {
        field: "channel.emit_rate_limit.messages_per_hour",
        unit: "messages",
        default: DEFAULT_MESSAGES_PER_HOUR as u64,
        least: 0,
        ceiling: 10_000_000,
        most: 10_000_000,
        asked: |all| emit_rate(all).map(|rate| rate.messages_per_hour.into()),
        get: |limits| limits.emit_rate.messages_per_hour.into(),
        set: |limits, value| limits.emit_rate.messages_per_hour = narrow(value),
    },
];

const SECS_PER_DAY: u64 = 24 * 60 * 60;

fn days(days: u64) -> Duration {
    Duration::from_secs(days.saturating_mul(SECS_PER_DAY))
}

fn size(value: u64) -> usize {
    narrow(value)
}

/// The value, or the highest that the type holds: a limit above what the machine can count is no limit there.
fn narrow<T: TryFrom<u64> + Highest>(value: u64) -> T {
    T::try_from(value).unwrap_or(T::HIGHEST)
}

trait Highest {
    const HIGHEST: Self;
}

impl Highest for u64 {
    const HIGHEST: Self = u64::MAX;
}

impl Highest for usize {
    const HIGHEST: Self = usize::MAX;
}

impl Highest for u32 {
    const HIGHEST: Self = u32::MAX;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::HttpCapability;
    use crate::model::document::{Comments, read};
    use serde_json::{Value, json};

    /// Capabilities that ask for one limit, written as a file writes it.
    fn asking(field: &str, value: u64) -> ChannelCapabilities {
        let mut document: Value = value.into();
        for name in field.rsplit('.') {
            document = json!({ name: document });
        }
        read(document, Comments::Refused).unwrap()
    }

    fn resolve(capabilities: &ChannelCapabilities) -> (ChannelLimits, Vec<ClampedLimit>) {
        ChannelLimits::resolve(capabilities, &LimitCaps::default())
    }

    #[test]
    fn a_file_that_asks_for_nothing_gets_the_defaults() {
        assert_eq!(resolve(&ChannelCapabilities::default()), (ChannelLimits::default(), vec![]));
        let empty = ChannelCapabilities { channel: Some(ChannelSection::default()), ..Default::default() };
        assert_eq!(resolve(&empty), (ChannelLimits::default(), vec![]));
        let limits = ChannelLimits::default();
        for limit in LIMITS {
            assert_eq!((limit.get)(&limits), limit.default, "{}", limit.field);
        }
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let limits = ChannelLimits::default();
        assert_eq!(limits.fuel, 500_000_000);
        assert_eq!(limits.callback_timeout, Duration::from_secs(30));
        assert_eq!(limits.memory_bytes, 50 * 1024 * 1024);
        assert_eq!((limits.messages_per_callback, limits.message_bytes), (100, 65_536));
        assert_eq!((limits.attachments_per_message, limits.attachment_bytes_per_message), (10, 20 << 20));
        assert_eq!(
            (limits.stored_attachment_bytes, limits.attachment_bytes_per_callback),
            (20 << 20, 50 << 20)
        );
        assert_eq!((limits.workspace_bytes, limits.workspace_file_bytes), (16 << 20, 1 << 20));
        assert_eq!((limits.workspace_files, limits.http_calls, limits.timers), (4096, 50, 64));
        assert_eq!((limits.emit_rate.messages_per_minute, limits.emit_rate.messages_per_hour), (100, 5000));
        assert_eq!((limits.inbound_concurrency, limits.outbound_concurrency), (1, 4));
    }

    #[test]
    fn each_field_sets_its_own_limit_up_to_the_ceiling_and_is_told_beyond_it() {
        for limit in LIMITS {
            let (limits, adjusted) = resolve(&asking(limit.field, limit.ceiling));
            assert_eq!(
                ((limit.get)(&limits), adjusted),
                (limit.ceiling, vec![]),
                "{} at its ceiling",
                limit.field
            );

            let others = LIMITS.iter().filter(|other| other.field != limit.field);
            for other in others {
                assert_eq!((other.get)(&limits), other.default, "{} moved {}", limit.field, other.field);
            }

            let past = limit.ceiling + 1;
            let (limits, adjusted) = resolve(&asking(limit.field, past));
            assert_eq!((limit.get)(&limits), limit.ceiling, "{} one past its ceiling", limit.field);
            let expected =
                ClampedLimit { field: limit.field, unit: limit.unit, asked: past, given: limit.ceiling };
            assert_eq!(adjusted, [expected], "{}", limit.field);
        }
    }

    #[test]
    fn a_value_that_makes_no_sense_is_raised_and_told() {
        for limit in LIMITS.iter().filter(|limit| limit.least > 0) {
            let (limits, adjusted) = resolve(&asking(limit.field, limit.least - 1));
            assert_eq!((limit.get)(&limits), limit.least, "{}", limit.field);
            assert_eq!(adjusted.len(), 1, "{}", limit.field);
        }
    }

    #[test]
    fn a_ceiling_below_the_default_lowers_the_default() {
        let mut ceilings = LimitCaps::default();
        ceilings.set("memory_mb", 8).unwrap();
        let (limits, adjusted) = ChannelLimits::resolve(&ChannelCapabilities::default(), &ceilings);
        assert_eq!((limits.memory_bytes, adjusted), (8 << 20, vec![]));
    }

    #[test]
    fn the_rows_are_in_order_and_every_ceiling_is_possible() {
        for limit in LIMITS {
            assert!(limit.least <= limit.default && limit.default <= limit.ceiling, "{}", limit.field);
            assert!(limit.ceiling <= limit.most, "{}", limit.field);
        }
    }

    #[test]
    fn what_was_lowered_reads_as_a_sentence() {
        let (_, adjusted) = resolve(&asking("channel.memory_mb", 512));
        let expected = "`capabilities.channel.memory_mb` asks for 512 MiB; at most 256 is given";
        assert_eq!(adjusted[0].to_string(), expected);
    }

    #[test]
    fn http_without_the_field_has_the_default_number_of_requests() {
        let capabilities =
            ChannelCapabilities { http: Some(HttpCapability::default()), ..Default::default() };
        assert_eq!(resolve(&capabilities).0.http_calls, 50);
    }
}
