//! The parts of WASI that guests' standard libraries need.

use std::time::{Duration, Instant};

use wit_abi::types::LogLevel;

use super::support::{Bench, IsExpected, Wat, lines};
use crate::event::callback::CallbackValue;
use crate::sandbox::WasmChannelError;

const PREVIEW1: &str = r#"
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "wasi_snapshot_preview1" "sock_recv" (func $recv (param i32 i32 i32 i32 i32 i32) (result i32)))"#;

/// `$is a b` traps unless the two are equal.
const IS: &str = "(func $is (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then unreachable)))";

fn preview1(body: &str) -> Bench {
    // Two buffers: "one\ntwo" and "\nthr".
    let data = r#"(data (i32.const 1000) "one\ntwo") (data (i32.const 1020) "\nthr")
        (data (i32.const 1100) "\e8\03\00\00\07\00\00\00\fc\03\00\00\04\00\00\00")"#;
    Bench::of(Wat { imports: PREVIEW1, more: format!("{IS} {data}"), ..Wat::poll(body) })
}

#[test]
fn output_to_the_standard_streams_becomes_log_lines() {
    let body = "(call $is (call $fd_write (i32.const 1) (i32.const 1100) (i32.const 2) (i32.const 64)) (i32.const 0))
        (call $is (i32.load (i32.const 64)) (i32.const 11))
        (call $is (call $fd_write (i32.const 2) (i32.const 1100) (i32.const 1) (i32.const 64)) (i32.const 0))";
    let report = preview1(body).poll();
    assert_eq!(report.result, Ok(CallbackValue::Done));
    // What has no line break yet is logged at the end.
    assert_eq!(lines(&report), ["one", "two", "one", "thr", "two"]);
    let levels = report.logs.iter().map(|line| line.level).collect::<Vec<_>>();
    use LogLevel::{Info, Warn};
    assert_eq!(levels, [Info, Info, Warn, Info, Warn]);
}

#[test]
fn a_panic_message_is_in_the_log_of_the_failed_callback() {
    let report = preview1(
        "(drop (call $fd_write (i32.const 2) (i32.const 1100) (i32.const 1) (i32.const 64))) unreachable",
    );
    let report = report.poll();
    assert!(matches!(report.result, Err(WasmChannelError::Trap { .. })));
    assert_eq!(lines(&report), ["one", "two"]);
}

#[test]
fn there_are_no_files_no_environment_and_no_input() {
    let body = "
        (call $is (call $prestat (i32.const 3) (i32.const 64)) (i32.const 8))
        (call $is (call $open (i32.const 3) (i32.const 0) (i32.const 1000) (i32.const 3) (i32.const 0)
            (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 64)) (i32.const 8))
        (call $is (call $fd_write (i32.const 7) (i32.const 1100) (i32.const 2) (i32.const 64)) (i32.const 8))
        (call $is (call $fd_read (i32.const 0) (i32.const 1100) (i32.const 1) (i32.const 64)) (i32.const 0))
        (call $is (i32.load (i32.const 64)) (i32.const 0))
        (call $is (call $seek (i32.const 1) (i64.const 0) (i32.const 0) (i32.const 64)) (i32.const 70))
        (call $is (call $fdstat (i32.const 1) (i32.const 64)) (i32.const 0))
        (call $is (i32.load8_u (i32.const 64)) (i32.const 2))
        (i32.store (i32.const 64) (i32.const 9))
        (call $is (call $environ (i32.const 64) (i32.const 68)) (i32.const 0))
        (call $is (i32.load (i32.const 64)) (i32.const 0))";
    assert_eq!(preview1(body).poll().result, Ok(CallbackValue::Done));
}

#[test]
fn clocks_go_and_random_numbers_differ() {
    let body = "
        (call $is (call $clock (i32.const 0) (i64.const 0) (i32.const 64)) (i32.const 0))
        ;; later than September 2020, in nanoseconds
        (call $is (i64.gt_u (i64.load (i32.const 64)) (i64.const 1600000000000000000)) (i32.const 1))
        (call $is (call $clock (i32.const 1) (i64.const 0) (i32.const 72)) (i32.const 0))
        (call $is (call $clock (i32.const 1) (i64.const 0) (i32.const 80)) (i32.const 0))
        (call $is (i64.ge_u (i64.load (i32.const 80)) (i64.load (i32.const 72))) (i32.const 1))
        (call $is (call $clock (i32.const 9) (i64.const 0) (i32.const 64)) (i32.const 28))
        (call $is (call $random (i32.const 200) (i32.const 16)) (i32.const 0))
        (call $is (i64.eq (i64.load (i32.const 200)) (i64.load (i32.const 208))) (i32.const 0))";
    assert_eq!(preview1(body).poll().result, Ok(CallbackValue::Done));
}

/// A subscription at 2000 to the monotonic clock, relative, in milliseconds; the event goes to 3000.
fn sleep(millis: u64) -> String {
    format!(
        "(i64.store (i32.const 2000) (i64.const 77)) (i32.store (i32.const 2016) (i32.const 1))
         (i64.store (i32.const 2024) (i64.const {}))
         (call $is (call $poll (i32.const 2000) (i32.const 3000) (i32.const 1) (i32.const 64)) (i32.const 0))
         (call $is (i32.load (i32.const 64)) (i32.const 1)) (call $is (i32.load (i32.const 3000)) (i32.const 77))",
        millis * 1_000_000
    )
}

#[test]
fn a_guest_may_sleep_but_not_beyond_its_deadline() {
    let began = Instant::now();
    assert_eq!(preview1(&sleep(30)).poll().result, Ok(CallbackValue::Done));
    assert!(began.elapsed() >= Duration::from_millis(30));

    let mut bench = preview1(&sleep(60_000));
    bench.limits.callback_timeout = Duration::from_millis(30);
    let error = bench.poll_error();
    assert!(matches!(error, WasmChannelError::DeadlineExceeded { .. }), "{error:?}");
}

#[test]
fn a_sleeping_guest_hears_the_stop_flag() {
    let mut bench = preview1(&sleep(60_000));
    bench.limits.callback_timeout = Duration::from_secs(600);
    bench.stop.stop();
    assert!(matches!(bench.poll_error(), WasmChannelError::Stopped { .. }));
}

#[test]
fn leaving_the_program_fails_the_callback() {
    let error = preview1("(call $exit (i32.const 3))").poll_error();
    assert!(
        matches!(&error, WasmChannelError::Trap { reason, .. } if reason.contains("exit code 3")),
        "{error:?}"
    );
}

#[test]
fn unsupported_wasi_functions_trap_with_their_name() {
    let zeroes = "(i32.const 0) ".repeat(6);
    let error = preview1(&format!("(drop (call $recv {zeroes}))")).poll_error();
    let WasmChannelError::ImportNotGiven { import, .. } = &error else { panic!("{error:?}") };
    assert_eq!(import, "wasi_snapshot_preview1 sock_recv");
}

#[test]
fn pointers_outside_of_memory_end_the_callback() {
    let rows = [
        "(drop (call $fd_write (i32.const 1) (i32.const 131070) (i32.const 1) (i32.const 64)))",
        "(drop (call $fd_write (i32.const 1) (i32.const 1100) (i32.const -1) (i32.const 64)))",
        "(drop (call $fd_write (i32.const 1) (i32.const 1100) (i32.const 1) (i32.const -2)))",
        "(i32.store (i32.const 1104) (i32.const -1))
         (drop (call $fd_write (i32.const 1) (i32.const 1100) (i32.const 1) (i32.const 64)))",
        "(drop (call $random (i32.const 1000) (i32.const -1)))",
        "(drop (call $clock (i32.const 0) (i64.const 0) (i32.const 131065)))",
        "(drop (call $poll (i32.const 131050) (i32.const 3000) (i32.const 1) (i32.const 64)))",
        "(drop (call $environ (i32.const -4) (i32.const 64)))",
    ];
    for body in rows {
        let error = preview1(body).poll_error();
        assert!(matches!(error, WasmChannelError::AbiViolation { .. }), "{body}: {error:?}");
    }
}

/// Any patch version will do.
const PREVIEW2: &str = r#"
    (import "wasi:cli/stdout@0.2.6" "get-stdout" (func $stdout (result i32)))
    (import "wasi:cli/stdin@0.2.0" "get-stdin" (func $stdin (result i32)))
    (import "wasi:cli/environment@0.2.3" "get-environment" (func $environment (param i32)))
    (import "wasi:cli/terminal-stdout@0.2.0" "get-terminal-stdout" (func $terminal (param i32)))
    (import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))
    (import "wasi:io/streams@0.2.6" "[method]output-stream.check-write" (func $check (param i32 i32)))
    (import "wasi:io/streams@0.2.6" "[method]output-stream.write" (func $write (param i32 i32 i32 i32)))
    (import "wasi:io/streams@0.2.6" "[method]output-stream.blocking-flush" (func $flush (param i32 i32)))
    (import "wasi:io/streams@0.2.6" "[method]output-stream.subscribe" (func $subscribe (param i32) (result i32)))
    (import "wasi:io/streams@0.2.6" "[method]input-stream.blocking-read" (func $read (param i32 i64 i32)))
    (import "wasi:io/streams@0.2.6" "[resource-drop]output-stream" (func $drop-output (param i32)))
    (import "wasi:io/poll@0.2.6" "poll" (func $poll (param i32 i32 i32)))
    (import "wasi:io/poll@0.2.6" "[method]pollable.block" (func $block (param i32)))
    (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
    (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $after (param i64) (result i32)))
    (import "wasi:clocks/wall-clock@0.2.0" "now" (func $wall (param i32)))
    (import "wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32)))
    (import "wasi:random/random@0.2.0" "get-random-u64" (func $random64 (result i64)))
    (import "wasi:filesystem/preopens@0.2.0" "get-directories" (func $directories (param i32)))
    (import "wasi:sockets/tcp@0.2.0" "[method]tcp-socket.start-listen" (func $listen (param i32 i32)))"#;

fn preview2(body: &str) -> Bench {
    let more = format!(r#"{IS} (data (i32.const 1000) "one\ntwo")"#);
    Bench::of(Wat { imports: PREVIEW2, more, ..Wat::poll(body) })
}

#[test]
fn streams_take_text_and_end_at_once() {
    let body = "(local $out i32) (local.set $out (call $stdout))
        (call $check (local.get $out) (i32.const 64))
        (call $is (i32.load8_u (i32.const 64)) (i32.const 0))
        (call $is (i64.gt_u (i64.load (i32.const 72)) (i64.const 4095)) (i32.const 1))
        (call $write (local.get $out) (i32.const 1000) (i32.const 7) (i32.const 64))
        (call $is (i32.load8_u (i32.const 64)) (i32.const 0))
        (call $flush (local.get $out) (i32.const 64)) (call $is (i32.load8_u (i32.const 64)) (i32.const 0))
        (call $drop-output (local.get $out))
        ;; err(closed)
        (call $read (call $stdin) (i64.const 10) (i32.const 64))
        (call $is (i32.load8_u (i32.const 64)) (i32.const 1)) (call $is (i32.load8_u (i32.const 68)) (i32.const 1))";
    let report = preview2(body).poll();
    assert_eq!(report.result, Ok(CallbackValue::Done));
    assert_eq!(lines(&report), ["one", "two"]);
}

#[test]
fn environment_directories_and_terminal_are_absent() {
    let body = "
        (i32.store (i32.const 68) (i32.const 9)) (call $environment (i32.const 64))
        (call $is (i32.load (i32.const 68)) (i32.const 0))
        ;; an empty list has a pointer that is not null
        (call $is (i32.eqz (i32.load (i32.const 64))) (i32.const 0))
        (i32.store (i32.const 68) (i32.const 9)) (call $directories (i32.const 64))
        (call $is (i32.load (i32.const 68)) (i32.const 0))
        (i32.store (i32.const 64) (i32.const 1)) (call $terminal (i32.const 64))
        (call $is (i32.load8_u (i32.const 64)) (i32.const 0))";
    assert_eq!(preview2(body).poll().result, Ok(CallbackValue::Done));
}

#[test]
fn time_passes_and_numbers_are_random() {
    let body = "(local $before i64) (local.set $before (call $now))
        (call $block (call $after (i64.const 20000000)))
        (call $is (i64.ge_u (i64.sub (call $now) (local.get $before)) (i64.const 20000000)) (i32.const 1))
        (call $wall (i32.const 64))
        (call $is (i64.gt_u (i64.load (i32.const 64)) (i64.const 1600000000)) (i32.const 1))
        (call $is (i64.eq (call $random64) (call $random64)) (i32.const 0))
        (call $random (i64.const 16) (i32.const 64)) (call $is (i32.load (i32.const 68)) (i32.const 16))
        (call $is (i64.eq (i64.load (i32.load (i32.const 64))) (i64.load offset=8 (i32.load (i32.const 64))))
            (i32.const 0))";
    assert_eq!(preview2(body).poll().result, Ok(CallbackValue::Done));
}

#[test]
fn poll_tells_which_are_ready() {
    let body = "(local $out i32) (local.set $out (call $stdout))
        ;; two that never come, and a stream between them
        (i32.store (i32.const 200) (call $after (i64.const 600000000000)))
        (i32.store (i32.const 204) (call $subscribe (local.get $out)))
        (i32.store (i32.const 208) (call $after (i64.const -1)))
        (call $poll (i32.const 200) (i32.const 3) (i32.const 64))
        (call $is (i32.load (i32.const 68)) (i32.const 1))
        (call $is (i32.load (i32.load (i32.const 64))) (i32.const 1))";
    assert_eq!(preview2(body).poll().result, Ok(CallbackValue::Done));
}

#[test]
fn handles_are_checked() {
    let rows: [(&str, IsExpected); 5] = [
        ("(call $drop-output (i32.const 1))", |e| matches!(e, WasmChannelError::AbiViolation { .. })),
        (
            "(local $o i32) (local.set $o (call $stdout)) (call $drop-output (local.get $o)) (call $drop-output (local.get $o))",
            |e| matches!(e, WasmChannelError::AbiViolation { .. }),
        ),
        (
            "(call $write (call $stdin) (i32.const 1000) (i32.const 7) (i32.const 64))",
            |e| matches!(e, WasmChannelError::AbiViolation { reason, .. } if reason.contains("input stream")),
        ),
        (
            "(loop $again (drop (call $stdout)) (br $again))",
            |e| matches!(e, WasmChannelError::Trap { reason, .. } if reason.contains("resources")),
        ),
        (
            "(call $listen (i32.const 1) (i32.const 64))",
            |e| matches!(e, WasmChannelError::ImportNotGiven { import, .. } if import.contains("tcp-socket.start-listen")),
        ),
    ];
    for (body, expected) in rows {
        let error = preview2(body).poll_error();
        assert!(expected(&error), "{body}: {error:?}");
    }
}

#[test]
fn a_known_import_with_another_type_is_refused() {
    let imports = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "now" (func (result i32)))"#;
    let error = super::support::prepare(&Wat { imports, ..Wat::default() }.bytes()).unwrap_err();
    assert!(error.to_string().contains("monotonic-clock"), "{error}");
}
