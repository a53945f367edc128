//! Keeps the book of pairings and stores what is written in it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use wit_abi::types::PairingUpsertResult;

use crate::channel::ChannelName;
use crate::model::clock::steady_ms;
use crate::store::{Batch, Change, ChannelKey, CommitError, PairingState, StoreHandle};

use super::book::{ApproveError, ApprovedPairing, PairingBook, PairingLimits, PendingPairing, UpsertError};
use super::code::{normalised, random_code};

/// Why pairing did not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PairingError {
    /// A guest gets no code.
    #[error(transparent)]
    Upsert(#[from] UpsertError),
    /// A code is not approved.
    #[error(transparent)]
    Approve(#[from] ApproveError),
    /// It could not be stored.
    #[error(transparent)]
    NotStored(#[from] CommitError),
    /// The system gives no randomness to make a code of.
    #[error("the system gives no randomness")]
    NoRandomness,
}

/// Who may talk to the agent, for every channel. What is approved here is known to running channels at once.
pub struct PairingDesk {
    /// A lock, because guests ask in the middle of their callbacks while an operator approves; it is held for a look-up,
    /// never while something is stored.
    book: Mutex<PairingBook>,
    store: StoreHandle,
}

impl PairingDesk {
    pub(crate) fn new(store: StoreHandle, state: PairingState) -> Self {
        Self { book: Mutex::new(PairingBook::new(PairingLimits::default(), state, steady_ms())), store }
    }

    /// The code of a stranger, which is kept before it is given out. It is not part of the callback's transaction: a
    /// guest sends it to the stranger right away.
    pub(crate) fn upsert(
        &self,
        channel: &ChannelName,
        id: &str,
        meta_json: &str,
    ) -> Result<PairingUpsertResult, PairingError> {
        let key = key_of(channel);
        let code = random_code().ok_or(PairingError::NoRandomness)?;
        let upserted = self.book().upsert(&key, id, meta_json, || code, steady_ms())?;
        let created = upserted.change.is_some();
        if let Some(change) = upserted.change
            && let Err(error) = self.keep(vec![change])
        {
            self.book().forget(&key, id);
            return Err(error);
        }
        Ok(PairingUpsertResult { code: upserted.code, created })
    }

    /// Approves the stranger who has this code. From now on they are known as `identity`, or by their own id. Returns
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
        let (result, changes) = self.book().approve(&key, &normalised(code), identity, steady_ms());
        if let Err(error) = self.keep(changes) {
            if let Ok(approval) = result {
                self.book().take_back(&key, approval);
            }
            return Err(error);
        }
        Ok(result?.id)
    }

    /// Forgets who was approved with this id, or when nobody was, everybody who is known as this name. False when there is
    /// no such person.
    ///
    /// # Errors
    /// It could not be stored; they are unknown until the next start all the same.
    pub fn revoke(&self, channel: &ChannelName, id_or_name: &str) -> Result<bool, PairingError> {
        let changes = self.book().revoke(&key_of(channel), id_or_name);
        let was_known = !changes.is_empty();
        self.keep(changes)?;
        Ok(was_known)
    }

    /// Everybody who was approved and not revoked, of all channels, by channel and id.
    #[must_use]
    pub fn approved(&self) -> Vec<ApprovedPairing> {
        self.book().approved()
    }

    /// Strangers who wait for approval.
    #[must_use]
    pub fn pending(&self) -> Vec<PendingPairing> {
        self.book().pending(steady_ms())
    }

    pub(crate) fn resolve(&self, channel: &ChannelName, id: &str) -> Option<String> {
        self.book().resolve(channel.as_str(), id)
    }

    pub(crate) fn allow_from(&self, channel: &ChannelName) -> Vec<String> {
        self.book().allow_from(channel.as_str())
    }

    pub(crate) fn is_allowed(&self, channel: &ChannelName, id: &str, username: Option<&str>) -> bool {
        self.book().is_allowed(channel.as_str(), id, username)
    }

    fn keep(&self, changes: Vec<Change>) -> Result<(), PairingError> {
        if !changes.is_empty() {
            self.store.commit_and_wait(self.store.generation(), Batch { changes })?;
        }
        Ok(())
    }

    fn book(&self) -> MutexGuard<'_, PairingBook> {
        // The book's methods do not panic, so a poisoned lock still guards a sound book.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(channel: &ChannelName) -> ChannelKey {
    channel.as_str().into()
}
