//! How many responses each channel's requests got, by status.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::channel::ChannelName;

/// Counts responses to requests for channels. Only channels that have paths are counted, so what is kept is bounded.
#[derive(Debug, Default)]
pub(super) struct ResponseCounts {
    /// By channel, and by the first digit of the status, from 2 to 5. A lock, because responses come from any thread; held to
    /// add one.
    by_channel: Mutex<BTreeMap<ChannelName, [u64; 4]>>,
}

impl ResponseCounts {
    /// Counts a response.
    pub(super) fn note(&self, channel: &ChannelName, status: u16) {
        let Some(class) = usize::from(status / 100).checked_sub(2) else { return };
        let mut counts = self.by_channel.lock().unwrap_or_else(PoisonError::into_inner);
        if !counts.contains_key(channel) {
            counts.insert(channel.clone(), [0; 4]);
        }
        if let Some(count) = counts.get_mut(channel).and_then(|counts| counts.get_mut(class)) {
            *count += 1;
        }
    }

    /// Forgets a channel.
    pub(super) fn remove(&self, channel: &ChannelName) {
        self.by_channel.lock().unwrap_or_else(PoisonError::into_inner).remove(channel);
    }

    /// Responses with 2xx, 3xx, 4xx and 5xx by channel.
    #[cfg(any(feature = "cli", test))]
    pub(super) fn all(&self) -> BTreeMap<ChannelName, [u64; 4]> {
        self.by_channel.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_counted_by_the_first_digit_of_their_status() {
        let counts = ResponseCounts::default();
        let (a, b): (ChannelName, ChannelName) = ("a".parse().unwrap(), "b".parse().unwrap());
        for status in [200, 204, 302, 404, 503, 599] {
            counts.note(&a, status);
        }
        counts.note(&b, 200);
        assert_eq!(counts.all().into_values().collect::<Vec<_>>(), [[2, 1, 1, 2], [1, 0, 0, 0]]);
        counts.remove(&a);
        assert_eq!(counts.all().into_keys().collect::<Vec<_>>(), [b]);
    }
}
