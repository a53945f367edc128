//! How often one source address may fail to authenticate.
//!
//! A token bucket for each address: a failure takes a token, time brings them back, and while there is none every
//! request from there is answered 429 before anything of it is checked. A success takes nothing. IPv6 addresses count
//! by their /64, which is what one customer usually gets.
//!
//! Behind a tunnel or proxy all requests come from one address, so a stranger's failures would lock the provider out:
//! name it in `trusted_proxies`, and the address that it reports is used.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::net::address_range::sender_key;

/// The bucket's size and how it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptLimits {
    /// Failures at once, default 20.
    pub burst: u32,
    /// How long until one more failure is allowed, default 6 s (ten a minute).
    pub refill: Duration,
    /// Addresses that are remembered, default 4,096. The one that failed longest ago makes room.
    pub max_addresses: usize,
}

impl Default for AttemptLimits {
    fn default() -> Self {
        Self { burst: 20, refill: Duration::from_secs(6), max_addresses: 4096 }
    }
}

/// Failed authentications by source address.
#[derive(Debug)]
pub struct FailedAttempts {
    limits: AttemptLimits,
    by_address: HashMap<IpAddr, Bucket>,
    /// The address that failed longest ago first.
    by_last_failure: BTreeMap<u64, IpAddr>,
    next_serial: u64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// When the bucket will be full again: all there is to know about a token bucket.
    full_at: Instant,
    serial: u64,
}

impl FailedAttempts {
    /// An empty memory. A `burst` or `max_addresses` of 0 counts as 1; a `burst` above a million or a `refill` above a
    /// day counts as that.
    pub fn new(limits: AttemptLimits) -> Self {
        let limits = AttemptLimits {
            burst: limits.burst.clamp(1, 1_000_000),
            refill: limits.refill.min(Duration::from_secs(24 * 60 * 60)),
            max_addresses: limits.max_addresses.max(1),
        };
        Self { limits, by_address: HashMap::new(), by_last_failure: BTreeMap::new(), next_serial: 0 }
    }

    /// Whether requests from this address are refused now; then how long until they are looked at again, for
    /// `Retry-After`.
    pub fn blocked(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let bucket = self.by_address.get(&sender_key(address))?;
        let until_full = bucket.full_at.saturating_duration_since(now);
        let wait = until_full.saturating_sub(self.limits.refill * (self.limits.burst - 1));
        (!wait.is_zero()).then_some(wait)
    }

    /// Counts a failure.
    pub fn failed(&mut self, address: IpAddr, now: Instant) {
        let source = sender_key(address);
        let previous = self.by_address.remove(&source);
        if let Some(bucket) = previous {
            self.by_last_failure.remove(&bucket.serial);
        } else {
            self.make_room();
        }
        let spent_until = previous.map_or(now, |bucket| bucket.full_at.max(now));
        // Requests that were already on their way when the bucket ran dry do not lengthen the wait.
        let full_at = (spent_until + self.limits.refill).min(now + self.limits.refill * self.limits.burst);
        let serial = self.next_serial;
        self.next_serial += 1;
        self.by_address.insert(source, Bucket { full_at, serial });
        self.by_last_failure.insert(serial, source);
    }

    /// Addresses that are remembered.
    pub fn len(&self) -> usize {
        self.by_address.len()
    }

    /// Whether nobody failed.
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    fn make_room(&mut self) {
        while self.by_address.len() >= self.limits.max_addresses {
            let Some((_, oldest)) = self.by_last_failure.pop_first() else { return };
            self.by_address.remove(&oldest);
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

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn limited(burst: u32, max_addresses: usize) -> FailedAttempts {
        FailedAttempts::new(AttemptLimits { burst, refill: Duration::from_secs(6), max_addresses })
    }

    #[test]
    fn the_burst_is_allowed_and_one_more_is_not() {
        let mut attempts = limited(3, 10);
        let now = Instant::now();
        let stranger = address("192.0.2.1");
        for _ in 0..3 {
            assert_eq!(attempts.blocked(stranger, now), None);
            attempts.failed(stranger, now);
        }
        assert_eq!(attempts.blocked(stranger, now), Some(Duration::from_secs(6)));
        assert_eq!(attempts.blocked(address("192.0.2.2"), now), None, "others do not notice");
    }

    #[test]
    fn time_brings_attempts_back_one_by_one_and_no_more_than_the_burst() {
        let mut attempts = limited(3, 10);
        let start = Instant::now();
        let stranger = address("192.0.2.1");
        for _ in 0..3 {
            attempts.failed(stranger, start);
        }
        let after = |secs| start + Duration::from_secs(secs);
        assert_eq!(attempts.blocked(stranger, after(5)), Some(Duration::from_secs(1)));
        assert_eq!(attempts.blocked(stranger, after(6)), None);
        attempts.failed(stranger, after(6));
        assert!(attempts.blocked(stranger, after(6)).is_some(), "one token came back, not three");
        for _ in 0..3 {
            assert_eq!(attempts.blocked(stranger, after(1000)), None);
            attempts.failed(stranger, after(1000));
        }
        assert!(attempts.blocked(stranger, after(1000)).is_some(), "a long wait fills the bucket once");
    }

    #[test]
    fn failures_beyond_the_burst_do_not_lengthen_the_wait_without_end() {
        let mut attempts = limited(3, 10);
        let now = Instant::now();
        for _ in 0..10_000 {
            attempts.failed(address("192.0.2.1"), now);
        }
        assert_eq!(attempts.blocked(address("192.0.2.1"), now), Some(Duration::from_secs(6)));
    }

    #[test]
    fn absurd_limits_are_survived() {
        let limits = AttemptLimits { burst: u32::MAX, refill: Duration::MAX, max_addresses: 0 };
        let mut attempts = FailedAttempts::new(limits);
        let now = Instant::now();
        for number in 0..3 {
            attempts.failed(IpAddr::from([192, 0, 2, number]), now);
        }
        assert_eq!(attempts.len(), 1);
        let mut attempts =
            FailedAttempts::new(AttemptLimits { burst: 0, refill: Duration::ZERO, max_addresses: 1 });
        attempts.failed(address("192.0.2.1"), now);
        assert_eq!(attempts.blocked(address("192.0.2.1"), now), None, "no pause was asked for");
    }

    #[test]
    fn an_ipv6_network_is_one_source_and_mapped_ipv4_is_ipv4() {
        let mut attempts = limited(1, 10);
        let now = Instant::now();
        attempts.failed(address("2001:db8:1:2::1"), now);
        attempts.failed(address("::ffff:192.0.2.1"), now);
        for (text, blocked) in [
            ("2001:db8:1:2:ffff:ffff:ffff:ffff", true),
            ("2001:db8:1:3::1", false),
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.2.2", false),
        ] {
            assert_eq!(attempts.blocked(address(text), now).is_some(), blocked, "{text}");
        }
    }

    #[test]
    fn memory_is_bounded_and_the_longest_quiet_address_goes_first() {
        let mut attempts = limited(1, 3);
        let now = Instant::now();
        let host = |number: u8| IpAddr::from([192, 0, 2, number]);
        for number in 0..3 {
            attempts.failed(host(number), now);
        }
        attempts.failed(host(0), now);
        assert_eq!(attempts.len(), 3);
        attempts.failed(host(3), now);
        assert_eq!(attempts.len(), 3);
        assert_eq!(attempts.by_last_failure.len(), 3);
        assert_eq!(attempts.blocked(host(1), now), None, "forgotten");
        for number in [0, 2, 3] {
            assert!(attempts.blocked(host(number), now).is_some(), "{number}");
        }
    }
}
