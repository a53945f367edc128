//! What a channel did last, for whoever asks why it is silent.

use std::time::SystemTime;

use wit_abi::types::LogLevel;

use crate::event::callback::{CallbackKind, CallbackReport};
use crate::model::clock::time_of;

/// The longest text of an error that is kept, in characters.
const MAX_ERROR_CHARS: usize = 500;

/// What a channel did last. Times are Unix milliseconds of this host's clock.
#[derive(Debug, Default)]
pub struct Activity {
    message_ms: Option<u64>,
    request_ms: Option<u64>,
    poll_ms: Option<u64>,
    error: Option<(u64, String)>,
    /// What failed last, and when the same succeeded again.
    failed: Option<CallbackKind>,
    recovered_ms: Option<u64>,
}

impl Activity {
    /// Notes what a callback came to. What a guest logs as an error counts: a poll that its service refused ends well.
    pub fn note(&mut self, report: &CallbackReport, now_ms: u64) {
        if report.result.is_ok() {
            match report.kind {
                CallbackKind::Poll => self.poll_ms = Some(now_ms),
                CallbackKind::HttpRequest => self.request_ms = Some(now_ms),
                _ => {}
            }
            if !report.effects.messages.is_empty() {
                self.message_ms = Some(now_ms);
            }
        }
        let logged = report.logs.iter().rev().find(|line| line.level == LogLevel::Error);
        let error = match (&report.result, logged) {
            (_, Some(line)) => line.message.clone(),
            (Err(error), None) => error.to_string(),
            (Ok(_), None) => {
                if self.failed == Some(report.kind) {
                    (self.failed, self.recovered_ms) = (None, Some(now_ms));
                }
                return;
            }
        };
        (self.failed, self.recovered_ms) = (Some(report.kind), None);
        self.error = Some((now_ms, error.chars().take(MAX_ERROR_CHARS).collect()));
    }

    /// When it emitted a message.
    pub fn message_at(&self) -> Option<SystemTime> {
        self.message_ms.map(time_of)
    }

    /// When a request ended well.
    pub fn request_at(&self) -> Option<SystemTime> {
        self.request_ms.map(time_of)
    }

    /// When a poll ended well.
    pub fn poll_at(&self) -> Option<SystemTime> {
        self.poll_ms.map(time_of)
    }

    /// When the kind of callback that failed last ended well again.
    pub fn recovered_at(&self) -> Option<SystemTime> {
        self.recovered_ms.map(time_of)
    }

    /// Its last error, and when.
    pub fn error(&self) -> Option<(SystemTime, &str)> {
        self.error.as_ref().map(|(at_ms, error)| (time_of(*at_ms), error.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::callback::{CallbackValue, LogLine};
    use crate::sandbox::WasmChannelError;

    fn report(kind: CallbackKind, is_good: bool, errors: &[&str]) -> CallbackReport {
        let failure = || WasmChannelError::GuestError {
            channel: "a".into(),
            message: "it failed".into(),
            callback: kind,
        };
        let mut report = CallbackReport::failed(kind, failure());
        if is_good {
            report.result = Ok(CallbackValue::Done);
        }
        let line = |text: &&str| LogLine { level: LogLevel::Error, message: (*text).to_owned() };
        report.logs = errors.iter().map(line).collect();
        report
    }

    #[test]
    fn the_last_of_each_is_kept_and_a_logged_error_counts() {
        let mut activity = Activity::default();
        activity.note(&report(CallbackKind::Poll, true, &["one", "Unauthorized"]), 1_000);
        assert_eq!(activity.poll_at(), Some(time_of(1_000)));
        assert_eq!(activity.error(), Some((time_of(1_000), "Unauthorized")));
        activity.note(&report(CallbackKind::HttpRequest, true, &[]), 2_000);
        assert_eq!((activity.request_at(), activity.message_at()), (Some(time_of(2_000)), None));
        assert_eq!(activity.error(), Some((time_of(1_000), "Unauthorized")), "it is the last one still");
        activity.note(&report(CallbackKind::Poll, false, &[]), 3_000);
        assert_eq!(activity.poll_at(), Some(time_of(1_000)), "that poll failed");
        assert!(
            activity.error().is_some_and(|(at, text)| at == time_of(3_000) && text.contains("it failed"))
        );
    }

    /// A channel that had failed to send one reply was said to be in error until the next message came, whatever it sent meanwhile.
    #[test]
    fn an_error_is_over_when_the_same_kind_of_callback_ends_well() {
        let mut activity = Activity::default();
        activity.note(&report(CallbackKind::Respond, false, &[]), 1_000);
        activity.note(&report(CallbackKind::Poll, true, &[]), 2_000);
        assert_eq!(activity.recovered_at(), None, "a poll says nothing about replies");
        activity.note(&report(CallbackKind::Respond, true, &[]), 3_000);
        activity.note(&report(CallbackKind::Respond, true, &[]), 4_000);
        assert_eq!(activity.recovered_at(), Some(time_of(3_000)));
        activity.note(&report(CallbackKind::Respond, true, &["refused"]), 5_000);
        assert_eq!(activity.recovered_at(), None, "it has failed again");
    }

    #[test]
    fn an_error_is_kept_up_to_its_limit() {
        for (length, kept) in [(MAX_ERROR_CHARS, MAX_ERROR_CHARS), (MAX_ERROR_CHARS + 1, MAX_ERROR_CHARS)] {
            let mut activity = Activity::default();
            activity.note(&report(CallbackKind::Poll, true, &[&"é".repeat(length)]), 1);
            assert_eq!(activity.error().map(|(_, text)| text.chars().count()), Some(kept));
        }
    }
}
