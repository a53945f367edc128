//! What was durable for channels before they are added.
//!
//! It is read once, when the host starts, and given out as channels are added. What nobody has asked for by then is
//! forgotten: a channel whose files were removed costs no memory. One that is added later is read anew.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::event::setup::StoredChannel;
use crate::model::clock::steady_ms;
use crate::store::{ChannelKey, CommitError, DedupeRecord, Loaded, PendingReply, StoreHandle};

/// What was durable when the host started, until [`StoredChannels::forget`].
pub(super) struct StoredChannels {
    /// Behind a lock, because any thread may add a channel; held for a look-up only.
    loaded: Mutex<Option<HashMap<ChannelKey, StoredChannel>>>,
}

impl StoredChannels {
    /// What was loaded, apart from messages and pairings.
    pub fn new(loaded: Loaded) -> Self {
        Self { loaded: Mutex::new(Some(by_channel(loaded))) }
    }

    /// The state of a channel that is about to be added.
    ///
    /// # Errors
    /// It must be read, and the store is not available.
    pub fn take(&self, channel: &ChannelKey, store: &StoreHandle) -> Result<StoredChannel, CommitError> {
        if let Some(loaded) = &mut *self.lock() {
            return Ok(loaded.remove(channel).unwrap_or_default());
        }
        let loaded = store.query(|engine| engine.load(steady_ms()))?;
        Ok(by_channel(loaded).remove(channel).unwrap_or_default())
    }

    /// Forgets what is left. Also called when something of it has changed.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashMap<ChannelKey, StoredChannel>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn by_channel(loaded: Loaded) -> HashMap<ChannelKey, StoredChannel> {
    let mut channels: HashMap<ChannelKey, StoredChannel> = HashMap::new();
    for (channel, state) in loaded.channels {
        channels.entry(channel).or_default().state = state;
    }
    for reply in loaded.replies {
        let PendingReply { channel, .. } = &reply;
        channels.entry(channel.clone()).or_default().replies.push(reply);
    }
    for key in loaded.dedupe_keys {
        let DedupeRecord { channel, .. } = &key;
        channels.entry(channel.clone()).or_default().seen.push(key);
    }
    channels
}
