//! Keeps the pairings and stores their changes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use wit_abi::types::PairingUpsertResult;

use super::code::{normalised, random_code};
use super::rules::{ApprovedPairing, PairingError, PairingLimits, Pairings, PendingPairing, UpsertError};
use crate::channel::ChannelName;
use crate::model::clock::steady_ms;
use crate::store::{Batch, Change, ChannelKey, PairingState, StateError, StoreHandle};

/// Why a guest gets no code for an unknown sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UpsertFailure {
    /// The channel or the sender is not one that gets a code.
    #[error(transparent)]
    Refused(#[from] UpsertError),
    /// It could not be stored.
    #[error(transparent)]
    NotStored(#[from] StateError),
    /// The system gives no randomness to make a code of.
    #[error(
        "no pairing code can be made, because the system gives no random numbers: see that the host may read /dev/urandom or \
         call getrandom(2); the sender can ask again"
    )]
    NoRandomness,
}

/// Who may talk to the agent, for every channel. What is approved here is known to running channels at once.
pub struct PairingService {
    /// A lock, because guests ask in the middle of their callbacks while an operator approves; it is held for a look-up,
    /// never while something is stored.
    pairings: Mutex<Pairings>,
    store: StoreHandle,
}

impl PairingService {
    pub(crate) fn new(store: StoreHandle, state: PairingState) -> Self {
        Self { pairings: Mutex::new(Pairings::new(PairingLimits::default(), state, steady_ms())), store }
    }

    /// Takes in what was stored of a channel that another host had.
    #[cfg(feature = "cluster")]
    pub(crate) fn take_in(&self, state: PairingState) {
        self.pairings().take_in(state, steady_ms());
    }

    /// Forgets a channel that another host has from now on.
    #[cfg(feature = "cluster")]
    pub(crate) fn forget_channel(&self, channel: &ChannelName) {
        self.pairings().forget_channel(channel.as_str());
    }

    /// The code of an unknown sender, which is kept before it is given out. It is not part of the callback's transaction: a
    /// guest sends it to the sender right away.
    pub(crate) fn upsert(
        &self,
        channel: &ChannelName,
        id: &str,
        meta_json: &str,
    ) -> Result<PairingUpsertResult, UpsertFailure> {
        let key = key_of(channel);
        let code = random_code().ok_or(UpsertFailure::NoRandomness)?;
        let upserted = self.pairings().upsert(&key, id, meta_json, || code, steady_ms())?;
        let created = upserted.change.is_some();
        if let Some(change) = upserted.change
            && let Err(error) = self.keep(vec![change])
        {
            self.pairings().forget(&key, id);
            return Err(error.into());
        }
        Ok(PairingUpsertResult { code: upserted.code, created })
    }

    /// Approves the sender who has this code. From now on they are known as `identity`, or by their own id. Returns
    /// their id.
    ///
    /// # Errors
    /// See [`PairingError`]. After five wrong codes approving is locked for 15 minutes.
    pub fn approve(
        &self,
        channel: &ChannelName,
        code: &str,
        identity: Option<&str>,
    ) -> Result<String, PairingError> {
        let key = key_of(channel);
        let (result, changes) = self.pairings().approve(&key, &normalised(code), identity, steady_ms());
        if let Err(error) = self.keep(changes) {
            if let Ok(approval) = result {
                self.pairings().take_back(&key, approval);
            }
            return Err(error.into());
        }
        Ok(result?.id)
    }

    /// Forgets who was approved with this id, or when nobody was, everybody who is known as this name. False when there is
    /// no such person.
    ///
    /// # Errors
    /// The store is unavailable: they are unknown at once, and this is stored when it works again.
    pub fn revoke(&self, channel: &ChannelName, id_or_name: &str) -> Result<bool, PairingError> {
        let changes = self.pairings().revoke(&key_of(channel), id_or_name);
        let was_known = !changes.is_empty();
        self.keep(changes)?;
        Ok(was_known)
    }

    /// Everybody who was approved and not revoked, of all channels, by channel and id.
    #[must_use]
    pub fn approved(&self) -> Vec<ApprovedPairing> {
        self.pairings().approved()
    }

    /// Unknown senders who wait for approval.
    #[must_use]
    pub fn pending(&self) -> Vec<PendingPairing> {
        self.pairings().pending(steady_ms())
    }

    pub(crate) fn resolve(&self, channel: &ChannelName, id: &str) -> Option<String> {
        self.pairings().resolve(channel.as_str(), id)
    }

    pub(crate) fn allow_from(&self, channel: &ChannelName) -> Vec<String> {
        self.pairings().allow_from(channel.as_str())
    }

    pub(crate) fn is_allowed(&self, channel: &ChannelName, id: &str, username: Option<&str>) -> bool {
        self.pairings().is_allowed(channel.as_str(), id, username)
    }

    fn keep(&self, changes: Vec<Change>) -> Result<(), StateError> {
        if !changes.is_empty() {
            self.store.commit_and_wait(Batch { changes })?;
        }
        Ok(())
    }

    fn pairings(&self) -> MutexGuard<'_, Pairings> {
        // The methods of the pairings do not panic, so a poisoned lock still guards a sound pairings.
        self.pairings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(channel: &ChannelName) -> ChannelKey {
    channel.as_str().into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::clock::with_wall_clock_ahead;
    use crate::store::{MemoryStore, Retention, StoreThread};

    /// A code is good for 15 minutes of time really spent: not for none when the network tells a board the year.
    #[test]
    fn a_code_outlives_a_wall_clock_that_is_set_ahead() {
        let store = StoreThread::in_memory(MemoryStore::default(), &Retention::default());
        let pairings = PairingService::new(store.handle(), PairingState::default());
        let channel: ChannelName = "telegram".parse().unwrap();
        let code = pairings.upsert(&channel, "someone", "{}").unwrap().code;
        let years = Duration::from_secs(50 * 365 * 86_400);
        with_wall_clock_ahead(years, || {
            assert_eq!(pairings.pending().len(), 1);
            assert_eq!(pairings.upsert(&channel, "someone", "{}").unwrap().code, code);
            assert_eq!(pairings.approve(&channel, &code, None).unwrap(), "someone");
        });
        store.stop();
    }

    /// Setting the clock is no way around the lock either.
    #[test]
    fn a_lock_outlives_a_wall_clock_that_is_set_ahead() {
        let store = StoreThread::in_memory(MemoryStore::default(), &Retention::default());
        let pairings = PairingService::new(store.handle(), PairingState::default());
        let channel: ChannelName = "telegram".parse().unwrap();
        let code = pairings.upsert(&channel, "someone", "{}").unwrap().code;
        for _ in 0..5 {
            pairings.approve(&channel, "WRONGONE", None).unwrap_err();
        }
        with_wall_clock_ahead(Duration::from_secs(86_400), || {
            let refused = pairings.approve(&channel, &code, None);
            assert!(matches!(refused, Err(PairingError::Locked { .. })), "{refused:?}");
        });
        store.stop();
    }
}
