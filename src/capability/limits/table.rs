//! The table of limits: one row is a limit's name, unit, default, bounds, field, and what happens past it.

use std::fmt;
use std::time::Duration;

use super::{KIB, MIB};
use crate::capability::http::{HttpCapability, HttpRateLimit};
use crate::capability::tool::{ToolInvokeCapability, ToolSection};
use crate::capability::{ChannelCapabilities, ChannelSection, EmitRateLimitConfig, ToolCapabilities};

/// The most callbacks of one lane that can ever run at one time, whatever the host's configuration says.
pub const MAX_LANE_CONCURRENCY: u64 = 16;
/// The longest that a callback can ever take, in seconds, whatever the host's configuration says.
pub const MAX_CALLBACK_TIMEOUT_SECS: u64 = 300;

const DAY_SECS: u64 = 24 * 60 * 60;

/// One row of [`LIMITS`]. Numbers are counted in `unit`, as the capability file counts them.
pub struct Limit {
    /// The field, below `capabilities`.
    pub field: &'static str,
    /// What the number counts.
    pub unit: &'static str,
    /// The value for a file that does not have the field.
    pub default: u64,
    /// The lowest value that makes sense; a file with a lower one is refused.
    pub min: u64,
    /// The highest value that a channel gets, when the host's configuration does not set another.
    pub cap: u64,
    /// The highest cap that the host's configuration may set.
    pub max_cap: u64,
    /// What happens past the limit.
    #[cfg_attr(not(test), expect(dead_code, reason = "the page of limits is written from it"))]
    pub excess: Excess,
    pub(crate) asked: fn(&Sections<'_>) -> Option<u64>,
    pub(super) get: fn(&ChannelLimits) -> u64,
    pub(super) set: fn(&mut ChannelLimits, u64),
}

impl Limit {
    /// The last part of the field, which errors and log lines about this limit name.
    #[cfg(all(test, feature = "cli"))]
    pub fn name(&self) -> &'static str {
        self.field.rsplit('.').next().unwrap_or(self.field)
    }

    /// Whether a cap that the host's configuration sets is also the value of files that do not have the field, so that an
    /// operator can raise it for a published channel.
    pub(super) fn cap_is_default(&self) -> bool {
        matches!(self.field, "http.max_request_bytes" | "http.max_response_bytes")
    }
}

/// The sections of a capability file in which limits are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sections<'a> {
    channel: Option<&'a ChannelSection>,
    http: Option<&'a HttpCapability>,
    tool: Option<&'a ToolSection>,
    tool_invoke: Option<&'a ToolInvokeCapability>,
}

impl<'a> From<&'a ChannelCapabilities> for Sections<'a> {
    fn from(capabilities: &'a ChannelCapabilities) -> Self {
        let ChannelCapabilities { channel, http, .. } = capabilities;
        Self { channel: channel.as_ref(), http: http.as_ref(), ..Self::default() }
    }
}

impl<'a> From<&'a ToolCapabilities> for Sections<'a> {
    fn from(capabilities: &'a ToolCapabilities) -> Self {
        let ToolCapabilities { http, tool, tool_invoke, .. } = capabilities;
        Self { channel: None, http: http.as_ref(), tool: tool.as_ref(), tool_invoke: tool_invoke.as_ref() }
    }
}

/// What happens to what is past a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Excess {
    /// The callback is stopped with an error, and nothing of it is kept.
    Stopped,
    /// The guest's call returns an error.
    Refused,
    /// It is left out, and the log says how much.
    Dropped,
    /// It is cut to the limit, and the log says so.
    Cut,
    /// It waits.
    Delayed,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "the callback is stopped",
            Self::Refused => "the guest gets an error",
            Self::Dropped => "dropped, and logged",
            Self::Cut => "cut, with a mark",
            Self::Delayed => "waits",
        })
    }
}

/// Makes [`ChannelLimits`], its defaults and [`LIMITS`] of the rows:
/// `name: type, in SCALE, "field" where it is asked for, default, "unit", min, cap, max_cap, excess`.
macro_rules! limits {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $type:ty, in $scale:expr, $field:literal ($asked:expr),
        default $default:expr, $unit:literal, min $min:expr, cap $cap:expr, max_cap $max_cap:expr, $excess:ident;
    )*) => {
        /// What one channel may take, with every default filled in and every cap applied. Sandbox, router and outbound
        /// requests get it whole.
        ///
        /// Bytes are bytes, counts are counts; "per callback" begins at zero with each callback.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct ChannelLimits {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\n`", $field, "`, by default ", stringify!($default), " ", $unit, ".")]
                pub $name: $type,
            )*
        }

        impl Default for ChannelLimits {
            /// Every limit at its default: what a channel gets whose file asks for nothing else.
            fn default() -> Self {
                Self { $($name: Amount::of(u64::saturating_mul($default, $scale)),)* }
            }
        }

        /// Every limit of a channel. Capability files, the host's caps, the schema and the documentation follow this table.
        pub const LIMITS: &[Limit] = &[
            $(Limit {
                field: $field,
                unit: $unit,
                default: $default,
                min: $min,
                cap: $cap,
                max_cap: $max_cap,
                excess: Excess::$excess,
                asked: $asked,
                get: |limits| limits.$name.count() / $scale,
                set: |limits, value| limits.$name = Amount::of(value.saturating_mul($scale)),
            },)*
        ];
    };
}

limits! {
    /// Fuel of one callback.
    fuel: u64, in 1, "channel.fuel" (|all| channel(all)?.fuel),
    default 500_000_000, "units of fuel", min 1_000_000, cap 10_000_000_000, max_cap u64::MAX, Stopped;

    /// Wall-clock time of one callback.
    callback_timeout: Duration, in 1, "channel.callback_timeout_secs" (|all| channel(all)?.callback_timeout_secs),
    default 30, "seconds", min 1, cap MAX_CALLBACK_TIMEOUT_SECS, max_cap MAX_CALLBACK_TIMEOUT_SECS, Stopped;

    /// Linear memory of one callback.
    memory_bytes: usize, in MIB, "channel.memory_mb" (|all| channel(all)?.memory_mb),
    default 50, "MiB", min 1, cap 256, max_cap 4_095, Stopped;

    /// Elements of all tables of an instance.
    table_elements: usize, in 1, "channel.table_elements" (|all| channel(all)?.table_elements),
    default 10_000, "elements", min 1, cap 100_000, max_cap 10_000_000, Stopped;

    /// Messages emitted per callback.
    messages_per_callback: usize, in 1, "channel.max_messages_per_callback" (|all| channel(all)?.max_messages_per_callback),
    default 100, "messages", min 1, cap 1_000, max_cap 100_000, Dropped;

    /// Content of one message, cut on a character boundary.
    message_bytes: usize, in 1, "channel.max_message_size" (|all| channel(all)?.max_message_size),
    default 64 * KIB, "bytes", min 1, cap MIB, max_cap 64 * MIB, Cut;

    /// `metadata-json` of one message, and each other text of it but its content. A message with more is dropped.
    metadata_bytes: usize, in 1, "channel.max_metadata_bytes" (|all| channel(all)?.max_metadata_bytes),
    default 64 * KIB, "bytes", min 256, cap MIB, max_cap 64 * MIB, Dropped;

    /// Attachments of one message.
    attachments_per_message: usize, in 1, "channel.max_attachments_per_message" (|all| channel(all)?.max_attachments_per_message),
    default 10, "attachments", min 0, cap 100, max_cap 10_000, Dropped;

    /// Stored bytes of all attachments of one message.
    attachment_bytes_per_message: usize, in 1,
    "channel.max_attachment_bytes_per_message" (|all| channel(all)?.max_attachment_bytes_per_message),
    default 20 * MIB, "bytes", min 0, cap 100 * MIB, max_cap 4_095 * MIB, Dropped;

    /// Stored bytes of one attachment.
    stored_attachment_bytes: usize, in 1, "channel.max_stored_attachment_bytes" (|all| channel(all)?.max_stored_attachment_bytes),
    default 20 * MIB, "bytes", min 0, cap 100 * MIB, max_cap 4_095 * MIB, Refused;

    /// Stored bytes of all attachments of one callback.
    attachment_bytes_per_callback: usize, in 1,
    "channel.max_attachment_bytes_per_callback" (|all| channel(all)?.max_attachment_bytes_per_callback),
    default 50 * MIB, "bytes", min 0, cap 200 * MIB, max_cap 4_095 * MIB, Refused;

    /// Log lines per callback.
    log_lines: usize, in 1, "channel.max_log_lines" (|all| channel(all)?.max_log_lines),
    default 1_000, "lines", min 0, cap 10_000, max_cap 1_000_000, Dropped;

    /// Bytes of all log lines per callback.
    log_bytes: usize, in 1, "channel.max_log_bytes" (|all| channel(all)?.max_log_bytes),
    default 64 * KIB, "bytes", min 0, cap MIB, max_cap 64 * MIB, Dropped;

    /// Bytes of one log line.
    log_line_bytes: usize, in 1, "channel.max_log_line_bytes" (|all| channel(all)?.max_log_line_bytes),
    default 4 * KIB, "bytes", min 64, cap 64 * KIB, max_cap MIB, Cut;

    /// The whole workspace, paths and contents together.
    workspace_bytes: u64, in 1, "channel.workspace_max_bytes" (|all| channel(all)?.workspace_max_bytes),
    default 16 * MIB, "bytes", min 0, cap 256 * MIB, max_cap 4_095 * MIB, Refused;

    /// One workspace file.
    workspace_file_bytes: usize, in 1, "channel.workspace_max_file_bytes" (|all| channel(all)?.workspace_max_file_bytes),
    default MIB, "bytes", min 0, cap 16 * MIB, max_cap 1_024 * MIB, Refused;

    /// Files in the workspace.
    workspace_files: usize, in 1, "channel.workspace_max_files" (|all| channel(all)?.workspace_max_files),
    default 4_096, "files", min 0, cap 65_536, max_cap 10_000_000, Refused;

    /// Timers set at one time.
    timers: usize, in 1, "channel.max_timers" (|all| channel(all)?.max_timers),
    default 64, "timers", min 0, cap 1_024, max_cap 100_000, Refused;

    /// Payload of a timer.
    timer_payload_bytes: usize, in 1, "channel.max_timer_payload_bytes" (|all| channel(all)?.max_timer_payload_bytes),
    default 64 * KIB, "bytes", min 0, cap MIB, max_cap 16 * MIB, Refused;

    /// Name of a timer.
    timer_name_bytes: usize, in 1, "channel.max_timer_name_bytes" (|all| channel(all)?.max_timer_name_bytes),
    default 128, "bytes", min 1, cap KIB, max_cap KIB, Refused;

    /// How far ahead a timer may be set.
    timer_delay: Duration, in DAY_SECS, "channel.max_timer_delay_days" (|all| channel(all)?.max_timer_delay_days),
    default 366, "days", min 1, cap 3_660, max_cap 36_600, Refused;

    /// Width of the inbound lane; real channels keep cursors, so one.
    inbound_concurrency: usize, in 1, "channel.inbound_concurrency" (|all| channel(all)?.inbound_concurrency),
    default 1, "callbacks", min 1, cap MAX_LANE_CONCURRENCY, max_cap MAX_LANE_CONCURRENCY, Delayed;

    /// Width of the outbound lane: replies of different conversations that are sent at one time.
    outbound_concurrency: usize, in 1, "channel.outbound_concurrency" (|all| channel(all)?.outbound_concurrency),
    default 4, "callbacks", min 1, cap MAX_LANE_CONCURRENCY, max_cap MAX_LANE_CONCURRENCY, Delayed;

    /// Messages emitted per minute.
    messages_per_minute: u32, in 1, "channel.emit_rate_limit.messages_per_minute" (|all| Some(emit_rate(all)?.messages_per_minute.into())),
    default 100, "messages", min 0, cap 1_000_000, max_cap 1_000_000, Delayed;

    /// Messages emitted per hour.
    messages_per_hour: u32, in 1, "channel.emit_rate_limit.messages_per_hour" (|all| Some(emit_rate(all)?.messages_per_hour.into())),
    default 5_000, "messages", min 0, cap 10_000_000, max_cap 10_000_000, Delayed;

    /// Outbound requests per callback.
    http_calls: u32, in 1, "http.max_requests_per_callback" (|all| http(all)?.max_requests_per_callback),
    default 50, "requests", min 0, cap 200, max_cap 10_000, Refused;

    /// Body of one outbound request: by default as much as a reply's attachments may have.
    http_request_bytes: u64, in 1, "http.max_request_bytes" (|all| http(all)?.max_request_bytes),
    default 50 * MIB, "bytes", min 0, cap 50 * MIB, max_cap 1_024 * MIB, Refused;

    /// Body of one response to an outbound request.
    http_response_bytes: u64, in 1, "http.max_response_bytes" (|all| http(all)?.max_response_bytes),
    default 10 * MIB, "bytes", min 0, cap 50 * MIB, max_cap 1_024 * MIB, Refused;

    /// Time of one outbound request for which the guest names none.
    http_timeout: Duration, in 1, "http.timeout_secs" (|all| http(all)?.timeout_secs),
    default 30, "seconds", min 1, cap MAX_CALLBACK_TIMEOUT_SECS, max_cap MAX_CALLBACK_TIMEOUT_SECS, Refused;

    /// Outbound requests at one time.
    http_concurrent_requests: u32, in 1, "http.max_concurrent_requests" (|all| http(all)?.max_concurrent_requests),
    default 8, "requests", min 0, cap 32, max_cap 1_024, Refused;

    /// Outbound requests per minute.
    http_requests_per_minute: u32, in 1, "http.rate_limit.requests_per_minute" (|all| Some(http_rate(all)?.requests_per_minute.into())),
    default 60, "requests", min 0, cap 1_000_000, max_cap 1_000_000, Delayed;

    /// Outbound requests per hour.
    http_requests_per_hour: u32, in 1, "http.rate_limit.requests_per_hour" (|all| Some(http_rate(all)?.requests_per_hour.into())),
    default 1_000, "requests", min 0, cap 10_000_000, max_cap 10_000_000, Delayed;

    /// Fuel of one call of a tool.
    tool_fuel: u64, in 1, "tool.call_fuel" (|all| all.tool?.call_fuel),
    default 500_000_000, "units of fuel", min 1_000_000, cap 10_000_000_000, max_cap u64::MAX, Stopped;

    /// Wall-clock time of one call of a tool.
    tool_timeout: Duration, in 1, "tool.call_timeout_secs" (|all| all.tool?.call_timeout_secs),
    default 60, "seconds", min 1, cap MAX_CALLBACK_TIMEOUT_SECS, max_cap MAX_CALLBACK_TIMEOUT_SECS, Stopped;

    /// Linear memory of one call of a tool.
    tool_memory_bytes: usize, in MIB, "tool.call_memory_mb" (|all| all.tool?.call_memory_mb),
    default 10, "MiB", min 1, cap 256, max_cap 4_095, Stopped;

    /// Parameters of one call of a tool.
    tool_params_bytes: usize, in 1, "tool.max_params_bytes" (|all| all.tool?.max_params_bytes),
    default MIB, "bytes", min 2, cap 16 * MIB, max_cap 16 * MIB, Refused;

    /// What one call of a tool returns.
    tool_output_bytes: usize, in 1, "tool.max_output_bytes" (|all| all.tool?.max_output_bytes),
    default MIB, "bytes", min 0, cap 16 * MIB, max_cap 16 * MIB, Refused;

    /// A tool's schema, and its description.
    tool_schema_bytes: usize, in 1, "tool.max_schema_bytes" (|all| all.tool?.max_schema_bytes),
    default 256 * KIB, "bytes", min 2, cap MIB, max_cap 16 * MIB, Refused;

    /// One file that a tool reads.
    tool_file_bytes: usize, in 1, "tool.max_file_bytes" (|all| all.tool?.max_file_bytes),
    default MIB, "bytes", min 0, cap 16 * MIB, max_cap 1_024 * MIB, Refused;

    /// One file of a tool's state.
    tool_state_file_bytes: usize, in 1, "tool.max_state_file_bytes" (|all| all.tool?.max_state_file_bytes),
    default 256 * KIB, "bytes", min 0, cap 16 * MIB, max_cap 1_024 * MIB, Refused;

    /// Files of a tool's state for one person.
    tool_state_files: usize, in 1, "tool.max_state_files" (|all| all.tool?.max_state_files),
    default 64, "files", min 0, cap 4_096, max_cap 65_536, Refused;

    /// A tool's state for one person, paths and contents together.
    tool_state_bytes: usize, in 1, "tool.max_state_bytes" (|all| all.tool?.max_state_bytes),
    default MIB, "bytes", min 0, cap 64 * MIB, max_cap 1_024 * MIB, Refused;

    /// A tool's state for all people together.
    tool_state_total_bytes: usize, in 1, "tool.max_state_total_bytes" (|all| all.tool?.max_state_total_bytes),
    default 16 * MIB, "bytes", min 0, cap 256 * MIB, max_cap 4_095 * MIB, Refused;

    /// Other tools that one call of a tool invokes.
    tool_invokes: u32, in 1, "tool.max_invokes_per_call" (|all| all.tool?.max_invokes_per_call),
    default 20, "invocations", min 0, cap 100, max_cap 10_000, Refused;

    /// Other tools that a tool invokes per minute.
    tool_invokes_per_minute: u32, in 1, "tool_invoke.rate_limit.requests_per_minute" (|all| Some(invoke_rate(all)?.requests_per_minute.into())),
    default 60, "invocations", min 0, cap 1_000_000, max_cap 1_000_000, Refused;

    /// Other tools that a tool invokes per hour.
    tool_invokes_per_hour: u32, in 1, "tool_invoke.rate_limit.requests_per_hour" (|all| Some(invoke_rate(all)?.requests_per_hour.into())),
    default 1_000, "invocations", min 0, cap 10_000_000, max_cap 10_000_000, Refused;
}

impl ChannelLimits {
    /// Small and quick: 20,000,000 units of fuel, 5 s, 10 MiB of memory; the rest as usual.
    #[must_use]
    pub fn for_testing() -> Self {
        Self {
            fuel: 20_000_000,
            callback_timeout: Duration::from_secs(5),
            memory_bytes: 10 * 1024 * 1024,
            ..Self::default()
        }
    }

    /// The limits of one call of a tool: fuel, time and memory are those of tools. `fuel` is what the call may spend at most.
    pub(crate) fn for_tool_call(self, fuel: u64) -> Self {
        Self {
            fuel: self.tool_fuel.min(fuel),
            callback_timeout: self.tool_timeout,
            memory_bytes: self.tool_memory_bytes,
            ..self
        }
    }
}

fn channel<'a>(all: &Sections<'a>) -> Option<&'a ChannelSection> {
    all.channel
}

fn emit_rate(all: &Sections<'_>) -> Option<EmitRateLimitConfig> {
    all.channel?.emit_rate_limit
}

fn http<'a>(all: &Sections<'a>) -> Option<&'a HttpCapability> {
    all.http
}

fn http_rate(all: &Sections<'_>) -> Option<HttpRateLimit> {
    all.http?.rate_limit
}

fn invoke_rate(all: &Sections<'_>) -> Option<HttpRateLimit> {
    all.tool_invoke?.rate_limit
}

/// A type of [`ChannelLimits`], as a number and back. A number above what the type holds is the highest that it holds: it is
/// no limit there.
trait Amount {
    fn of(count: u64) -> Self;
    fn count(self) -> u64;
}

impl Amount for u64 {
    fn of(count: u64) -> Self {
        count
    }

    fn count(self) -> u64 {
        self
    }
}

impl Amount for u32 {
    fn of(count: u64) -> Self {
        Self::try_from(count).unwrap_or(Self::MAX)
    }

    fn count(self) -> u64 {
        self.into()
    }
}

impl Amount for usize {
    fn of(count: u64) -> Self {
        Self::try_from(count).unwrap_or(Self::MAX)
    }

    fn count(self) -> u64 {
        self as u64
    }
}

impl Amount for Duration {
    fn of(count: u64) -> Self {
        Self::from_secs(count)
    }

    fn count(self) -> u64 {
        self.as_secs()
    }
}
