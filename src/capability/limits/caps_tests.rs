use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::capability::{ChannelSection, HttpCapability, ToolCapabilities};
use crate::model::document::{Comments, read};

/// A file that asks for one limit. A limit of tools is asked for in a tool's file.
enum Asking {
    Channel(Box<ChannelCapabilities>),
    Tool(Box<ToolCapabilities>),
}

/// The file, written as one writes it.
fn asking(field: &str, value: u64) -> Asking {
    let mut document: Value = value.into();
    for name in field.rsplit('.') {
        document = json!({ name: document });
    }
    if field.starts_with("tool") {
        let text = document.to_string();
        return Asking::Tool(Box::new(ToolCapabilities::read(text.as_bytes()).unwrap()));
    }
    Asking::Channel(Box::new(read(document, Comments::Refused).unwrap()))
}

impl Asking {
    fn resolve(&self, caps: &LimitCaps) -> (ChannelLimits, Vec<ClampedLimit>) {
        let sections: Sections<'_> = match self {
            Self::Channel(capabilities) => (&**capabilities).into(),
            Self::Tool(capabilities) => (&**capabilities).into(),
        };
        ChannelLimits::resolve_sections(&sections, caps)
    }
}

fn resolve(asking: &Asking) -> (ChannelLimits, Vec<ClampedLimit>) {
    asking.resolve(&LimitCaps::default())
}

#[test]
fn a_cap_is_set_by_the_name_of_its_field() {
    let mut caps = LimitCaps::default();
    caps.set("memory_mb", 64).unwrap();
    caps.set("channel.max_timers", 3).unwrap();
    caps.set("http.max_requests_per_callback", 7).unwrap();
    caps.set("http.max_response_bytes", 1000).unwrap();
    let limits = caps.as_limits();
    assert_eq!((limits.memory_bytes, limits.timers), (64 << 20, 3));
    assert_eq!((limits.http_calls, limits.http_response_bytes), (7, 1000));
}

#[test]
fn every_cap_takes_its_bounds_and_nothing_beyond() {
    for limit in LIMITS {
        let mut caps = LimitCaps::default();
        for value in [limit.min, limit.cap, limit.max_cap] {
            assert_eq!(caps.set(limit.field, value), Ok(()), "{}", limit.field);
            assert_eq!((limit.get)(caps.as_limits()), value, "{} comes back as it was set", limit.field);
        }
        for value in [limit.min.checked_sub(1), limit.max_cap.checked_add(1)].into_iter().flatten() {
            let refused = matches!(caps.set(limit.field, value), Err(ValueError::CapOutOfRange { .. }));
            assert!(refused, "{} = {value}", limit.field);
        }
    }
}

#[test]
fn an_unknown_cap_is_refused_with_the_known_ones() {
    let error = LimitCaps::default().set("memory", 64).unwrap_err().to_string();
    assert!(error.contains("memory_mb") && error.contains("http.timeout_secs"), "{error}");
}

#[test]
fn a_file_that_asks_for_nothing_gets_the_defaults() {
    let empty_sections = ChannelCapabilities {
        channel: Some(ChannelSection::default()),
        http: Some(HttpCapability::default()),
        ..Default::default()
    };
    for capabilities in [ChannelCapabilities::default(), empty_sections] {
        assert_eq!(resolve(&Asking::Channel(Box::new(capabilities))), (ChannelLimits::default(), vec![]));
    }
    let nothing = Asking::Tool(Box::default());
    assert_eq!(resolve(&nothing), (ChannelLimits::default(), vec![]));
    let limits = ChannelLimits::default();
    for limit in LIMITS {
        assert_eq!((limit.get)(&limits), limit.default, "{}", limit.field);
    }
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let limits = ChannelLimits::default();
    assert_eq!((limits.fuel, limits.memory_bytes), (500_000_000, 50 << 20));
    assert_eq!(limits.callback_timeout, Duration::from_secs(30));
    assert_eq!((limits.table_elements, limits.log_bytes), (10_000, 64 << 10));
    assert_eq!((limits.messages_per_callback, limits.message_bytes), (100, 65_536));
    assert_eq!((limits.attachments_per_message, limits.attachment_bytes_per_message), (10, 20 << 20));
    assert_eq!((limits.stored_attachment_bytes, limits.attachment_bytes_per_callback), (20 << 20, 50 << 20));
    assert_eq!((limits.workspace_bytes, limits.workspace_file_bytes), (16 << 20, 1 << 20));
    assert_eq!((limits.workspace_files, limits.timers), (4096, 64));
    assert_eq!(limits.timer_delay, Duration::from_secs(366 * 24 * 3600));
    assert_eq!((limits.messages_per_minute, limits.messages_per_hour), (100, 5000));
    assert_eq!((limits.inbound_concurrency, limits.outbound_concurrency), (1, 4));
    assert_eq!(
        (limits.http_calls, limits.http_request_bytes, limits.http_response_bytes),
        (50, 50 << 20, 10 << 20)
    );
    assert_eq!((limits.http_timeout, limits.http_concurrent_requests), (Duration::from_secs(30), 8));
    assert_eq!((limits.http_requests_per_minute, limits.http_requests_per_hour), (60, 1000));
    assert_eq!((limits.tool_fuel, limits.tool_memory_bytes), (500_000_000, 10 << 20));
    assert_eq!((limits.tool_timeout, limits.tool_invokes), (Duration::from_secs(60), 20));
    assert_eq!((limits.tool_invokes_per_minute, limits.tool_invokes_per_hour), (60, 1000));
}

#[test]
fn each_field_sets_its_own_limit_up_to_the_cap_and_is_reported_beyond_it() {
    for limit in LIMITS {
        let (limits, clamped) = resolve(&asking(limit.field, limit.cap));
        assert_eq!(((limit.get)(&limits), clamped), (limit.cap, vec![]), "{} at its cap", limit.field);
        for other in LIMITS.iter().filter(|other| other.field != limit.field) {
            assert_eq!((other.get)(&limits), other.default, "{} moved {}", limit.field, other.field);
        }

        let past = limit.cap + 1;
        let (limits, clamped) = resolve(&asking(limit.field, past));
        assert_eq!((limit.get)(&limits), limit.cap, "{} one past its cap", limit.field);
        let expected = ClampedLimit { field: limit.field, unit: limit.unit, asked: past, given: limit.cap };
        assert_eq!(clamped, [expected], "{}", limit.field);
    }
}

#[test]
fn a_value_that_makes_no_sense_is_raised_and_reported() {
    for limit in LIMITS.iter().filter(|limit| limit.min > 0) {
        let (limits, clamped) = resolve(&asking(limit.field, limit.min - 1));
        assert_eq!(((limit.get)(&limits), clamped.len()), (limit.min, 1), "{}", limit.field);
    }
}

#[test]
fn a_cap_below_the_default_lowers_the_default() {
    for limit in LIMITS {
        let mut caps = LimitCaps::default();
        caps.set(limit.field, limit.min).unwrap();
        let (limits, clamped) = ChannelLimits::resolve(&ChannelCapabilities::default(), &caps);
        assert_eq!(((limit.get)(&limits), clamped), (limit.min, vec![]), "{}", limit.field);
    }
}

#[test]
fn the_columns_are_in_order() {
    for limit in LIMITS {
        assert!(limit.min <= limit.default && limit.default <= limit.cap, "{}", limit.field);
        assert!(limit.cap <= limit.max_cap, "{}", limit.field);
    }
}

#[test]
fn clamped_limits_read_as_a_sentence() {
    let (_, clamped) = resolve(&asking("channel.memory_mb", 512));
    let expected = "`capabilities.channel.memory_mb` asks for 512 MiB; at most 256 is given";
    assert_eq!(clamped[0].to_string(), expected);
}

// A published Telegram file names no `max_request_bytes`, and the operator could only lower it: attachments of 1 MiB and
// more were never sent.
#[test]
fn an_operator_raises_and_lowers_the_bytes_of_requests_whose_file_names_none() {
    let mib = |n: u64| Some(n << 20);
    for (case, cap, asked, expected) in [
        ("what a reply may carry", None, None, 50),
        ("raised", mib(80), None, 80),
        ("lowered", mib(1), None, 1),
        ("the file's own value stays", mib(80), mib(2), 2),
        ("also when it is the default", mib(80), mib(50), 50),
        ("and is lowered to the cap", None, mib(60), 50),
    ] {
        for field in ["http.max_request_bytes", "http.max_response_bytes"] {
            let mut caps = LimitCaps::default();
            cap.iter().for_each(|cap| caps.set(field, *cap).unwrap());
            let nothing = || Asking::Channel(Box::default());
            let (limits, _) = asked.map_or_else(nothing, |asked| asking(field, asked)).resolve(&caps);
            let is_response = field == "http.max_response_bytes";
            let expected = if is_response && (cap, asked) == (None, None) { 10 } else { expected };
            let given = if is_response { limits.http_response_bytes } else { limits.http_request_bytes };
            assert_eq!(given >> 20, expected, "{field}: {case}");
        }
    }
}

#[test]
fn an_operator_raises_nothing_else_that_a_file_does_not_ask_for() {
    for limit in LIMITS.iter().filter(|limit| !limit.cap_is_default()) {
        let mut caps = LimitCaps::default();
        caps.set(limit.field, limit.max_cap).unwrap();
        assert_eq!(
            ChannelLimits::resolve(&ChannelCapabilities::default(), &caps).0,
            ChannelLimits::default()
        );
    }
}

/// `docs/limits.md`, from the table.
fn page() -> String {
    let amount = |limit: &Limit, value: u64| match (limit.unit, value) {
        (_, u64::MAX) => "any".to_owned(),
        ("bytes", value) if value >= 1 << 20 && value % (1 << 20) == 0 => format!("{} MiB", value >> 20),
        ("bytes", value) if value >= 1 << 10 && value % (1 << 10) == 0 => format!("{} KiB", value >> 10),
        (unit, value) => format!("{value} {unit}"),
    };
    let mut page = "# Limits\n\nWhat a channel or a tool may take. `capabilities.FIELD` of its capability file asks for another value than the default, \
        up to the cap; what\nis above it is lowered, and `tinclaw check` says so. `[limits]` in `tinclaw.toml` sets caps: `memory_mb = 64`, \
        `\"http.timeout_secs\" = 60`.\nThe caps of `http.max_request_bytes` and `http.max_response_bytes` that are set there are also the \
        defaults of files without these\nfields. A file with less than the lowest value is refused.\n\nThe rows of `tool` and `tool_invoke` are for files \
        of tools, those of `channel` for files of channels, those of `http` for both.\n\n\
        | field | default | lowest | cap | highest cap | past it |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for limit in LIMITS {
        let Limit { field, default, min, cap, max_cap, excess, .. } = *limit;
        let [default, min, cap, max_cap] = [default, min, cap, max_cap].map(|value| amount(limit, value));
        page += &format!("| `{field}` | {default} | {min} | {cap} | {max_cap} | {excess} |\n");
    }
    page
}

#[test]
fn the_page_of_limits_is_that_of_the_table() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/limits.md");
    if std::env::var_os("TINCLAW_WRITE_LIMITS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page(),
        "docs/limits.md is old: regenerate it with TINCLAW_WRITE_LIMITS=1 cargo test page_of_limits"
    );
}
