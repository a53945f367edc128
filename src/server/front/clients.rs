//! All connections from clients, and who has to go when there are too many.

use std::net::IpAddr;
use std::time::Instant;

use super::client::{Client, EvictionPriority, Phase};

/// The connections, each under a number that stays the same while it is open.
#[derive(Default)]
pub(crate) struct Clients {
    slots: Vec<Option<Client>>,
    free: Vec<usize>,
}

/// How many places are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) all: usize,
    pub(crate) by_sender: usize,
}

impl Clients {
    pub(crate) fn insert(&mut self, client: Client) -> usize {
        match self.free.pop() {
            Some(id) => {
                self.slots[id] = Some(client);
                id
            }
            None => {
                self.slots.push(Some(client));
                self.slots.len() - 1
            }
        }
    }

    pub(crate) fn remove(&mut self, id: usize) -> Option<Client> {
        let client = self.slots.get_mut(id)?.take();
        if client.is_some() {
            self.free.push(id);
        }
        client
    }

    pub(crate) fn get(&self, id: usize) -> Option<&Client> {
        self.slots.get(id)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: usize) -> Option<&mut Client> {
        self.slots.get_mut(id)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Client)> {
        self.slots.iter().enumerate().filter_map(|(id, slot)| Some((id, slot.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Client)> {
        self.slots.iter_mut().enumerate().filter_map(|(id, slot)| Some((id, slot.as_mut()?)))
    }

    pub(crate) fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn taken(&self, sender: Option<IpAddr>) -> Taken {
        let mut taken = Taken { all: 0, by_sender: 0 };
        for (_, client) in self.iter().filter(|(_, client)| client.takes_a_place()) {
            taken.all += 1;
            taken.by_sender += usize::from(sender.is_some() && client.sender == sender);
        }
        taken
    }

    /// Who goes when room is needed, among those of one sender or among all: the oldest idle one, else the oldest
    /// without a complete request, else the slowest reader.
    pub(crate) fn first_to_evict(
        &self,
        sender: Option<IpAddr>,
        now: Instant,
    ) -> Option<(usize, EvictionPriority)> {
        self.iter()
            .filter(|(_, client)| sender.is_none() || client.sender == sender)
            .filter_map(|(id, client)| Some((client.eviction_priority(now)?, client.since, client.born, id)))
            .min()
            .map(|(claim, .., id)| (id, claim))
    }

    /// The oldest of those that linger, when there are more of them than this.
    pub(crate) fn oldest_lingering_beyond(&self, most: usize) -> Option<usize> {
        let lingering = || self.iter().filter(|(_, client)| matches!(client.phase, Phase::Lingering { .. }));
        if lingering().count() <= most {
            return None;
        }
        lingering().min_by_key(|(_, client)| (client.since, client.born)).map(|(id, _)| id)
    }

    /// The oldest of those that hold a part of the memory for bodies while their body is still coming.
    pub(crate) fn oldest_body(&self) -> Option<usize> {
        self.iter()
            .filter(|(_, client)| {
                matches!(&client.phase, Phase::Reading { intake, .. } if intake.is_in_body() && intake.charged() > 0)
            })
            .min_by_key(|(_, client)| (client.since, client.born))
            .map(|(id, _)| id)
    }
}
