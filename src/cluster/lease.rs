//! Who may write to a channel: a state machine without a clock and without a database.
//!
//! The state is what the database has, and each operation is one transaction on it. Every host is a row with an incarnation and the
//! time, by the database's clock, until which it counts as alive. Every channel is a row with the host that has it and an
//! epoch, which grows each time it is taken.
//!
//! - A host that lives says so again and again ([`Operation::Beat`]).
//! - A host that has not said so in time is fenced by any other one ([`Operation::Fence`]): its incarnation is raised and its channels
//!   are nobody's, in one transaction. Whatever it still sends carries the old incarnation and is refused.
//! - A channel that is nobody's is taken ([`Operation::Take`]), and one that is to move is given up by its own host
//!   ([`Operation::Release`]), after that host has stopped it.
//! - A commit carries incarnation and epoch ([`Operation::Commit`]) and is refused when either is old.
//!
//! So the safety of what is stored depends on no host's clock and on no message that must arrive. `search` goes through all states that hosts with
//! pauses, crashes and lost responses can reach. `table` is the same in SQL.

use std::collections::BTreeMap;

use super::placement::HostNumber;

/// A channel's number.
pub(crate) type ChannelNumber = u32;

/// A host, as the database knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct HostRow {
    /// Raised when a process becomes this host, and when the host is fenced.
    pub(crate) incarnation: u64,
    /// Until when it counts as alive, in milliseconds of the database's clock.
    pub(crate) alive_until_ms: u64,
    /// The number of its last batch.
    pub(crate) last_batch: u64,
}

/// A channel, as the database knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ChannelRow {
    /// Who has it.
    pub(crate) host: Option<HostNumber>,
    /// Raised each time it is taken.
    pub(crate) epoch: u64,
}

/// What the database has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Leases {
    /// The hosts.
    pub(crate) hosts: BTreeMap<HostNumber, HostRow>,
    /// The channels.
    pub(crate) channels: BTreeMap<ChannelNumber, ChannelRow>,
}

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Operation {
    /// A process becomes this host.
    Join {
        /// Which.
        host: HostNumber,
    },
    /// A host lives.
    Beat {
        /// Which.
        host: HostNumber,
        /// As what it has joined.
        incarnation: u64,
    },
    /// A host that has not beaten in time is to lose everything.
    Fence {
        /// Which.
        host: HostNumber,
    },
    /// A host takes a channel that is nobody's.
    Take {
        /// Which host.
        host: HostNumber,
        /// As what it has joined.
        incarnation: u64,
        /// Which channel.
        channel: ChannelNumber,
    },
    /// A host gives up a channel that it has stopped.
    Release {
        /// Which host.
        host: HostNumber,
        /// As what it has joined.
        incarnation: u64,
        /// Which channel.
        channel: ChannelNumber,
        /// In which epoch it had it.
        epoch: u64,
    },
    /// A host writes to a channel.
    Commit {
        /// Which host.
        host: HostNumber,
        /// As what it has joined.
        incarnation: u64,
        /// Which channel.
        channel: ChannelNumber,
        /// In which epoch it has it.
        epoch: u64,
        /// The number of the batch: one after the last one.
        batch: u64,
    },
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum LeaseOutcome {
    /// The host has joined with this incarnation.
    Joined(u64),
    /// The channel is the host's, in this epoch.
    Taken(u64),
    /// It is done.
    Done,
    /// It was done by an earlier try.
    DoneBefore,
    /// The host is not what it was: it has to be restarted.
    Fenced,
    /// The state does not allow it; nothing has changed.
    Refused,
}

impl Leases {
    /// Runs a transaction at this time of the database's clock; a host that beats lives for `time_to_live_ms` from then on.
    pub(crate) fn apply(&mut self, operation: &Operation, now_ms: u64, time_to_live_ms: u64) -> LeaseOutcome {
        match *operation {
            Operation::Join { host } => self.join(host, now_ms + time_to_live_ms),
            Operation::Beat { host, incarnation } => match self.host(host, incarnation) {
                Some(row) => {
                    row.alive_until_ms = now_ms + time_to_live_ms;
                    LeaseOutcome::Done
                }
                None => LeaseOutcome::Fenced,
            },
            Operation::Fence { host } => self.fence(host, now_ms),
            Operation::Take { host, incarnation, channel } => self.take(host, incarnation, channel),
            Operation::Release { host, incarnation, channel, epoch } => {
                self.release(host, incarnation, channel, epoch)
            }
            Operation::Commit { host, incarnation, channel, epoch, batch } => {
                self.commit(host, incarnation, channel, epoch, batch)
            }
        }
    }

    /// The row of a host, if it is this incarnation.
    fn host(&mut self, host: HostNumber, incarnation: u64) -> Option<&mut HostRow> {
        self.hosts.get_mut(&host).filter(|row| row.incarnation == incarnation)
    }

    /// An earlier process of this host is fenced by it, so what that one had is nobody's.
    fn join(&mut self, host: HostNumber, alive_until_ms: u64) -> LeaseOutcome {
        self.free_channels_of(host);
        let row = self.hosts.entry(host).or_default();
        row.incarnation += 1;
        row.alive_until_ms = alive_until_ms;
        LeaseOutcome::Joined(row.incarnation)
    }

    fn fence(&mut self, host: HostNumber, now_ms: u64) -> LeaseOutcome {
        match self.hosts.get_mut(&host) {
            Some(row)
                if row.alive_until_ms < now_ms && self.channels.values().any(|it| it.host == Some(host)) =>
            {
                row.incarnation += 1;
                self.free_channels_of(host);
                LeaseOutcome::Done
            }
            _ => LeaseOutcome::Refused,
        }
    }

    fn free_channels_of(&mut self, host: HostNumber) {
        for channel in self.channels.values_mut().filter(|channel| channel.host == Some(host)) {
            channel.host = None;
        }
    }

    fn take(&mut self, host: HostNumber, incarnation: u64, channel: ChannelNumber) -> LeaseOutcome {
        if self.host(host, incarnation).is_none() {
            return LeaseOutcome::Fenced;
        }
        let row = self.channels.entry(channel).or_default();
        match row.host {
            // An earlier try came through, and its response was lost: the host has used this epoch for nothing yet.
            Some(owner) if owner == host => LeaseOutcome::Taken(row.epoch),
            Some(_) => LeaseOutcome::Refused,
            None => {
                row.host = Some(host);
                row.epoch += 1;
                LeaseOutcome::Taken(row.epoch)
            }
        }
    }

    fn release(
        &mut self,
        host: HostNumber,
        incarnation: u64,
        channel: ChannelNumber,
        epoch: u64,
    ) -> LeaseOutcome {
        if self.host(host, incarnation).is_none() {
            return LeaseOutcome::Fenced;
        }
        match self.channels.get_mut(&channel) {
            Some(row) if row.host == Some(host) && row.epoch == epoch => {
                row.host = None;
                LeaseOutcome::Done
            }
            _ => LeaseOutcome::DoneBefore,
        }
    }

    fn commit(
        &mut self,
        host: HostNumber,
        incarnation: u64,
        channel: ChannelNumber,
        epoch: u64,
        batch: u64,
    ) -> LeaseOutcome {
        let owned = ChannelRow { host: Some(host), epoch };
        let is_owner = self.channels.get(&channel) == Some(&owned);
        let Some(row) = self.host(host, incarnation) else { return LeaseOutcome::Fenced };
        if batch <= row.last_batch {
            return LeaseOutcome::DoneBefore;
        }
        if !is_owner {
            return LeaseOutcome::Refused;
        }
        row.last_batch = batch;
        LeaseOutcome::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: u64 = 10;

    fn two_hosts() -> Leases {
        let mut leases = Leases::default();
        leases.apply(&Operation::Join { host: 1 }, 0, TTL);
        leases.apply(&Operation::Join { host: 2 }, 0, TTL);
        leases
    }

    fn take(host: HostNumber) -> Operation {
        Operation::Take { host, incarnation: 1, channel: 1 }
    }

    fn commit(host: HostNumber, incarnation: u64, epoch: u64, batch: u64) -> Operation {
        Operation::Commit { host, incarnation, channel: 1, epoch, batch }
    }

    #[test]
    fn a_channel_is_one_hosts_until_that_host_gives_it_up() {
        let mut leases = two_hosts();
        assert_eq!(leases.apply(&take(1), 1, TTL), LeaseOutcome::Taken(1));
        assert_eq!(leases.apply(&take(1), 1, TTL), LeaseOutcome::Taken(1), "the response was lost");
        assert_eq!(leases.apply(&take(2), 1, TTL), LeaseOutcome::Refused);
        assert_eq!(leases.apply(&commit(1, 1, 1, 1), 2, TTL), LeaseOutcome::Done);
        let release = Operation::Release { host: 1, incarnation: 1, channel: 1, epoch: 1 };
        assert_eq!(leases.apply(&release, 3, TTL), LeaseOutcome::Done);
        assert_eq!(leases.apply(&release, 3, TTL), LeaseOutcome::DoneBefore);
        assert_eq!(leases.apply(&take(2), 4, TTL), LeaseOutcome::Taken(2));
        assert_eq!(leases.apply(&commit(1, 1, 1, 2), 5, TTL), LeaseOutcome::Refused);
        assert_eq!(leases.apply(&release, 6, TTL), LeaseOutcome::DoneBefore, "it is another host's by now");
        assert_eq!(leases.channels[&1].host, Some(2));
    }

    #[test]
    fn a_host_is_fenced_after_its_time_and_not_before() {
        let mut leases = two_hosts();
        leases.apply(&take(1), 0, TTL);
        let fence = Operation::Fence { host: 1 };
        assert_eq!(leases.apply(&fence, TTL, TTL), LeaseOutcome::Refused);
        assert_eq!(leases.apply(&fence, TTL + 1, TTL), LeaseOutcome::Done);
        assert_eq!(leases.apply(&fence, TTL + 1, TTL), LeaseOutcome::Refused, "it has nothing more to lose");
        for late in [commit(1, 1, 1, 1), take(1), Operation::Beat { host: 1, incarnation: 1 }] {
            assert_eq!(leases.apply(&late, TTL + 2, TTL), LeaseOutcome::Fenced, "{late:?}");
        }
        assert_eq!(leases.apply(&take(2), TTL + 2, TTL), LeaseOutcome::Taken(2));
    }

    #[test]
    fn a_beat_moves_the_time() {
        let mut leases = two_hosts();
        leases.apply(&take(1), 0, TTL);
        assert_eq!(leases.apply(&Operation::Beat { host: 1, incarnation: 1 }, 9, TTL), LeaseOutcome::Done);
        assert_eq!(leases.apply(&Operation::Fence { host: 1 }, 19, TTL), LeaseOutcome::Refused);
        assert_eq!(leases.apply(&Operation::Fence { host: 1 }, 20, TTL), LeaseOutcome::Done);
    }

    #[test]
    fn a_second_process_of_a_host_ends_the_first_one() {
        let mut leases = two_hosts();
        leases.apply(&take(1), 0, TTL);
        assert_eq!(leases.apply(&Operation::Join { host: 1 }, 1, TTL), LeaseOutcome::Joined(2));
        assert_eq!(leases.apply(&commit(1, 1, 1, 1), 1, TTL), LeaseOutcome::Fenced);
        let again = Operation::Take { host: 1, incarnation: 2, channel: 1 };
        assert_eq!(leases.apply(&again, 1, TTL), LeaseOutcome::Taken(2));
    }

    #[test]
    fn a_batch_that_is_sent_twice_is_kept_once() {
        let mut leases = two_hosts();
        leases.apply(&take(1), 0, TTL);
        assert_eq!(leases.apply(&commit(1, 1, 1, 1), 0, TTL), LeaseOutcome::Done);
        assert_eq!(leases.apply(&commit(1, 1, 1, 1), 0, TTL), LeaseOutcome::DoneBefore);
        assert_eq!(leases.apply(&commit(1, 1, 1, 2), 0, TTL), LeaseOutcome::Done);
    }
}
