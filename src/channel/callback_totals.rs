//! What a channel's callbacks came to and what they used, since the host started.

use std::time::Duration;

use crate::event::callback::{CallbackKind, CallbackReport};

/// Sums and the largest values of callbacks that have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallbackTotals {
    /// By [`CallbackKind`], in the order of [`CallbackKind::ALL`].
    by_kind: [KindTotals; CallbackKind::ALL.len()],
    /// Units of fuel of all of them.
    pub(crate) fuel: u64,
    /// The most that one of them took.
    pub(crate) max_fuel: u64,
    /// Time of all of them on their workers.
    pub(crate) elapsed: Duration,
    /// The longest of one.
    pub(crate) max_elapsed: Duration,
    /// The most memory that one of them had, in bytes.
    pub(crate) max_memory: usize,
    /// Requests to other servers.
    pub(crate) http_calls: u64,
    /// The most of one callback.
    pub(crate) max_http_calls: u32,
    /// Bytes of the bodies of these requests.
    pub(crate) sent_bytes: u64,
    /// The most of one callback.
    pub(crate) max_sent_bytes: u64,
    /// Bytes that were to be stored: messages, workspace, timers.
    pub(crate) stored_bytes: u64,
    /// The most of one callback.
    pub(crate) max_stored_bytes: u64,
    /// Log lines over a limit.
    pub(crate) dropped_log_lines: u64,
}

/// Callbacks of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KindTotals {
    /// Those that ended well.
    pub(crate) succeeded: u64,
    /// Those that failed.
    pub(crate) failed: u64,
}

impl CallbackTotals {
    /// Counts a callback that has ended.
    pub(crate) fn note(&mut self, report: &CallbackReport) {
        let place = CallbackKind::ALL.iter().position(|kind| *kind == report.kind);
        if let Some(kind) = place.and_then(|place| self.by_kind.get_mut(place)) {
            match report.result {
                Ok(_) => kind.succeeded += 1,
                Err(_) => kind.failed += 1,
            }
        }
        let usage = &report.usage;
        self.fuel = self.fuel.saturating_add(usage.fuel);
        self.max_fuel = self.max_fuel.max(usage.fuel);
        self.elapsed = self.elapsed.saturating_add(usage.elapsed);
        self.max_elapsed = self.max_elapsed.max(usage.elapsed);
        self.max_memory = self.max_memory.max(usage.peak_memory);
        self.http_calls += u64::from(usage.http_calls);
        self.max_http_calls = self.max_http_calls.max(usage.http_calls);
        self.sent_bytes = self.sent_bytes.saturating_add(usage.sent_bytes);
        self.max_sent_bytes = self.max_sent_bytes.max(usage.sent_bytes);
        self.dropped_log_lines += u64::from(report.effects.dropped.log_lines);
    }

    /// Counts what is to be stored of a callback.
    pub(crate) fn note_stored(&mut self, bytes: u64) {
        self.stored_bytes = self.stored_bytes.saturating_add(bytes);
        self.max_stored_bytes = self.max_stored_bytes.max(bytes);
    }

    /// Every kind with its callbacks.
    #[cfg(any(feature = "cli", test))]
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (CallbackKind, KindTotals)> {
        CallbackKind::ALL.into_iter().zip(self.by_kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::callback::{CallbackValue, Usage};
    use crate::sandbox::WasmChannelError;

    fn report(kind: CallbackKind, is_good: bool, usage: Usage) -> CallbackReport {
        let error =
            WasmChannelError::GuestError { channel: "a".into(), message: "no".into(), callback: kind };
        let mut report = CallbackReport::failed(kind, error);
        if is_good {
            report.result = Ok(CallbackValue::Done);
        }
        report.usage = usage;
        report
    }

    #[test]
    fn callbacks_are_counted_by_kind_and_result_and_their_needs_are_summed() {
        let small = Usage {
            fuel: 10,
            peak_memory: 100,
            elapsed: Duration::from_millis(3),
            http_calls: 2,
            sent_bytes: 7,
        };
        let large =
            Usage { fuel: 30, peak_memory: 50, elapsed: Duration::from_millis(1), ..Usage::default() };
        let mut totals = CallbackTotals::default();
        totals.note(&report(CallbackKind::Poll, true, small));
        totals.note(&report(CallbackKind::Poll, false, large));
        totals.note(&report(CallbackKind::Execute, true, Usage::default()));
        totals.note_stored(5);
        assert_eq!((totals.fuel, totals.max_fuel, totals.max_memory), (40, 30, 100));
        assert_eq!(
            (totals.elapsed, totals.max_elapsed),
            (Duration::from_millis(4), Duration::from_millis(3))
        );
        assert_eq!((totals.http_calls, totals.max_http_calls, totals.sent_bytes), (2, 2, 7));
        assert_eq!(totals.stored_bytes, 5);
        let counted: Vec<_> = totals.kinds().filter(|(_, kind)| *kind != KindTotals::default()).collect();
        assert_eq!(counted, [(CallbackKind::Poll, KindTotals { succeeded: 1, failed: 1 })]);
    }
}
