//! What the host copies out of a guest: how much of it there may be, and that it counts in the memory budget.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wit_abi::types::IncomingHttpRequest;

use super::support::{Bench, Wat};
use crate::event::callback::{Callback, CallbackReport, CallbackValue};
use crate::sandbox::{MemoryBudget, WasmChannelError};

const PAGE: usize = 65_536;
const MB: usize = 1024 * 1024;
/// What one callback may return.
const MAX_RESULT: usize = 16 * MB;

/// A guest whose response to a request has this many bytes, `{}` for its headers included.
fn responds_with(bytes: usize) -> Bench {
    let body = bytes - 2;
    let pages = body / PAGE;
    let http = format!(
        "(drop (memory.grow (i32.const {pages})))
        (i32.store16 (i32.const 64) (i32.const 200))
        (i32.store (i32.const 68) (i32.const 32)) (i32.store (i32.const 72) (i32.const 2))
        (i32.store (i32.const 76) (i32.const 0)) (i32.store (i32.const 80) (i32.const {body})) (i32.const 64)"
    );
    let more = r#"(data (i32.const 32) "{}")"#.into();
    let mut bench = Bench::of(Wat { http: Box::leak(http.into_boxed_str()), more, ..Wat::default() });
    bench.limits.memory_bytes = 64 * MB;
    bench
}

fn request(bench: &Bench) -> CallbackReport {
    bench.run(&Callback::HttpRequest(Arc::new(IncomingHttpRequest {
        method: "GET".into(),
        path: "/".into(),
        headers_json: "{}".into(),
        query_json: "{}".into(),
        body: Vec::new(),
        secret_validated: false,
    })))
}

// What happened: what a guest returned was copied whole before anybody looked at its size, and counted nowhere. Ten channels
// that returned 47 MB each took 448 MB, with a budget of 256.
#[test]
fn results_of_ten_channels_stay_within_the_memory_budget() {
    let budget = MemoryBudget::new(256 * MB);
    let in_budget = |bytes: usize| {
        let mut bench = responds_with(bytes);
        bench.budget = budget.clone();
        bench
    };
    let too_large = in_budget(47_000_000);
    let reports: Vec<_> = (0..10).map(|_| request(&too_large)).collect();
    for report in &reports {
        let error = report.result.as_ref().unwrap_err();
        assert!(
            matches!(error, WasmChannelError::ResultTooLarge { limit: MAX_RESULT, .. }),
            "{error:?}: {}",
            report.usage.peak_memory
        );
        assert!(report.usage.peak_memory < 48 * MB, "nothing was copied: {}", report.usage.peak_memory);
    }
    assert_eq!(budget.used(), 0);

    // Reports that nobody has looked at yet, and one callback more than the rest of the budget has room for.
    let at_limit = in_budget(MAX_RESULT);
    let mut reports: Vec<_> = (0..14).map(|_| request(&at_limit)).collect();
    assert!(reports.iter().all(|report| report.result.is_ok()));
    assert_eq!(budget.used(), 14 * MAX_RESULT);
    let error = request(&at_limit).result.unwrap_err();
    assert!(matches!(error, WasmChannelError::HostMemoryExhausted { .. }), "{error:?}");
    reports.pop();
    assert!(request(&at_limit).result.is_ok(), "a report that was dropped has made room");
    reports.clear();
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_callback_returns_as_much_as_its_limit_and_not_one_byte_more() {
    let result = request(&responds_with(MAX_RESULT)).result;
    let Ok(CallbackValue::Http(result)) = result else { panic!("{:?}", result.map(|_| ())) };
    assert_eq!(result.body.len() + "{}".len(), MAX_RESULT);
    let error = request(&responds_with(MAX_RESULT + 1)).result.unwrap_err();
    assert!(
        matches!(error, WasmChannelError::ResultTooLarge { wanted, .. } if wanted == MAX_RESULT + 1),
        "{error:?}"
    );
}

/// Whether `body` runs to its end with a budget of the instance's own two pages and `more` others.
fn runs_with(imports: &'static str, body: &str, more: usize) -> bool {
    let grow = "(drop (memory.grow (i32.const 6)))";
    let mut bench = Bench::of(Wat { imports, ..Wat::poll(format!("{grow} {body}")) });
    bench.budget = MemoryBudget::new((8 + more) * PAGE);
    let report = bench.poll();
    match &report.result {
        Ok(_) => true,
        Err(WasmChannelError::HostMemoryExhausted { .. }) => false,
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn arguments_of_a_host_call_count_in_the_memory_budget_until_it_ends() {
    const LOG: &str = r#"(import "near:agent/channel-host@0.3.1" "log" (func $log (param i32 i32 i32)))"#;
    let log = format!("(call $log (i32.const 0) (i32.const 0) (i32.const {}))", 3 * PAGE);
    assert!(!runs_with(LOG, &log, 2));
    assert!(runs_with(LOG, &log, 3));
    // The lines that are kept take one page in all.
    assert!(runs_with(LOG, &log.repeat(20), 4), "each call frees what it copied");
}

// What happened: what a guest returned or logged was copied once more, whole, to leave out the secrets that it was given, and
// that copy counted nowhere.
#[test]
fn secrets_are_left_out_of_no_more_than_what_is_kept_of_a_text() {
    const LOG: &str = r#"(import "near:agent/channel-host@0.3.1" "log" (func $log (param i32 i32 i32)))"#;
    const LONG: usize = 100_000;
    let respond = "(call $log (i32.const 2) (i32.const 0) (i32.const 100000))
        (i32.store8 (i32.const 64) (i32.const 1)) (i32.store (i32.const 68) (i32.const 128))
        (i32.store (i32.const 72) (i32.const 100000)) (i32.const 64)";
    let mut bench = Bench::of(Wat { imports: LOG, respond, ..Wat::default() });
    bench.limits.log_line_bytes = 200;
    let report = bench.run(&Callback::Respond(Arc::default()));
    assert!(matches!(report.result, Err(WasmChannelError::GuestError { .. })), "{:?}", report.result);
    assert_eq!(*bench.services.searched.lock().unwrap(), [(LONG, 200), (LONG, 4096)]);
}

// What happened: what the host had read for a guest was counted nowhere, so callbacks that read large responses at the same
// time took what they liked.
#[test]
fn responses_that_are_read_for_guests_count_in_the_memory_budget_while_the_host_holds_them() {
    const HTTP: &str = r#"(import "near:agent/channel-host@0.3.1" "http-request"
        (func $http (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;
    let call = format!("(call $http {} (i32.const 256))", "(i32.const 0) ".repeat(11));
    let budget = MemoryBudget::new(40 * MB);
    let body = vec![b'x'; 8 * MB];
    let bench = |work: Option<Box<dyn Fn() + Send>>| {
        let mut bench = Bench::of(Wat { imports: HTTP, ..Wat::poll(call.clone()) });
        bench.budget = budget.clone();
        bench.limits.memory_bytes = 64 * MB;
        bench.services.response.lock().unwrap().as_mut().unwrap().response.body = body.clone();
        *bench.services.while_held.lock().unwrap() = work;
        bench
    };
    // Each runs the next one while it holds its response: four have room, beside their instances, and the fifth has not.
    let last = Arc::new(bench(None));
    let run_last = Arc::clone(&last);
    let mut chain = bench(Some(Box::new(move || drop(run_last.poll()))));
    for held in (0..3).rev() {
        let budget = budget.clone();
        chain = bench(Some(Box::new(move || {
            assert!(budget.used() > (held + 1) * 8 * MB, "{}", budget.used());
            drop(chain.poll());
        })));
    }
    let report = chain.poll();
    assert_eq!(report.result, Ok(CallbackValue::Done), "the first one gets its response");
    assert!(
        report.usage.peak_memory > 16 * MB,
        "once in the host, once in the guest: {}",
        report.usage.peak_memory
    );
    assert_eq!(last.services.requests.lock().unwrap().len(), 1);
    assert_eq!(last.services.without_room.load(Ordering::Relaxed), 1);
    assert_eq!(budget.used(), 0);
    // Without the others there is room for it.
    assert_eq!(last.poll().result, Ok(CallbackValue::Done));
    assert_eq!(last.services.without_room.load(Ordering::Relaxed), 1);
}

#[test]
fn writes_of_a_callback_count_in_the_memory_budget_until_it_ends() {
    const WRITE: &str = r#"(import "near:agent/channel-host@0.3.1" "workspace-write"
        (func $write (param i32 i32 i32 i32 i32)))"#;
    let write = |name: char| {
        format!(
            "(i32.store8 (i32.const 128) (i32.const {}))
            (call $write (i32.const 128) (i32.const 1) (i32.const 4096) (i32.const {PAGE}) (i32.const 256))",
            name as u32
        )
    };
    let different = write('a') + &write('b') + &write('c');
    assert!(!runs_with(WRITE, &different, 2));
    assert!(runs_with(WRITE, &different, 3));
    // The old content goes when the new one is there.
    let the_same = write('a').repeat(20);
    assert!(!runs_with(WRITE, &the_same, 1));
    assert!(runs_with(WRITE, &the_same, 2));
}
