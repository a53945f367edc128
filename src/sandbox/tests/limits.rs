//! One test for each thing that a guest could take too much of.

use std::time::Duration;

use super::support::{Bench, IsExpected, Wat, lines, prepare, runtime};
use crate::WasmChannel;
use crate::channel::ChannelLimits;
use crate::event::callback::{Callback, CallbackValue};
use crate::sandbox::{MemoryBudget, WasmChannelError};

const LOOP: &str = "(loop $again (br $again))";
const LOG: &str = r#"(import "near:agent/channel-host@0.3.1" "log" (func $log (param i32 i32 i32)))"#;

#[test]
fn an_endless_loop_runs_out_of_fuel() {
    let mut bench = Bench::of(Wat::poll(LOOP));
    bench.limits.fuel = 3_000_000;
    let report = bench.poll();
    assert!(matches!(report.result, Err(WasmChannelError::OutOfFuel { limit: 3_000_000, .. })), "{report:?}");
    assert!(report.usage.fuel > 2_990_000 && report.usage.fuel <= 3_000_000, "{}", report.usage.fuel);
}

#[test]
fn fuel_is_enough_at_its_limit_and_not_one_unit_below() {
    let body = "(local $n i32) (loop $again
        (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 200000))))";
    let mut bench = Bench::of(Wat::poll(body));
    let needed = bench.poll().usage.fuel;
    assert!(needed > 100_000, "more than one slice: {needed}");
    bench.limits.fuel = needed;
    assert_eq!(bench.poll().result, Ok(CallbackValue::Done));
    bench.limits.fuel = needed - 1;
    assert!(matches!(bench.poll_error(), WasmChannelError::OutOfFuel { .. }));
}

#[test]
fn a_deadline_stops_a_loop_that_still_has_fuel() {
    let mut bench = Bench::of(Wat::poll(LOOP));
    (bench.limits.fuel, bench.limits.callback_timeout) = (u64::MAX, Duration::from_millis(30));
    let error = bench.poll_error();
    assert!(matches!(error, WasmChannelError::DeadlineExceeded { .. }), "{error:?}");
}

#[test]
fn the_stop_flag_ends_a_loop() {
    let mut bench = Bench::of(Wat::poll(LOOP));
    (bench.limits.fuel, bench.limits.callback_timeout) = (u64::MAX, Duration::from_secs(600));
    let (prepared, context) = (bench.prepared.clone(), bench.context());
    let worker = std::thread::spawn(move || prepared.run(context, &Callback::Poll));
    std::thread::sleep(Duration::from_millis(20));
    bench.stop.stop();
    let report = worker.join().unwrap();
    assert!(matches!(report.result, Err(WasmChannelError::Stopped { .. })), "{report:?}");
}

#[test]
fn endless_recursion_traps() {
    let wat =
        Wat { more: "(func $deeper (call $deeper) (call $deeper))".into(), ..Wat::poll("(call $deeper)") };
    let error = Bench::of(wat).poll_error();
    assert!(matches!(&error, WasmChannelError::Trap { reason, .. } if reason.contains("stack")), "{error:?}");
}

/// Grows the memory by this many pages and traps when that fails.
fn grow(pages: usize) -> String {
    format!("(if (i32.eq (i32.const -1) (memory.grow (i32.const {pages}))) (then unreachable))")
}

#[test]
fn memory_is_given_up_to_its_limit_and_no_page_further() {
    let pages = ChannelLimits::for_testing().memory_bytes / 65_536;
    let bench = Bench::of(Wat::poll(grow(pages - 2)));
    let report = bench.poll();
    assert_eq!(report.result, Ok(CallbackValue::Done));
    assert_eq!(report.usage.peak_memory, pages * 65_536);

    let error = Bench::of(Wat::poll(grow(pages - 1))).poll_error();
    let (wanted, limit) = ((pages + 1) * 65_536, pages * 65_536);
    assert!(
        matches!(error, WasmChannelError::OutOfMemory { wanted: w, limit: l, .. } if (w, l) == (wanted, limit)),
        "{error:?}"
    );
}

#[test]
fn a_guest_that_copes_with_a_refusal_goes_on() {
    let bench = Bench::of(Wat::poll("(drop (memory.grow (i32.const 60000)))"));
    assert_eq!(bench.poll().result, Ok(CallbackValue::Done));
    // A trap that comes later has a reason of its own once a growth has succeeded.
    let body = format!("(drop (memory.grow (i32.const 60000))) {} unreachable", grow(1));
    let error = Bench::of(Wat::poll(body)).poll_error();
    assert!(matches!(error, WasmChannelError::Trap { .. }), "{error:?}");
}

#[test]
fn all_callbacks_together_have_a_memory_budget() {
    let mut bench = Bench::of(Wat::poll(grow(10)));
    bench.budget = MemoryBudget::new(20 * 65_536);
    let other = bench.budget.reserve(8 * 65_536).unwrap();
    assert_eq!(bench.poll().result, Ok(CallbackValue::Done));
    drop(other);
    let _other = bench.budget.reserve(9 * 65_536).unwrap();
    let error = bench.poll_error();
    assert!(matches!(error, WasmChannelError::HostMemoryExhausted { .. }), "{error:?}");
    assert_eq!(bench.budget.used(), 9 * 65_536, "what a callback took is released");
}

#[test]
fn the_body_of_a_request_counts_in_the_memory_budget() {
    let imports = r#"(import "near:agent/channel-host@0.3.1" "http-request"
        (func $http (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;
    let zeroes = "(i32.const 0) ".repeat(6);
    let call = format!(
        "(call $http {zeroes} (i32.const 1) (i32.const 0) (i32.const 65536) (i32.const 0) (i32.const 0) (i32.const 64))"
    );
    let page = 65_536;
    let with_budget = |body: &str, pages: usize| {
        let mut bench = Bench::of(Wat { imports, ..Wat::poll(body) });
        bench.budget = MemoryBudget::new(pages * page);
        let done = bench.poll().result == Ok(CallbackValue::Done);
        assert_eq!(bench.budget.used(), 0);
        done.then(|| bench.services.requests.lock().unwrap().len())
    };
    // What the instance itself needs; the body of one page comes on top.
    let needed = (1..).find(|pages| with_budget("", *pages).is_some()).unwrap();
    assert_eq!(with_budget(&call, needed), None, "the callback ends, and may be run again");
    assert_eq!(with_budget(&call, needed + 1), Some(1));
}

#[test]
fn memory_that_is_too_large_from_the_start_is_refused_at_load_or_at_instantiation() {
    let pages = ChannelLimits::for_testing().memory_bytes / 65_536;
    let with = |memory: String| Wat { memory: Box::leak(memory.into_boxed_str()), ..Wat::poll("") };
    let at_limit = with(format!(r#"(memory (export "memory") {pages})"#));
    let mut bench = Bench::of(at_limit);
    assert_eq!(bench.poll().result, Ok(CallbackValue::Done));
    let error = prepare(&with(format!(r#"(memory (export "memory") {})"#, pages + 1)).bytes()).unwrap_err();
    assert!(
        matches!(&error, WasmChannelError::NotLoadable { reason, .. } if reason.contains("memory")),
        "{error:?}"
    );

    // A channel may have less than the runtime's default.
    bench.limits.memory_bytes = 65_536;
    let error = bench.poll_error();
    assert!(
        matches!(&error, WasmChannelError::Instantiation { reason, .. } if reason.contains("65536")),
        "{error:?}"
    );
}

// What happened: whether a guest's initial state fits was looked at with the limits of the runtime. A guest of 60 MiB never
// loaded, whatever its file asked for, and one with a table of 20,000 elements loaded and failed at every callback.
#[test]
fn a_guests_initial_state_is_compared_with_the_limits_of_its_channel() {
    let runtime = runtime();
    let load = |guest: &Wat, channel: &str| {
        let file = format!(r#"{{"capabilities": {{"channel": {{{channel}}}}}}}"#);
        let name = "chan".parse().unwrap();
        WasmChannel::from_bytes(&runtime, name, &guest.bytes(), Some(file.as_bytes()))
            .map_err(|error| error.to_string())
    };
    let large = Wat { memory: r#"(memory (export "memory") 960)"#, ..Wat::poll("") };
    let error = load(&large, "").unwrap_err();
    assert!(error.contains("starts with 62914560 bytes") && error.contains("may have 52428800"), "{error}");
    assert!(load(&large, r#""memory_mb": 59"#).is_err());
    let loaded = load(&large, r#""memory_mb": 60"#).unwrap();
    let error = load(&large, r#""memory_mb": 59"#).unwrap_err();
    assert!(error.contains("may have 61865984"), "also when the runtime knows the guest: {error}");
    let mut bench = Bench::with(loaded.module().clone());
    bench.limits.memory_bytes = 60 << 20;
    assert_eq!(bench.poll().result, Ok(CallbackValue::Done));

    let table = Wat { more: "(table 20000 funcref)".into(), ..Wat::poll("") };
    let error = load(&table, "").unwrap_err();
    assert!(error.contains("20000 elements, and 10000 are allowed"), "{error}");
    assert!(load(&table, r#""table_elements": 19999"#).is_err());
    let loaded = load(&table, r#""table_elements": 20000"#).unwrap();
    let mut bench = Bench::with(loaded.module().clone());
    bench.limits.table_elements = 20_000;
    assert_eq!(bench.poll().result, Ok(CallbackValue::Done));
}

#[test]
fn tables_grow_up_to_their_limit() {
    let table = |by: usize| {
        let body = format!(
            "(if (i32.eq (i32.const -1) (table.grow $t (ref.null func) (i32.const {by}))) (then unreachable))"
        );
        let mut bench = Bench::of(Wat { more: "(table $t 10 funcref)".into(), ..Wat::poll(body) });
        bench.limits.table_elements = 100;
        bench.poll().result
    };
    assert_eq!(table(90), Ok(CallbackValue::Done));
    assert!(matches!(table(91), Err(WasmChannelError::TableLimit { wanted: 101, limit: 100, .. })));
}

#[test]
fn tables_grow_together_up_to_their_limit_and_are_counted_into_the_budget() {
    let more = "(table $t 10 funcref) (table $u 20 externref)";
    let grow = |table: &str, kind: &str, by: usize| {
        format!(
            "(if (i32.eq (i32.const -1) (table.grow {table} (ref.null {kind}) (i32.const {by}))) (then unreachable))"
        )
    };
    let table = |by: usize| {
        let body = grow("$t", "func", 50_000) + &grow("$u", "extern", by);
        let mut bench = Bench::of(Wat { more: more.into(), ..Wat::poll(body) });
        bench.limits.table_elements = 100_000;
        bench.poll()
    };
    let report = table(49_970);
    assert_eq!(report.result, Ok(CallbackValue::Done));
    // Two pages of memory, and twelve whole ones of tables.
    assert_eq!(report.usage.peak_memory, (2 + 100_000 * 8 / 65_536) * 65_536);
    let error = table(49_971).result.unwrap_err();
    assert!(
        matches!(error, WasmChannelError::TableLimit { wanted: 100_001, limit: 100_000, .. }),
        "{error:?}"
    );
}

#[test]
fn making_an_instance_is_paid_for_and_meets_the_deadline() {
    let with_items = |items: usize| {
        let items = "$f ".repeat(items);
        let more = format!("(table 9000 funcref) (func $f) (elem (i32.const 0) func {items})");
        Bench::of(Wat { more, ..Wat::poll("") })
    };
    let spent = |bench: &Bench| bench.poll().usage.fuel;
    assert!(spent(&with_items(9_000)) - spent(&with_items(0)) >= 100_000);
    let mut bench = with_items(9_000);
    bench.limits.fuel = 100_000;
    assert!(matches!(bench.poll_error(), WasmChannelError::OutOfFuel { limit: 100_000, .. }));
    let mut bench = with_items(0);
    bench.limits.callback_timeout = Duration::ZERO;
    assert!(matches!(bench.poll_error(), WasmChannelError::DeadlineExceeded { .. }));
    let bench = with_items(0);
    bench.stop.stop();
    assert!(matches!(bench.poll_error(), WasmChannelError::Stopped { .. }));
}

/// Element segments of 15 MB were no part of the memory budget: loading one took 359 MB of 256.
#[test]
fn tables_and_globals_count_in_the_memory_budget() {
    const PAGE: usize = 65_536;
    // The table takes one page, its items another.
    for (items, pages) in [(0, 3), (9_000, 4)] {
        let more =
            format!("(table 9000 funcref) (func $f) (elem (i32.const 0) func {})", "$f ".repeat(items));
        let mut bench = Bench::of(Wat { more, ..Wat::poll("") });
        assert_eq!(bench.prepared.initial_memory_bytes(), pages * PAGE, "{items} items");
        bench.budget = MemoryBudget::new(pages * PAGE);
        assert_eq!(bench.poll().result, Ok(CallbackValue::Done), "{items} items");
        bench.budget = MemoryBudget::new((pages - 1) * PAGE);
        let error = bench.poll_error();
        assert!(matches!(error, WasmChannelError::HostMemoryExhausted { .. }), "{items} items: {error:?}");
    }
}

#[test]
fn one_large_memory_fill_is_paid_for() {
    let mut bench = Bench::of(Wat::poll(format!(
        "{} (loop $again (memory.fill (i32.const 0) (i32.const 1) (i32.const 6553600)) (br $again))",
        grow(98)
    )));
    bench.limits.fuel = 2_000_000;
    let report = bench.poll();
    // Each fill costs 102,400 units, so a few of them only.
    assert!(matches!(report.result, Err(WasmChannelError::OutOfFuel { .. })), "{report:?}");
}

#[test]
fn a_start_function_that_loops_runs_on_the_worker_and_in_slices() {
    let wat = Wat { more: format!("(func $begin {LOOP}) (start $begin)"), ..Wat::poll("") };
    let mut bench = Bench::of(wat);
    bench.limits.fuel = 1_000_000;
    assert!(matches!(bench.poll_error(), WasmChannelError::OutOfFuel { .. }));
}

#[test]
fn start_and_initialize_run_first_in_every_instance() {
    let bench = Bench::of(Wat {
        more: r#"(global $order (mut i32) (i32.const 0))
            (func $begin (global.set $order (i32.add (i32.mul (global.get $order) (i32.const 10)) (i32.const 1))))
            (func (export "_initialize")
                (global.set $order (i32.add (i32.mul (global.get $order) (i32.const 10)) (i32.const 2))))
            (start $begin)"#
            .into(),
        ..Wat::poll("(if (i32.ne (global.get $order) (i32.const 12)) (then unreachable))")
    });
    assert_eq!(bench.poll().result, Ok(CallbackValue::Done));
    assert_eq!(bench.poll().result, Ok(CallbackValue::Done));
}

#[test]
fn nothing_of_a_guests_memory_outlives_a_callback() {
    let body = "(if (i32.load (i32.const 1024)) (then unreachable))
        (if (global.get $g) (then unreachable))
        (i32.store (i32.const 1024) (i32.const 7)) (global.set $g (i32.const 7))";
    let bench = Bench::of(Wat { more: "(global $g (mut i32) (i32.const 0))".into(), ..Wat::poll(body) });
    for _ in 0..3 {
        assert_eq!(bench.poll().result, Ok(CallbackValue::Done));
    }
}

#[test]
fn memory_that_a_guest_before_has_filled_is_zero_wherever_it_grows_to() {
    let bytes = 42 * 65_536;
    let body = format!(
        "(local $at i32) {}
        (loop $next
            (if (i64.ne (i64.const 0) (i64.load (local.get $at))) (then unreachable))
            (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 64))) (i32.const {bytes}))))
        (memory.fill (i32.const 0) (i32.const 238) (i32.const {bytes}))",
        grow(40)
    );
    let bench = Bench::of(Wat::poll(body));
    for _ in 0..3 {
        assert_eq!(bench.poll().result, Ok(CallbackValue::Done));
    }
}

/// `cabi_realloc` with another body: called by the host to hand over `on-start`'s text.
fn with_realloc(body: &str) -> Bench {
    let realloc = format!(r#"(func $r (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {body})"#);
    let start = "(i32.store8 (i32.const 16) (i32.const 1)) (i32.store (i32.const 20) (i32.const 0))
        (i32.store (i32.const 24) (i32.const 0)) (i32.const 16)";
    let mut bench =
        Bench::of(Wat { imports: LOG, realloc: Box::leak(realloc.into_boxed_str()), start, ..Wat::poll("") });
    bench.limits.fuel = 1_000_000;
    bench
}

fn start() -> Callback {
    Callback::Start { config_json: "{}".into() }
}

#[test]
fn an_allocator_that_misbehaves_ends_only_its_callback() {
    let rows: &[(&str, &str, IsExpected)] = &[
        ("loops", "(loop $again (br $again)) (i32.const 0)", |e| {
            matches!(e, WasmChannelError::OutOfFuel { .. })
        }),
        ("traps", "unreachable", |e| matches!(e, WasmChannelError::Trap { .. })),
        ("points outside", "(i32.const 1000000)", |e| matches!(e, WasmChannelError::AbiViolation { .. })),
        ("points to the very end", "(i32.const 131071)", |e| {
            matches!(e, WasmChannelError::AbiViolation { .. })
        }),
        ("points to -1", "(i32.const -1)", |e| matches!(e, WasmChannelError::AbiViolation { .. })),
        (
            "calls the host",
            "(call $log (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 64)",
            |e| matches!(e, WasmChannelError::AbiViolation { reason, .. } if reason.contains("log")),
        ),
        (
            "asks for memory it may not have",
            "(if (i32.eq (i32.const -1) (memory.grow (i32.const 9999))) (then unreachable)) (i32.const 64)",
            |e| matches!(e, WasmChannelError::OutOfMemory { .. }),
        ),
    ];
    for (name, body, expected) in rows {
        let error = with_realloc(body).run(&start()).result.unwrap_err();
        assert!(expected(&error), "{name}: {error:?}");
    }
    // One that lies about the place but stays inside hurts only itself.
    let error = with_realloc("(i32.const 64)").run(&start()).result.unwrap_err();
    assert!(matches!(error, WasmChannelError::GuestError { .. }), "{error:?}");
}

#[test]
fn a_loop_inside_a_nested_allocation_meets_the_deadline() {
    // on-poll reads the workspace, whose result makes the host call `cabi_realloc`, which loops.
    let mut bench = Bench::of(Wat {
        imports: r#"(import "near:agent/channel-host@0.3.1" "workspace-read" (func $read (param i32 i32 i32)))"#,
        realloc: r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (loop $again (br $again)) (i32.const 0))"#,
        more: r#"(data (i32.const 0) "k")"#.into(),
        ..Wat::poll("(call $read (i32.const 0) (i32.const 1) (i32.const 64))")
    });
    let file = (crate::channel::workspace::workspace_path("k").unwrap(), "content".into());
    bench.workspace = crate::channel::workspace::Workspace::load(Default::default(), [file]).snapshot();
    (bench.limits.fuel, bench.limits.callback_timeout) = (u64::MAX, Duration::from_millis(30));
    let error = bench.poll_error();
    assert!(matches!(error, WasmChannelError::DeadlineExceeded { .. }), "{error:?}");
}

#[test]
fn a_result_outside_of_memory_breaks_the_convention() {
    for pointer in ["0x7fffffff", "-4", "131070", "2"] {
        let http = format!("(i32.const {pointer})");
        let bench = Bench::of(Wat { http: Box::leak(http.into_boxed_str()), ..Wat::default() });
        let report = bench.run(&Callback::HttpRequest(Default::default()));
        assert!(matches!(report.result, Err(WasmChannelError::AbiViolation { .. })), "{pointer}: {report:?}");
    }
}

#[test]
fn a_trap_says_what_it_was_and_where() {
    let rows = [
        ("unreachable", "unreachable"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "divi"),
        ("(drop (i32.load (i32.const 9999999)))", "memory"),
        ("(call_indirect $t (i32.const 5))", "table"),
    ];
    for (body, word) in rows {
        let wat = Wat { more: "(table $t 1 funcref)".into(), ..Wat::poll(body) };
        let error = Bench::of(wat).poll_error();
        let WasmChannelError::Trap { reason, channel, .. } = &error else { panic!("{error:?}") };
        assert!(reason.contains(word), "{body}: {reason}");
        assert_eq!(channel, "chan");
        assert!(error.to_string().contains("on-poll"), "{error}");
    }
}

#[test]
fn a_flood_of_log_lines_is_cut_short_and_reported() {
    let body = r#"(local $n i32) (loop $again (call $log (i32.const 2) (i32.const 0) (i32.const 5))
        (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 12))))"#;
    let wat = Wat { imports: LOG, more: r#"(data (i32.const 0) "hello")"#.into(), ..Wat::poll(body) };
    let mut bench = Bench::of(wat);
    bench.limits.log_lines = 10;
    let report = bench.poll();
    assert_eq!(lines(&report)[..10], ["hello"; 10]);
    assert_eq!(
        lines(&report)[10],
        "not kept of this callback: 2 log lines over a limit (max_log_lines, max_log_bytes)"
    );
    assert_eq!(report.effects.dropped.log_lines, 2);
}

#[test]
fn a_failed_callback_keeps_its_log_and_nothing_else() {
    let wat = Wat {
        imports: r#"
            (import "near:agent/channel-host@0.3.1" "log" (func $log (param i32 i32 i32)))
            (import "near:agent/channel-host@0.3.1" "workspace-write" (func $write (param i32 i32 i32 i32 i32)))"#,
        more: r#"(data (i32.const 0) "hello")"#.into(),
        ..Wat::poll(
            "(call $log (i32.const 4) (i32.const 0) (i32.const 5))
             (call $write (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 5) (i32.const 64))
             unreachable",
        )
    };
    let report = Bench::of(wat).poll();
    assert!(report.result.is_err());
    assert_eq!(lines(&report), ["hello"]);
    assert!(report.effects.workspace.is_empty());
}

const HTTP: &str = r#"(import "near:agent/channel-host@0.3.1" "http-request"
    (func $http (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;

#[test]
fn outbound_requests_are_made_up_to_their_limit_and_no_further() {
    let zeroes = "(i32.const 0) ".repeat(11);
    let call = format!("(call $http {zeroes} (i32.const 64))");
    let mut bench = Bench::of(Wat { imports: HTTP, ..Wat::poll(call.repeat(3)) });
    bench.limits.http_calls = 2;
    let report = bench.poll();
    assert_eq!(report.result, Ok(CallbackValue::Done), "the guest gets an error");
    assert_eq!((bench.services.requests.lock().unwrap().len(), report.usage.http_calls), (2, 2));
}

#[test]
fn a_waiting_host_call_ends_at_the_deadline() {
    let imports = HTTP;
    let zeroes = "(i32.const 0) ".repeat(11);
    let wat = Wat { imports, ..Wat::poll(format!("(call $http {zeroes} (i32.const 64))")) };
    let mut bench = Bench::of(wat);
    std::sync::Arc::get_mut(&mut bench.services).unwrap().delay = Duration::from_secs(60);
    bench.limits.callback_timeout = Duration::from_millis(40);
    let report = bench.poll();
    assert!(matches!(report.result, Err(WasmChannelError::DeadlineExceeded { .. })), "{report:?}");
    assert!(report.effects.had_side_effects, "a request that went out cannot be taken back");
    assert_eq!(report.usage.http_calls, 1);
}

// A guest that logged its configuration wrote the secrets that it was given to the host's log.
#[test]
fn log_lines_of_a_guest_are_without_the_secrets_that_it_was_given() {
    let more = r#"(data (i32.const 1000) "my token is hunter2")"#.to_owned();
    let call = "(call $log (i32.const 2) (i32.const 1000) (i32.const 19))";
    let report = Bench::of(Wat { imports: LOG, more, ..Wat::poll(call) }).poll();
    assert_eq!(lines(&report), ["my token is [redacted]"]);
}

#[test]
fn host_calls_cost_fuel_by_the_byte() {
    let log = |len: u32| {
        let wat = Wat {
            imports: LOG,
            ..Wat::poll(format!("(call $log (i32.const 2) (i32.const 0) (i32.const {len}))"))
        };
        Bench::of(wat).poll().usage.fuel
    };
    let (short, long) = (log(8), log(100_008));
    assert!(long - short >= 100_000 / 16, "100,000 bytes cost {} units", long - short);
}

/// A guest with so many bytes of code in functions that nobody calls, and one that wasmi cannot translate: it needs more
/// slots than there are. `on-poll` calls that one.
fn with_code_of(filler_bytes: usize) -> Vec<u8> {
    let filler = format!("(func {})", "nop ".repeat(100_000)).repeat(filler_bytes / 100_000);
    let (locals, values) = ("i64 ".repeat(49_000), "(i64.eqz (local.get 0)) ".repeat(20_000));
    let wide = format!("(func $wide (local {locals}) {values} {})", "drop ".repeat(20_000));
    Wat { more: format!("{filler} {wide}"), ..Wat::poll("(call $wide)") }.bytes()
}

// What happened: each function is translated when it is first called, without fuel and without a look at the clock. Ten
// thousand small ones that one callback called once each added up unseen.
#[test]
fn a_guest_with_much_code_is_translated_when_it_is_loaded() {
    let error = Bench::new(&with_code_of(1_500_000)).poll_error();
    assert!(matches!(error, WasmChannelError::Trap { .. }), "translated when it is called: {error:?}");
    let error = prepare(&with_code_of(2_200_000)).expect_err("it is translated at once");
    assert!(matches!(error, WasmChannelError::InvalidModule { .. }), "{error:?}");
}
