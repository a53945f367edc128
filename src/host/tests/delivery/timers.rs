//! What happens by the clock survives a restart.

use serde_json::json;

use super::support::*;
use crate::test_support::fixtures;
use crate::test_support::upstream::Upstream;

#[test]
fn a_timer_that_was_set_before_a_restart_comes_after_it_once() {
    let (state, upstream) = (TempDir::new(), nobody());
    let host = || start(kept_in(everything(&upstream, |_| {}), state.path()));
    let first = host();
    let set = |name: &str, delay_ms: u64| json!({"do": "timer-set", "name": name, "delay_ms": delay_ms, "payload": emit("ann", name)});
    first.task(&sequence([set("soon", 500), set("cancelled", 500), set("late", 3_600_000)]));
    first.task(&json!({"do": "timer-cancel", "name": "cancelled"}));
    first.host.shutdown();
    let second = host();
    assert_eq!(second.take(1), ["soon"]);
    second.host.shutdown();
    let third = host();
    third.ready("everything");
    std::thread::sleep(std::time::Duration::from_millis(100));
    third.assert_no_message();
}

#[test]
fn a_poll_goes_on_after_a_restart_where_it_was() {
    let state = TempDir::new();
    let upstream = Upstream::start(|request, _| {
        let after: u64 = request.target.rsplit('=').next().and_then(|after| after.parse().ok()).unwrap_or(0);
        let items = json!({"items": [{"id": after + 1, "user": "ann", "text": format!("{}", after + 1)}]});
        (200, Vec::new(), items.to_string().into_bytes())
    });
    let host = || {
        let runtime = fixtures::runtime();
        let channel = fixtures::channel_with(&runtime, "feed", |file| {
            file["config"]["interval_ms"] = json!(30);
            file["capabilities"]["channel"]["min_poll_interval_ms"] = json!(30);
        });
        let builder = fixtures::host(&["feed_key"], &[("feed.example", upstream.url())]).channel(channel);
        start(kept_in(builder, state.path()))
    };
    let first = host();
    assert_eq!(first.take(3), ["1", "2", "3"]);
    first.host.shutdown();
    let second = host();
    assert_eq!(second.take(3), ["4", "5", "6"]);
}
