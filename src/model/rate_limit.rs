//! How often something may happen: pure arithmetic over instants that the caller passes in.
//!
//! The limiter is a token bucket, written as the generic cell rate algorithm (ITU-T I.371, annex A): instead of a count of
//! tokens it keeps the one instant at which the bucket will be full again. There is no window, hence no edge at which two
//! bursts meet, and nothing drifts, because nothing is rounded but the time of one token.

use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A request was over its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("over the rate limit, {}", Self::advice(*retry_after))]
pub struct RateLimited {
    /// After which time the same request will be within the limit, if nothing else happens. [`Duration::MAX`] when the
    /// limit is zero, which allows nothing at any time.
    pub retry_after: Duration,
}

impl RateLimited {
    /// What whoever was refused can do.
    pub(crate) fn advice(retry_after: Duration) -> String {
        match retry_after {
            Duration::MAX => "which is 0 and allows none".to_owned(),
            wait => format!("try again in {} s", wait.as_secs().saturating_add(1)),
        }
    }
}

/// A bucket of `capacity` tokens that refills evenly within `period`.
///
/// It begins full. A take of more tokens than the bucket holds waits for a full bucket and then leaves it in debt:
/// otherwise it could never happen at all.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    capacity: u32,
    period: Duration,
    /// When the bucket is full again; in the past or absent when it is full.
    full_at: Option<Instant>,
}

impl TokenBucket {
    /// A full bucket. A capacity of zero allows nothing, ever.
    pub fn new(capacity: u32, period: Duration) -> Self {
        Self { capacity, period, full_at: None }
    }

    /// Takes `count` tokens, or says when they will be there. Taking none always succeeds.
    ///
    /// # Errors
    /// [`RateLimited`]; nothing has been taken then.
    pub fn take(&mut self, count: u32, now: Instant) -> Result<(), RateLimited> {
        self.would_take(count, now)?;
        self.commit(count, now);
        Ok(())
    }

    /// Whether `count` tokens can be taken so that `left` quarters of the capacity stay.
    fn would_take_leaving(&self, count: u32, left: u32, now: Instant) -> Result<(), RateLimited> {
        let kept = u64::from(self.capacity) * u64::from(left) / 4;
        let kept = u32::try_from(kept).unwrap_or(u32::MAX);
        self.would_take(if count == 0 { 0 } else { count.saturating_add(kept) }, now)
    }

    fn would_take(&self, count: u32, now: Instant) -> Result<(), RateLimited> {
        if count == 0 {
            return Ok(());
        }
        if self.capacity == 0 {
            return Err(RateLimited { retry_after: Duration::MAX });
        }
        let missing = self.missing(now);
        let room = self.period.saturating_sub(self.time_of(count.min(self.capacity)));
        if missing <= room { Ok(()) } else { Err(RateLimited { retry_after: missing - room }) }
    }

    fn commit(&mut self, count: u32, now: Instant) {
        if self.capacity > 0 {
            self.full_at = now.checked_add(self.missing(now).saturating_add(self.time_of(count)));
        }
    }

    /// How long the bucket still refills.
    fn missing(&self, now: Instant) -> Duration {
        self.full_at.map_or(Duration::ZERO, |full_at| full_at.saturating_duration_since(now))
    }

    /// How long `count` tokens take to come in.
    fn time_of(&self, count: u32) -> Duration {
        let nanos = self.period.as_nanos() * u128::from(count) / u128::from(self.capacity);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// A limit per minute and a limit per hour, both of which must hold.
#[derive(Clone, Debug)]
pub struct RateLimit {
    minute: TokenBucket,
    hour: TokenBucket,
}

impl RateLimit {
    /// Full buckets. Zero allows nothing.
    pub fn new(per_minute: u32, per_hour: u32) -> Self {
        Self { minute: TokenBucket::new(per_minute, MINUTE), hour: TokenBucket::new(per_hour, HOUR) }
    }

    /// Takes `count` from both buckets or from neither.
    ///
    /// # Errors
    /// [`RateLimited`] with the longer of both waits; nothing has been taken then.
    pub fn take(&mut self, count: u32, now: Instant) -> Result<(), RateLimited> {
        self.take_leaving(count, 0, now)
    }

    /// Takes `count` from both buckets when `left` quarters of each one's capacity, rounded down, stay for others.
    ///
    /// # Errors
    /// As [`RateLimit::take`].
    pub fn take_leaving(&mut self, count: u32, left: u32, now: Instant) -> Result<(), RateLimited> {
        let waits = [&self.minute, &self.hour].map(|bucket| bucket.would_take_leaving(count, left, now));
        if let Some(longest) = waits.into_iter().filter_map(Result::err).max_by_key(|wait| wait.retry_after) {
            return Err(longest);
        }
        self.minute.commit(count, now);
        self.hour.commit(count, now);
        Ok(())
    }
}

/// How many messages a channel may emit: `capabilities.channel.emit_rate_limit`.
///
/// Asked by the router before a callback's effects are committed. Messages over the limit stay queued; a channel whose
/// limit is zero may not emit at all.
#[derive(Clone, Debug)]
pub struct ChannelEmitRateLimiter {
    limit: RateLimit,
    may_emit: bool,
}

impl ChannelEmitRateLimiter {
    /// A limiter for this many messages per minute and per hour. Zero allows nothing.
    pub fn new(messages_per_minute: u32, messages_per_hour: u32) -> Self {
        Self {
            limit: RateLimit::new(messages_per_minute, messages_per_hour),
            may_emit: messages_per_minute > 0 && messages_per_hour > 0,
        }
    }

    /// Whether the channel may emit at all: not when one of its limits is zero.
    #[must_use]
    pub fn may_emit(&self) -> bool {
        self.may_emit
    }

    /// Counts `messages` emitted by one callback, all or none.
    ///
    /// More messages than the whole limit are let through when the channel has been quiet long enough, and are then
    /// paid off by a longer wait: a callback is one transaction and cannot be split.
    ///
    /// # Errors
    /// [`RateLimited`] with the time to wait; nothing has been counted then.
    pub fn check(&mut self, messages: u32, now: Instant) -> Result<(), RateLimited> {
        self.limit.take(messages, now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_full_bucket_gives_its_capacity_and_not_one_more() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(60, MINUTE);
        for _ in 0..60 {
            bucket.take(1, now).unwrap();
        }
        assert_eq!(bucket.take(1, now), Err(RateLimited { retry_after: seconds(1) }));
        assert_eq!(bucket.take(1, now + seconds(1)), Ok(()));
        assert!(bucket.take(1, now + seconds(1)).is_err());
    }

    #[test]
    fn there_is_no_second_burst_at_the_edge_of_a_minute() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(60, MINUTE);
        bucket.take(60, start + seconds(59)).unwrap();
        let after_the_edge = (0..60).filter(|_| bucket.take(1, start + seconds(61)).is_ok()).count();
        assert_eq!(after_the_edge, 2);
    }

    #[test]
    fn a_refusal_takes_nothing() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(10, MINUTE);
        bucket.take(6, now).unwrap();
        assert!(bucket.take(5, now).is_err());
        assert_eq!(bucket.take(4, now), Ok(()));
    }

    #[test]
    fn the_wait_it_names_is_exactly_enough() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(7, MINUTE);
        bucket.take(7, now).unwrap();
        let RateLimited { retry_after } = bucket.take(3, now).unwrap_err();
        assert!(bucket.clone().take(3, now + retry_after - Duration::from_nanos(1)).is_err());
        assert_eq!(bucket.take(3, now + retry_after), Ok(()));
    }

    #[test]
    fn zero_allows_nothing_but_nothing() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(0, MINUTE);
        assert_eq!(bucket.take(1, now), Err(RateLimited { retry_after: Duration::MAX }));
        assert_eq!(bucket.take(0, now), Ok(()));
    }

    #[test]
    fn a_zero_for_the_minute_or_the_hour_means_that_nothing_may_be_emitted() {
        for (per_minute, per_hour, may_emit) in [(0, 10, false), (10, 0, false), (0, 0, false), (1, 1, true)]
        {
            let limiter = ChannelEmitRateLimiter::new(per_minute, per_hour);
            assert_eq!(limiter.may_emit(), may_emit, "{per_minute} a minute, {per_hour} an hour");
        }
        let text = RateLimited { retry_after: Duration::MAX }.to_string();
        assert_eq!(text, "over the rate limit, which is 0 and allows none");
    }

    #[test]
    fn taking_none_waits_for_nothing_whatever_is_to_be_left() {
        let now = Instant::now();
        for capacity in [0, 1, 4] {
            let mut limit = RateLimit::new(capacity, capacity);
            let _ = limit.take(capacity, now);
            assert_eq!(limit.take_leaving(0, 2, now), Ok(()), "{capacity}");
        }
    }

    #[test]
    fn the_wait_of_an_error_is_rounded_up_past_its_end() {
        for (wait, expected) in [(0, "1 s"), (999, "1 s"), (1_000, "2 s"), (59_500, "60 s")] {
            let text = RateLimited { retry_after: Duration::from_millis(wait) }.to_string();
            assert_eq!(text, format!("over the rate limit, try again in {expected}"), "{wait} ms");
        }
    }

    #[test]
    fn a_minute_and_an_hour_are_as_long_as_their_names_say() {
        let now = Instant::now();
        for (per_minute, per_hour, wait) in [(1, 100, 60), (100, 1, 3600)] {
            let mut limit = RateLimit::new(per_minute, per_hour);
            limit.take(1, now).unwrap();
            assert_eq!(limit.take(1, now), Err(RateLimited { retry_after: seconds(wait) }));
        }
    }

    #[test]
    fn more_than_the_capacity_waits_for_a_full_bucket_and_is_paid_off() {
        let now = Instant::now();
        let mut limiter = ChannelEmitRateLimiter::new(10, 1000);
        limiter.check(1, now).unwrap();
        assert!(limiter.check(25, now).is_err());
        assert_eq!(limiter.check(25, now + seconds(6)), Ok(()));
        let RateLimited { retry_after } = limiter.check(1, now + seconds(6)).unwrap_err();
        assert_eq!(retry_after, seconds(150 - 54));
    }

    #[test]
    fn the_hour_holds_when_the_minute_would_not() {
        let mut now = Instant::now();
        let mut limit = RateLimit::new(100, 150);
        limit.take(100, now).unwrap();
        now += MINUTE;
        limit.take(50, now).unwrap();
        let RateLimited { retry_after } = limit.take(10, now).unwrap_err();
        assert!(retry_after > MINUTE, "{retry_after:?}");
    }

    #[test]
    fn a_reserved_share_of_the_rate_is_left_for_others() {
        for (capacity, left, given) in
            [(8, 0, 8), (8, 1, 6), (8, 2, 4), (3, 1, 3), (3, 2, 2), (1, 2, 1), (0, 1, 0)]
        {
            let now = Instant::now();
            let mut limit = RateLimit::new(capacity, 1_000);
            let taken = (0..20).filter(|_| limit.take_leaving(1, left, now).is_ok()).count();
            assert_eq!(taken, given, "{left} quarters of {capacity}");
            let rest = (0..20).filter(|_| limit.take(1, now).is_ok()).count();
            assert_eq!(taken + rest, capacity as usize, "{left} quarters of {capacity}");
        }
    }

    #[test]
    fn an_instant_in_the_past_is_survived() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(2, MINUTE);
        bucket.take(2, now).unwrap();
        if let Some(earlier) = now.checked_sub(seconds(1)) {
            assert!(bucket.take(1, earlier).is_err());
        }
    }

    proptest! {
        #[test]
        fn never_more_than_capacity_plus_what_came_in(
            capacity in 1_u32..200,
            takes in prop::collection::vec((0_u64..5_000, 1_u32..5), 1..200),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut bucket = TokenBucket::new(capacity, MINUTE);
            let mut given = 0_u64;
            for (pause_ms, count) in takes {
                now += Duration::from_millis(pause_ms);
                if bucket.take(count, now).is_ok() {
                    given += u64::from(count);
                }
            }
            let came_in = (now - start).as_secs_f64() / 60.0 * f64::from(capacity);
            let most = f64::from(capacity.max(5)) + came_in + 0.001;
            prop_assert!(given as f64 <= most, "{given} of {most}");
        }
    }
}
