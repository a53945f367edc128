use super::*;

fn record(change: impl FnOnce(&mut CallbackLimits)) -> Record {
    let mut limits = CallbackLimits::default();
    change(&mut limits);
    Record::new("chan".into(), limits)
}

fn message(content: &str, attachments: &[&str]) -> EmittedMessage {
    let attachment = |id: &&str| InboundAttachment { id: (*id).to_owned(), ..InboundAttachment::default() };
    EmittedMessage {
        content: content.to_owned(),
        attachments: attachments.iter().map(attachment).collect(),
        ..EmittedMessage::default()
    }
}

fn commit(record: Record) -> (Effects, Vec<LogLine>) {
    record.commit(WorkspaceChanges::default())
}

#[test]
fn messages_are_kept_up_to_their_number() {
    let mut record = record(|limits| limits.messages = 2);
    (0..3).for_each(|n| record.emit(message(&n.to_string(), &[])));
    let (effects, logs) = commit(record);
    assert_eq!(effects.messages.iter().map(|m| m.message.content.as_str()).collect::<Vec<_>>(), ["0", "1"]);
    assert_eq!(effects.dropped.messages, 1);
    assert_eq!(logs.len(), 1);
    assert_eq!(logs[0].message, "not kept of this callback: 1 messages over the limit");
}

#[test]
fn content_is_cut_at_its_limit_and_counted() {
    let mut record = record(|limits| limits.message_bytes = 20);
    record.emit(message(&"x".repeat(20), &[]));
    record.emit(message(&"x".repeat(21), &[]));
    let (effects, _) = commit(record);
    assert_eq!(effects.messages[0].message.content, "x".repeat(20));
    assert!(effects.messages[1].message.content.ends_with(text::CUT_MARK));
    assert_eq!(effects.messages[1].message.content.len(), 20);
    assert_eq!(effects.dropped.truncated, 1);
}

#[test]
fn fields_and_sum_of_messages_are_bounded() {
    let with_metadata =
        |bytes: usize| EmittedMessage { metadata_json: "x".repeat(bytes), ..message("", &[]) };
    let mut one = record(|_| {});
    one.emit(with_metadata(MAX_MESSAGE_FIELDS_BYTES));
    one.emit(with_metadata(MAX_MESSAGE_FIELDS_BYTES + 1));
    let (effects, _) = commit(one);
    assert_eq!((effects.messages.len(), effects.dropped.messages), (1, 1));

    let mut all = record(|_| {});
    let fit = MAX_EMITTED_BYTES / MAX_MESSAGE_FIELDS_BYTES;
    (0..=fit).for_each(|_| all.emit(with_metadata(MAX_MESSAGE_FIELDS_BYTES)));
    let (effects, _) = commit(all);
    assert_eq!((effects.messages.len(), effects.dropped.messages), (fit, 1));
}

#[test]
fn attachments_are_bounded_in_number_and_bytes() {
    let mut record = record(|limits| {
        limits.attachments_per_message = 2;
        limits.attachment_bytes = 10;
        limits.attachment_bytes_per_callback = 100;
    });
    record.store_attachment("a".into(), vec![0; 6]).unwrap();
    record.store_attachment("b".into(), vec![0; 4]).unwrap();
    record.store_attachment("c".into(), vec![0; 5]).unwrap();
    record.emit(message("fits", &["a", "b"]));
    record.emit(message("too many bytes", &["a", "c"]));
    record.emit(message("too many", &["a", "b", "c"]));
    record.emit(message("without data", &["elsewhere"]));
    let (effects, _) = commit(record);
    let sizes = |index: usize| {
        let emitted: &Emitted = &effects.messages[index];
        assert_eq!(emitted.message.attachments.len(), emitted.attachment_data.len());
        emitted.attachment_data.iter().map(|data| data.as_ref().map(|d| d.len())).collect::<Vec<_>>()
    };
    assert_eq!(sizes(0), [Some(6), Some(4)]);
    assert_eq!(sizes(1), [Some(6)]);
    assert_eq!(sizes(2), [Some(6), Some(4)]);
    assert_eq!(sizes(3), [None]);
    assert_eq!(effects.dropped.attachments, 2);
    assert_eq!(effects.dropped.unused_attachment_data, 0);
}

#[test]
fn stored_data_is_bounded_and_may_come_after_its_message() {
    let mut record = record(|limits| {
        limits.attachment_bytes = 10;
        limits.attachment_bytes_per_callback = 22;
    });
    record.emit(message("early", &["x"]));
    assert!(record.store_attachment("x".into(), vec![0; 11]).is_err());
    record.store_attachment("x".into(), vec![1; 10]).unwrap();
    record.store_attachment("x".into(), vec![2; 10]).unwrap();
    record.store_attachment("y".into(), vec![0; 10]).unwrap();
    assert!(record.store_attachment("z".into(), vec![]).is_err(), "ids count too");
    let (effects, logs) = commit(record);
    assert_eq!(effects.messages[0].attachment_data, [Some(Arc::from([2_u8; 10]))]);
    assert_eq!(effects.dropped.unused_attachment_data, 1);
    assert!(logs[0].message.contains("1 stored attachments that no message has"));
}

#[test]
fn the_number_of_stored_attachments_is_bounded() {
    let mut record = record(|limits| (limits.messages, limits.attachments_per_message) = (1, 2));
    record.store_attachment("a".into(), vec![]).unwrap();
    record.store_attachment("b".into(), vec![]).unwrap();
    assert!(record.store_attachment("c".into(), vec![]).is_err());
    record.store_attachment("a".into(), vec![1]).unwrap();
}

#[test]
fn the_last_change_of_a_timer_counts_and_changes_are_bounded() {
    let second = Duration::from_secs(1);
    let mut record = record(|limits| limits.timer_changes = 2);
    record.set_timer("a", second, "1").unwrap();
    record.set_timer("a", second * 2, "2").unwrap();
    record.set_timer("b", second, "").unwrap();
    assert!(record.set_timer("c", second, "").is_err());
    record.cancel_timer("c");
    record.cancel_timer("b");
    let (effects, _) = commit(record);
    let set = TimerChange::Set { name: "a".into(), delay: second * 2, payload: "2".into() };
    assert_eq!(effects.timers, [set, TimerChange::Cancel { name: "b".into() }]);
    assert_eq!(effects.dropped.timer_changes, 1);
}

#[test]
fn timers_are_checked_at_their_edges() {
    let mut record = record(|_| {});
    let mut set = |name: usize, delay: Duration, payload: usize| {
        record.set_timer(&"n".repeat(name), delay, &"p".repeat(payload)).is_ok()
    };
    assert!(set(MAX_TIMER_NAME_BYTES, MAX_TIMER_DELAY, MAX_TIMER_PAYLOAD_BYTES));
    assert!(!set(MAX_TIMER_NAME_BYTES + 1, Duration::ZERO, 0));
    assert!(!set(0, Duration::ZERO, 0));
    assert!(!set(1, MAX_TIMER_DELAY + Duration::from_millis(1), 0));
    assert!(!set(1, Duration::ZERO, MAX_TIMER_PAYLOAD_BYTES + 1));
}

#[test]
fn log_lines_are_bounded_in_number_and_bytes() {
    let mut by_number = record(|limits| limits.log_lines = 2);
    (0..5).for_each(|n| by_number.log(LogLevel::Info, &n.to_string()));
    let (effects, logs) = commit(by_number);
    assert_eq!(effects.dropped.log_lines, 3);
    assert_eq!(logs.iter().map(|l| l.message.as_str()).collect::<Vec<_>>()[..2], ["0", "1"]);
    assert_eq!(logs.len(), 3, "and one that tells of the others");

    let mut by_bytes = record(|limits| (limits.log_line_bytes, limits.log_bytes) = (20, 30));
    by_bytes.log(LogLevel::Info, &"x".repeat(20));
    by_bytes.log(LogLevel::Info, &"y".repeat(20));
    by_bytes.log(LogLevel::Info, "z");
    let (effects, logs) = commit(by_bytes);
    assert_eq!(logs[0].message, "x".repeat(20));
    assert!(logs[1].message.len() <= 10);
    assert!(effects.dropped.log_lines >= 1 || logs[1].message.len() < 10);
}

#[test]
fn a_failed_callback_keeps_only_its_log_and_what_left_the_host() {
    let mut record = record(|_| {});
    record.emit(message("gone", &[]));
    record.set_timer("t", Duration::ZERO, "").unwrap();
    record.left_host();
    record.retry_after(Some(Duration::from_secs(3)));
    record.retry_after(Some(Duration::from_secs(2)));
    record.retry_after(None);
    record.log(LogLevel::Error, "said before it failed");
    let (effects, logs) = record.abandon();
    assert!(effects.messages.is_empty() && effects.timers.is_empty() && effects.workspace.is_empty());
    assert!(effects.left_host);
    assert_eq!(effects.retry_after, Some(Duration::from_secs(3)));
    assert_eq!(logs, [LogLine { level: LogLevel::Error, message: "said before it failed".into() }]);
}
