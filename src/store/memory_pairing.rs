//! Pairing in the engine without a disk.

use std::collections::{BTreeMap, BTreeSet};

use super::change::PairingKey;
use super::record::{ChannelKey, PairedIdentity, PairingLock, PairingRecord, PairingRequest, PairingState};

/// What pairing keeps, by channel and id.
#[derive(Default)]
pub(super) struct StoredPairings {
    requests: BTreeMap<(ChannelKey, String), PairingRequest>,
    identities: BTreeMap<(ChannelKey, String), PairedIdentity>,
    allowed: BTreeSet<(ChannelKey, String)>,
    locks: BTreeMap<ChannelKey, PairingLock>,
}

impl StoredPairings {
    /// Writes a record, in place of the one with the same key.
    pub fn put(&mut self, record: &PairingRecord) {
        match record {
            PairingRecord::Request(request) => {
                let key = (request.channel.clone(), request.external_id.clone());
                self.requests.insert(key, request.clone());
            }
            PairingRecord::Identity(known) => {
                self.identities.insert((known.channel.clone(), known.external_id.clone()), known.clone());
            }
            PairingRecord::Allowed { channel, entry } => {
                self.allowed.insert((channel.clone(), entry.clone()));
            }
            PairingRecord::Lock(lock) => {
                self.locks.insert(lock.channel.clone(), lock.clone());
            }
        }
    }

    /// Removes a record, if there is one.
    pub fn remove(&mut self, key: &PairingKey) {
        match key {
            PairingKey::Request { channel, external_id } => {
                self.requests.remove(&(channel.clone(), external_id.clone()));
            }
            PairingKey::Identity { channel, external_id } => {
                self.identities.remove(&(channel.clone(), external_id.clone()));
            }
            PairingKey::Allowed { channel, entry } => {
                self.allowed.remove(&(channel.clone(), entry.clone()));
            }
            PairingKey::Lock { channel } => {
                self.locks.remove(channel);
            }
        }
    }

    /// Everything, in order.
    pub fn load(&self) -> PairingState {
        PairingState {
            requests: self.requests.values().cloned().collect(),
            identities: self.identities.values().cloned().collect(),
            allowed: self.allowed.iter().cloned().collect(),
            locks: self.locks.values().cloned().collect(),
        }
    }

    /// Forgets requests whose time is over; how many.
    pub fn forget_expired(&mut self, now_ms: u64) -> u64 {
        let before = self.requests.len();
        self.requests.retain(|_, request| request.expires_ms > now_ms);
        (before - self.requests.len()) as u64
    }
}
