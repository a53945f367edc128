//! How long a link waits before the next connection. Pure decisions.

use std::time::{Duration, Instant};

use crate::model::backoff::Backoff;

/// Between connections that fail.
const BACKOFF: Backoff = Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(300) };
/// A connection that ends sooner after its login counts as a failure, too: a service that accepts every login and ends every
/// connection must not be asked all the time.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// What the connections of a link came to.
#[derive(Debug, Default)]
pub(super) struct Reconnects {
    /// Connections in a row that were not stable.
    failures: u32,
    /// When the service accepted the login of the connection that is open.
    ready: Option<Instant>,
}

impl Reconnects {
    /// The service has accepted the login.
    pub fn ready(&mut self, now: Instant) {
        self.ready = Some(now);
    }

    /// A connection has ended, or was not made: the wait before the next one. `asked` is what the service or the protocol
    /// wants; zero is granted once in a row. `random` is between 0 and 1.
    pub fn wait(&mut self, asked: Option<Duration>, now: Instant, random: f64) -> Duration {
        if self.ready.take().is_some_and(|ready| now.saturating_duration_since(ready) >= STABLE_AFTER) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        match asked {
            Some(Duration::ZERO) if self.failures <= 1 => Duration::ZERO,
            asked => BACKOFF.half_jitter(self.failures, random).max(asked.unwrap_or_default()),
        }
    }

    /// The operator has changed something: what failed before says nothing any more.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended_after(reconnects: &mut Reconnects, ready_for: Duration, asked: Option<Duration>) -> Duration {
        let now = Instant::now();
        reconnects.ready(now);
        reconnects.wait(asked, now + ready_for, 1.0)
    }

    /// A service that accepted the login and asked for a new connection at once was asked again 26 times a second.
    #[test]
    fn connections_that_end_soon_after_their_login_are_made_less_and_less_often() {
        let mut reconnects = Reconnects::default();
        let soon = STABLE_AFTER - Duration::from_millis(1);
        let waits: Vec<_> =
            (0..12).map(|_| ended_after(&mut reconnects, soon, Some(Duration::ZERO))).collect();
        assert_eq!(waits[0], Duration::ZERO, "asked for once");
        assert!(waits.is_sorted() && waits[1] >= Duration::from_secs(1), "{waits:?}");
        assert_eq!(waits[11], Duration::from_secs(300));
    }

    #[test]
    fn a_connection_that_was_stable_makes_up_for_those_that_failed() {
        let mut reconnects = Reconnects::default();
        let now = Instant::now();
        for _ in 0..9 {
            reconnects.wait(None, now, 1.0);
        }
        assert_eq!(ended_after(&mut reconnects, STABLE_AFTER, Some(Duration::ZERO)), Duration::ZERO);
        assert!(reconnects.wait(None, now, 1.0) > Duration::from_secs(1), "the next one was not ready");
        reconnects.forget();
        assert_eq!(reconnects.wait(Some(Duration::ZERO), now, 1.0), Duration::ZERO);
    }

    #[test]
    fn a_wait_is_at_least_what_was_asked_for() {
        let mut reconnects = Reconnects::default();
        let minute = Duration::from_secs(60);
        assert_eq!(reconnects.wait(Some(minute), Instant::now(), 0.0), minute);
    }
}
