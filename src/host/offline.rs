//! What is stored, for commands while no host runs.

use super::config::StateLocation;
use super::error::HostError;
use super::manager::{lock, opener};
use super::operator::Operator;
use crate::pairing::PairingService;
use crate::store::{HostLock, Retention, StoreHandle, StoreThread, StoreThreadConfig};

/// The store of a host that does not run: no channel, no agent, no thread but the store's. No host can start meanwhile.
pub(crate) struct StoredState {
    store: StoreHandle,
    pairing: PairingService,
    /// Stopped before the lock is released.
    _thread: StoreThread,
    _lock: Option<HostLock>,
}

impl StoredState {
    /// Opens it.
    ///
    /// # Errors
    /// [`HostError::Lock`] when a host runs; [`HostError::Store`].
    pub(crate) fn open(state: StateLocation, retention: Retention) -> Result<Self, HostError> {
        let lock = lock(&state)?;
        let config = StoreThreadConfig { retention, ..StoreThreadConfig::default() };
        let (thread, loaded) = StoreThread::start(opener(state), config, |_| {})?;
        let store = thread.handle();
        let pairing = PairingService::new(store.clone(), loaded.pairing);
        Ok(Self { store, pairing, _thread: thread, _lock: lock })
    }
}

impl Operator for StoredState {
    fn store(&self) -> &StoreHandle {
        &self.store
    }

    fn pairing(&self) -> &PairingService {
        &self.pairing
    }
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests {
    use super::*;
    use crate::store::tests::samples::{message, reply};
    use crate::store::tests::writing::keep;
    use crate::store::{Batch, Change, Durability, MessageState, ReplyState};
    use crate::test_support::temp_dir::TempDir;

    fn open(directory: &TempDir) -> StoredState {
        let state = StateLocation::Directory { path: directory.join(""), durability: Durability::Full };
        StoredState::open(state, Retention::default()).expect("nobody else has it")
    }

    #[test]
    fn queues_are_read_and_changed_without_a_host() {
        let directory = TempDir::new();
        let state = open(&directory);
        let add = |change| keep(state.store(), Batch::of(change)).expect("it is kept");
        let id = add(Change::AddMessage(message("a", "c", "hello"))).messages[0];
        let reply_id = add(Change::AddReply(reply("a", "c", "hello back"))).replies[0];
        assert_eq!(state.replay_message(id), Ok(false), "it waits already");
        assert_eq!((state.drop_message(id), state.drop_message(id)), (Ok(true), Ok(false)));
        assert_eq!((state.drop_reply(reply_id), state.drop_reply(reply_id)), (Ok(true), Ok(false)));
        drop(state);
        let state = open(&directory);
        let found = state.message(id).expect("it is read").expect("it is there");
        assert_eq!(found.state, MessageState::Dropped);
        assert_eq!((state.replay_message(id), state.retry_reply(reply_id)), (Ok(true), Ok(true)));
        let found = state.reply(reply_id).expect("it is read").expect("it is there");
        assert_eq!(found.state, ReplyState::Pending);
    }

    #[test]
    fn a_state_that_a_host_uses_is_not_opened() {
        let directory = TempDir::new();
        let first = open(&directory);
        let state = StateLocation::Directory { path: directory.join(""), durability: Durability::Full };
        assert!(matches!(StoredState::open(state, Retention::default()), Err(HostError::Lock(_))));
        drop(first);
    }
}
