//! What the daemon's commands do with a running host, or with the store alone while no host runs.

use super::config::StateLocation;
use super::error::HostError;
use super::manager::{ChannelManager, lock, opener};
use super::operator::Operator;
use crate::channel::ChannelName;
use crate::model::clock::steady_ms;
use crate::pairing::PairingService;
use crate::store::{
    Batch, Change, ChannelKey, HostLock, Retention, StateError, StoreHandle, StoreThread, StoreThreadConfig,
    TimerRecord,
};

/// What a command may do besides.
pub(crate) trait DaemonOperator: Operator {
    /// Who may talk to the agent.
    fn pairing(&self) -> &PairingService;

    /// What happened and was not worth a commit is written now.
    fn write_waiting_steps(&self) {}

    /// Forgets the timers of a channel that does not run, and will not run again as what it was.
    ///
    /// # Errors
    /// The store is not available: they are still there.
    fn forget_timers(&self, channel: &ChannelName) -> Result<(), StateError> {
        let channel: ChannelKey = channel.as_str().into();
        let key = channel.clone();
        let stored = self.store().query(move |engine| engine.load_channel(&key, steady_ms()))?;
        let cancel = |timer: TimerRecord| Change::CancelTimer { channel: channel.clone(), name: timer.name };
        let changes: Vec<Change> = stored.timers.into_iter().map(cancel).collect();
        match changes.is_empty() {
            true => Ok(()),
            false => self.store().try_commit_and_wait(Batch { changes }),
        }
    }
}

impl DaemonOperator for ChannelManager {
    fn pairing(&self) -> &PairingService {
        self.pairing.as_ref()
    }

    fn write_waiting_steps(&self) {
        self.mailbox.write_waiting_steps();
    }
}

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
}

impl DaemonOperator for StoredState {
    fn pairing(&self) -> &PairingService {
        &self.pairing
    }
}

#[cfg(test)]
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

    /// A channel that was removed and installed again ran the timers that it had set before.
    #[test]
    fn the_timers_of_a_channel_are_forgotten_and_those_of_others_stay() {
        let directory = TempDir::new();
        let state = open(&directory);
        let set = |channel: &str, name: &str| {
            let (channel, name) = (channel.into(), name.into());
            Change::SetTimer { channel, name, set_ms: 1, due_ms: u64::MAX / 4, payload: "x".into() }
        };
        let changes = vec![set("a", "one"), set("a", "two"), set("b", "one")];
        state.store().try_commit_and_wait(Batch { changes }).expect("they are kept");
        let timers = |channel: &'static str| {
            let loaded = state.store().query(move |engine| engine.load_channel(&channel.into(), 2));
            loaded.expect("it is read").timers.len()
        };
        assert_eq!((timers("a"), timers("b")), (2, 1));
        for _ in 0..2 {
            state.forget_timers(&"a".parse().expect("a name")).expect("they are forgotten");
            assert_eq!((timers("a"), timers("b")), (0, 1));
        }
    }

    #[test]
    fn queues_are_read_and_changed_without_a_host() {
        let directory = TempDir::new();
        let state = open(&directory);
        let add = |change| keep(state.store(), Batch::of(change)).expect("it is kept");
        let id = add(Change::AddMessage(message("a", "c", "hello"))).messages[0];
        let reply_id = add(Change::AddReply(reply("a", "c", "hello back"))).replies[0];
        assert_eq!(state.redeliver_message(id), Ok(false), "it waits already");
        assert_eq!((state.drop_message(id), state.drop_message(id)), (Ok(true), Ok(false)));
        assert_eq!((state.drop_reply(reply_id), state.drop_reply(reply_id)), (Ok(true), Ok(false)));
        drop(state);
        let state = open(&directory);
        let found = state.message(id).expect("it is read").expect("it is there");
        assert_eq!(found.state, MessageState::Dropped);
        assert_eq!((state.redeliver_message(id), state.retry_reply(reply_id)), (Ok(true), Ok(true)));
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
