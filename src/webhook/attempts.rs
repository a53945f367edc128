//! How often one source address may fail to authenticate at one channel.
//!
//! A token bucket for each channel and address: a failure takes a token, and time refills them. What the limit does is
//! decided by the caller: a failed request over it gets 429 and is not logged, and only where a plain shared secret
//! could be guessed is a request also refused before it is checked. An authentic signature is never refused because of
//! other requests: anybody can point a provider's own servers at this host. IPv6 addresses count by their /64, which is
//! what one customer usually gets.
//!
//! Behind a tunnel or proxy all requests come from one address: name it in `trusted_proxies`, and the address that it
//! reports is used.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::channel::ChannelName;
use crate::model::deadline::deadline_after;
use crate::net::address_range::sender_key;

/// The bucket's size and how it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptLimits {
    /// Failures at once, default 20.
    pub burst: u32,
    /// How long until one more failure is allowed, default 6 s (ten a minute).
    pub refill: Duration,
    /// Pairs of channel and address that are remembered, default 4,096. The one that failed longest ago makes room.
    pub max_sources: usize,
}

impl Default for AttemptLimits {
    fn default() -> Self {
        Self { burst: 20, refill: Duration::from_secs(6), max_sources: 4096 }
    }
}

/// Failed authentications by channel and source address.
#[derive(Debug)]
pub struct FailedAttempts {
    limits: AttemptLimits,
    by_source: HashMap<AttemptSource, Bucket>,
    /// The source that failed longest ago first.
    by_last_failure: BTreeMap<u64, AttemptSource>,
    next_serial: u64,
}

/// Who failed, and where.
type AttemptSource = (ChannelName, IpAddr);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// When the bucket will be full again: all there is to know about a token bucket.
    full_at: Instant,
    serial: u64,
    /// Failures over the limit since the last one within it.
    over_limit: u64,
}

/// Whether a failure was within the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// It was; log it, with the number of failures since the last one that was logged.
    WithinLimit {
        /// Failures over the limit that were not logged.
        unlogged: u64,
    },
    /// It was not; leave it out of the log and respond with 429.
    OverLimit {
        /// How long until a failure is within the limit again, for `Retry-After`.
        retry_after: Duration,
    },
}

impl FailedAttempts {
    /// An empty memory. A `burst` or `max_sources` of 0 counts as 1; a `burst` above a million or a `refill` above a
    /// day counts as that.
    pub fn new(limits: AttemptLimits) -> Self {
        let limits = AttemptLimits {
            burst: limits.burst.clamp(1, 1_000_000),
            refill: limits.refill.min(Duration::from_secs(24 * 60 * 60)),
            max_sources: limits.max_sources.max(1),
        };
        Self { limits, by_source: HashMap::new(), by_last_failure: BTreeMap::new(), next_serial: 0 }
    }

    /// How long until a failure from this address at this channel is within the limit; `None` when one would be now.
    pub fn blocked(&self, channel: &ChannelName, address: IpAddr, now: Instant) -> Option<Duration> {
        let bucket = self.by_source.get(&(channel.clone(), sender_key(address)))?;
        self.wait(bucket, now)
    }

    fn wait(&self, bucket: &Bucket, now: Instant) -> Option<Duration> {
        let until_full = bucket.full_at.saturating_duration_since(now);
        let wait = until_full.saturating_sub(self.limits.refill * (self.limits.burst - 1));
        (!wait.is_zero()).then_some(wait)
    }

    /// Counts a failure, and says whether it was within the limit.
    pub fn failed(&mut self, channel: &ChannelName, address: IpAddr, now: Instant) -> AttemptOutcome {
        let source = (channel.clone(), sender_key(address));
        let previous = self.by_source.remove(&source);
        if let Some(bucket) = previous {
            self.by_last_failure.remove(&bucket.serial);
        } else {
            self.make_room();
        }
        let failure = match previous.and_then(|bucket| self.wait(&bucket, now)) {
            Some(retry_after) => AttemptOutcome::OverLimit { retry_after },
            None => AttemptOutcome::WithinLimit { unlogged: previous.map_or(0, |bucket| bucket.over_limit) },
        };
        let (full_at, over_limit) = match (failure, previous) {
            // A failure over the limit does not lengthen the wait.
            (AttemptOutcome::OverLimit { .. }, Some(bucket)) => {
                (bucket.full_at, bucket.over_limit.saturating_add(1))
            }
            (_, bucket) => {
                let spent_until = bucket.map_or(now, |bucket| bucket.full_at.max(now));
                (deadline_after(spent_until, self.limits.refill), 0)
            }
        };
        let serial = self.next_serial;
        self.next_serial += 1;
        self.by_source.insert(source.clone(), Bucket { full_at, serial, over_limit });
        self.by_last_failure.insert(serial, source);
        failure
    }

    /// Pairs of channel and address that are remembered.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_source.len()
    }

    fn make_room(&mut self) {
        while self.by_source.len() >= self.limits.max_sources {
            let Some((_, oldest)) = self.by_last_failure.pop_first() else { return };
            self.by_source.remove(&oldest);
        }
    }
}

impl Default for FailedAttempts {
    fn default() -> Self {
        Self::new(AttemptLimits::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> ChannelName {
        name.parse().unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn limited(burst: u32, max_sources: usize) -> FailedAttempts {
        FailedAttempts::new(AttemptLimits { burst, refill: Duration::from_secs(6), max_sources })
    }

    #[test]
    fn the_burst_is_allowed_and_one_more_is_not() {
        let mut attempts = limited(3, 10);
        let now = Instant::now();
        let client = address("192.0.2.1");
        for _ in 0..3 {
            assert_eq!(attempts.blocked(&channel("a"), client, now), None);
            attempts.failed(&channel("a"), client, now);
        }
        assert_eq!(attempts.blocked(&channel("a"), client, now), Some(Duration::from_secs(6)));
        assert_eq!(attempts.blocked(&channel("a"), address("192.0.2.2"), now), None, "others do not notice");
    }

    #[test]
    fn a_failure_at_one_channel_is_none_at_another() {
        let mut attempts = limited(1, 10);
        let now = Instant::now();
        attempts.failed(&channel("a"), address("192.0.2.1"), now);
        assert!(attempts.blocked(&channel("a"), address("192.0.2.1"), now).is_some());
        assert_eq!(attempts.blocked(&channel("b"), address("192.0.2.1"), now), None);
    }

    #[test]
    fn failures_over_the_limit_are_counted_for_the_next_line_of_the_log() {
        let mut attempts = limited(2, 10);
        let start = Instant::now();
        let mut fail =
            |secs| attempts.failed(&channel("a"), address("192.0.2.1"), start + Duration::from_secs(secs));
        assert_eq!(fail(0), AttemptOutcome::WithinLimit { unlogged: 0 });
        assert_eq!(fail(0), AttemptOutcome::WithinLimit { unlogged: 0 });
        for _ in 0..3 {
            assert_eq!(fail(0), AttemptOutcome::OverLimit { retry_after: Duration::from_secs(6) });
        }
        assert_eq!(fail(6), AttemptOutcome::WithinLimit { unlogged: 3 });
        assert_eq!(fail(12), AttemptOutcome::WithinLimit { unlogged: 0 });
    }

    #[test]
    fn time_brings_attempts_back_one_by_one_and_no_more_than_the_burst() {
        let mut attempts = limited(3, 10);
        let start = Instant::now();
        let client = address("192.0.2.1");
        for _ in 0..3 {
            attempts.failed(&channel("a"), client, start);
        }
        let after = |secs| start + Duration::from_secs(secs);
        assert_eq!(attempts.blocked(&channel("a"), client, after(5)), Some(Duration::from_secs(1)));
        assert_eq!(attempts.blocked(&channel("a"), client, after(6)), None);
        attempts.failed(&channel("a"), client, after(6));
        assert!(
            attempts.blocked(&channel("a"), client, after(6)).is_some(),
            "one token came back, not three"
        );
        for _ in 0..3 {
            assert_eq!(attempts.blocked(&channel("a"), client, after(1000)), None);
            attempts.failed(&channel("a"), client, after(1000));
        }
        assert!(
            attempts.blocked(&channel("a"), client, after(1000)).is_some(),
            "a long wait fills the bucket once"
        );
    }

    #[test]
    fn failures_beyond_the_burst_do_not_lengthen_the_wait_without_end() {
        let mut attempts = limited(3, 10);
        let now = Instant::now();
        for _ in 0..10_000 {
            attempts.failed(&channel("a"), address("192.0.2.1"), now);
        }
        assert_eq!(attempts.blocked(&channel("a"), address("192.0.2.1"), now), Some(Duration::from_secs(6)));
    }

    #[test]
    fn absurd_limits_are_survived() {
        let limits = AttemptLimits { burst: u32::MAX, refill: Duration::MAX, max_sources: 0 };
        let mut attempts = FailedAttempts::new(limits);
        let now = Instant::now();
        for number in 0..3 {
            attempts.failed(&channel("a"), IpAddr::from([192, 0, 2, number]), now);
        }
        assert_eq!(attempts.len(), 1);
        let mut attempts =
            FailedAttempts::new(AttemptLimits { burst: 0, refill: Duration::ZERO, max_sources: 1 });
        attempts.failed(&channel("a"), address("192.0.2.1"), now);
        assert_eq!(
            attempts.blocked(&channel("a"), address("192.0.2.1"), now),
            None,
            "no pause was asked for"
        );
    }

    #[test]
    fn an_attempt_comes_back_after_a_day_at_the_latest() {
        let day = Duration::from_secs(86_400);
        let second = Duration::from_secs(1);
        for (refill, wait) in [(day - second, day - second), (day, day), (day + second, day)] {
            let mut attempts = FailedAttempts::new(AttemptLimits { burst: 1, refill, max_sources: 1 });
            let now = Instant::now();
            attempts.failed(&channel("a"), address("192.0.2.1"), now);
            assert_eq!(attempts.blocked(&channel("a"), address("192.0.2.1"), now), Some(wait));
        }
    }

    #[test]
    fn an_ipv6_network_is_one_source_and_mapped_ipv4_is_ipv4() {
        let mut attempts = limited(1, 10);
        let now = Instant::now();
        attempts.failed(&channel("a"), address("2001:db8:1:2::1"), now);
        attempts.failed(&channel("a"), address("::ffff:192.0.2.1"), now);
        for (text, blocked) in [
            ("2001:db8:1:2:ffff:ffff:ffff:ffff", true),
            ("2001:db8:1:3::1", false),
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.2.2", false),
        ] {
            assert_eq!(attempts.blocked(&channel("a"), address(text), now).is_some(), blocked, "{text}");
        }
    }

    #[test]
    fn memory_is_bounded_and_the_longest_quiet_address_goes_first() {
        let mut attempts = limited(1, 3);
        let now = Instant::now();
        let host = |number: u8| IpAddr::from([192, 0, 2, number]);
        for number in 0..3 {
            attempts.failed(&channel("a"), host(number), now);
        }
        attempts.failed(&channel("a"), host(0), now);
        assert_eq!(attempts.len(), 3);
        attempts.failed(&channel("a"), host(3), now);
        assert_eq!(attempts.len(), 3);
        assert_eq!(attempts.by_last_failure.len(), 3);
        assert_eq!(attempts.blocked(&channel("a"), host(1), now), None, "forgotten");
        for number in [0, 2, 3] {
            assert!(attempts.blocked(&channel("a"), host(number), now).is_some(), "{number}");
        }
    }
}
