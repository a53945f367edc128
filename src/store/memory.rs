//! The engine without a disk: for tests, and for hosts that need not survive a restart.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::change::{Change, NewMessage, NewReply, NumberedBatch};
use super::engine::{LastIds, Maintenance, Store, StoreUsage};
use super::error::StoreError;
use super::memory_pairing::StoredPairings;
use super::record::{
    ChannelKey, DedupeId, DedupeRecord, Loaded, LoadedChannel, MAX_ROWS, MessageFilter, MessageId,
    MessageRecord, MessageState, MessageSummary, PendingMessage, PendingReply, ReplyFilter, ReplyId,
    ReplyRecord, ReplyState, ReplySummary, StoredDedupeKey, TimerRecord, excerpt,
};
use super::retention::{CompletedRecord, KeptKeys, PruneStats, ROUND, Retention, choose, forgotten_steps};
use super::rules::{
    MessageStatus, ReplyStatus, changed_message, changed_reply, error_of, message_after, reply_after,
};
#[cfg(test)]
use super::thread::Opener;
use super::trace::{MAX_STEPS_IN_MEMORY, TraceStep};
use crate::net::channel_response::ChannelResponse;

/// A store in memory. Clones share what they hold, so that "opening" it again finds everything.
#[derive(Clone, Default)]
pub struct MemoryStore {
    /// Clones may live on several threads; held for one call.
    state: Arc<Mutex<Tables>>,
}

#[derive(Default)]
pub(super) struct Tables {
    /// The number of the last batch.
    number: u64,
    last_ids: LastIds,
    channels: BTreeMap<ChannelKey, LoadedChannel>,
    /// By id, as the next two.
    pub(super) messages: Vec<Message>,
    pub(super) replies: Vec<Reply>,
    pub(super) dedupe_keys: Vec<StoredKey>,
    pairing: StoredPairings,
    /// Oldest first.
    transcripts: Vec<StoredTranscript>,
    last_transcript: u64,
    /// Oldest first.
    pub(super) steps: VecDeque<TraceStep>,
}

/// What an agent remembers of a conversation.
struct StoredTranscript {
    id: u64,
    conversation: Arc<str>,
    changed_ms: u64,
    content: Arc<str>,
}

pub(super) struct Message {
    pub(super) record: MessageRecord,
    data: Vec<Option<Arc<[u8]>>>,
    bytes: u64,
}

pub(super) struct Reply {
    pub(super) record: ReplyRecord,
    /// An attempt was begun and has no outcome yet.
    in_flight: bool,
    /// Attempts that have trapped.
    traps: u32,
    bytes: u64,
}

pub(super) struct StoredKey {
    pub(super) record: DedupeRecord,
    response: Option<Arc<ChannelResponse>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens this store again and again, for [`StoreThread::start`](super::StoreThread::start).
    #[cfg(test)]
    pub fn opener(&self) -> Opener {
        let store = self.clone();
        Box::new(move || Ok(Box::new(store.clone())))
    }

    /// The largest ids that were ever stored.
    pub(super) fn last_ids(&self) -> LastIds {
        self.state().last_ids
    }

    pub(super) fn state(&self) -> MutexGuard<'_, Tables> {
        // A group is checked before it is applied, and applying cannot fail: the state is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn commit(&mut self, entries: &[NumberedBatch]) -> Result<(), StoreError> {
        let mut state = self.state();
        let mut added = HashSet::new();
        for (index, NumberedBatch { batch, .. }) in entries.iter().enumerate() {
            batch.check(index)?;
            let taken = batch.changes.iter().find_map(|change| state.takes_id(change, &mut added));
            if let Some(reason) = taken {
                return Err(StoreError::Rejected { batch: index, reason });
            }
        }
        for NumberedBatch { number, batch } in entries {
            batch.changes.iter().for_each(|change| state.apply(change));
            state.number = *number;
        }
        Ok(())
    }

    fn last_number(&mut self) -> Result<u64, StoreError> {
        Ok(self.state().number)
    }

    fn load(&mut self, now_ms: u64) -> Result<Loaded, StoreError> {
        Ok(self.state().load(now_ms))
    }

    fn load_channel(&mut self, channel: &ChannelKey, now_ms: u64) -> Result<LoadedChannel, StoreError> {
        Ok(self.state().load_channel(channel, now_ms))
    }

    fn message(&mut self, id: MessageId) -> Result<Option<MessageRecord>, StoreError> {
        Ok(self.state().message(id).map(|message| message.record.clone()))
    }

    fn messages(&mut self, filter: &MessageFilter) -> Result<Vec<MessageSummary>, StoreError> {
        let state = self.state();
        let matching = state.messages.iter().rev().filter(|message| {
            filter.before.is_none_or(|id| message.record.id < id)
                && filter.channel.as_ref().is_none_or(|channel| *channel == message.record.channel)
                && filter.state.is_none_or(|state| state == message.record.state)
        });
        Ok(matching.take(filter.limit.min(MAX_ROWS)).map(Message::summary).collect())
    }

    fn attachment(&mut self, id: MessageId, index: usize) -> Result<Option<Arc<[u8]>>, StoreError> {
        Ok(self.state().message(id).and_then(|message| message.data.get(index).cloned().flatten()))
    }

    fn reply(&mut self, id: ReplyId) -> Result<Option<ReplyRecord>, StoreError> {
        Ok(self.state().reply(id).map(|reply| reply.record.clone()))
    }

    fn replies(&mut self, filter: &ReplyFilter) -> Result<Vec<ReplySummary>, StoreError> {
        let state = self.state();
        let matching = state.replies.iter().rev().filter(|reply| {
            filter.before.is_none_or(|id| reply.record.id < id)
                && filter.channel.as_ref().is_none_or(|channel| *channel == reply.record.channel)
                && filter.state.is_none_or(|state| state == reply.record.state)
        });
        Ok(matching.take(filter.limit.min(MAX_ROWS)).map(Reply::summary).collect())
    }

    fn stored_response(&mut self, id: DedupeId) -> Result<Option<Arc<ChannelResponse>>, StoreError> {
        let state = self.state();
        let place = state.place_of_key(id).ok();
        Ok(place.and_then(|place| state.dedupe_keys[place].response.clone()))
    }

    fn transcript(&mut self, conversation: &str) -> Result<Option<String>, StoreError> {
        let state = self.state();
        let found = state.transcripts.iter().find(|transcript| &*transcript.conversation == conversation);
        Ok(found.map(|transcript| transcript.content.to_string()))
    }

    fn prune(&mut self, retention: &Retention, now_ms: u64) -> Result<PruneStats, StoreError> {
        Ok(self.state().prune(retention, now_ms))
    }

    fn maintain(&mut self, _moment: Maintenance) -> Result<(), StoreError> {
        Ok(())
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn usage(&mut self) -> Result<StoreUsage, StoreError> {
        let state = self.state();
        let messages = state.messages.iter().map(|message| message.bytes).sum::<u64>();
        let replies = state.replies.iter().map(|reply| reply.bytes).sum::<u64>();
        let files = state.channels.values().flat_map(|channel| &channel.files);
        let files = files.map(|(path, content)| path.len() + content.len()).sum::<usize>();
        Ok(StoreUsage { bytes: messages + replies + files as u64, ..StoreUsage::default() })
    }
}

impl Tables {
    /// Why a change cannot be applied whose id is taken, be it by another one of its group.
    fn takes_id(&self, change: &Change, added: &mut HashSet<(&'static str, u64)>) -> Option<String> {
        let (kind, id, is_taken) = match change {
            Change::AddMessage(new) => ("message", new.id.0, self.place_of_message(new.id).is_ok()),
            Change::AddReply(new) => ("reply", new.id.0, self.place_of_reply(new.id).is_ok()),
            Change::Dedupe { id, .. } => ("dedupe key", id.0, self.place_of_key(*id).is_ok()),
            _ => return None,
        };
        let is_free = !is_taken && added.insert((kind, id));
        (!is_free).then(|| format!("there is a {kind} {id} already"))
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::PutFile { channel, path, content } => {
                self.channel(channel).files.insert(Arc::clone(path), Arc::clone(content));
            }
            Change::SetTimer { channel, name, set_ms, due_ms, payload } => {
                let timer = TimerRecord {
                    name: Arc::clone(name),
                    set_ms: *set_ms,
                    due_ms: *due_ms,
                    payload: Arc::clone(payload),
                };
                let timers = &mut self.channel(channel).timers;
                match timers.binary_search_by(|known| known.name.cmp(name)) {
                    Ok(place) => timers[place] = timer,
                    Err(place) => timers.insert(place, timer),
                }
            }
            Change::CancelTimer { channel, name } => {
                self.channel(channel).timers.retain(|timer| timer.name != *name);
            }
            Change::AddMessage(new) => self.add_message(new),
            Change::AddReply(new) => self.add_reply(new),
            Change::Dedupe { id, channel, key, at_ms, expires_ms, response } => {
                self.last_ids.dedupe_key = self.last_ids.dedupe_key.max(id.0);
                let record = DedupeRecord {
                    id: *id,
                    channel: Arc::clone(channel),
                    key: *key,
                    at_ms: *at_ms,
                    expires_ms: *expires_ms,
                };
                let stored = StoredKey { record, response: response.clone() };
                if let Err(place) = self.place_of_key(*id) {
                    self.dedupe_keys.insert(place, stored);
                }
            }
            Change::PutTranscript { conversation, at_ms, content } => {
                self.remove_transcript(conversation);
                self.last_transcript += 1;
                self.transcripts.push(StoredTranscript {
                    id: self.last_transcript,
                    conversation: Arc::clone(conversation),
                    changed_ms: *at_ms,
                    content: Arc::clone(content),
                });
            }
            Change::RemoveTranscript { conversation } => self.remove_transcript(conversation),
            Change::Trace(step) => {
                if self.steps.len() >= MAX_STEPS_IN_MEMORY {
                    self.steps.pop_front();
                }
                self.steps.push_back(step.clone());
            }
            Change::PutPairing(record) => self.pairing.put(record),
            Change::RemovePairing(key) => self.pairing.remove(key),
            other => self.move_message(other).or_else(|| self.move_reply(other)).unwrap_or(()),
        }
    }

    fn remove_transcript(&mut self, conversation: &str) {
        self.transcripts.retain(|transcript| &*transcript.conversation != conversation);
    }

    fn channel(&mut self, key: &ChannelKey) -> &mut LoadedChannel {
        self.channels.entry(Arc::clone(key)).or_default()
    }

    /// Where a message is, or belongs: nearly always at the end, because ids grow.
    fn place_of_message(&self, id: MessageId) -> Result<usize, usize> {
        self.messages.binary_search_by_key(&id, |message| message.record.id)
    }

    fn place_of_reply(&self, id: ReplyId) -> Result<usize, usize> {
        self.replies.binary_search_by_key(&id, |reply| reply.record.id)
    }

    fn place_of_key(&self, id: DedupeId) -> Result<usize, usize> {
        self.dedupe_keys.binary_search_by_key(&id, |stored| stored.record.id)
    }

    fn message(&mut self, id: MessageId) -> Option<&mut Message> {
        let place = self.place_of_message(id).ok()?;
        self.messages.get_mut(place)
    }

    fn reply(&mut self, id: ReplyId) -> Option<&mut Reply> {
        let place = self.place_of_reply(id).ok()?;
        self.replies.get_mut(place)
    }

    fn add_message(&mut self, new: &NewMessage) {
        let id = new.id;
        self.last_ids.message = self.last_ids.message.max(id.0);
        let data: Vec<_> = new.attachments().map(|(_, data)| data.cloned()).collect();
        let record = MessageRecord {
            id,
            channel: Arc::clone(&new.channel),
            conversation: Arc::clone(&new.conversation),
            message: Arc::clone(&new.message),
            stored_bytes: data.iter().map(|data| data.as_ref().map(|data| data.len() as u64)).collect(),
            received_ms: new.received_ms,
            state: MessageState::Pending,
            attempt: 0,
            changed_ms: new.received_ms,
            error: None,
        };
        if let Err(place) = self.place_of_message(id) {
            self.messages.insert(place, Message { record, data, bytes: new.bytes() });
        }
    }

    fn add_reply(&mut self, new: &NewReply) {
        let id = new.id;
        self.last_ids.reply = self.last_ids.reply.max(id.0);
        let record = ReplyRecord {
            id,
            channel: Arc::clone(&new.channel),
            conversation: Arc::clone(&new.conversation),
            broadcast_to: new.broadcast_to.clone(),
            body: new.body.clone(),
            in_reply_to: new.in_reply_to,
            created_ms: new.created_ms,
            state: ReplyState::Pending,
            attempts: 0,
            since_ms: new.created_ms,
            next_ms: new.created_ms,
            changed_ms: new.created_ms,
            error: None,
            redelivery: false,
        };
        if let Err(place) = self.place_of_reply(id) {
            self.replies.insert(place, Reply { record, in_flight: false, traps: 0, bytes: new.bytes() });
        }
    }

    /// Applies a change of a message; `None` when it is about none, or its state does not allow it.
    fn move_message(&mut self, change: &Change) -> Option<()> {
        let (id, at_ms) = changed_message(change)?;
        let record = &mut self.message(id)?.record;
        let before = MessageStatus { state: record.state, attempt: record.attempt };
        let MessageStatus { state, attempt } = message_after(before, change)?;
        (record.state, record.attempt, record.changed_ms) = (state, attempt, at_ms);
        if let Some(error) = error_of(change) {
            record.error = Some(error.to_owned());
        }
        Some(())
    }

    /// Applies a change of a reply; `None` when it is about none, or its state does not allow it.
    fn move_reply(&mut self, change: &Change) -> Option<()> {
        let (id, at_ms) = changed_reply(change)?;
        let reply = self.reply(id)?;
        let after = reply_after(reply.status(), change)?;
        (reply.in_flight, reply.traps) = (after.in_flight, after.traps);
        let record = &mut reply.record;
        (record.state, record.attempts, record.redelivery) = (after.state, after.attempts, after.redelivery);
        (record.since_ms, record.next_ms, record.changed_ms) = (after.since_ms, after.next_ms, at_ms);
        if let Some(error) = error_of(change) {
            record.error = Some(error.to_owned());
        }
        Some(())
    }

    fn load(&self, now_ms: u64) -> Loaded {
        let messages = self.messages.iter().filter(|message| message.record.state == MessageState::Pending);
        let mut channels = self.channels.clone();
        for reply in self.pending_replies() {
            channels.entry(reply.channel.clone()).or_default().replies.push(reply);
        }
        for key in latest(&self.dedupe_keys, now_ms) {
            channels.entry(key.channel.clone()).or_default().dedupe_keys.push(key);
        }
        Loaded {
            last_ids: self.last_ids,
            channels,
            messages: messages.map(Message::pending).collect(),
            pairing: self.pairing.load(),
        }
    }

    fn load_channel(&self, channel: &ChannelKey, now_ms: u64) -> LoadedChannel {
        let mut loaded = self.channels.get(channel).cloned().unwrap_or_default();
        loaded.replies = self.pending_replies().filter(|reply| reply.channel == *channel).collect();
        loaded.dedupe_keys = latest(&self.dedupe_keys, now_ms);
        loaded.dedupe_keys.retain(|key| key.channel == *channel);
        loaded
    }

    fn pending_replies(&self) -> impl Iterator<Item = PendingReply> {
        self.replies.iter().filter(|reply| reply.record.state == ReplyState::Pending).map(Reply::pending)
    }

    fn prune(&mut self, retention: &Retention, now_ms: u64) -> PruneStats {
        let completed =
            self.messages.iter().rev().filter(|message| message.record.state != MessageState::Pending);
        let (messages, more_messages) =
            choose(completed.map(Message::completed).collect(), retention, now_ms);
        let completed = self.replies.iter().rev().filter(|reply| reply.record.state != ReplyState::Pending);
        let (replies, more_replies) = choose(completed.map(Reply::completed).collect(), retention, now_ms);
        let (keys, more_keys) = self.keys_to_forget(retention, now_ms);
        // What was chosen is in order, too.
        self.messages.retain(|message| messages.binary_search(&message.record.id.0).is_err());
        self.replies.retain(|reply| replies.binary_search(&reply.record.id.0).is_err());
        self.dedupe_keys.retain(|each| keys.binary_search(&each.record.id.0).is_err());
        let remembered = self.transcripts.iter().rev().map(|transcript| CompletedRecord {
            id: transcript.id,
            changed_ms: transcript.changed_ms,
            bytes: transcript.content.len() as u64,
            dead: false,
        });
        let (transcripts, more_transcripts) =
            choose(remembered.collect(), &retention.of_transcripts(), now_ms);
        self.transcripts.retain(|transcript| transcripts.binary_search(&transcript.id).is_err());
        let times = self.steps.iter().map(|step| step.at_ms);
        let count = self.steps.len() as u64;
        let max = MAX_STEPS_IN_MEMORY as u64;
        let (steps, more_steps) = forgotten_steps(times, count, max, retention, now_ms);
        self.steps.drain(..steps);
        let pairing = self.pairing.forget_expired(now_ms);
        PruneStats {
            messages: messages.len() as u64,
            replies: replies.len() as u64,
            dedupe_keys: keys.len() as u64,
            pairing,
            transcripts: transcripts.len() as u64,
            steps: steps as u64,
            more: more_messages || more_replies || more_keys || more_transcripts || more_steps,
        }
    }

    fn keys_to_forget(&self, retention: &Retention, now_ms: u64) -> (Vec<u64>, bool) {
        let mut kept: KeptKeys<&ChannelKey> = KeptKeys::stored(retention);
        let mut chosen = Vec::new();
        for stored in self.dedupe_keys.iter().rev() {
            if !kept.keeps(&stored.record.channel, stored.record.expires_ms <= now_ms) {
                chosen.push(stored.record.id.0);
            }
        }
        let more = chosen.len() > ROUND;
        chosen.reverse();
        chosen.truncate(ROUND);
        (chosen, more)
    }
}

/// Of all records, oldest first, those that are the last of their channel and key, and so many that have expired.
fn latest(oldest_first: &[StoredKey], now_ms: u64) -> Vec<DedupeRecord> {
    let mut known: HashSet<(ChannelKey, StoredDedupeKey)> = HashSet::new();
    let mut kept = KeptKeys::loaded();
    let mut newest_first = Vec::new();
    for StoredKey { record, .. } in oldest_first.iter().rev() {
        let last_of_its_key = known.insert((Arc::clone(&record.channel), record.key));
        if last_of_its_key && kept.keeps(Arc::clone(&record.channel), !record.is_known(now_ms)) {
            newest_first.push(record.clone());
        }
    }
    newest_first.reverse();
    newest_first
}

impl Message {
    fn summary(&self) -> MessageSummary {
        let record = &self.record;
        MessageSummary {
            id: record.id,
            channel: Arc::clone(&record.channel),
            conversation: Arc::clone(&record.conversation),
            user_id: record.message.user_id.clone(),
            excerpt: excerpt(&record.message.content),
            bytes: self.bytes,
            received_ms: record.received_ms,
            state: record.state,
            attempt: record.attempt,
            changed_ms: record.changed_ms,
            error: record.error.clone(),
        }
    }

    fn pending(&self) -> PendingMessage {
        let record = &self.record;
        PendingMessage {
            id: record.id,
            channel: Arc::clone(&record.channel),
            conversation: Arc::clone(&record.conversation),
            bytes: self.bytes,
            attempt: record.attempt,
            received_ms: record.received_ms,
        }
    }

    fn completed(&self) -> CompletedRecord {
        let dead = self.record.state == MessageState::Dead;
        CompletedRecord { id: self.record.id.0, changed_ms: self.record.changed_ms, bytes: self.bytes, dead }
    }
}

impl Reply {
    fn status(&self) -> ReplyStatus {
        let record = &self.record;
        ReplyStatus {
            state: record.state,
            attempts: record.attempts,
            traps: self.traps,
            since_ms: record.since_ms,
            next_ms: record.next_ms,
            in_flight: self.in_flight,
            redelivery: record.redelivery,
        }
    }

    fn summary(&self) -> ReplySummary {
        let record = &self.record;
        ReplySummary {
            id: record.id,
            channel: Arc::clone(&record.channel),
            conversation: Arc::clone(&record.conversation),
            broadcast_to: record.broadcast_to.clone(),
            excerpt: excerpt(&record.body.content),
            bytes: self.bytes,
            created_ms: record.created_ms,
            state: record.state,
            attempts: record.attempts,
            next_ms: record.next_ms,
            changed_ms: record.changed_ms,
            error: record.error.clone(),
            redelivery: record.redelivery,
        }
    }

    fn pending(&self) -> PendingReply {
        let record = &self.record;
        PendingReply {
            id: record.id,
            channel: Arc::clone(&record.channel),
            conversation: Arc::clone(&record.conversation),
            bytes: self.bytes,
            attempts: record.attempts,
            since_ms: record.since_ms,
            next_ms: record.next_ms,
            redelivery: record.redelivery || self.in_flight,
            traps: self.traps,
        }
    }

    fn completed(&self) -> CompletedRecord {
        let record = &self.record;
        let dead = record.state == ReplyState::Dead;
        CompletedRecord { id: record.id.0, changed_ms: record.changed_ms, bytes: self.bytes, dead }
    }
}
