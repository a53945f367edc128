//! What a channel says in the log, and what the store is told of what happened.

use super::replies::with_replies;
use super::*;
use crate::store::{Change, DedupeId, MessageId, TraceKind, TraceStep, TraceSubject};

/// The log lines and the steps that follow from the end of the next callback of a lane.
fn said(subject: &mut Subject, lane: LaneKind, report: CallbackReport) -> (Vec<String>, Vec<TraceStep>) {
    let (ticket, _) = subject.start_next(lane).expect("a job that can start");
    let mut actions = Vec::new();
    let mut turn = Turn::new(subject.at, &subject.host, &mut actions);
    subject.channel.finished(ticket, report, &mut turn);
    let (mut lines, mut steps) = (Vec::new(), Vec::new());
    for action in actions {
        match action {
            Action::Log(line) => lines.push(format!("{} {}", line.level, line.text)),
            Action::Store(batch)
            | Action::StoreThenRespond(batch, _)
            | Action::BeginAttempt { outcome: batch, .. } => {
                steps.extend(batch.changes.into_iter().filter_map(|change| match change {
                    Change::Trace(step) => Some(step),
                    _ => None,
                }));
            }
            _ => {}
        }
    }
    (lines, steps)
}

#[test]
fn a_delivered_reply_logs_attempt_duration_and_service_response() {
    let mut report = done();
    report.usage.elapsed = Duration::from_millis(210);
    report.usage.fuel = 77;
    report.effects.upstream.last_response = Some("api.example responded with 200".into());
    let (lines, steps) = said(&mut with_replies(), LaneKind::Outbound, report);
    assert_eq!(
        lines,
        ["INFO channel echo: reply 1 was delivered in 210 ms (attempt 1): api.example responded with 200"]
    );
    let [step] = &steps[..] else { panic!("{steps:?}") };
    assert_eq!((step.subject, step.kind), (TraceSubject::Reply(ReplyId(1)), TraceKind::Sent));
    assert_eq!((step.attempt, step.fuel, step.took_us), (1, 77, 210_000));
    assert_eq!(step.text, "api.example responded with 200");
}

#[test]
fn a_failed_attempt_is_logged_once_with_the_next_attempt() {
    let (lines, steps) = said(&mut with_replies(), LaneKind::Outbound, guest_error("away"));
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(
        line.starts_with("WARN channel echo: reply 1 failed (attempt 1), next attempt in 1 s: "),
        "{line}"
    );
    assert!(line.ends_with("away"), "{line}");
    assert!(steps.len() == 1 && steps[0].kind == TraceKind::NotSent && steps[0].text.ends_with("away"));
    let (lines, steps) = said(&mut with_replies(), LaneKind::Outbound, guest_error("permanent: no"));
    assert!(
        lines.len() == 1 && lines[0].starts_with("ERROR channel echo: reply 1 is given up after attempt 1")
    );
    assert!(steps.len() == 1 && steps[0].text.contains("no"), "{steps:?}");
}

#[test]
fn an_accepted_message_is_logged_with_its_request() {
    let mut subject = Subject::ready();
    subject.request("7");
    let (_, steps) = said(&mut subject, LaneKind::Inbound, responded(200, effects(&["a", "b"], &[])));
    let subjects: Vec<TraceSubject> = steps.iter().map(|step| step.subject).collect();
    assert_eq!(subjects, [TraceSubject::Message(MessageId(1)), TraceSubject::Message(MessageId(2))]);
    for step in steps {
        assert_eq!((step.kind, step.request), (TraceKind::Accepted, Some(DedupeId(1))));
    }
}
