//! What a guest's calls of the host do.

use std::sync::Arc;
use std::time::Duration;

use wit_abi::types::{AgentResponse, HttpResponse, LogLevel, StatusType, StatusUpdate};

use super::support::{Bench, Wat, lines, prepare};
use crate::channel::workspace::{Workspace, WorkspaceChanges, workspace_path};
use crate::egress::{OutboundRequest, OutboundResponse};
use crate::event::callback::{Callback, CallbackKind, CallbackValue, TimerChange};
use crate::sandbox::WasmChannelError;

pub(super) const HOST: &str = r#"
    (import "near:agent/channel-host@0.3.1" "log" (func $log (param i32 i32 i32)))
    (import "near:agent/channel-host@0.3.1" "now-millis" (func $now (result i64)))
    (import "near:agent/channel-host@0.3.1" "secret-exists" (func $secret (param i32 i32) (result i32)))
    (import "near:agent/channel-host@0.3.1" "workspace-read" (func $read (param i32 i32 i32)))
    (import "near:agent/channel-host@0.3.1" "workspace-write" (func $write (param i32 i32 i32 i32 i32)))
    (import "near:agent/channel-host@0.3.1" "http-request"
        (func $http (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "near:agent/channel-host@0.3.1" "store-attachment-data" (func $store (param i32 i32 i32 i32 i32)))
    (import "near:agent/channel-host@0.3.1" "emit-message"
        (func $emit (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "near:agent/channel-host@0.3.1" "websocket-send-text" (func $send (param i32 i32 i32)))
    (import "near:agent/channel-host@0.3.1" "pairing-upsert-request"
        (func $upsert (param i32 i32 i32 i32 i32 i32 i32)))
    (import "near:agent/channel-host@0.3.1" "pairing-resolve-identity" (func $resolve (param i32 i32 i32 i32 i32)))
    (import "near:agent/channel-host@0.3.1" "pairing-read-allow-from" (func $allowed (param i32 i32 i32)))
    (import "tinclaw:timers/host@0.1.0" "set" (func $set (param i32 i32 i64 i32 i32 i32)))
    (import "tinclaw:timers/host@0.1.0" "cancel" (func $cancel (param i32 i32)))"#;

/// Texts at fixed addresses; a result area at 64.
pub(super) const DATA: &str = r#"
    (data (i32.const 1000) "state/key") (data (i32.const 1020) "value") (data (i32.const 1040) "../escape")
    (data (i32.const 1060) "known") (data (i32.const 1080) "chan-other") (data (i32.const 1100) "friend")
    (data (i32.const 1120) "POST") (data (i32.const 1140) "https://example.org/x") (data (i32.const 1180) "{}")
    (func $say (param i32 i32) (call $log (i32.const 2) (local.get 0) (local.get 1)))
    ;; logs the string at an address and a length that are at this address
    (func $say-at (param i32) (call $say (i32.load (local.get 0)) (i32.load offset=4 (local.get 0))))
    (func $yes-no (param i32) (call $say (i32.const 1200) (local.get 0)))
    (data (i32.const 1200) "y")"#;

fn bench(body: &str) -> Bench {
    Bench::of(Wat { imports: HOST, more: DATA.into(), ..Wat::poll(body) })
}

const WRITE: &str =
    "(call $write (i32.const 1000) (i32.const 9) (i32.const 1020) (i32.const 5) (i32.const 64))";
const READ: &str = "(call $read (i32.const 1000) (i32.const 9) (i32.const 64))";

#[test]
fn a_guest_reads_what_it_wrote_and_the_host_gets_it_when_the_callback_succeeds() {
    let report = bench(&format!("{WRITE} {READ} (call $say-at (i32.const 68))")).poll();
    assert_eq!(report.result, Ok(CallbackValue::Done));
    assert_eq!(lines(&report), ["value"]);
    let mut expected = WorkspaceChanges::default();
    expected.writes.insert(workspace_path("state/key").unwrap(), "value".into());
    assert_eq!(report.effects.workspace, expected, "written without having been read from the snapshot");
}

#[test]
fn a_guest_reads_the_snapshot_and_the_version_it_rests_on_is_known() {
    let mut bench = bench(&format!("{READ} (call $say-at (i32.const 68)) {WRITE}"));
    let mut workspace =
        Workspace::load(Default::default(), [(workspace_path("state/key").unwrap(), "old".into())]);
    bench.workspace = workspace.snapshot();
    let report = bench.poll();
    assert_eq!(lines(&report), ["old"]);
    assert_eq!(report.effects.workspace.read_versions.len(), 1);
    workspace.apply(&report.effects.workspace).unwrap();
    assert!(workspace.apply(&report.effects.workspace).is_err(), "the same again rests on an old version");
}

#[test]
fn a_missing_file_is_none() {
    // The discriminant is a byte at 64; as a length it makes the log line empty for none.
    let report = bench(&format!("{READ} (call $yes-no (i32.load8_u (i32.const 64)))")).poll();
    assert_eq!(lines(&report), [""]);
}

#[test]
fn a_path_out_of_the_workspace_is_an_error_and_reads_nothing() {
    let body = "(call $write (i32.const 1040) (i32.const 9) (i32.const 1020) (i32.const 5) (i32.const 64))
        (call $yes-no (i32.load8_u (i32.const 64))) (call $say-at (i32.const 68))
        (call $read (i32.const 1040) (i32.const 9) (i32.const 64)) (call $yes-no (i32.load8_u (i32.const 64)))";
    let report = bench(body).poll();
    assert_eq!(report.result, Ok(CallbackValue::Done));
    let refused = "the path has a `..` segment";
    assert_eq!(lines(&report), ["y", refused, &format!("workspace-read was refused: {refused}"), ""]);
    assert!(report.effects.workspace.is_empty());
}

#[test]
fn secrets_and_time_are_what_the_host_says() {
    let body = "(call $yes-no (call $secret (i32.const 1060) (i32.const 5)))
        (call $yes-no (call $secret (i32.const 1060) (i32.const 4)))
        (call $yes-no (i64.eq (call $now) (i64.const 1700000000123)))";
    assert_eq!(lines(&bench(body).poll()), ["y", "", "y"]);
}

const HTTP: &str = "(call $http (i32.const 1120) (i32.const 4) (i32.const 1140) (i32.const 21) (i32.const 1180)
    (i32.const 2) (i32.const 1) (i32.const 1020) (i32.const 5) (i32.const 1) (i32.const 1500) (i32.const 64))";

#[test]
fn an_http_request_arrives_as_it_was_written_and_its_response_comes_back() {
    // ok(http-response): discriminant at 64, status at 68, headers at 72, body at 80.
    let bench = bench(&format!("{HTTP} (call $say-at (i32.const 80)) {HTTP} (call $say-at (i32.const 72))"));
    *bench.services.response.lock().unwrap() = Ok(OutboundResponse {
        response: HttpResponse { status: 503, headers_json: r#"{"a":"b"}"#.into(), body: b"later".to_vec() },
        retry_after: Some(Duration::from_secs(7)),
    });
    let report = bench.poll();
    assert_eq!(lines(&report), ["later", r#"{"a":"b"}"#]);
    let request = OutboundRequest {
        method: "POST".into(),
        url: "https://example.org/x".into(),
        headers_json: "{}".into(),
        body: Some(b"value".to_vec()),
        timeout: Some(Duration::from_millis(1500)),
    };
    assert_eq!(*bench.services.requests.lock().unwrap(), [(request.clone(), 0), (request, 1)]);
    assert!(report.effects.had_side_effects);
    assert_eq!(report.effects.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(report.usage.http_calls, 2);
}

#[test]
fn an_http_error_is_a_text_for_the_guest() {
    let bench =
        bench(&format!("{HTTP} (call $yes-no (i32.load8_u (i32.const 64))) (call $say-at (i32.const 68))"));
    *bench.services.response.lock().unwrap() = Err("not on the allow-list".into());
    let report = bench.poll();
    assert_eq!(report.result, Ok(CallbackValue::Done));
    assert_eq!(lines(&report), ["y", "not on the allow-list"]);
}

#[test]
fn a_panic_of_the_host_fails_that_callback_and_says_where() {
    let text = r#"(i32.store (i32.const 1120) (i32.const 0x494e4150)) (i32.store8 (i32.const 1124) (i32.const 0x43))"#;
    let call = HTTP.replace("(i32.const 1120) (i32.const 4)", "(i32.const 1120) (i32.const 5)");
    let bench = bench(&format!("(call $say (i32.const 1020) (i32.const 5)) {text} {call}"));
    let report = bench.poll();
    let Err(WasmChannelError::HostFailure { reason, .. }) = &report.result else { panic!("{report:?}") };
    assert!(reason.contains("http-request") && reason.contains("a bug in the host"), "{reason}");
    assert_eq!(lines(&report), ["value"], "what was said before is kept");
}

#[test]
fn retry_after_is_known_also_when_the_callback_fails() {
    let bench = bench(&format!("{HTTP} unreachable"));
    bench.services.response.lock().unwrap().as_mut().unwrap().retry_after = Some(Duration::from_secs(9));
    let report = bench.poll();
    assert!(report.result.is_err());
    assert_eq!(report.effects.retry_after, Some(Duration::from_secs(9)));
    assert!(report.effects.had_side_effects);
}

#[test]
fn messages_carry_their_fields_and_their_stored_attachments() {
    let body = "
        ;; the attachment record at 2000: id and mime type; everything optional is none; extras `{}`
        (i32.store (i32.const 2000) (i32.const 1100)) (i32.store (i32.const 2004) (i32.const 6))
        (i32.store (i32.const 2008) (i32.const 1020)) (i32.store (i32.const 2012) (i32.const 5))
        (i32.store (i32.const 2084) (i32.const 1180)) (i32.store (i32.const 2088) (i32.const 2))
        (call $store (i32.const 1100) (i32.const 6) (i32.const 1000) (i32.const 9) (i32.const 64))
        (call $emit (i32.const 1100) (i32.const 6) (i32.const 1) (i32.const 1060) (i32.const 5)
            (i32.const 1020) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 1180) (i32.const 2) (i32.const 2000) (i32.const 1))";
    let report = bench(body).poll();
    assert_eq!(report.result, Ok(CallbackValue::Done));
    let [emitted] = report.effects.messages.as_slice() else { panic!("{:?}", report.effects) };
    let message = &emitted.message;
    assert_eq!((message.user_id.as_str(), message.user_name.as_deref()), ("friend", Some("known")));
    assert_eq!((message.content.as_str(), message.thread_id.as_deref()), ("value", None));
    assert_eq!(message.metadata_json, "{}");
    assert_eq!(message.attachments[0].id, "friend");
    assert_eq!(message.attachments[0].extras_json, "{}");
    assert_eq!(emitted.attachment_data, [Some(Arc::from(*b"state/key"))]);
    assert!(!report.effects.had_side_effects);
}

#[test]
fn a_flood_of_messages_is_cut_at_the_limit_and_reported() {
    let body = "(local $n i32) (loop $again
        (call $emit (i32.const 1100) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 1020) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 1180) (i32.const 2) (i32.const 0) (i32.const 0))
        (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 130))))";
    let report = bench(body).poll();
    assert_eq!(report.effects.messages.len(), 100);
    assert_eq!(report.effects.dropped.messages, 30);
    assert_eq!(
        lines(&report),
        [
            "not kept of this callback: 30 messages over a limit (max_messages_per_callback, max_metadata_bytes)"
        ]
    );
}

#[test]
fn frames_and_pairings_reach_their_services() {
    let body = "(call $send (i32.const 1020) (i32.const 5) (i32.const 64))
        (call $yes-no (i32.load8_u (i32.const 64)))
        ;; the channel's name that a guest gives is not looked at
        (call $upsert (i32.const 1080) (i32.const 10) (i32.const 1100) (i32.const 6) (i32.const 1180) (i32.const 2)
            (i32.const 64)) (call $say-at (i32.const 68))
        (call $resolve (i32.const 1080) (i32.const 10) (i32.const 1100) (i32.const 6) (i32.const 64))
        (call $say-at (i32.const 72))
        ;; a list of strings: its second element
        (call $allowed (i32.const 1080) (i32.const 10) (i32.const 64))
        (call $say-at (i32.add (i32.const 8) (i32.load (i32.const 68))))";
    let bench = bench(body);
    let report = bench.poll();
    assert_eq!(report.result, Ok(CallbackValue::Done));
    assert_eq!(lines(&report), ["", "CODE-friend", "alice", "other"]);
    assert_eq!(*bench.services.frames.lock().unwrap(), ["value"]);
    assert!(report.effects.had_side_effects, "a frame cannot be taken back");
}

#[test]
fn timers_are_set_replaced_and_cancelled() {
    let set = |ms: u32| {
        format!(
            "(call $set (i32.const 1060) (i32.const 5) (i64.const {ms}) (i32.const 1020) (i32.const 5) (i32.const 64))"
        )
    };
    let report =
        bench(&format!("{} {} (call $cancel (i32.const 1100) (i32.const 6))", set(10), set(2500))).poll();
    let expected = [
        TimerChange::Set {
            name: "known".into(),
            delay: Duration::from_millis(2500),
            payload: "value".into(),
        },
        TimerChange::Cancel { name: "friend".into() },
    ];
    assert_eq!(report.effects.timers, expected);
}

#[test]
fn each_callback_reaches_its_export_with_its_payload() {
    let more = format!(
        r#"{DATA}
        (func (export "near:agent/channel@0.3.1#on-status") (param i32 i32 i32 i32 i32)
            (call $say (local.get 1) (local.get 2)) (call $say (local.get 3) (local.get 4)))
        (func (export "near:agent/channel@0.3.1#on-broadcast")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
            (call $say (local.get 0) (local.get 1)) (call $say (local.get 4) (local.get 5)) (i32.const 3000))
        (func (export "tinclaw:timers/handler@0.1.0#on-timer") (param i32 i32 i32 i32)
            (call $say (local.get 0) (local.get 1)) (call $say (local.get 2) (local.get 3)))
        (func (export "cabi_post_near:agent/channel@0.3.1#on-respond") (param i32)
            (if (i32.ne (local.get 0) (i32.const 3000)) (then unreachable)))"#
    );
    let bench = Bench::of(Wat {
        imports: HOST,
        more,
        respond: "(call $say (local.get 2) (local.get 3)) (i32.const 3000)",
        ..Wat::default()
    });
    let response = Arc::new(AgentResponse { content: "hi".into(), ..AgentResponse::default() });
    let update =
        StatusUpdate { status: StatusType::AuthRequired, message: "wait".into(), metadata_json: "{}".into() };
    let rows: [(Callback, &[&str]); 5] = [
        (Callback::Respond(Arc::clone(&response)), &["hi"]),
        (Callback::Status(Arc::new(update)), &["wait", "{}"]),
        (Callback::Broadcast { user_id: "u1".into(), response }, &["u1", "hi"]),
        (Callback::Timer { name: "t".into(), payload: "p".into() }, &["t", "p"]),
        (Callback::Shutdown, &[]),
    ];
    for (callback, expected) in rows {
        let report = bench.run(&callback);
        assert_eq!(report.result, Ok(CallbackValue::Done), "{}", report.kind);
        assert_eq!(lines(&report), expected, "{}", report.kind);
        assert!(bench.prepared.exports(report.kind));
    }
}

#[test]
fn an_optional_export_that_is_missing_is_no_error() {
    let bench = bench("");
    let update =
        StatusUpdate { status: StatusType::Done, message: String::new(), metadata_json: String::new() };
    let rows = [
        Callback::Status(Arc::new(update)),
        Callback::Broadcast { user_id: "u".into(), response: Arc::default() },
        Callback::Timer { name: "t".into(), payload: "".into() },
    ];
    for callback in rows {
        assert_eq!(bench.run(&callback).result, Ok(CallbackValue::NotExported));
        assert!(!bench.prepared.exports(callback.kind()));
    }
    assert!(bench.prepared.exports(CallbackKind::Poll));
}

#[test]
fn a_guests_own_error_is_told_apart_and_drops_its_effects() {
    // err("value") at 64.
    let respond = "(call $write (i32.const 1000) (i32.const 9) (i32.const 1020) (i32.const 5) (i32.const 80))
        (i32.store8 (i32.const 64) (i32.const 1)) (i32.store (i32.const 68) (i32.const 1020))
        (i32.store (i32.const 72) (i32.const 5)) (i32.const 64)";
    let bench = Bench::of(Wat { imports: HOST, more: DATA.into(), respond, ..Wat::default() });
    let report = bench.run(&Callback::Respond(Arc::default()));
    let error = report.result.unwrap_err();
    assert!(
        matches!(&error, WasmChannelError::GuestError { message, .. } if message == "value"),
        "{error:?}"
    );
    assert!(report.effects.workspace.is_empty());
}

#[test]
fn older_abi_versions_are_called_as_they_were_built() {
    // The first shape: no versions in names, `http-request` without a timeout, messages and replies without
    // attachments.
    let text = r#"(module
        (import "near:agent/channel-host" "log" (func $log (param i32 i32 i32)))
        (import "near:agent/channel-host" "http-request"
            (func $http (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
        (import "near:agent/channel-host" "emit-message"
            (func $emit (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
        (memory (export "memory") 2)
        (global $next (mut i32) (i32.const 65536))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $next) (global.set $next (i32.add (global.get $next) (local.get 3))))
        (data (i32.const 1000) "hello")
        (func (export "near:agent/channel#on-start") (param i32 i32) (result i32) unreachable)
        (func (export "near:agent/channel#on-http-request")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable)
        (func (export "near:agent/channel#on-poll")
            (call $http (i32.const 1000) (i32.const 5) (i32.const 1000) (i32.const 5) (i32.const 1000) (i32.const 5)
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64))
            (call $emit (i32.const 1000) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 1000) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 1000) (i32.const 5)))
        (func (export "near:agent/channel#on-respond")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
            (call $log (i32.const 4) (local.get 2) (local.get 3)) (i32.const 500))
        (func (export "near:agent/channel#on-status") (param i32 i32 i32 i32 i32)
            (call $log (i32.const 0) (local.get 1) (local.get 2)))
        (func (export "near:agent/channel#on-shutdown")))"#;
    let bench = Bench::new(&wat::parse_str(text).unwrap());
    let report = bench.poll();
    assert_eq!(report.result, Ok(CallbackValue::Done));
    assert_eq!(bench.services.requests.lock().unwrap()[0].0.timeout, None);
    assert_eq!(report.effects.messages[0].message.content, "hello");

    let attachments = vec![wit_abi::types::Attachment::default()];
    let response = AgentResponse { content: "reply".into(), attachments, ..AgentResponse::default() };
    let report = bench.run(&Callback::Respond(Arc::new(response)));
    assert_eq!(report.result, Ok(CallbackValue::Done));
    assert_eq!((report.logs[0].level, lines(&report)[0]), (LogLevel::Error, "reply"));

    let status = |status| {
        let update = StatusUpdate { status, message: "m".into(), metadata_json: "{}".into() };
        bench.run(&Callback::Status(Arc::new(update))).result
    };
    assert_eq!(status(StatusType::ToolCompleted), Ok(CallbackValue::Done));
    assert_eq!(status(StatusType::ToolResult), Ok(CallbackValue::NotExported), "its enum has no such case");
}

#[test]
fn the_same_bytes_are_prepared_once_under_any_name() {
    let runtime = super::support::runtime();
    let (one, other) = (Wat::poll("").bytes(), Wat::poll("nop").bytes());
    let first = runtime.prepare("first", &one).unwrap();
    assert!(Arc::ptr_eq(&first, &runtime.prepare("second", &one).unwrap()));
    let changed = runtime.prepare("first", &other).unwrap();
    assert!(!Arc::ptr_eq(&first, &changed), "the same name with other bytes is another guest");
    assert_ne!(first.digest(), changed.digest());
}

#[test]
fn unknown_imports_are_all_named_in_the_refusal() {
    let imports = r#"(import "env" "system" (func (param i32))) (import "near:agent/channel-host@0.3.1" "fly" (func))
        (import "wasi:clocks/wall-clock@0.2.3" "now" (func (param i32))) (import "env" "memory2" (memory 1))"#;
    let error = prepare(&Wat { imports, memory: "", ..Wat::default() }.bytes());
    let text = error.unwrap_err().to_string();
    assert!(text.contains("memory"), "{text}");
    let imports =
        r#"(import "env" "system" (func (param i32))) (import "near:agent/channel-host@0.3.1" "fly" (func))"#;
    let text = prepare(&Wat { imports, ..Wat::default() }.bytes()).unwrap_err().to_string();
    assert!(text.contains("system") && text.contains("fly") && text.contains("chan"), "{text}");
}
