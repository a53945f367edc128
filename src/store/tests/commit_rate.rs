//! Prints how many webhooks per second the store keeps, how many transactions they took, how many batches there were in
//! each, and how many bytes were written for a webhook. A bench to be read, not a test: `cargo test --release --lib measure_commit_rate -- --ignored --nocapture`.
//!
//! A batch is what a webhook leaves: a message of 300 bytes, a cursor in the workspace, a dedupe key with its response. "Life"
//! adds what follows: handed to the agent, acknowledged together with a reply, the reply tried and delivered.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wit_abi::types::{AgentResponse, EmittedMessage};

use crate::net::channel_response::ChannelResponse;
use crate::store::*;

/// How long each line measures.
const SPAN: Duration = Duration::from_secs(2);

#[test]
#[ignore = "measures time, which only a release build on a quiet machine makes meaningful"]
fn measure_commit_rate() {
    let directory = std::env::temp_dir().join(format!("tinclaw-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory for the databases");
    println!(
        "{:8} {:7} {:>7} {:>10} {:>10} {:>7} {:>14} {:>14}",
        "engine", "what", "callers", "of these/s", "groups/s", "b/group", "to disk/each", "syncs/1000"
    );
    for engine in ["full", "normal", "memory"] {
        for callers in [1, 8, 64] {
            measure(engine, "webhook", callers, &directory, webhook);
        }
        measure(engine, "life", 8, &directory, life);
    }
    drop(std::fs::remove_dir_all(&directory));
}

fn measure(
    engine: &str,
    what: &str,
    callers: usize,
    directory: &Path,
    work: fn(&StoreHandle, usize, u64) -> u64,
) {
    let path = directory.join(format!("{engine}-{what}-{callers}.db"));
    let (thread, _) =
        StoreThread::start(opener(engine, path), StoreThreadConfig::default(), |_| ()).expect("a store");
    let handle = thread.handle();
    let (written, begin) = (bytes_written(), Instant::now());
    let batches: u64 = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..callers)
            .map(|caller| {
                let handle = handle.clone();
                scope.spawn(move || {
                    let mut batches = 0;
                    while begin.elapsed() < SPAN {
                        batches += work(&handle, caller, batches);
                    }
                    batches
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().expect("a caller")).sum()
    });
    let seconds = begin.elapsed().as_secs_f64();
    let StoreHealth { commits, groups, .. } = handle.health();
    let usage = handle.query(|store| store.usage()).expect("the store's sizes");
    thread.stop();
    let written = bytes_written() - written;
    println!(
        "{engine:8} {what:7} {callers:7} {:10.0} {:10.0} {:7.1} {:14} {:14.0}",
        batches as f64 / seconds,
        groups as f64 / seconds,
        commits as f64 / groups as f64,
        written / batches,
        usage.syncs as f64 * 1000.0 / batches as f64,
    );
}

fn opener(engine: &str, path: PathBuf) -> Opener {
    match engine {
        "full" => SqliteStore::opener(path, SqliteOptions::default()),
        "normal" => SqliteStore::opener(
            path,
            SqliteOptions { durability: Durability::Normal, ..SqliteOptions::default() },
        ),
        _ => MemoryStore::new().opener(),
    }
}

fn webhook(handle: &StoreHandle, caller: usize, number: u64) -> u64 {
    keep(handle, webhook_changes(handle.ids(), caller, number).1);
    1
}

fn life(handle: &StoreHandle, caller: usize, number: u64) -> u64 {
    let (id, changes) = webhook_changes(handle.ids(), caller, number);
    keep(handle, changes);
    keep(handle, vec![Change::MessageAttempt { id, attempt: 1, at_ms: number }]);
    let reply = NewReply { id: handle.ids().reply(), ..reply(id) };
    let id = reply.id;
    keep(
        handle,
        vec![
            Change::MessageAcked { id: reply.in_reply_to.expect("it has one"), at_ms: number },
            Change::AddReply(reply),
        ],
    );
    keep(handle, vec![Change::ReplyAttempt { id, attempt: 1, at_ms: number }]);
    keep(handle, vec![Change::ReplyDelivered { id, at_ms: number }]);
    1
}

fn keep(handle: &StoreHandle, changes: Vec<Change>) {
    handle.commit_and_wait(Batch { changes }).expect("a sound store");
}

fn webhook_changes(ids: &Ids, caller: usize, number: u64) -> (MessageId, Vec<Change>) {
    let id = ids.message();
    let channel: ChannelKey = format!("channel_{}", caller % 20).into();
    // Random as digests are.
    let key =
        (u128::from(number) << 64 | caller as u128).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    let changes = vec![
        Change::AddMessage(NewMessage {
            id,
            channel: channel.clone(),
            conversation: format!("chat-{caller}").into(),
            message: Arc::new(EmittedMessage {
                user_id: "123456789".to_owned(),
                user_name: Some("Ada Lovelace".to_owned()),
                content: "x".repeat(300),
                thread_id: None,
                metadata_json: format!(r#"{{"chat_id":123456789,"message_id":{number},"is_private":true}}"#),
                attachments: Vec::new(),
            }),
            attachment_data: Vec::new(),
            received_ms: number,
        }),
        Change::PutFile {
            channel: channel.clone(),
            path: "state/last_update_id".into(),
            content: number.to_string().into(),
        },
        Change::Dedupe {
            id: ids.dedupe_key(),
            channel,
            key: key.to_be_bytes(),
            at_ms: number,
            expires_ms: number + 86_400_000,
            response: Some(Arc::new(ChannelResponse {
                status: 200,
                headers: Vec::new(),
                body: b"ok".as_slice().into(),
            })),
        },
    ];
    (id, changes)
}

fn reply(id: MessageId) -> NewReply {
    NewReply {
        id: ReplyId(0),
        channel: "channel_0".into(),
        conversation: "chat-0".into(),
        broadcast_to: None,
        body: Arc::new(AgentResponse {
            message_id: id.to_string(),
            content: "y".repeat(500),
            thread_id: None,
            metadata_json: "{\"chat_id\":123456789}".to_owned(),
            attachments: Vec::new(),
        }),
        in_reply_to: Some(id),
        created_ms: 0,
    }
}

/// What this process has had written to storage, in bytes (`write_bytes` in `proc_pid_io(5)`).
fn bytes_written() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}
