//! What every engine does, run against each of them. A further engine adds one line to `engines!`.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use wit_abi::types::{Attachment, InboundAttachment};

use super::samples::*;
use super::writing::{self, Receipt};
use crate::store::*;
use crate::test_support::temp_dir::TempDir;

/// An engine that can be closed and opened again.
struct Bench {
    open: Opener,
    store: Box<dyn Store>,
    _scratch: TempDir,
}

impl Bench {
    fn memory() -> Self {
        Self::new(TempDir::new(), MemoryStore::new().opener())
    }

    fn sqlite() -> Self {
        let scratch = TempDir::new();
        let open = SqliteStore::opener(scratch.join("tinclaw.db"), SqliteOptions::default());
        Self::new(scratch, open)
    }

    /// None where there is no database server.
    #[cfg(feature = "cluster")]
    fn mysql() -> Option<Self> {
        let address = crate::test_support::mariadb::server()?.database();
        let connector = Connector::new(DatabaseAddress::parse(&address).unwrap(), None);
        Some(Self::new(
            TempDir::new(),
            MysqlStore::opener(connector, "h1", Scope::All, database::JoinedHost::default()),
        ))
    }

    fn new(scratch: TempDir, open: Opener) -> Self {
        let store = open().unwrap();
        Self { open, store, _scratch: scratch }
    }

    fn reopen(&mut self) {
        self.store = Box::new(MemoryStore::new());
        self.store = (self.open)().unwrap();
    }

    fn commit(&mut self, changes: impl Into<Vec<Change>>) -> Receipt {
        self.commit_group(&[Batch { changes: changes.into() }]).unwrap().remove(0)
    }

    fn commit_group(&mut self, batches: &[Batch]) -> Result<Vec<Receipt>, StoreError> {
        writing::commit(self.store.as_mut(), batches)
    }

    fn load(&mut self) -> Loaded {
        self.load_at(0)
    }

    /// Channels that have nothing are left out, since an engine may know their names or not.
    fn load_at(&mut self, now_ms: u64) -> Loaded {
        let mut loaded = self.store.load(now_ms).unwrap();
        loaded.channels.retain(|_, channel| *channel != LoadedChannel::default());
        for (name, channel) in &loaded.channels {
            assert_eq!(self.store.load_channel(name, now_ms).unwrap(), *channel, "{name} by itself");
        }
        assert_eq!(self.store.load_channel(&"none".into(), now_ms).unwrap(), LoadedChannel::default());
        loaded
    }

    fn message(&mut self, id: MessageId) -> MessageRecord {
        self.store.message(id).unwrap().unwrap()
    }

    fn reply(&mut self, id: ReplyId) -> ReplyRecord {
        self.store.reply(id).unwrap().unwrap()
    }

    fn add_reply(&mut self) -> ReplyId {
        self.commit([Change::AddReply(reply("a", "c", "hello"))]).replies[0]
    }

    fn add_message(&mut self) -> MessageId {
        self.commit([Change::AddMessage(message("a", "c", "hello"))]).messages[0]
    }
}

macro_rules! engines {
    ($($test:ident)*) => {
        mod memory { $(#[test] fn $test() { super::$test(super::Bench::memory()) })* }
        mod sqlite { $(#[test] fn $test() { super::$test(super::Bench::sqlite()) })* }
        #[cfg(feature = "cluster")]
        mod mysql {
            $(#[test] fn $test() {
                if let Some(bench) = super::Bench::mysql() {
                    super::$test(bench);
                }
            })*
        }
    };
}

engines! {
    an_empty_store_holds_nothing
    committed_records_are_there_after_reopening
    a_message_comes_back_as_it_was
    a_reply_comes_back_as_it_was
    ids_grow_across_batches_reopening_and_pruning
    an_id_that_is_taken_is_rejected
    the_number_of_the_last_batch_is_kept_with_it
    a_rejected_batch_is_named_and_nothing_of_its_group_is_kept
    attachments_up_to_the_limit_and_one_more
    a_message_goes_through_its_states
    a_reply_goes_through_its_states
    an_attempt_without_an_outcome_makes_a_redelivery
    traps_are_counted_until_an_operator_sends_the_reply_again
    a_change_of_something_unknown_does_nothing_and_spares_its_batch
    files_and_timers_are_those_written_last
    the_last_use_of_a_dedupe_key_counts_also_when_it_has_expired
    a_transcript_is_the_one_written_last
    pruning_forgets_conversations_in_which_nothing_was_said
    pairing_records_replace_each_other_by_key
    lists_filter_page_and_limit
    pruning_forgets_old_completed_records_only
    pruning_keeps_the_newest_dedupe_keys_of_each_channel
    pruning_keeps_so_many_expired_dedupe_keys_of_each_channel
    pruning_works_in_rounds
    a_requeued_message_survives_pruning
    a_list_is_never_longer_than_its_limit
    steps_are_there_in_their_order_for_what_they_are_about
    a_message_is_found_by_what_its_service_calls_it
    a_probe_leaves_nothing_behind
    maintenance_changes_nothing
}

fn an_empty_store_holds_nothing(mut bench: Bench) {
    assert_eq!(bench.load(), Loaded::default());
    assert_eq!(bench.store.message(MessageId(1)), Ok(None));
    assert_eq!(bench.store.reply(ReplyId(1)), Ok(None));
    assert_eq!(bench.store.attachment(MessageId(1), 0), Ok(None));
    assert_eq!(bench.store.stored_response(DedupeId(1)), Ok(None));
    assert_eq!(bench.store.messages(&MessageFilter::default()), Ok(vec![]));
    assert_eq!(bench.store.replies(&ReplyFilter::default()), Ok(vec![]));
    assert_eq!(bench.commit_group(&[]), Ok(vec![]));
    assert_eq!(bench.commit_group(&[Batch::default()]), Ok(vec![Receipt::default()]));
}

fn committed_records_are_there_after_reopening(mut bench: Bench) {
    bench.commit([
        file("a", "state/cursor", "17"),
        Change::AddMessage(message("a", "c", "one")),
        timer("a", "t", 5),
        dedupe("b", 1, 10, 1_000, Some("ok")),
        Change::AddReply(reply("b", "d", "two")),
        Change::PutPairing(PairingRecord::Allowed { channel: "b".into(), entry: "ada".to_owned() }),
    ]);
    let before = bench.load();
    assert_eq!((before.channels.len(), before.messages.len(), before.replies().len()), (2, 1, 1));
    assert_eq!((before.dedupe_keys().len(), before.pairing.allowed.len()), (1, 1));
    bench.reopen();
    assert_eq!(bench.load(), before);
}

fn a_message_comes_back_as_it_was(mut bench: Bench) {
    let file = InboundAttachment {
        id: "f1".to_owned(),
        mime_type: "image/png".to_owned(),
        filename: Some("ä b.png".to_owned()),
        size_bytes: Some(70_000),
        source_url: Some("https://example.org/f1".to_owned()),
        storage_key: None,
        extracted_text: Some("text with a NUL \0 in it".to_owned()),
        extras_json: "{\"w\":1}".to_owned(),
    };
    let mut new = message("a", "c", "Grüße\0\u{1F980}");
    let unknown = InboundAttachment::default();
    let files = [(file, Some(bytes(70_000))), (unknown.clone(), None), (unknown, Some(bytes(0)))];
    attach(&mut new, files);
    let receipt = bench.commit([Change::AddMessage(new.clone())]);
    bench.reopen();
    let id = receipt.messages[0];
    let record = bench.message(id);
    assert_eq!(record.message, new.message);
    assert_eq!((&*record.channel, &*record.conversation), ("a", "c"));
    assert_eq!((record.state, record.attempt, record.received_ms), (MessageState::Pending, 0, 1_000));
    assert_eq!(record.stored_bytes, [Some(70_000), None, Some(0)]);
    assert_eq!(bench.store.attachment(id, 0).unwrap(), Some(bytes(70_000)));
    assert_eq!(bench.store.attachment(id, 1).unwrap(), None);
    assert_eq!(bench.store.attachment(id, 2).unwrap(), Some(bytes(0)));
    assert_eq!(bench.store.attachment(id, 3).unwrap(), None);
    assert_eq!(bench.store.attachment(id, MAX_ATTACHMENTS).unwrap(), None);
    assert_eq!(bench.load().messages[0].bytes, new.bytes());
}

fn a_reply_comes_back_as_it_was(mut bench: Bench) {
    let mut new = reply("a", "c", "hello");
    new.broadcast_to = Some("u9".to_owned());
    new.in_reply_to = Some(MessageId(77));
    Arc::make_mut(&mut new.body).attachments = vec![
        Attachment { filename: "x".to_owned(), mime_type: "a/b".to_owned(), data: bytes(10_000).to_vec() },
        Attachment::default(),
    ];
    let id = bench.commit([Change::AddReply(new.clone())]).replies[0];
    bench.reopen();
    let record = bench.reply(id);
    assert_eq!(
        (record.body, record.broadcast_to, record.in_reply_to),
        (new.body.clone(), new.broadcast_to.clone(), new.in_reply_to)
    );
    assert_eq!((record.state, record.attempts, record.redelivery), (ReplyState::Pending, 0, false));
    assert_eq!((record.created_ms, record.since_ms, record.next_ms), (2_000, 2_000, 2_000));
    assert_eq!(bench.load().replies()[0].bytes, new.bytes());
}

fn ids_grow_across_batches_reopening_and_pruning(mut bench: Bench) {
    let both = || {
        batch([
            Change::AddMessage(message("a", "c", "x")),
            Change::AddReply(reply("a", "c", "x")),
            Change::AddMessage(message("a", "c", "y")),
            dedupe("a", 1, 0, 1, None),
        ])
    };
    let receipts = bench.commit_group(&[both(), both()]).unwrap();
    let messages: Vec<_> = receipts.iter().flat_map(|receipt| receipt.messages.clone()).collect();
    assert!(messages.is_sorted_by(|a, b| a < b), "{messages:?}");
    assert!(receipts[0].replies < receipts[1].replies && receipts[0].dedupe_keys < receipts[1].dedupe_keys);
    for id in &messages {
        bench.commit([Change::MessageAcked { id: *id, at_ms: 0 }]);
    }
    for id in receipts.iter().flat_map(|receipt| &receipt.replies) {
        bench.commit([Change::ReplyDelivered { id: *id, at_ms: 0 }]);
    }
    let retention = Retention { max_expired_dedupe_keys: 0, ..Retention::default() };
    let forgotten = bench.store.prune(&retention, u64::from(u32::MAX)).unwrap();
    assert_eq!((forgotten.messages, forgotten.replies, forgotten.dedupe_keys), (4, 2, 2));
    bench.reopen();
    let next = bench.commit_group(&[both()]).unwrap().remove(0);
    assert!(next.messages[0] > messages[3], "{next:?} after {messages:?}");
    assert!(next.replies[0] > receipts[1].replies[0] && next.dedupe_keys[0] > receipts[1].dedupe_keys[0]);
}

fn an_id_that_is_taken_is_rejected(mut bench: Bench) {
    bench.add_message();
    bench.add_reply();
    bench.commit([dedupe("a", 1, 0, 1, None)]);
    let before = bench.load();
    let message = |id| Change::AddMessage(NewMessage { id: MessageId(id), ..message("a", "c", "x") });
    let reply = Change::AddReply(NewReply { id: ReplyId(1), ..reply("a", "c", "x") });
    let key = Change::Dedupe {
        id: DedupeId(1),
        channel: "a".into(),
        key: [2; 16],
        at_ms: 0,
        expires_ms: 1,
        response: None,
    };
    for (case, changes) in [
        ("a message", vec![message(1)]),
        ("a message of the same batch", vec![message(2), message(2)]),
        ("a reply", vec![reply]),
        ("a dedupe key", vec![key]),
    ] {
        let good = NumberedBatch { number: 8, batch: Batch::of(file("a", "f", "x")) };
        let error =
            bench.store.commit(&[good, NumberedBatch { number: 9, batch: Batch { changes } }]).unwrap_err();
        assert!(matches!(error, StoreError::Rejected { batch: 1, .. }), "{case}: {error:?}");
        assert_eq!(bench.load(), before, "{case}");
    }
}

fn the_number_of_the_last_batch_is_kept_with_it(mut bench: Bench) {
    let entry = |number| NumberedBatch { number, batch: Batch::of(file("a", "f", &number.to_string())) };
    assert_eq!(bench.store.last_number(), Ok(0));
    bench.store.commit(&[entry(1), entry(2)]).unwrap();
    assert_eq!(bench.store.last_number(), Ok(2));
    bench.store.commit(&[entry(7)]).unwrap();
    bench.reopen();
    assert_eq!((bench.store.last_number(), &*bench.load().channels["a"].files["f"]), (Ok(7), "7"));
    let bad = NewReply { id: ReplyId(1), ..reply("a", "c", "x") };
    let bad = Batch { changes: vec![Change::AddReply(bad.clone()), Change::AddReply(bad)] };
    bench.store.commit(&[entry(8), NumberedBatch { number: 9, batch: bad }]).unwrap_err();
    assert_eq!(bench.store.last_number(), Ok(7), "nothing of the group is kept");
    bench.store.prune(&Retention::default(), u64::from(u32::MAX)).unwrap();
    assert_eq!(bench.store.last_number(), Ok(7));
}

fn a_rejected_batch_is_named_and_nothing_of_its_group_is_kept(mut bench: Bench) {
    let mut bad = reply("b", "c", "x");
    Arc::make_mut(&mut bad.body).attachments = vec![Attachment::default(); MAX_ATTACHMENTS + 1];
    let group = [
        Batch::of(Change::AddMessage(message("a", "c", "x"))),
        batch([file("a", "f", "x"), Change::AddReply(bad)]),
        Batch::of(file("a", "g", "x")),
    ];
    let error = bench.commit_group(&group).unwrap_err();
    assert!(matches!(error, StoreError::Rejected { batch: 1, .. }), "{error:?}");
    assert!(!error.is_unavailable());
    assert_eq!(bench.load(), Loaded::default());
    bench.commit_group(&[group[0].clone(), group[2].clone()]).unwrap();
    assert_eq!(bench.load().messages.len(), 1);
}

fn attachments_up_to_the_limit_and_one_more(mut bench: Bench) {
    let with = |count: usize| {
        let mut new = message("a", "c", "x");
        let file = |at: usize| InboundAttachment { id: at.to_string(), ..InboundAttachment::default() };
        attach(&mut new, (0..count).map(|at| (file(at), Some(bytes(at)))));
        Batch::of(Change::AddMessage(new))
    };
    let receipts = bench.commit_group(&[with(MAX_ATTACHMENTS), with(1)]).unwrap();
    let full = bench.message(receipts[0].messages[0]);
    let names: Vec<_> = full.message.attachments.iter().map(|each| each.id.clone()).collect();
    assert_eq!(names, (0..MAX_ATTACHMENTS).map(|at| at.to_string()).collect::<Vec<_>>());
    assert_eq!(bench.message(receipts[1].messages[0]).stored_bytes.len(), 1);
    let error = bench.commit_group(&[with(MAX_ATTACHMENTS + 1)]).unwrap_err();
    assert!(matches!(error, StoreError::Rejected { batch: 0, .. }), "{error:?}");
}

fn a_message_goes_through_its_states(mut bench: Bench) {
    use MessageState::{Acked, Dead, Dropped, Pending};
    let id = bench.add_message();
    let dead = |at_ms| Change::MessageDead { id, at_ms, error: format!("failed at {at_ms}") };
    let steps = [
        ("delivered", Change::MessageAttempt { id, attempt: 1, at_ms: 10 }, Pending, 1, 10),
        ("delivered again", Change::MessageAttempt { id, attempt: 2, at_ms: 20 }, Pending, 2, 20),
        ("requeued while pending", Change::MessageRequeued { id, at_ms: 25 }, Pending, 2, 20),
        ("acknowledged", Change::MessageAcked { id, at_ms: 30 }, Acked, 2, 30),
        ("acknowledged twice", Change::MessageAcked { id, at_ms: 31 }, Acked, 2, 30),
        ("dropped when done", Change::MessageDropped { id, at_ms: 32 }, Acked, 2, 30),
        ("delivered when done", Change::MessageAttempt { id, attempt: 3, at_ms: 33 }, Acked, 2, 30),
        ("replayed", Change::MessageRequeued { id, at_ms: 40 }, Pending, 2, 40),
        ("dropped", Change::MessageDropped { id, at_ms: 50 }, Dropped, 2, 50),
        ("acknowledged when dropped", Change::MessageAcked { id, at_ms: 51 }, Dropped, 2, 50),
        ("given up when dropped", dead(55), Dropped, 2, 50),
        ("replayed again", Change::MessageRequeued { id, at_ms: 60 }, Pending, 2, 60),
        ("given up", dead(70), Dead, 2, 70),
        ("given up twice", dead(71), Dead, 2, 70),
        ("acknowledged when dead", Change::MessageAcked { id, at_ms: 72 }, Dead, 2, 70),
        (
            "retried, its attempts counted from zero",
            Change::MessageRequeued { id, at_ms: 80 },
            Pending,
            0,
            80,
        ),
        ("given up again, which says that it was delivered", dead(90), Dead, 1, 90),
        ("dropped when dead", Change::MessageDropped { id, at_ms: 91 }, Dropped, 1, 91),
    ];
    for (name, change, state, attempt, changed_ms) in steps {
        bench.commit([change]);
        let record = bench.message(id);
        assert_eq!((record.state, record.attempt, record.changed_ms), (state, attempt, changed_ms), "{name}");
        assert_eq!(bench.load().messages.len(), usize::from(state == Pending), "{name}");
    }
    bench.reopen();
    assert_eq!(bench.message(id).error.as_deref(), Some("failed at 90"), "the last reason stays");
    let listed = bench.store.messages(&MessageFilter::default()).unwrap();
    assert_eq!(listed[0].error.as_deref(), Some("failed at 90"));
}

fn a_reply_goes_through_its_states(mut bench: Bench) {
    use ReplyState::{Dead, Delivered, Dropped, Pending};
    let id = bench.add_reply();
    let retry = |at_ms, next_ms| {
        let error = format!("no response at {at_ms}");
        Change::ReplyRetry { id, at_ms, next_ms, error, uncertain: false, traps: 0 }
    };
    let dead = |at_ms| Change::ReplyDead { id, at_ms, error: "gone".to_owned(), uncertain: false };
    // (step, change, state, attempts, since, next, changed)
    let steps = [
        ("tried", Change::ReplyAttempt { id, attempt: 1, at_ms: 10 }, (Pending, 1, 2_000, 2_000, 10)),
        ("to be retried", retry(20, 120), (Pending, 1, 2_000, 120, 20)),
        ("tried again", Change::ReplyAttempt { id, attempt: 2, at_ms: 120 }, (Pending, 2, 2_000, 120, 120)),
        ("given up", dead(130), (Dead, 2, 2_000, 120, 130)),
        ("given up twice", dead(131), (Dead, 2, 2_000, 120, 130)),
        ("tried when dead", Change::ReplyAttempt { id, attempt: 3, at_ms: 132 }, (Dead, 2, 2_000, 120, 130)),
        ("sent again", Change::ReplyRequeued { id, at_ms: 200 }, (Pending, 0, 200, 200, 200)),
        ("dropped", Change::ReplyDropped { id, at_ms: 210 }, (Dropped, 0, 200, 200, 210)),
        ("retried when dropped", retry(211, 300), (Dropped, 0, 200, 200, 210)),
        ("delivered all the same", Change::ReplyDelivered { id, at_ms: 220 }, (Delivered, 0, 200, 200, 220)),
        ("dropped when delivered", Change::ReplyDropped { id, at_ms: 221 }, (Delivered, 0, 200, 200, 220)),
    ];
    for (name, change, expected) in steps {
        bench.commit([change]);
        let record = bench.reply(id);
        let found = (record.state, record.attempts, record.since_ms, record.next_ms, record.changed_ms);
        assert_eq!(found, expected, "{name}");
        assert!(!record.redelivery, "{name}");
        assert_eq!(bench.load().replies().len(), usize::from(record.state == Pending), "{name}");
    }
    assert_eq!(bench.reply(id).error.as_deref(), Some("gone"));
    bench.commit([Change::ReplyRequeued { id, at_ms: 300 }]);
    assert!(bench.reply(id).redelivery, "the upstream has it already");
}

fn an_attempt_without_an_outcome_makes_a_redelivery(mut bench: Bench) {
    let attempt = |id, attempt| Change::ReplyAttempt { id, attempt, at_ms: 10 };
    let retry = |id, uncertain| Change::ReplyRetry {
        id,
        at_ms: 20,
        next_ms: 30,
        error: "x".to_owned(),
        uncertain,
        traps: 0,
    };

    let id = bench.add_reply();
    assert!(!bench.load().replies()[0].redelivery, "never tried");
    bench.commit([attempt(id, 1)]);
    assert!(!bench.reply(id).redelivery, "the first attempt is none");
    bench.reopen();
    assert!(bench.load().replies()[0].redelivery, "the host died in the attempt");
    bench.commit([attempt(id, 2)]);
    assert!(bench.reply(id).redelivery, "the second attempt is one");
    bench.commit([retry(id, false)]);
    assert!(bench.load().replies()[0].redelivery, "and so is each after it");

    let id = bench.add_reply();
    bench.commit([attempt(id, 1), retry(id, false)]);
    assert!(!bench.load().replies()[1].redelivery, "the upstream has refused it");
    bench.commit([attempt(id, 2), retry(id, true)]);
    assert!(bench.load().replies()[1].redelivery, "the upstream may have it");

    let id = bench.add_reply();
    bench.commit([
        attempt(id, 1),
        Change::ReplyDead { id, at_ms: 20, error: "timeout".to_owned(), uncertain: true },
        Change::ReplyRequeued { id, at_ms: 30 },
    ]);
    assert!(bench.load().replies()[2].redelivery, "a dead one may have arrived");
}

fn traps_are_counted_until_an_operator_sends_the_reply_again(mut bench: Bench) {
    let id = bench.add_reply();
    let trap = |traps| Change::ReplyRetry {
        id,
        at_ms: 20,
        next_ms: 30,
        error: "unreachable".to_owned(),
        uncertain: false,
        traps,
    };
    for traps in 0..3 {
        assert_eq!(bench.load().replies()[0].traps, traps);
        bench.commit([Change::ReplyAttempt { id, attempt: traps + 1, at_ms: 10 }, trap(traps + 1)]);
        bench.reopen();
    }
    bench.commit([Change::ReplyAttempt { id, attempt: 4, at_ms: 40 }]);
    assert_eq!(bench.load().replies()[0].traps, 3, "an attempt that has no outcome yet did not trap");
    bench.commit([Change::ReplyRequeued { id, at_ms: 50 }]);
    assert_eq!(bench.load().replies()[0].traps, 0);
}

fn a_change_of_something_unknown_does_nothing_and_spares_its_batch(mut bench: Bench) {
    let (message_id, id) = (MessageId(404), ReplyId(404));
    bench.commit([
        Change::MessageAttempt { id: message_id, attempt: 1, at_ms: 1 },
        Change::MessageAcked { id: message_id, at_ms: 1 },
        Change::MessageDead { id: message_id, at_ms: 1, error: String::new() },
        Change::MessageDropped { id: message_id, at_ms: 1 },
        Change::MessageRequeued { id: message_id, at_ms: 1 },
        Change::ReplyAttempt { id, attempt: 1, at_ms: 1 },
        Change::ReplyRetry { id, at_ms: 1, next_ms: 1, error: String::new(), uncertain: false, traps: 1 },
        Change::ReplyDead { id, at_ms: 1, error: String::new(), uncertain: false },
        Change::ReplyDelivered { id, at_ms: 1 },
        Change::ReplyRequeued { id, at_ms: 1 },
        Change::ReplyDropped { id, at_ms: 1 },
        Change::CancelTimer { channel: "a".into(), name: "t".into() },
        Change::RemovePairing(PairingKey::Lock { channel: "a".into() }),
        Change::AddReply(reply("a", "c", "kept")),
    ]);
    let loaded = bench.load();
    assert_eq!((loaded.messages.len(), loaded.replies().len()), (0, 1));
}

fn files_and_timers_are_those_written_last(mut bench: Bench) {
    bench.commit([
        file("a", "x", "1"),
        file("a", "y", ""),
        file("b", "x", "2"),
        timer("a", "t", 5),
        timer("a", "u", 6),
    ]);
    bench.commit([file("a", "x", "3"), timer("a", "t", 7)]);
    bench.commit([Change::CancelTimer { channel: "a".into(), name: "u".into() }]);
    let loaded = bench.load();
    let files: Vec<_> =
        loaded.channels["a"].files.iter().map(|(path, content)| (&**path, &**content)).collect();
    assert_eq!(files, [("x", "3"), ("y", "")]);
    assert_eq!(loaded.channels["b"].files["x"], "2".into());
    let timers: Vec<_> =
        loaded.channels["a"].timers.iter().map(|timer| (&*timer.name, timer.due_ms)).collect();
    assert_eq!(timers, [("t", 7)]);
}

/// Those that had expired by a clock that was ahead were not loaded, and not there when it was put right.
fn the_last_use_of_a_dedupe_key_counts_also_when_it_has_expired(mut bench: Bench) {
    let first = bench.commit([dedupe("a", 1, 0, 100, Some("one")), dedupe("b", 1, 0, 100, None)]).dedupe_keys;
    let second = bench
        .commit([dedupe("a", 1, 10, 200, Some("two")), dedupe("a", 2, 10, 50, Some("three"))])
        .dedupe_keys;
    let ids = |loaded: Loaded| loaded.dedupe_keys().iter().map(|record| record.id).collect::<Vec<_>>();
    assert_eq!(ids(bench.load_at(0)), [first[1], second[0], second[1]]);
    assert_eq!(ids(bench.load_at(1000)), [first[1], second[0], second[1]]);
    let record = &bench.load_at(150).dedupe_keys()[1];
    assert_eq!((&*record.channel, record.key, record.at_ms, record.expires_ms), ("a", [1; 16], 10, 200));
    let response = bench.store.stored_response(second[0]).unwrap().unwrap();
    assert_eq!((response.status, &*response.body), (200, b"two".as_slice()));
    assert_eq!(response.headers, [("content-type".to_owned(), "text/plain".to_owned())]);
    assert_eq!(bench.store.stored_response(first[1]), Ok(None));
}

fn pairing_records_replace_each_other_by_key(mut bench: Bench) {
    let request = |external_id: &str, code: &str| {
        PairingRecord::Request(PairingRequest {
            channel: "a".into(),
            external_id: external_id.to_owned(),
            code: code.to_owned(),
            meta_json: "{}".to_owned(),
            created_ms: 1,
            expires_ms: 2,
        })
    };
    let identity = |who: &str| {
        PairingRecord::Identity(PairedIdentity {
            channel: "a".into(),
            external_id: "7".to_owned(),
            identity: who.to_owned(),
            at_ms: 3,
        })
    };
    let allowed = |channel: &str| PairingRecord::Allowed { channel: channel.into(), entry: "7".to_owned() };
    let lock = |wrong| {
        PairingRecord::Lock(PairingLock { channel: "a".into(), wrong_codes: wrong, locked_until_ms: 4 })
    };
    let records = [
        request("8", "AAAA"),
        request("7", "BBBB"),
        request("7", "CCCC"),
        identity("ada"),
        identity("eve"),
        allowed("b"),
        allowed("a"),
        allowed("a"),
        lock(1),
        lock(5),
    ];
    bench.commit(records.map(Change::PutPairing));
    bench.reopen();
    let pairing = bench.load().pairing;
    let codes: Vec<_> = pairing.requests.iter().map(|each| (&*each.external_id, &*each.code)).collect();
    assert_eq!(codes, [("7", "CCCC"), ("8", "AAAA")]);
    assert_eq!(pairing.identities.iter().map(|each| &*each.identity).collect::<Vec<_>>(), ["eve"]);
    assert_eq!(pairing.allowed, [("a".into(), "7".to_owned()), ("b".into(), "7".to_owned())]);
    assert_eq!(pairing.locks, [PairingLock { channel: "a".into(), wrong_codes: 5, locked_until_ms: 4 }]);
    assert!(!format!("{pairing:?}").contains("CCCC"), "a code is a secret");
    let keys = [
        PairingKey::Request { channel: "a".into(), external_id: "7".to_owned() },
        PairingKey::Request { channel: "a".into(), external_id: "8".to_owned() },
        PairingKey::Identity { channel: "a".into(), external_id: "7".to_owned() },
        PairingKey::Allowed { channel: "a".into(), entry: "7".to_owned() },
        PairingKey::Allowed { channel: "b".into(), entry: "7".to_owned() },
        PairingKey::Lock { channel: "a".into() },
    ];
    bench.commit(keys.map(Change::RemovePairing));
    assert_eq!(bench.load().pairing, PairingState::default());
}

fn lists_filter_page_and_limit(mut bench: Bench) {
    for at in 0..6 {
        let channel = if at % 2 == 0 { "even" } else { "odd" };
        bench.commit([
            Change::AddMessage(message(channel, "c", &format!("{at}{}", "ü".repeat(100)))),
            Change::AddReply(reply(channel, "c", &at.to_string())),
        ]);
    }
    bench.commit([
        Change::MessageAcked { id: MessageId(2), at_ms: 1 },
        Change::ReplyDelivered { id: ReplyId(2), at_ms: 1 },
    ]);
    let all = MessageFilter::default();
    let even = Some(Arc::from("even"));
    let cases = [
        ("all, newest first", all.clone(), vec![6, 5, 4, 3, 2, 1]),
        ("a channel", MessageFilter { channel: even.clone(), ..all.clone() }, vec![5, 3, 1]),
        ("a channel that is unknown", MessageFilter { channel: Some("x".into()), ..all.clone() }, vec![]),
        ("a state", MessageFilter { state: Some(MessageState::Acked), ..all.clone() }, vec![2]),
        ("the first page", MessageFilter { limit: 2, ..all.clone() }, vec![6, 5]),
        ("the next", MessageFilter { limit: 2, before: Some(MessageId(5)), ..all.clone() }, vec![4, 3]),
        ("none", MessageFilter { limit: 0, ..all.clone() }, vec![]),
        ("more than there are", MessageFilter { limit: usize::MAX, ..all }, vec![6, 5, 4, 3, 2, 1]),
    ];
    for (name, filter, expected) in cases {
        let found: Vec<_> = bench.store.messages(&filter).unwrap().iter().map(|each| each.id.0).collect();
        assert_eq!(found, expected, "messages: {name}");
        let filter = ReplyFilter {
            channel: filter.channel,
            state: filter.state.map(|_| ReplyState::Delivered),
            before: filter.before.map(|id| ReplyId(id.0)),
            limit: filter.limit,
        };
        let found: Vec<_> = bench.store.replies(&filter).unwrap().iter().map(|each| each.id.0).collect();
        assert_eq!(found, expected, "replies: {name}");
    }
    let first = &bench.store.messages(&MessageFilter::default()).unwrap()[0];
    assert_eq!(first.excerpt, format!("5{}", "ü".repeat(79)));
    assert_eq!((&*first.channel, &*first.user_id, first.state), ("odd", "u1", MessageState::Pending));
}

fn a_list_is_never_longer_than_its_limit(mut bench: Bench) {
    let all = MessageFilter { limit: usize::MAX, ..MessageFilter::default() };
    for (more, expected) in [(MAX_ROWS, MAX_ROWS), (1, MAX_ROWS)] {
        let changes: Vec<_> = (0..more).map(|_| Change::AddMessage(message("a", "c", "x"))).collect();
        bench.commit(changes);
        assert_eq!(bench.store.messages(&all).unwrap().len(), expected);
    }
    let rest = MessageFilter { before: Some(MessageId(2)), ..all };
    assert_eq!(bench.store.messages(&rest).unwrap().len(), 1);
}

fn pruning_forgets_old_completed_records_only(mut bench: Bench) {
    let retention = Retention {
        completed: Duration::from_millis(100),
        dead: Duration::from_millis(1_000),
        max_expired_dedupe_keys: 0,
        ..Retention::default()
    };
    let messages: Vec<_> = (0..5).map(|_| bench.add_message()).collect();
    let replies: Vec<_> = (0..5).map(|_| bench.add_reply()).collect();
    let dead = |id, at_ms| Change::ReplyDead { id, at_ms, error: String::new(), uncertain: false };
    bench.commit([
        Change::MessageAcked { id: messages[0], at_ms: 0 },
        Change::MessageDropped { id: messages[1], at_ms: 0 },
        Change::MessageAcked { id: messages[2], at_ms: 100 },
        Change::MessageDead { id: messages[4], at_ms: 0, error: String::new() },
        Change::ReplyDelivered { id: replies[0], at_ms: 0 },
        Change::ReplyDropped { id: replies[1], at_ms: 0 },
        dead(replies[2], 0),
        Change::ReplyDelivered { id: replies[3], at_ms: 100 },
        dedupe("a", 1, 0, 101, None),
        dedupe("a", 2, 0, 102, None),
    ]);
    let forgotten = bench.store.prune(&retention, 101).unwrap();
    assert_eq!(
        (forgotten.messages, forgotten.replies, forgotten.dedupe_keys, forgotten.more),
        (2, 2, 1, false)
    );
    bench.reopen();
    let left = |bench: &mut Bench| {
        let messages = bench.store.messages(&MessageFilter::default()).unwrap();
        let replies = bench.store.replies(&ReplyFilter::default()).unwrap();
        (
            messages.iter().map(|each| each.id).collect::<Vec<_>>(),
            replies.iter().map(|each| each.id).collect::<Vec<_>>(),
        )
    };
    let expected = (vec![messages[4], messages[3], messages[2]], vec![replies[4], replies[3], replies[2]]);
    assert_eq!(left(&mut bench), expected);
    assert_eq!(bench.store.prune(&retention, 101).unwrap(), PruneStats::default());
    bench.store.prune(&retention, u64::from(u32::MAX)).unwrap();
    assert_eq!(left(&mut bench), (vec![messages[3]], vec![replies[4]]), "pending ones are never forgotten");
}

fn transcript(conversation: &str, at_ms: u64, content: &str) -> Change {
    Change::PutTranscript { conversation: conversation.into(), at_ms, content: content.into() }
}

fn a_transcript_is_the_one_written_last(mut bench: Bench) {
    assert_eq!(bench.store.transcript("a").unwrap(), None);
    bench.commit([transcript("a", 1, "one"), transcript("b", 1, "other"), transcript("a", 2, "two")]);
    bench.reopen();
    assert_eq!(bench.store.transcript("a").unwrap().as_deref(), Some("two"));
    bench.commit([
        Change::RemoveTranscript { conversation: "a".into() },
        Change::RemoveTranscript { conversation: "unknown".into() },
    ]);
    assert_eq!(bench.store.transcript("a").unwrap(), None);
    assert_eq!(bench.store.transcript("b").unwrap().as_deref(), Some("other"));
}

fn pruning_forgets_conversations_in_which_nothing_was_said(mut bench: Bench) {
    let retention = Retention { history: Duration::from_millis(100), ..Retention::default() };
    bench.commit([transcript("a", 0, "a"), transcript("b", 1, "b"), transcript("c", 0, "c")]);
    bench.commit([transcript("c", 50, "c again")]);
    let forgotten = bench.store.prune(&retention, 101).unwrap();
    assert_eq!((forgotten.transcripts, forgotten.more), (1, false));
    let left = ["a", "b", "c"].map(|name| bench.store.transcript(name).unwrap().is_some());
    assert_eq!(left, [false, true, true]);
}

fn pruning_keeps_the_newest_dedupe_keys_of_each_channel(mut bench: Bench) {
    let retention = Retention { max_dedupe_keys: 2, ..Retention::default() };
    bench.commit([
        dedupe("a", 1, 0, 1_000, None),
        dedupe("b", 1, 0, 1_000, None),
        dedupe("a", 2, 0, 1_000, None),
        dedupe("a", 3, 0, 1_000, None),
    ]);
    assert_eq!(bench.store.prune(&retention, 0).unwrap().dedupe_keys, 1);
    let left: Vec<_> =
        bench.load().dedupe_keys().iter().map(|record| (record.channel.to_string(), record.key[0])).collect();
    assert_eq!(left, [("b".to_owned(), 1), ("a".to_owned(), 2), ("a".to_owned(), 3)]);
}

fn pruning_keeps_so_many_expired_dedupe_keys_of_each_channel(mut bench: Bench) {
    let retention = Retention { max_expired_dedupe_keys: 2, ..Retention::default() };
    bench.commit([
        dedupe("a", 1, 0, 10, None),
        dedupe("a", 2, 0, 1_000, None),
        dedupe("b", 1, 0, 10, None),
        dedupe("a", 3, 0, 10, None),
        dedupe("a", 4, 0, 11, None),
    ]);
    assert_eq!(bench.store.prune(&retention, 10).unwrap().dedupe_keys, 0);
    assert_eq!(bench.store.prune(&retention, 11).unwrap().dedupe_keys, 1);
    let left: Vec<_> =
        bench.load().dedupe_keys().iter().map(|record| (record.channel.to_string(), record.key[0])).collect();
    assert_eq!(left, [("a".to_owned(), 2), ("b".to_owned(), 1), ("a".to_owned(), 3), ("a".to_owned(), 4)]);
}

fn pruning_works_in_rounds(mut bench: Bench) {
    let changes: Vec<_> = (0..2001).map(|_| dedupe("a", 1, 0, 1, None)).collect();
    bench.commit(changes);
    let retention = Retention { max_expired_dedupe_keys: 0, ..Retention::default() };
    let first = bench.store.prune(&retention, 10).unwrap();
    let second = bench.store.prune(&retention, 10).unwrap();
    assert_eq!((first.dedupe_keys, first.more, second.dedupe_keys, second.more), (2000, true, 1, false));
}

fn a_requeued_message_survives_pruning(mut bench: Bench) {
    let mut new = message("a", "c", "x");
    attach_bytes(&mut new, bytes(9));
    let id = bench.commit([Change::AddMessage(new)]).messages[0];
    bench.commit([Change::MessageAcked { id, at_ms: 0 }, Change::MessageRequeued { id, at_ms: 1 }]);
    bench.store.prune(&Retention::default(), u64::from(u32::MAX)).unwrap();
    assert_eq!(bench.load().messages.len(), 1);
    bench.commit([Change::MessageAcked { id, at_ms: 2 }]);
    bench.store.prune(&Retention::default(), u64::from(u32::MAX)).unwrap();
    assert_eq!(bench.store.message(id), Ok(None));
    assert_eq!(bench.store.attachment(id, 0), Ok(None), "its attachments go with it");
}

fn step(subject: TraceSubject, kind: TraceKind, at_ms: u64, text: &str) -> TraceStep {
    TraceStep::new(subject, kind, at_ms, text)
}

fn steps_are_there_in_their_order_for_what_they_are_about(mut bench: Bench) {
    let (message, reply) = (bench.add_message(), bench.add_reply());
    let (of_message, of_reply) = (TraceSubject::Message(message), TraceSubject::Reply(reply));
    let accepted = TraceStep {
        fuel: u64::MAX >> 1,
        took_us: 7,
        request: Some(DedupeId(3)),
        ..step(of_message, TraceKind::Accepted, 1_000, "POST /a from 192.0.2.1")
    };
    let failed = TraceStep { attempt: 1, ..step(of_message, TraceKind::AgentFailed, 2_000, "away") };
    let acknowledged = TraceStep { attempt: 2, ..step(of_message, TraceKind::Acknowledged, 1_500, "") };
    let sent = step(of_reply, TraceKind::Sent, 3_000, "a.example responded with 200");
    let not_sent = step(of_reply, TraceKind::NotSent, 2_500, "no");
    let all = [&accepted, &failed, &not_sent, &acknowledged, &sent].map(|step| Change::Trace(step.clone()));
    bench.commit(all);
    bench.reopen();
    // In the order in which they were written: a clock that is set back changes nothing.
    assert_eq!(bench.store.trace(of_message).unwrap(), [accepted, failed, acknowledged]);
    assert_eq!(bench.store.trace(of_reply).unwrap(), [not_sent, sent]);
    assert_eq!(bench.store.trace(TraceSubject::Message(MessageId(99))).unwrap(), []);
    let retention = Retention { completed: Duration::from_millis(1_000), ..Retention::default() };
    assert_eq!(bench.store.prune(&retention, 2_001).unwrap().steps, 1);
    assert_eq!(bench.store.trace(of_message).unwrap().len(), 2);
    assert_eq!(bench.store.prune(&retention, 9_000).unwrap().steps, 4);
    assert_eq!(bench.store.trace(of_reply).unwrap(), []);
}

fn a_message_is_found_by_what_its_service_calls_it(mut bench: Bench) {
    let with_metadata = |metadata: &str| {
        let mut new = message("a", "c", "hello");
        Arc::make_mut(&mut new.message).metadata_json = metadata.to_owned();
        Change::AddMessage(new)
    };
    let receipt = bench.commit([
        with_metadata(r#"{"message_id":55,"text":"x"}"#),
        with_metadata(r#"{"message_id":"55"}"#),
        with_metadata(r#"{"message_id":555}"#),
        with_metadata("55 is no object"),
        dedupe("a", 7, 0, u64::MAX, None),
    ]);
    let (ids, request) = (&receipt.messages, receipt.dedupe_keys[0]);
    let of = |id: MessageId| TraceSubject::Message(id);
    let caused = step(of(ids[2]), TraceKind::Accepted, 1, "");
    bench.commit([Change::Trace(TraceStep { request: Some(request), ..caused })]);
    let mut find = |id: &str, keys: &[StoredDedupeKey]| bench.store.messages_of_provider(id, keys).unwrap();
    assert_eq!(find("55", &[]), [ids[1], ids[0]], "newest first, whole values only");
    assert_eq!(find("x", &[]), [ids[0]]);
    assert_eq!(find("nothing", &[[8; 16], [7; 16]]), [ids[2]], "by its request");
    assert_eq!(find("5%", &[]), []);
    bench.commit((0..30).map(|_| with_metadata(r#"{"id":"many"}"#)).collect::<Vec<_>>());
    assert_eq!(bench.store.messages_of_provider("many", &[]).unwrap().len(), 20, "as many as may be");
}

fn a_probe_leaves_nothing_behind(mut bench: Bench) {
    bench.add_message();
    let before = bench.load();
    bench.store.probe().unwrap();
    bench.reopen();
    assert_eq!(bench.load(), before);
}

fn maintenance_changes_nothing(mut bench: Bench) {
    let mut new = message("a", "c", "x");
    attach_bytes(&mut new, bytes(6_000_000));
    bench.commit([Change::AddMessage(new)]);
    let before = bench.load();
    for moment in [Maintenance::BetweenGroups, Maintenance::Idle, Maintenance::Idle] {
        bench.store.maintain(moment).unwrap();
        assert_eq!(bench.load(), before);
    }
    assert!(bench.store.usage().unwrap().bytes >= 6_000_000);
}

/// Changes over few names and ids, so that they meet each other.
pub(super) fn any_change() -> impl Strategy<Value = Change> {
    let channel = prop_oneof![Just("a"), Just("b")];
    let (id, at_ms) = (1..6_u64, 0..1_000_u64);
    (channel, id, at_ms, 0..19_u8, any::<bool>(), "[a-c\\PC]{0,3}").prop_map(
        |(channel, number, at_ms, kind, uncertain, text)| {
            let (message_id, id, attempt) = (MessageId(number), ReplyId(number), number as u32);
            match kind {
                0 => file(channel, &number.to_string(), &text),
                1 | 2 => Change::AddMessage(message(channel, &text, &text)),
                3 => Change::MessageAttempt { id: message_id, attempt, at_ms },
                4 => Change::MessageAcked { id: message_id, at_ms },
                5 => Change::MessageDropped { id: message_id, at_ms },
                6 => Change::MessageRequeued { id: message_id, at_ms },
                7 | 8 => Change::AddReply(reply(channel, &text, &text)),
                9 | 10 => Change::ReplyAttempt { id, attempt, at_ms },
                11 => Change::ReplyRetry {
                    id,
                    at_ms,
                    next_ms: at_ms + number,
                    error: text,
                    uncertain,
                    traps: number as u32,
                },
                12 => Change::ReplyDelivered { id, at_ms },
                13 => Change::ReplyDead { id, at_ms, error: text, uncertain },
                14 => Change::ReplyRequeued { id, at_ms },
                15 => Change::ReplyDropped { id, at_ms },
                16 => Change::MessageDead { id: message_id, at_ms, error: text },
                17 => timer(channel, &number.to_string(), at_ms),
                _ => dedupe(channel, number as u8, at_ms, at_ms + 500, uncertain.then_some(&*text)),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// The engines are each other's model.
    #[test]
    fn engines_agree_whatever_happens(batches in prop::collection::vec(prop::collection::vec(any_change(), 1..8), 1..12)) {
        let (mut memory, mut sqlite) = (Bench::memory(), Bench::sqlite());
        let batches: Vec<_> = batches.into_iter().map(|changes| Batch { changes }).collect();
        let retention = Retention { completed: Duration::from_millis(300), dead: Duration::from_millis(600), max_completed: 3, max_dedupe_keys: 2, max_expired_dedupe_keys: 1, ..Retention::default() };
        for group in batches.chunks(3) {
            prop_assert_eq!(memory.commit_group(group), sqlite.commit_group(group));
        }
        sqlite.reopen();
        for round in 0..2 {
            prop_assert_eq!(memory.load_at(400), sqlite.load_at(400));
            for number in 0..100 {
                prop_assert_eq!(memory.store.reply(ReplyId(number)), sqlite.store.reply(ReplyId(number)));
                prop_assert_eq!(memory.store.message(MessageId(number)), sqlite.store.message(MessageId(number)));
                prop_assert_eq!(memory.store.stored_response(DedupeId(number)), sqlite.store.stored_response(DedupeId(number)));
            }
            let (messages, replies) = (MessageFilter::default(), ReplyFilter::default());
            prop_assert_eq!(memory.store.messages(&messages), sqlite.store.messages(&messages));
            prop_assert_eq!(memory.store.replies(&replies), sqlite.store.replies(&replies));
            if round == 0 {
                let forgotten = memory.store.prune(&retention, 900);
                prop_assert_eq!(forgotten, sqlite.store.prune(&retention, 900));
            }
        }
    }
}
