//! What the log was told lately: a stranger who asks for the same thing ten thousand times writes one line.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::channel::ChannelName;

/// How long nothing more is said of a channel.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// When the log was told of each channel. No larger than there are channels.
#[derive(Debug, Default)]
pub(crate) struct Told {
    at: HashMap<ChannelName, Instant>,
}

impl Told {
    /// Whether it is time to say it (again); if it is, it counts as said.
    pub(crate) fn is_due(&mut self, channel: &ChannelName, now: Instant) -> bool {
        let lately = |at: &Instant| now.saturating_duration_since(*at) < AGAIN_AFTER;
        if self.at.get(channel).is_some_and(lately) {
            return false;
        }
        self.at.insert(channel.clone(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_spoken_of_once_a_minute() {
        let (one, other): (ChannelName, ChannelName) = ("one".parse().unwrap(), "other".parse().unwrap());
        let mut told = Told::default();
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let said: Vec<bool> =
            [0, 0, 59, 60, 61, 120].map(|seconds| told.is_due(&one, after(seconds))).to_vec();
        assert_eq!(said, [true, false, false, true, false, true]);
        assert!(told.is_due(&other, after(120)));
    }
}
