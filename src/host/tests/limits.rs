//! Every row of the table of limits, at its value and one past it, where it is enforced: from the capability file through
//! the host to the guest.
//!
//! Seven limits were once parsed, clamped and shown, and never enforced (those of timers, of metadata, of the attachments of a
//! message, of requests per callback). A row of the table without a test here fails this one.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use wit_abi::types::IncomingHttpRequest;

use crate::capability::limits::{LIMITS, Limit};
use crate::event::callback::{Callback, CallbackReport, CallbackValue};
use crate::event::health::ChannelState;
use crate::host::ChannelHarness;
use crate::test_support::temp_dir::TempDir;
use crate::test_support::upstream::{Upstream, ok};
use crate::test_support::{client, eventually, fixtures};
use crate::{AgentResponse, Host, HostBuilder, ManagerConfig, WasmChannelLoader};

/// One limit and what uses exactly `n` of it.
struct Row {
    field: &'static str,
    /// The limit of the channel.
    value: u64,
    /// What a guest does that takes `n`.
    task: fn(n: u64) -> Value,
}

const ROWS: &[Row] = &[
    Row { field: "channel.max_messages_per_callback", value: 3, task: |n| emit(json!({"times": n})) },
    Row {
        field: "channel.max_message_size",
        value: 200,
        task: |n| emit(json!({"content": "x", "repeat": n})),
    },
    Row {
        field: "channel.max_metadata_bytes",
        value: 300,
        task: |n| emit(json!({"metadata_json": "x", "repeat": n})),
    },
    Row {
        field: "channel.max_attachments_per_message",
        value: 2,
        task: |n| {
            emit(json!({"attachments": (0..n).map(|id| json!({"id": id.to_string()})).collect::<Vec<_>>()}))
        },
    },
    Row {
        field: "channel.max_attachment_bytes_per_message",
        value: 50,
        task: |n| sequence(vec![store("a", n), emit(json!({"attachments": [{"id": "a"}]}))]),
    },
    Row {
        field: "channel.max_stored_attachment_bytes",
        value: 50,
        task: |n| sequence(vec![stored_and_used(n)]),
    },
    Row {
        field: "channel.max_attachment_bytes_per_callback",
        value: 50,
        // The id counts too.
        task: |n| sequence(vec![stored_and_used(n - 1)]),
    },
    Row { field: "channel.max_log_lines", value: 4, task: |n| log(1, n) },
    Row {
        field: "channel.max_log_bytes",
        value: 100,
        task: |n| sequence(vec![log(10, n / 10), log(n % 10, u64::from(n % 10 > 0))]),
    },
    Row { field: "channel.max_log_line_bytes", value: 80, task: |n| log(n, 1) },
    Row { field: "channel.workspace_max_bytes", value: 100, task: |n| write("a", n - 1) },
    Row { field: "channel.workspace_max_file_bytes", value: 100, task: |n| write("a", n) },
    Row {
        field: "channel.workspace_max_files",
        value: 3,
        task: |n| sequence((0..n).map(|file| write(&file.to_string(), 1)).collect()),
    },
    Row {
        field: "channel.max_timers",
        value: 3,
        task: |n| sequence((0..n).map(|name| timer(&name.to_string(), 1, 1)).collect()),
    },
    Row { field: "channel.max_timer_payload_bytes", value: 20, task: |n| timer("a", 1, n) },
    Row { field: "channel.max_timer_name_bytes", value: 20, task: |n| timer(&"x".repeat(n as usize), 1, 1) },
    Row { field: "channel.max_timer_delay_days", value: 2, task: |n| timer("a", n * 24 * 60 * 60 * 1000, 1) },
    Row {
        field: "http.max_requests_per_callback",
        value: 2,
        task: |n| sequence((0..n).map(|_| request("/", 0)).collect()),
    },
    Row { field: "http.max_request_bytes", value: 50, task: |n| request("/", n) },
    Row { field: "http.max_response_bytes", value: 50, task: |n| request(&format!("/bytes/{n}"), 0) },
];

/// Limits whose own tests need more than one callback of one guest, or single units of fuel and pages.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("channel.fuel", "src/sandbox/tests/limits.rs", "fuel_is_enough_at_its_limit_and_not_one_unit_below"),
    (
        "channel.callback_timeout_secs",
        "src/host/tests/limits.rs",
        "a_callback_has_its_time_and_is_stopped_after_it",
    ),
    (
        "channel.memory_mb",
        "src/sandbox/tests/limits.rs",
        "memory_is_given_up_to_its_limit_and_no_page_further",
    ),
    ("channel.table_elements", "src/sandbox/tests/limits.rs", "tables_grow_up_to_their_limit"),
    ("channel.inbound_concurrency", "src/host/tests/limits.rs", "each_lane_is_as_wide_as_its_channel_says"),
    ("channel.outbound_concurrency", "src/host/tests/limits.rs", "each_lane_is_as_wide_as_its_channel_says"),
    (
        "channel.emit_rate_limit.messages_per_minute",
        "src/host/tests/delivery/rates.rs",
        "a_webhook_over_the_rate_gets_429_and_nothing_of_it_is_kept",
    ),
    (
        "channel.emit_rate_limit.messages_per_hour",
        "src/model/rate_limit.rs",
        "the_hour_holds_when_the_minute_would_not",
    ),
    (
        "http.timeout_secs",
        "src/host/tests/limits.rs",
        "a_request_has_the_time_of_its_channel_and_ends_after_it",
    ),
    (
        "http.max_concurrent_requests",
        "src/egress/tests/refusals.rs",
        "concurrent_requests_of_a_channel_are_limited_and_released",
    ),
    (
        "http.rate_limit.requests_per_minute",
        "src/egress/tests/refusals.rs",
        "requests_are_limited_and_refused_ones_do_not_count",
    ),
    ("tool.call_fuel", "tests/tools/limits.rs", "fuel_is_enough_at_its_limit_and_not_one_unit_below"),
    ("tool.call_timeout_secs", "tests/tools/limits.rs", "a_call_has_its_time_and_is_stopped_after_it"),
    ("tool.call_memory_mb", "tests/tools/limits.rs", "memory_is_given_up_to_its_limit_and_no_page_further"),
    ("tool.max_params_bytes", "tests/tools/limits.rs", "parameters_have_as_many_bytes_as_they_may"),
    ("tool.max_output_bytes", "tests/tools/limits.rs", "output_has_as_many_bytes_as_it_may"),
    ("tool.max_schema_bytes", "tests/tools/limits.rs", "a_schema_has_as_many_bytes_as_it_may"),
    ("tool.max_file_bytes", "tests/tools/limits.rs", "a_file_has_as_many_bytes_as_it_may"),
    ("tool.max_state_file_bytes", "src/tool/state.rs", "each_limit_holds_and_one_past_it_is_refused"),
    ("tool.max_state_files", "src/tool/state.rs", "each_limit_holds_and_one_past_it_is_refused"),
    ("tool.max_state_bytes", "src/tool/state.rs", "each_limit_holds_and_one_past_it_is_refused"),
    ("tool.max_state_total_bytes", "src/tool/state.rs", "each_limit_holds_and_one_past_it_is_refused"),
    ("tool.max_invokes_per_call", "tests/tools/limits.rs", "a_call_invokes_as_many_tools_as_it_may"),
    (
        "tool_invoke.rate_limit.requests_per_minute",
        "tests/tools/limits.rs",
        "tools_are_invoked_as_often_a_minute_and_an_hour_as_they_may",
    ),
    (
        "tool_invoke.rate_limit.requests_per_hour",
        "tests/tools/limits.rs",
        "tools_are_invoked_as_often_a_minute_and_an_hour_as_they_may",
    ),
    (
        "http.rate_limit.requests_per_hour",
        "src/model/rate_limit.rs",
        "the_hour_holds_when_the_minute_would_not",
    ),
];

/// Limits that are the same for every channel.
const FIXED: &[(&str, &str, &str)] = &[
    (
        "partial_reply_interval_ms",
        "src/capability/review.rs",
        "invalid_values_are_refused_with_what_would_be_accepted",
    ),
    ("partial_reply_interval_ms", "src/capability/review.rs", "values_at_the_bound_are_accepted"),
    ("reminders of a person", "src/host/reminders.rs", "each_limit_holds_and_one_past_it_is_refused"),
    ("reminders of all people", "src/host/reminders.rs", "all_people_together_have_so_many_reminders"),
    (
        "requests that wait for their response",
        "src/channel/waiting_requests.rs",
        "as_many_requests_wait_as_the_limit_and_no_more",
    ),
    (
        "the time of a request that waits",
        "src/channel/waiting_requests.rs",
        "a_request_waits_as_long_as_it_asks_for_and_a_minute_in_all",
    ),
    (
        "requests in a lane",
        "src/channel/machine/tests/requests.rs",
        "a_lane_takes_256_requests_and_refuses_one_more",
    ),
    ("duplicates that wait", "src/channel/dedupe.rs", "eight_duplicates_wait_and_the_ninth_is_refused"),
    (
        "frames in flight",
        "src/link/thread.rs",
        "frames_are_read_until_as_many_or_as_many_bytes_as_the_limit_are_in_flight",
    ),
    (
        "frames that wait",
        "src/channel/machine/tests/frames.rs",
        "frames_wait_while_a_mebibyte_of_them_waits_for_the_guest",
    ),
    (
        "frames of one on-poll",
        "src/channel/frames.rs",
        "no_more_frames_are_worked_on_than_a_guest_can_take_at_once",
    ),
    (
        "frames that a guest sends",
        "tests/websocket_links.rs",
        "no_more_frames_wait_for_a_service_that_reads_nothing_than_the_limit",
    ),
    (
        "conversations that a language model remembers",
        "src/store/retention.rs",
        "ten_thousand_conversations_are_remembered_and_not_one_more",
    ),
    ("timer changes of a callback", "src/sandbox/record_tests.rs", "changes_of_timers_are_bounded"),
    (
        "bytes that a callback returns",
        "src/sandbox/tests/copies.rs",
        "a_callback_returns_as_much_as_its_limit_and_not_one_byte_more",
    ),
    (
        "messages that wait",
        "src/inbox/queue.rs",
        "the_queue_is_full_at_its_limit_of_messages_and_not_one_before",
    ),
    ("bytes that wait", "src/inbox/queue.rs", "the_queue_is_full_at_its_limit_of_bytes_and_not_one_before"),
    ("replies that wait", "src/host/tests/delivery/replies.rs", "no_more_replies_are_taken_than_may_wait"),
    ("unknown senders", "src/pairing/rules.rs", "twenty_unknown_senders_may_wait_and_not_one_more"),
    ("tools that invoke tools", "tests/tools/invoke.rs", "invocations_nest_four_deep_and_no_deeper"),
    ("durations of the configuration", "src/cli/config/parse.rs", "every_duration_has_bounds_and_takes_both"),
    (
        "work of the admin API",
        "src/admin/workers.rs",
        "as_much_may_wait_as_the_limit_says_and_a_panic_takes_no_thread",
    ),
    (
        "clients of the admin API",
        "tests/admin_api.rs",
        "sixty_four_clients_are_served_at_a_time_and_one_more_takes_the_place_of_the_oldest",
    ),
    (
        "bodies for the admin API",
        "tests/admin_api.rs",
        "misbehaving_clients_get_a_response_or_are_closed_and_never_keep_the_host_from_ending",
    ),
    ("rows of a page", "src/admin/api/rows.rs", "a_page_has_as_many_rows_as_its_limit_and_no_more"),
    ("rows that are searched", "src/admin/api/rows.rs", "more_rows_are_read_when_they_are_searched"),
    (
        "lines of the log in a response",
        "src/admin/api/channels.rs",
        "a_response_has_as_many_lines_of_the_log_as_the_limit_and_no_more",
    ),
    (
        "lines of the log that are kept",
        "src/admin/log_tail.rs",
        "as_many_lines_and_bytes_are_kept_as_the_limits_say",
    ),
    ("a line of the log that is kept", "src/admin/log_tail.rs", "a_line_is_kept_up_to_its_limit"),
    ("samples that are kept", "src/admin/history.rs", "an_hour_is_kept_and_no_more"),
    ("a recording", "src/admin/api/recordings.rs", "a_recording_is_as_long_as_the_limits_and_no_longer"),
    ("a token of the admin API", "src/admin/access.rs", "a_token_is_as_long_as_the_limit_or_is_none"),
    ("a line of a program", "src/agent/exec/child.rs", "a_line_may_be_as_long_as_the_limit_and_no_longer"),
    (
        "a line of a program",
        "tests/agent_exec.rs",
        "a_line_of_32_mib_is_read_and_a_longer_one_is_a_failed_attempt",
    ),
    ("suspects", "src/agent/exec/mod.rs", "so_many_suspects_are_remembered_and_one_more_makes_room"),
    (
        "data that an agent gets",
        "src/agent/message.rs",
        "attachments_have_their_data_up_to_the_limit_of_a_message",
    ),
    (
        "a response of an agent over HTTP",
        "tests/agent_http.rs",
        "a_response_of_32_mib_is_read_and_a_longer_one_is_an_error",
    ),
    (
        "a body of a language model's server",
        "src/agent/openai/client.rs",
        "a_response_is_read_up_to_its_limit_and_not_one_byte_further",
    ),
    (
        "a list of models",
        "src/agent/openai/client.rs",
        "a_list_of_models_is_read_up_to_its_limit_and_not_one_byte_further",
    ),
    ("models that are named", "src/agent/openai/mod.rs", "so_many_models_are_named_and_the_others_counted"),
    ("a line of a stream", "src/agent/openai/sse.rs", "a_line_may_be_as_long_as_allowed_and_no_longer"),
    ("a response and its tool calls", "src/agent/openai/draft_tests.rs", "the_size_of_a_response_is_bounded"),
    (
        "tool calls at a time",
        "tests/agent_openai/tool_calls.rs",
        "sixteen_calls_of_one_response_are_made_and_not_one_more",
    ),
    ("rounds of tool calls", "tests/agent_openai/tool_calls.rs", "rounds_of_tool_calls_end"),
    ("a result of a tool", "src/agent/openai/tools.rs", "a_result_is_cut_past_its_limit_and_says_so"),
    (
        "requests to a model again",
        "tests/agent_openai/errors.rs",
        "a_server_is_asked_again_so_often_for_one_attempt_and_no_more",
    ),
    ("a reply of a model", "src/agent/openai/conversation.rs", "a_reply_is_cut_past_its_limit"),
    ("what a model is told", "src/agent/openai/window.rs", "the_oldest_turns_go_first_and_whole"),
    (
        "pictures that a model gets",
        "src/agent/openai/attached.rs",
        "as_many_pictures_go_along_as_the_limits_say",
    ),
    ("text of a file", "src/agent/openai/attached.rs", "the_text_of_a_file_is_cut_past_its_limit"),
    (
        "partial replies",
        "src/agent/growing.rs",
        "one_text_is_shown_at_a_time_and_the_next_after_the_interval",
    ),
];

#[test]
fn every_fixed_limit_has_a_test() {
    FIXED.iter().for_each(|(what, file, test)| assert_is_test(what, file, test));
}

fn assert_is_test(what: &str, file: &str, test: &str) {
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let is_there =
        ["#[test]\n    fn ", "#[test]\nfn "].iter().any(|begin| source.contains(&format!("{begin}{test}(")));
    assert!(is_there, "{what}: {file} has no test {test}");
}

#[test]
fn every_limit_is_enforced_at_its_value_and_one_past_it() {
    let upstream = Upstream::start(|request, _| match request.target.strip_prefix("/bytes/") {
        Some(bytes) => (200, Vec::new(), vec![b'x'; bytes.parse().unwrap()]),
        None => ok(),
    });
    let mut not_enforced = Vec::new();
    for limit in LIMITS {
        let row = ROWS.iter().find(|row| row.field == limit.field);
        let elsewhere = ELSEWHERE.iter().find(|(field, ..)| *field == limit.field);
        match (row, elsewhere) {
            (Some(row), None) => not_enforced.extend(check(limit, row, &upstream).err()),
            (None, Some((_, file, test))) => assert_is_test(limit.field, file, test),
            _ => panic!("{} has no test, or two", limit.field),
        }
    }
    assert!(not_enforced.is_empty(), "{}", not_enforced.join("\n"));
}

/// At its value nothing is refused, dropped or cut; one past it something is, and the guest or the log is told the field.
fn check(limit: &Limit, row: &Row, upstream: &Upstream) -> Result<(), String> {
    let field = row.field;
    let at = run(row, &(row.task)(row.value), upstream);
    let past = run(row, &(row.task)(row.value + 1), upstream);
    // A cut line of the log has only its mark.
    let is_named = field == "channel.max_log_line_bytes" || past.words().contains(limit.name());
    match (at.is_whole(), past.is_whole()) {
        (false, _) => Err(format!("{field}: refused at its value: {}", at.words())),
        (true, true) => Err(format!("{field}: allowed one past its value")),
        (true, false) if !is_named => Err(format!("{field}: not named: {}", past.words())),
        (true, false) => Ok(()),
    }
}

/// What came of a task.
#[derive(Debug)]
struct TaskOutcome {
    report: CallbackReport,
    /// What the guest responded, with the errors of its calls.
    response: String,
}

impl TaskOutcome {
    fn is_whole(&self) -> bool {
        let is_cut = self.report.logs.iter().any(|line| line.message.contains("truncated"));
        self.report.result.is_ok()
            && self.report.effects.dropped == Default::default()
            && !self.response.contains("\"err\"")
            && !is_cut
    }

    fn words(&self) -> String {
        let logs: Vec<&str> = self.report.logs.iter().map(|line| line.message.as_str()).collect();
        let error = self.report.result.as_ref().err().map(ToString::to_string);
        format!("{} {} {}", self.response, logs.join(" "), error.unwrap_or_default())
    }
}

/// Runs a task in `everything` with this one limit changed.
fn run(row: &Row, task: &Value, upstream: &Upstream) -> TaskOutcome {
    run_with(&[(row.field, row.value)], task, upstream)
}

fn run_with(limits: &[(&str, u64)], task: &Value, upstream: &Upstream) -> TaskOutcome {
    let channel = fixtures::channel_with(&fixtures::runtime(), "everything", |file| {
        limits.iter().for_each(|(field, value)| set(file, field, *value));
    });
    let mut config = ManagerConfig::default();
    config.outbound.http_rewrite = [("api.everything.example".to_owned(), upstream.url())].into();
    let request = IncomingHttpRequest {
        method: "POST".into(),
        path: "/webhook/everything".into(),
        headers_json: "{}".into(),
        query_json: "{}".into(),
        body: task.to_string().into_bytes(),
        secret_validated: true,
    };
    let mut harness = ChannelHarness::new(&channel, config).expect("the channel can be run");
    let (report, _) = harness.run(&Callback::HttpRequest(Arc::new(request)));
    let response = match &report.result {
        Ok(CallbackValue::Http(response)) => String::from_utf8_lossy(&response.body).into_owned(),
        _ => String::new(),
    };
    TaskOutcome { report, response }
}

fn set(file: &mut Value, field: &str, value: u64) {
    let place = field.split('.').fold(&mut file["capabilities"], |place, name| &mut place[name]);
    *place = value.into();
}

fn sequence(tasks: Vec<Value>) -> Value {
    json!({"do": "sequence", "tasks": tasks})
}

/// A message; with `repeat` its long text.
fn emit(fields: Value) -> Value {
    let mut task = fields;
    task["do"] = "emit-message".into();
    if task["content"].is_null() {
        task["content"] = "".into();
    }
    task
}

fn store(id: &str, bytes: u64) -> Value {
    json!({"do": "store-attachment-data", "attachment_id": id, "data": "x", "repeat": bytes})
}

/// Attachment data that a message has, so that it is not reported as unused.
fn stored_and_used(bytes: u64) -> Value {
    sequence(vec![store("a", bytes), emit(json!({"attachments": [{"id": "a"}]}))])
}

fn log(bytes: u64, times: u64) -> Value {
    json!({"do": "log", "level": "info", "message": "x", "repeat": bytes, "times": times})
}

fn write(path: &str, bytes: u64) -> Value {
    json!({"do": "workspace-write", "path": path, "content": "x", "repeat": bytes})
}

fn timer(name: &str, delay_ms: u64, payload_bytes: u64) -> Value {
    json!({"do": "timer-set", "name": name, "delay_ms": delay_ms, "payload": "x", "repeat": payload_bytes})
}

/// A request with a body of so many bytes.
fn request(path: &str, bytes: u64) -> Value {
    let url = format!("https://api.everything.example{path}");
    json!({"do": "http-request", "method": "POST", "url": url, "body": "x", "repeat": bytes})
}

#[test]
fn a_callback_has_its_time_and_is_stopped_after_it() {
    let upstream = Upstream::start(|_, _| ok());
    let limits = [("channel.callback_timeout_secs", 1), ("channel.fuel", 10_000_000_000)];
    let ended = run_with(&limits, &json!({"do": "now-millis"}), &upstream);
    assert!(ended.is_whole(), "{ended:?}");
    let stopped = run_with(&limits, &json!({"do": "spin"}), &upstream);
    assert!(stopped.words().contains("callback_timeout_secs"), "{stopped:?}");
    assert!(stopped.report.usage.elapsed >= Duration::from_secs(1), "{stopped:?}");
}

#[test]
fn a_request_has_the_time_of_its_channel_and_ends_after_it() {
    let release = Arc::new((Mutex::new(false), Condvar::new()));
    let held = release.clone();
    let upstream = Upstream::start(move |request, _| {
        if request.target == "/hangs" {
            let released = held.0.lock().unwrap();
            drop(
                held.1.wait_timeout_while(released, Duration::from_secs(60), |released| !*released).unwrap(),
            );
        }
        ok()
    });
    let limits = [("http.timeout_secs", 1), ("channel.callback_timeout_secs", 300)];
    let outcome = run_with(&limits, &request("/", 0), &upstream);
    assert!(outcome.is_whole(), "{outcome:?}");
    let hung = run_with(&limits, &request("/hangs", 0), &upstream);
    *release.0.lock().unwrap() = true;
    release.1.notify_all();
    assert!(hung.response.contains("\"err\"") && hung.report.result.is_ok(), "{hung:?}");
    assert!(hung.report.usage.elapsed >= Duration::from_secs(1), "{hung:?}");
}

/// How many requests there are at one time. Each waits until as many as `expected` were there, and a little longer, in which one
/// too many would come.
struct Crowd {
    expected: usize,
    now: AtomicUsize,
    highest: AtomicUsize,
}

impl Crowd {
    fn upstream(self: &Arc<Self>) -> Upstream {
        let crowd = self.clone();
        Upstream::start(move |_, _| {
            let now = crowd.now.fetch_add(1, Ordering::SeqCst) + 1;
            crowd.highest.fetch_max(now, Ordering::SeqCst);
            eventually("as many requests as may be", || {
                (crowd.highest.load(Ordering::SeqCst) >= crowd.expected).then_some(())
            });
            std::thread::sleep(Duration::from_millis(100));
            crowd.now.fetch_sub(1, Ordering::SeqCst);
            ok()
        })
    }
}

#[test]
fn each_lane_is_as_wide_as_its_channel_says() {
    for (lane, width) in [("inbound", 1), ("inbound", 2), ("outbound", 1), ("outbound", 3)] {
        let crowd = Arc::new(Crowd { expected: width, now: 0.into(), highest: 0.into() });
        let upstream = crowd.upstream();
        let channel = fixtures::channel_with(&fixtures::runtime(), "everything", |file| {
            set(file, &format!("channel.{lane}_concurrency"), width as u64);
        });
        let builder = fixtures::host(&[], &[("api.everything.example", upstream.url())]);
        let host = builder.channel(channel).start().expect("the host starts");
        eventually("the channel starts", || {
            (host.health().ok()?.channels[0].state == ChannelState::Ready).then_some(())
        });
        let post = |task: Value| {
            let address = host.local_addr().expect("an address");
            client::request(address, "POST", "/webhook/everything", &[], task.to_string().as_bytes())
        };
        let jobs = width + 2;
        if lane == "inbound" {
            std::thread::scope(|scope| {
                (0..jobs).for_each(|_| drop(scope.spawn(|| post(request("/", 0)))));
            });
        } else {
            let kept =
                json!({"do": "workspace-write", "path": "tasks/on-broadcast", "content": request("/", 0)});
            assert_eq!(post(kept).status, 200);
            broadcasts(&host, jobs);
        }
        eventually("every request is made", || (upstream.requests().len() >= jobs).then_some(()));
        assert_eq!(crowd.highest.load(Ordering::SeqCst), width, "{lane}");
    }
}

/// To a conversation of its own each.
fn broadcasts(host: &Host, count: usize) {
    let channel = "everything".parse().expect("a name");
    for user in 0..count {
        let response = AgentResponse { content: "hello".to_owned(), ..AgentResponse::default() };
        host.broadcast(&channel, &user.to_string(), response).expect("it is taken");
    }
}

/// A guest of these pages of memory, in a directory of its own.
fn memory_guest(pages: u64) -> TempDir {
    let text = std::fs::read_to_string(fixtures::path("hostile/memory_initial_51_mib.wat")).unwrap();
    let memory = r#"(memory (export "memory") 816)"#;
    assert!(text.contains(memory));
    let wasm =
        wat::parse_str(text.replace(memory, &format!(r#"(memory (export "memory") {pages})"#))).unwrap();
    let directory = TempDir::new();
    directory.write("hostile.wasm", wasm);
    directory
}

/// Guests were prepared with the limits of their files and the usual caps: memory that the operator gives, by an override or by a
/// raised cap, came too late for a guest that needs it from the start.
#[test]
fn a_guest_is_prepared_with_the_memory_that_its_operator_gives() {
    let file = |memory_mb: Option<u64>| {
        let file = std::fs::read(fixtures::path("hostile/hostile.capabilities.json")).unwrap();
        let mut file: Value = serde_json::from_slice(&file).unwrap();
        memory_mb.into_iter().for_each(|memory_mb| set(&mut file, "channel.memory_mb", memory_mb));
        file.to_string()
    };
    let loads = |case: &str, pages: u64, asked: Option<u64>, operator: &dyn Fn(&mut ManagerConfig)| {
        let directory = memory_guest(pages);
        directory.write("hostile.capabilities.json", file(asked));
        let mut config = ManagerConfig::default();
        operator(&mut config);
        let loader = WasmChannelLoader::new(fixtures::runtime()).with_settings(config.load_settings());
        let results = loader.load(directory.path()).unwrap();
        let failed: Vec<String> = results.failed.iter().map(ToString::to_string).collect();
        // A host that loads nothing does not start.
        let host = HostBuilder::new(config).channels_from(directory.path()).start();
        assert_eq!(host.is_ok(), failed.is_empty(), "{case}");
        assert!(failed.iter().all(|error| error.contains("its memory starts with")), "{case}: {failed:?}");
        failed.is_empty()
    };
    let overridden = |memory_mb: u64| {
        move |config: &mut ManagerConfig| {
            let section = json!({ "memory_mb": memory_mb });
            let settings = config.channels.entry("hostile".parse().unwrap()).or_default();
            settings.capabilities.insert("channel".to_owned(), section);
        }
    };
    let capped = |memory_mb: u64| {
        move |config: &mut ManagerConfig| config.limit_caps.set("memory_mb", memory_mb).expect("a cap")
    };
    assert!(!loads("by default", 816, None, &|_| {}));
    assert!(loads("overridden", 816, None, &overridden(51)));
    assert!(!loads("overridden by too little", 816, None, &overridden(50)));
    assert!(!loads("asked for above the cap", 4_112, Some(257), &|_| {}));
    assert!(loads("the cap raised", 4_112, Some(257), &capped(257)));
    assert!(!loads("the cap lowered", 816, Some(51), &capped(50)));
}
