//! Which channels this host may write.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::ChannelKey;

/// Which channels this host reads and may write.
#[derive(Clone, Debug, Default)]
pub(crate) enum Scope {
    /// All of them: no other host uses the database.
    #[default]
    All,
    /// Those that it holds.
    Held(HeldChannels),
}

/// The channels that this host holds, each with the epoch in which it does. Clones share them. The
/// thread of the leases changes them, the store reads them; the lock is held for a look.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeldChannels(Arc<Mutex<BTreeMap<ChannelKey, u64>>>);

impl HeldChannels {
    /// The channel is this host's from now on.
    pub(crate) fn hold(&self, channel: ChannelKey, epoch: u64) {
        self.channels().insert(channel, epoch);
    }

    /// The channel is this host's no longer.
    pub(crate) fn let_go(&self, channel: &str) {
        self.channels().remove(channel);
    }

    /// None is this host's any longer.
    pub(crate) fn let_go_of_all(&self) {
        self.channels().clear();
    }

    /// In which epoch the channel is held, if it is.
    pub(crate) fn epoch(&self, channel: &str) -> Option<u64> {
        self.channels().get(channel).copied()
    }

    fn channels(&self) -> MutexGuard<'_, BTreeMap<ChannelKey, u64>> {
        // Plain data that is whole at every moment: a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scope {
    /// Whether what happens in the channel may be stored. Where not only leases decide, what has no lease may: names that are no
    /// channel's belong to the host itself.
    pub(super) fn allows(&self, channel: &str) -> bool {
        match self {
            Self::All => true,
            Self::Held(held) => is_hosts_own(channel) || held.epoch(channel).is_some(),
        }
    }

    /// Under which name the database has it. What is the host's own has the host's name behind it, where there are several.
    pub(super) fn stored_name<'a>(&self, channel: &'a str, host: &str) -> Cow<'a, str> {
        match self {
            Self::Held(_) if is_hosts_own(channel) => format!("{channel}@{host}").into(),
            _ => channel.into(),
        }
    }

    /// The name by which this host knows what the database has under this one; none for what it is not to know.
    pub(super) fn known_name<'a>(&self, stored: &'a str, host: &str) -> Option<&'a str> {
        match self {
            Self::All => Some(stored),
            Self::Held(_) if is_hosts_own(stored) => stored.strip_suffix(host)?.strip_suffix('@'),
            Self::Held(held) => held.epoch(stored).map(|_| stored),
        }
    }
}

/// Whether the name is no channel's: what the host keeps for its agent and its tools under one has a colon in it.
pub(super) fn is_hosts_own(channel: &str) -> bool {
    channel.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_to_channels_that_are_not_leased_are_refused() {
        let held = HeldChannels::default();
        let scope = Scope::Held(held.clone());
        assert!(!scope.allows("a") && scope.allows("agent:reminders") && Scope::All.allows("a"));
        held.hold("a".into(), 7);
        assert!(scope.allows("a") && !scope.allows("b"));
        assert_eq!(held.epoch("a"), Some(7));
        held.let_go("a");
        assert!(!scope.allows("a"));
    }

    #[test]
    fn files_of_one_host_are_not_visible_to_another() {
        let held = HeldChannels::default();
        held.hold("a".into(), 1);
        let scope = Scope::Held(held);
        for (case, name, stored) in [
            ("a channel", "a", "a"),
            ("of the host", "tool:notes", "tool:notes@h1"),
            ("with an @ of its own", "tool:notes:c:ann@x", "tool:notes:c:ann@x@h1"),
        ] {
            assert_eq!(scope.stored_name(name, "h1"), stored, "{case}");
            assert_eq!(scope.known_name(stored, "h1"), Some(name), "{case}");
            assert_eq!(Scope::All.stored_name(name, "h1"), name, "{case}");
        }
        assert_eq!(scope.known_name("tool:notes@h2", "h1"), None);
        assert_eq!(scope.known_name("b", "h1"), None);
    }
}
