//! One bad channel hurts itself only.

use serde_json::json;

use super::lanes::{polling, slow};
use super::support::*;
use crate::event::health::ChannelState;
use crate::test_support::eventually;
use crate::test_support::fixtures;

fn trap(running: &RunningHost, times: usize) {
    for _ in 0..times {
        assert_eq!(running.post(&json!({"do": "panic", "message": "oh no"})).status, 500);
    }
}

fn assert_paused(running: &RunningHost) {
    let refused = running.post(&emit("ann", "refused"));
    assert_eq!((refused.status, refused.json()), (503, json!({"error": "channel_paused"})));
    assert!(refused.header("retry-after").is_some());
    let health = running.health("everything");
    assert_eq!(health.state, ChannelState::Paused);
    assert!(
        health.problems.iter().any(|problem| problem.message.starts_with("paused after failures")),
        "{health:?}"
    );
}

#[test]
fn a_channel_that_traps_five_times_is_paused_with_its_reason_and_the_others_do_not_notice() {
    let upstream = nobody();
    let runtime = fixtures::runtime();
    let running = start(
        fixtures::host(&["echo_token", "echo_webhook_secret"], &[("api.everything.example", upstream.url())])
            .channel(fixtures::channel(&runtime, "everything"))
            .channel(fixtures::channel(&runtime, "echo")),
    );
    running.ready("everything");
    trap(&running, 4);
    running.task(&json!({"do": "now-millis"}));
    trap(&running, 5);
    assert_paused(&running);
    assert_eq!(running.say("ann", "hello").status, 200);
    assert_eq!(running.take(1), ["hello"]);
}

/// A pause was forgotten, but not ended, when a callback of another lane ended well after it had begun: the channel
/// then rested for ever.
#[test]
fn success_in_another_lane_does_not_end_a_pause() {
    let gate = Gate::default();
    let upstream = slow(&gate);
    let running = start(everything(&upstream, polling));
    running.task_in("on-poll", &get("/slow"));
    upstream.wait_for("the poll", |_| true);
    let before = running.health("everything").succeeded;
    trap(&running, 5);
    assert_paused(&running);
    gate.open();
    eventually("the poll ends", || (running.health("everything").succeeded > before).then_some(()));
    assert_paused(&running);
}
