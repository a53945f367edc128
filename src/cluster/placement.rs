//! Which host is to have which channel: the same response at every host that looks at the same state.
//!
//! Channels are spread by the hosts' weights, and as few of them move as can be. A host that drains is to have none. A channel goes only
//! to a host that offers it in the version that ran last.

use std::collections::BTreeMap;

/// A host's number.
pub(crate) type HostNumber = u32;
/// What a guest and its capability file are, as one number.
pub(crate) type Digest = [u8; 32];

/// A host that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its number.
    pub(crate) host: HostNumber,
    /// Its name.
    pub(crate) name: String,
    /// How much it takes, compared with others; at least 1.
    pub(crate) weight: u32,
    /// It is to have no channels.
    pub(crate) is_draining: bool,
    /// The channels that it has the files of.
    pub(crate) offers: BTreeMap<String, Digest>,
}

/// A channel that is to run somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its name.
    pub(crate) name: String,
    /// Who has it.
    pub(crate) host: Option<HostNumber>,
    /// Which version of it ran last, anywhere.
    pub(crate) digest: Option<Digest>,
}

/// Why a host does not take a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlacementRefusal {
    /// It is to have no channels.
    Draining,
    /// It has no files of it, or is not to have it.
    NotOffered,
    /// It has another version of it than the one that ran last.
    OtherVersion,
}

impl Candidate {
    /// Whether it may have the channel.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn fits(&self, channel: &Wanted) -> Result<(), PlacementRefusal> {
        match self.offers.get(&channel.name) {
            _ if self.is_draining => Err(PlacementRefusal::Draining),
            None => Err(PlacementRefusal::NotOffered),
            // Whoever runs it decides about its version: it has been upgraded there.
            Some(_) if channel.host == Some(self.host) => Ok(()),
            Some(digest) if channel.digest.is_some_and(|last| last != *digest) => {
                Err(PlacementRefusal::OtherVersion)
            }
            Some(_) => Ok(()),
        }
    }
}

/// Where each channel is to be; one that no host may have is missing.
pub(crate) fn place(hosts: &[Candidate], channels: &[Wanted]) -> BTreeMap<String, HostNumber> {
    let mut spread = Placement::new(hosts, channels);
    spread.keep_what_fits();
    spread.place_the_rest();
    spread.placed
}

struct Placement<'a> {
    hosts: &'a [Candidate],
    /// Those that few hosts may have come first: the others find room around them.
    channels: Vec<&'a Wanted>,
    placed: BTreeMap<String, HostNumber>,
    counts: BTreeMap<HostNumber, u64>,
}

impl<'a> Placement<'a> {
    fn new(hosts: &'a [Candidate], channels: &'a [Wanted]) -> Self {
        let mut channels: Vec<&Wanted> = channels.iter().collect();
        let fitting = |channel: &Wanted| hosts.iter().filter(|host| host.fits(channel).is_ok()).count();
        channels.sort_by_cached_key(|channel| (fitting(channel), channel.name.clone()));
        Self { hosts, channels, placed: BTreeMap::new(), counts: BTreeMap::new() }
    }

    /// Leaves channels where they are, up to the share of their host.
    fn keep_what_fits(&mut self) {
        let shares = self.shares();
        for channel in self.channels.clone() {
            let Some(host) = self.hosts.iter().find(|host| channel.host == Some(host.host)) else { continue };
            let count = self.counts.get(&host.host).copied().unwrap_or(0);
            if host.fits(channel).is_ok() && count < shares.get(&host.host).copied().unwrap_or(0) {
                self.put(channel, host.host);
            }
        }
    }

    /// How many channels each host is to have, whoever has them now: one after the other goes to the host that has least for its weight.
    fn shares(&self) -> BTreeMap<HostNumber, u64> {
        let mut shares = BTreeMap::new();
        for channel in &self.channels {
            if let Some(host) = self.least_loaded(channel, &shares) {
                *shares.entry(host).or_insert(0) += 1;
            }
        }
        shares
    }

    fn place_the_rest(&mut self) {
        for channel in self.channels.clone() {
            if !self.placed.contains_key(&channel.name)
                && let Some(host) = self.least_loaded(channel, &self.counts)
            {
                self.put(channel, host);
            }
        }
    }

    fn put(&mut self, channel: &Wanted, host: HostNumber) {
        self.placed.insert(channel.name.clone(), host);
        *self.counts.entry(host).or_insert(0) += 1;
    }

    /// The host that has least for its weight, of those that may have the channel; of equal ones the first by name.
    fn least_loaded(&self, channel: &Wanted, counts: &BTreeMap<HostNumber, u64>) -> Option<HostNumber> {
        let fitting = self.hosts.iter().filter(|host| host.fits(channel).is_ok());
        let load = |host: &Candidate| {
            let count = counts.get(&host.host).copied().unwrap_or(0) + 1;
            // Fractions compared without dividing: thousandths are fine enough for weights up to 1,000.
            count * 1_000_000 / u64::from(host.weight.max(1))
        };
        fitting.min_by_key(|host| (load(host), host.name.clone())).map(|host| host.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: HostNumber, weight: u32, channels: &[&str]) -> Candidate {
        let offers = channels.iter().map(|name| ((*name).to_owned(), [0; 32])).collect();
        Candidate { host: number, name: format!("h{number}"), weight, is_draining: false, offers }
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|at| format!("c{at:02}")).collect()
    }

    fn wanted(names: &[String], host: impl Fn(usize) -> Option<HostNumber>) -> Vec<Wanted> {
        let of = |(at, name): (usize, &String)| Wanted { name: name.clone(), host: host(at), digest: None };
        names.iter().enumerate().map(of).collect()
    }

    fn all_of(number: HostNumber, weight: u32, names: &[String]) -> Candidate {
        host(number, weight, &names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn count(placed: &BTreeMap<String, HostNumber>, host: HostNumber) -> usize {
        placed.values().filter(|placed| **placed == host).count()
    }

    #[test]
    fn channels_are_spread_by_weight() {
        let names = names(30);
        for (weights, expected) in
            [([1, 1, 1], [10, 10, 10]), ([1, 2, 3], [5, 10, 15]), ([1000, 1, 1], [30, 0, 0])]
        {
            let hosts: Vec<_> =
                weights.iter().zip(1..).map(|(weight, number)| all_of(number, *weight, &names)).collect();
            let placed = place(&hosts, &wanted(&names, |_| None));
            assert_eq!([1, 2, 3].map(|host| count(&placed, host)), expected, "{weights:?}");
        }
    }

    #[test]
    fn well_placed_channels_stay_and_a_new_host_gets_its_share() {
        let names = names(30);
        let hosts: Vec<_> = [1, 2, 3].map(|number| all_of(number, 1, &names)).into();
        let before = wanted(&names, |at| Some(at as u32 % 2 + 1));
        let placed = place(&hosts[..2], &before);
        assert!(before.iter().all(|channel| channel.host == Some(placed[&channel.name])), "nothing moves");
        let placed = place(&hosts, &before);
        assert_eq!([1, 2, 3].map(|host| count(&placed, host)), [10, 10, 10]);
        let moved = before.iter().filter(|channel| channel.host != Some(placed[&channel.name])).count();
        assert_eq!(moved, 10, "only what the new host gets");
        let after = wanted(&names, |at| Some(placed[&names[at]]));
        assert_eq!(place(&hosts, &after), placed, "and then nothing more");
    }

    #[test]
    fn a_host_that_drains_or_is_gone_leaves_its_channels_to_the_others() {
        let names = names(10);
        let mut hosts: Vec<_> = [1, 2].map(|number| all_of(number, 1, &names)).into();
        hosts[0].is_draining = true;
        let channels = wanted(&names, |_| Some(1));
        assert_eq!(count(&place(&hosts, &channels), 2), 10);
        assert_eq!(count(&place(&hosts[1..], &channels), 2), 10);
        assert_eq!(place(&hosts[..1], &channels), BTreeMap::new());
    }

    #[test]
    fn a_channel_goes_only_where_it_is_offered_in_its_version() {
        let mut hosts = vec![host(1, 1, &["a", "b"]), host(2, 1, &["b"])];
        let channel = |name: &str, host, digest| Wanted { name: name.to_owned(), host, digest };
        let placed = place(&hosts, &[channel("a", None, None), channel("b", None, None)]);
        assert_eq!((placed["a"], placed["b"]), (1, 2), "the one that can only be there comes first");
        hosts[1].offers.insert("a".to_owned(), [1; 32]);
        let other = channel("a", None, Some([1; 32]));
        assert_eq!(place(&hosts, std::slice::from_ref(&other))["a"], 2);
        assert_eq!(hosts[0].fits(&other), Err(PlacementRefusal::OtherVersion));
        let upgraded = channel("a", Some(1), Some([9; 32]));
        assert_eq!(hosts[0].fits(&upgraded), Ok(()), "whoever runs it has the version");
        assert_eq!(place(&hosts, &[channel("c", None, None)]), BTreeMap::new());
        assert_eq!(hosts[0].fits(&channel("c", None, None)), Err(PlacementRefusal::NotOffered));
    }
}
