//! A channel that is taken out while the host runs.

use std::sync::Arc;

use serde_json::json;

use super::lanes::slow;
use super::support::*;
use crate::WasmChannel;
use crate::store::{ReplyFilter, ReplyState};
use crate::test_support::own_process::is_alone;
use crate::test_support::{eventually, fixtures};

/// What a removed channel had stayed in memory, its paths stayed its own, and its replies counted against everybody's limit.
#[test]
fn a_removed_channel_leaves_nothing_in_memory_and_goes_on_when_it_is_added_again() {
    let gate = Gate::default();
    let (state, upstream) = (TempDir::new(), slow(&gate));
    let runtime = fixtures::runtime();
    let everything = || fixtures::channel(&runtime, "everything");
    let first = everything();
    let guest = Arc::downgrade(first.module());
    let builder =
        fixtures::host(&["echo_token"], &[("api.everything.example", upstream.url())]).channel(first);
    let host = start(kept_in(builder, state.path()).configure(|config| config.queue.replies = 1));
    host.task(&json!({"do": "workspace-write", "path": "kept", "content": "text"}));
    host.task_in("on-respond", &get("/slow"));
    let channel = name("everything");
    let reply = host.host.respond_to(&channel, text("hello")).unwrap();
    upstream.wait_for("the reply", |_| true);

    assert_eq!(host.host.remove(&channel).ok(), Some(true));
    assert_eq!(host.host.remove(&channel).ok(), Some(false));
    assert!(host.host.health().unwrap().channels.is_empty());
    assert_eq!(host.post(&json!({"do": "none"})).status, 404);
    assert!(host.host.respond_to(&channel, text("hello")).is_err(), "there is no such channel");
    let waiting = host.host.list_replies(ReplyFilter::default()).unwrap();
    assert!(waiting.iter().any(|each| each.id == reply && each.state == ReplyState::Pending), "{waiting:?}");
    host.host.add(Box::new(fixtures::channel(&runtime, "echo"))).unwrap();
    assert!(host.host.respond_to(&name("echo"), text("hello")).is_ok(), "the limit has room for one reply");
    gate.open();
    eventually("the guest leaves the memory", || (guest.strong_count() == 0).then_some(()));
    host.host.remove(&name("echo")).unwrap();

    host.host.add(Box::new(everything())).unwrap();
    host.reply_state(reply, ReplyState::Delivered);
    assert_eq!(host.file("kept"), "text");
}

/// A request that waits for its turn, and one whose callback runs, are told to come back.
#[test]
fn requests_of_a_removed_channel_get_a_response_at_once() {
    let gate = Gate::default();
    let upstream = slow(&gate);
    let runtime = fixtures::runtime();
    let first = fixtures::channel_with(&runtime, "everything", |file| {
        file["capabilities"]["channel"]["inbound_concurrency"] = 1.into();
    });
    let guest = Arc::downgrade(first.module());
    let host = start(fixtures::host(&[], &[("api.everything.example", upstream.url())]).channel(first));
    host.ready("everything");
    std::thread::scope(|scope| {
        let post = || host.post(&sequence([get("/slow"), emit("ann", "lost")])).status;
        let requests: Vec<_> = (0..2).map(|_| scope.spawn(post)).collect();
        upstream.wait_for("one of them", |_| true);
        eventually("the other one waits", || (host.health("everything").inbound_waiting == 1).then_some(()));
        assert_eq!(host.host.remove(&name("everything")).ok(), Some(true));
        for request in requests {
            assert_eq!(request.join().unwrap(), 503);
        }
    });
    // A callback that ends now leaves nothing, although there is a channel of its name again.
    host.host.add(Box::new(fixtures::channel(&fixtures::runtime(), "everything"))).unwrap();
    host.ready("everything");
    gate.open();
    eventually("the guest leaves the memory", || (guest.strong_count() == 0).then_some(()));
    host.task(&emit("ann", "kept"));
    assert_eq!(host.health("everything").failed, 0);
    assert_eq!(host.take(1), ["kept"]);
    host.assert_no_message();
}

/// This process's memory in bytes, as Linux counts it.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Every channel that was ever there used to cost memory: its guest's code, its workspace, its paths.
#[test]
fn two_hundred_channels_that_come_and_go_leave_no_memory_and_no_thread_behind() {
    if !is_alone(module_path!(), "two_hundred_channels_that_come_and_go_leave_no_memory_and_no_thread_behind")
    {
        return;
    }
    const FILE_BYTES: usize = 200_000;
    let state = TempDir::new();
    let runtime = fixtures::runtime();
    let host = start(kept_in(fixtures::host(&[], &[]), state.path()));
    let guest = fixtures::guest("everything");
    let file = std::fs::read_to_string(fixtures::path("everything.capabilities.json")).unwrap();
    let (mut guests, mut before) = (Vec::new(), (0, 0));
    for number in 0..200_u8 {
        // A custom section, so that each guest is another one.
        let wasm = [&guest[..], &[0, 3, 1, b'n', number]].concat();
        let channel = name(&format!("chan{number}"));
        let mut file: serde_json::Value = serde_json::from_str(&file).unwrap();
        file["name"] = channel.as_str().into();
        let file = file.to_string();
        let loaded =
            WasmChannel::from_bytes(&runtime, channel.clone(), &wasm, Some(file.as_bytes())).unwrap();
        guests.push(Arc::downgrade(loaded.module()));
        host.host.add(Box::new(loaded)).unwrap();
        host.ready(channel.as_str());
        let kept = host.post(&write("kept", &"x".repeat(FILE_BYTES)));
        assert_eq!(kept.status, 200, "its path is that of the channels before it");
        assert_eq!(host.host.remove(&channel).ok(), Some(true));
        if number == 49 {
            before = (resident(), threads());
        }
    }
    eventually("the guests leave the memory", || {
        guests.iter().all(|guest| guest.strong_count() == 0).then_some(())
    });
    let grown = resident().saturating_sub(before.0);
    assert!(grown < 75 * FILE_BYTES as u64, "{grown} bytes more after 150 channels more");
    assert!(threads() <= before.1 + 2, "{} threads after {}", threads(), before.1);
}
