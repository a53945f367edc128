use super::*;

fn record(change: impl FnOnce(&mut ChannelLimits)) -> Record {
    // Fields beyond the limit of a single one have a test of their own.
    let mut limits = ChannelLimits { metadata_bytes: usize::MAX, ..ChannelLimits::default() };
    change(&mut limits);
    Record::new("chan".into(), limits, GuestLogRate::default())
}

fn message(content: &str, attachments: &[&str]) -> EmittedMessage {
    let attachment = |id: &&str| InboundAttachment { id: (*id).to_owned(), ..InboundAttachment::default() };
    EmittedMessage {
        content: content.to_owned(),
        attachments: attachments.iter().map(attachment).collect(),
        ..EmittedMessage::default()
    }
}

fn no_writes() -> WorkspaceView {
    WorkspaceView::new(crate::channel::workspace::WorkspaceSnapshot::empty())
}

fn commit(record: Record) -> (Effects, Vec<LogLine>) {
    record.commit(WorkspaceChanges::default())
}

#[test]
fn messages_are_kept_up_to_their_number() {
    let mut record = record(|limits| limits.messages_per_callback = 2);
    (0..3).for_each(|n| record.emit(message(&n.to_string(), &[])));
    let (effects, logs) = commit(record);
    assert_eq!(effects.messages.iter().map(|m| m.message.content.as_str()).collect::<Vec<_>>(), ["0", "1"]);
    assert_eq!(effects.dropped.messages, 1);
    assert_eq!(logs.len(), 1);
    assert_eq!(
        logs[0].message,
        "not kept of this callback: 1 messages over a limit (max_messages_per_callback, max_metadata_bytes)"
    );
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
        limits.attachment_bytes_per_message = 10;
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
        limits.stored_attachment_bytes = 10;
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
    let mut record = record(|limits| (limits.messages_per_callback, limits.attachments_per_message) = (1, 2));
    record.store_attachment("a".into(), vec![]).unwrap();
    record.store_attachment("b".into(), vec![]).unwrap();
    assert!(record.store_attachment("c".into(), vec![]).is_err());
    record.store_attachment("a".into(), vec![1]).unwrap();
}

#[test]
fn the_last_change_of_a_timer_counts() {
    let second = Duration::from_secs(1);
    let mut record = record(|_| {});
    record.set_timer("a", second, "1").unwrap();
    record.set_timer("a", second * 2, "2").unwrap();
    record.set_timer("b", second, "").unwrap();
    record.cancel_timer("b");
    let (effects, _) = commit(record);
    let set = TimerChange::Set { name: "a".into(), delay: second * 2, payload: "2".into() };
    assert_eq!(effects.timers, [set, TimerChange::Cancel { name: "b".into() }]);
    assert_eq!(effects.dropped.timer_changes, 0);
}

#[test]
fn changes_of_timers_are_bounded() {
    let mut record = record(|limits| limits.timers = usize::MAX);
    for n in 0..MAX_TIMER_CHANGES {
        record.set_timer(&n.to_string(), Duration::ZERO, "").unwrap();
    }
    let error = record.set_timer("more", Duration::ZERO, "").unwrap_err().to_string();
    assert!(error.contains("100 timer changes"), "{error}");
    record.set_timer("0", Duration::ZERO, "").unwrap();
    record.cancel_timer("more");
    let (effects, _) = commit(record);
    assert_eq!((effects.timers.len(), effects.dropped.timer_changes), (MAX_TIMER_CHANGES, 1));
}

// What happened: these limits of the capability file were read, clamped and shown, and the host went by numbers of its
// own.
#[test]
fn timers_are_checked_at_the_limits_of_their_channel() {
    let limits = |limits: &mut ChannelLimits| {
        (limits.timers, limits.timer_name_bytes, limits.timer_payload_bytes) = (2, 10, 20);
        limits.timer_delay = Duration::from_secs(86_400);
    };
    let mut record = record(limits);
    let mut set = |name: &str, delay: Duration, payload: usize| {
        record.set_timer(name, delay, &"p".repeat(payload)).map_err(|error| error.to_string())
    };
    let day = Duration::from_secs(86_400);
    assert_eq!(set(&"n".repeat(10), day, 20), Ok(()));
    assert!(set(&"n".repeat(11), day, 20).unwrap_err().contains("1 to 10 bytes"));
    assert!(set("", day, 20).unwrap_err().contains("1 to 10 bytes"));
    assert!(set("a", day, 21).unwrap_err().contains("at most 20 bytes"));
    assert!(set("a", day + Duration::from_millis(1), 0).unwrap_err().contains("at most 1 days"));
    assert_eq!(set("a", day, 0), Ok(()));
    assert!(set("b", day, 0).unwrap_err().contains("may have 2 timers"));
    assert_eq!(set("a", day, 1), Ok(()), "one that is set again is no further one");
}

#[test]
fn each_field_of_a_message_is_as_long_as_its_limit_and_no_longer() {
    type Field = fn(&mut EmittedMessage, String);
    let fields: [(&str, Field); 6] = [
        ("metadata", |message, text| message.metadata_json = text),
        ("user id", |message, text| message.user_id = text),
        ("user name", |message, text| message.user_name = Some(text)),
        ("thread", |message, text| message.thread_id = Some(text)),
        ("attachment id", |message, text| message.attachments[0].id = text),
        ("extracted text", |message, text| message.attachments[0].extracted_text = Some(text)),
    ];
    for (name, set) in fields {
        let mut record = record(|limits| limits.metadata_bytes = 300);
        for len in [300, 301] {
            let mut message = message("hi", &["x"]);
            set(&mut message, "x".repeat(len));
            record.emit(message);
        }
        let (effects, _) = commit(record);
        assert_eq!((effects.messages.len(), effects.dropped.messages), (1, 1), "{name}");
    }
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
    record.had_side_effects();
    for (status, seconds) in [(429, Some(3)), (429, Some(2)), (400, None)] {
        let response = HttpResponse { status, headers_json: "{}".into(), body: b"no".to_vec() };
        let response = OutboundResponse { response, retry_after: seconds.map(Duration::from_secs) };
        record.responded("https://api.example/", &response, |text| text);
    }
    record.log(LogLevel::Error, "said before it failed");
    let (effects, logs) = record.abandon(None, no_writes());
    assert!(effects.messages.is_empty() && effects.timers.is_empty() && effects.workspace.is_empty());
    assert!(effects.had_side_effects);
    assert_eq!(effects.retry_after, Some(Duration::from_secs(3)));
    assert_eq!(effects.upstream.refused.as_deref(), Some("api.example responded with 400: no"));
    assert_eq!(logs, [LogLine { level: LogLevel::Error, message: "said before it failed".into() }]);
}
