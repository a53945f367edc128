//! What a callback came to, for the trace of the messages and replies that it served.

use std::time::Duration;

use crate::channel::job::{Job, ReplyAttempt};
use crate::event::callback::{Callback, CallbackReport};
use crate::model::clock::micros;
use crate::store::{Change, DedupeId, MessageId, TraceKind, TraceStep, TraceSubject};

/// The numbers of a callback, what it was called for, and what a service responded to it.
pub(super) struct Served {
    fuel: u64,
    pub took: Duration,
    cause: String,
    guest: String,
    pub response: Option<String>,
}

impl Served {
    pub fn of(job: &Job, report: &CallbackReport, guest: &str) -> Self {
        Self {
            fuel: report.usage.fuel,
            took: report.usage.elapsed,
            cause: cause_of(job),
            guest: guest.to_owned(),
            response: report.effects.upstream.last_response.clone(),
        }
    }

    /// That a message was emitted.
    pub fn accepted(&self, id: MessageId, at_ms: u64) -> Change {
        let text = format!("{}, guest {}", self.cause, self.guest);
        let step = TraceStep::new(TraceSubject::Message(id), TraceKind::Accepted, at_ms, &text);
        Change::Trace(TraceStep { fuel: self.fuel, took_us: micros(self.took), ..step })
    }

    /// That an attempt to send a reply has ended.
    pub fn attempt(&self, attempt: &ReplyAttempt, kind: TraceKind, at_ms: u64, text: &str) -> Change {
        let step = TraceStep::new(TraceSubject::Reply(attempt.id), kind, at_ms, text);
        let (fuel, took_us) = (self.fuel, micros(self.took));
        Change::Trace(TraceStep { attempt: attempt.attempt, fuel, took_us, ..step })
    }
}

/// The request that caused the messages of a batch is known by this key from now on.
pub(super) fn name_request(changes: &mut [Change], request: Option<DedupeId>) {
    for change in changes {
        if let Change::Trace(step) = change {
            step.request = request;
        }
    }
}

/// What a callback was called for: its name, or the request and whose it is.
fn cause_of(job: &Job) -> String {
    match (&job.callback, job.client) {
        (Callback::HttpRequest(request), Some(client)) => {
            format!("{} {} from {client}", request.method, request.path)
        }
        (Callback::HttpRequest(request), None) => format!("{} {}", request.method, request.path),
        (other, _) => other.kind().name().to_owned(),
    }
}
