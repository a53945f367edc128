//! How fast a channel may emit, and the callbacks that have to wait for that: pure bookkeeping.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::model::deadline::deadline_after;
use crate::model::rate_limit::ChannelEmitRateLimiter;

/// The emit rate of a channel with what it holds back. Those that are held back emit first, in the order in which they
/// ended: a channel that is written to all the time would never get to them otherwise. Each keeps its place in its lane.
#[derive(Debug)]
pub struct Emission<H> {
    rate: ChannelEmitRateLimiter,
    held: VecDeque<H>,
    /// When the first of them may be committed.
    held_until: Instant,
}

impl<H> Emission<H> {
    /// Nothing is held back.
    pub fn new(rate: ChannelEmitRateLimiter, now: Instant) -> Self {
        Self { rate, held: VecDeque::new(), held_until: now }
    }

    /// Counts by another rate from now on. What is held back waits as long as it was told to.
    pub fn set_rate(&mut self, rate: ChannelEmitRateLimiter) {
        self.rate = rate;
    }

    /// Whether the channel may emit at all.
    pub fn may_emit(&self) -> bool {
        self.rate.may_emit()
    }

    /// How long a callback with this many messages has to wait behind those that are held back; none when it need not.
    pub fn waits_behind(&self, messages: usize, now: Instant) -> Option<Duration> {
        let waits = messages > 0 && !self.held.is_empty();
        waits.then(|| self.held_until.saturating_duration_since(now))
    }

    /// Counts the messages of a callback.
    ///
    /// # Errors
    /// The time after which they are within the rate; nothing has been counted then.
    pub fn take(&mut self, messages: usize, now: Instant) -> Result<(), Duration> {
        let messages = u32::try_from(messages).unwrap_or(u32::MAX);
        self.rate.check(messages, now).map_err(|limited| limited.retry_after)
    }

    /// Holds a callback back behind the others. Returns when the first may be committed, if this is the first.
    pub fn hold(&mut self, callback: H, wait: Duration, now: Instant) -> Option<Instant> {
        self.held.push_back(callback);
        (self.held.len() == 1).then(|| self.hold_until(wait, now))
    }

    /// Holds one back that was released too early, before all others. Returns when it may be committed.
    pub fn hold_again(&mut self, callback: H, wait: Duration, now: Instant) -> Instant {
        self.held.push_front(callback);
        self.hold_until(wait, now)
    }

    fn hold_until(&mut self, wait: Duration, now: Instant) -> Instant {
        self.held_until = deadline_after(now, wait);
        self.held_until
    }

    /// Takes the first that is held back.
    pub fn release(&mut self) -> Option<H> {
        self.held.pop_front()
    }

    /// Takes all that are held back.
    pub fn release_all(&mut self) -> VecDeque<H> {
        std::mem::take(&mut self.held)
    }

    /// Those that are held back.
    pub fn held(&self) -> impl Iterator<Item = &H> {
        self.held.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn held_callbacks_emit_before_later_ones() {
        let now = Instant::now();
        let mut emission = Emission::new(ChannelEmitRateLimiter::new(1, 100), now);
        assert_eq!(emission.waits_behind(1, now), None);
        assert_eq!(emission.take(1, now), Ok(()));
        let wait = emission.take(1, now).expect_err("over the rate");
        assert_eq!(emission.hold('a', wait, now), Some(now + wait));
        assert_eq!(emission.waits_behind(1, now + SECOND), Some(wait - SECOND));
        assert_eq!(emission.waits_behind(0, now), None, "one that emits nothing waits for nobody");
        assert_eq!(emission.hold('b', SECOND, now), None, "the first has set the time");
        assert_eq!(emission.held().collect::<String>(), "ab");
        let first = emission.release().expect("held");
        assert_eq!(emission.hold_again(first, SECOND, now), now + SECOND);
        assert_eq!(emission.release_all(), ['a', 'b']);
        assert_eq!(emission.waits_behind(1, now), None);
    }
}
