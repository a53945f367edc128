//! What the store keeps, as plain data.
//!
//! Times are Unix milliseconds. An engine may keep a number above `i64::MAX` as that.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use wit_abi::types::{AgentResponse, EmittedMessage};

use super::engine::LastIds;
use crate::model::clock::{time_of, was_unset};

/// The name of a channel, as the store sees it: any text, compared byte by byte.
pub type ChannelKey = Arc<str>;

/// Most rows that one listing returns, whatever its filter asks for.
pub const MAX_ROWS: usize = 1000;

/// Identifies a message. Given out by the host; later messages have larger ids and none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub u64);

/// Identifies a reply. Given out by the host; later replies have larger ids and none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplyId(pub u64);

/// Identifies a stored dedupe key. Allocated by the host ([`Ids`](super::Ids)), increasing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DedupeId(pub u64);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ReplyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A digest of what a provider calls a delivery or a message, as it is stored. The caller makes it (a hash cut to 16 bytes, over the kind
/// of id and the id), so that keys have one size however long a provider's ids are.
pub type StoredDedupeKey = [u8; 16];

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageState {
    /// Waits for the agent, or was delivered to it and not acknowledged yet.
    Pending,
    /// The agent has acknowledged it.
    Acked,
    /// An operator has dropped it.
    Dropped,
    /// The agent has failed on it too often; kept to be looked at and tried again.
    Dead,
}

/// A stored message in full, attachments' bytes excepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRecord {
    /// Its id.
    pub id: MessageId,
    /// The channel that it came through.
    pub channel: ChannelKey,
    /// The conversation within which order is kept.
    pub conversation: Arc<str>,
    /// What the guest emitted.
    pub message: Arc<EmittedMessage>,
    /// How many bytes of each of its attachments are stored, in their order; `None` when the guest stored none.
    pub stored_bytes: Vec<Option<u64>>,
    /// When it arrived.
    pub(crate) received_ms: u64,
    /// Where it stands.
    pub state: MessageState,
    /// How often it was delivered to the agent.
    pub attempt: u32,
    /// When `state` or `attempt` changed last.
    pub(crate) changed_ms: u64,
    /// Why it is a dead letter.
    pub error: Option<String>,
}

impl MessageRecord {
    /// When it arrived.
    #[must_use]
    pub fn received_at(&self) -> SystemTime {
        time_of(self.received_ms)
    }

    /// When `state` or `attempt` changed last.
    #[must_use]
    pub fn changed_at(&self) -> SystemTime {
        time_of(self.changed_ms)
    }
}

/// One line of a list of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageSummary {
    /// Its id.
    pub id: MessageId,
    /// The channel that it came through.
    pub channel: ChannelKey,
    /// The conversation within which order is kept.
    pub conversation: Arc<str>,
    /// Who wrote it.
    pub user_id: String,
    /// The first 80 characters of its text.
    pub excerpt: String,
    /// Text, metadata and stored attachments together.
    pub bytes: u64,
    /// When it arrived.
    pub(crate) received_ms: u64,
    /// Where it stands.
    pub state: MessageState,
    /// How often it was delivered to the agent.
    pub attempt: u32,
    /// When `state` or `attempt` changed last.
    pub(crate) changed_ms: u64,
    /// Why it is a dead letter.
    pub error: Option<String>,
}

impl MessageSummary {
    /// When it arrived.
    #[must_use]
    pub fn received_at(&self) -> SystemTime {
        time_of(self.received_ms)
    }

    /// When `state` or `attempt` changed last.
    #[must_use]
    pub fn changed_at(&self) -> SystemTime {
        time_of(self.changed_ms)
    }
}

/// Which messages to list: newest first, at most 1,000.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageFilter {
    /// Only this channel's.
    pub channel: Option<ChannelKey>,
    /// Only those in this state.
    pub state: Option<MessageState>,
    /// Only those with a smaller id; the last id of one page gives the next.
    pub before: Option<MessageId>,
    /// How many; default 100.
    pub limit: usize,
}

impl Default for MessageFilter {
    fn default() -> Self {
        Self { channel: None, state: None, before: None, limit: 100 }
    }
}

/// Where a reply stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplyState {
    /// Waits for its first or next attempt, or is being sent.
    Pending,
    /// The guest says that the upstream has it.
    Delivered,
    /// Given up after the last try; kept to be looked at and sent again.
    Dead,
    /// An operator has dropped it.
    Dropped,
}

/// A stored reply in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyRecord {
    /// Its id.
    pub id: ReplyId,
    /// The channel that sends it.
    pub channel: ChannelKey,
    /// The conversation within which order is kept.
    pub conversation: Arc<str>,
    /// The user, in the provider's terms, who gets it through `on-broadcast`; none for one that goes through `on-respond`.
    pub broadcast_to: Option<String>,
    /// What it says.
    pub body: Arc<AgentResponse>,
    /// The message that it replies to. That message may be gone already.
    pub in_reply_to: Option<MessageId>,
    /// When the agent gave it.
    pub(crate) created_ms: u64,
    /// Where it stands.
    pub state: ReplyState,
    /// How often it has been tried since [`attempts_since`](Self::attempts_since).
    pub attempts: u32,
    /// When its present row of attempts began: its creation, or the last time an operator sent it again.
    pub(crate) since_ms: u64,
    /// Not to be tried before.
    pub(crate) next_ms: u64,
    /// When its state changed last.
    pub(crate) changed_ms: u64,
    /// What the last failed attempt said.
    pub error: Option<String>,
    /// The upstream may have it already: the outcome of an earlier attempt is unknown. Read after a
    /// `Change::ReplyAttempt` was kept, it says so of the attempt that begins.
    pub redelivery: bool,
}

impl ReplyRecord {
    /// When the agent gave it.
    #[must_use]
    pub fn created_at(&self) -> SystemTime {
        time_of(self.created_ms)
    }

    /// When its present row of attempts began: its creation, or the last time an operator sent it again.
    #[must_use]
    pub fn attempts_since(&self) -> SystemTime {
        time_of(self.since_ms)
    }

    /// When it is tried next, if it will be.
    #[must_use]
    pub fn next_attempt_at(&self) -> Option<SystemTime> {
        (self.state == ReplyState::Pending).then(|| time_of(self.next_ms))
    }

    /// When its state changed last.
    #[must_use]
    pub fn changed_at(&self) -> SystemTime {
        time_of(self.changed_ms)
    }
}

/// One line of a list of replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplySummary {
    /// Its id.
    pub id: ReplyId,
    /// The channel that sends it.
    pub channel: ChannelKey,
    /// The conversation within which order is kept.
    pub conversation: Arc<str>,
    /// The user, in the provider's terms, who gets it through `on-broadcast`; none for one that goes through `on-respond`.
    pub broadcast_to: Option<String>,
    /// The first 80 characters of its text.
    pub excerpt: String,
    /// Text, metadata and attachments together.
    pub bytes: u64,
    /// When the agent gave it.
    pub(crate) created_ms: u64,
    /// Where it stands.
    pub state: ReplyState,
    /// How often it has been tried.
    pub attempts: u32,
    /// Not to be tried before.
    pub(crate) next_ms: u64,
    /// When its state changed last.
    pub(crate) changed_ms: u64,
    /// What the last failed attempt said.
    pub error: Option<String>,
    /// The upstream may have it already.
    pub redelivery: bool,
}

impl ReplySummary {
    /// When the agent gave it.
    #[must_use]
    pub fn created_at(&self) -> SystemTime {
        time_of(self.created_ms)
    }

    /// When it is tried next, if it will be.
    #[must_use]
    pub fn next_attempt_at(&self) -> Option<SystemTime> {
        (self.state == ReplyState::Pending).then(|| time_of(self.next_ms))
    }

    /// When its state changed last.
    #[must_use]
    pub fn changed_at(&self) -> SystemTime {
        time_of(self.changed_ms)
    }
}

/// Which replies to list: newest first, at most 1,000.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyFilter {
    /// Only this channel's.
    pub channel: Option<ChannelKey>,
    /// Only those in this state.
    pub state: Option<ReplyState>,
    /// Only those with a smaller id; the last id of one page gives the next.
    pub before: Option<ReplyId>,
    /// How many; default 100.
    pub limit: usize,
}

impl Default for ReplyFilter {
    fn default() -> Self {
        Self { channel: None, state: None, before: None, limit: 100 }
    }
}

/// A dedupe key that has not expired. Its response comes from
/// [`Store::stored_response`](super::Store::stored_response).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DedupeRecord {
    /// Its id.
    pub id: DedupeId,
    /// The channel that received the request or message.
    pub channel: ChannelKey,
    /// The key.
    pub key: StoredDedupeKey,
    /// When it was received.
    pub at_ms: u64,
    /// When it is to be forgotten.
    pub expires_ms: u64,
}

impl DedupeRecord {
    /// Whether it has not expired. One that was received before the host's clock was set has not: how long ago it was
    /// is not known.
    pub(crate) fn is_known(&self, now_ms: u64) -> bool {
        self.expires_ms > now_ms || was_unset(self.at_ms, now_ms)
    }
}

/// A timer that a guest has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerRecord {
    /// The guest's name for it, unique within its channel.
    pub name: Arc<str>,
    /// When it was set, so that it never waits for longer than it was set for; 0 when that is not known.
    pub set_ms: u64,
    /// When it is due.
    pub due_ms: u64,
    /// Handed back to the guest.
    pub payload: Arc<str>,
}

/// An unknown sender who asked to be paired.
#[derive(Clone, PartialEq, Eq)]
pub struct PairingRequest {
    /// The channel.
    pub channel: ChannelKey,
    /// Who asks, in the provider's terms.
    pub external_id: String,
    /// What an operator types to approve. Not in `Debug`.
    pub code: String,
    /// What the guest says about the sender.
    pub meta_json: String,
    /// When they asked first.
    pub created_ms: u64,
    /// When the code is void.
    pub expires_ms: u64,
}

impl fmt::Debug for PairingRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairingRequest")
            .field("channel", &self.channel)
            .field("external_id", &self.external_id)
            .field("expires_ms", &self.expires_ms)
            .finish_non_exhaustive()
    }
}

/// Somebody who was approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairedIdentity {
    /// The channel.
    pub channel: ChannelKey,
    /// Who, in the provider's terms.
    pub external_id: String,
    /// Who, in the host's terms.
    pub identity: String,
    /// When they were approved.
    pub at_ms: u64,
}

/// How many wrong codes were tried on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairingLock {
    /// The channel.
    pub channel: ChannelKey,
    /// Wrong codes in a row.
    pub wrong_codes: u32,
    /// No approval before this time; 0 when not locked.
    pub locked_until_ms: u64,
}

/// One thing that pairing keeps. Putting one replaces what has the same [`PairingKey`](super::PairingKey).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairingRecord {
    /// An unknown sender who asked; one per channel and external id.
    Request(PairingRequest),
    /// Somebody approved; one per channel and external id.
    Identity(PairedIdentity),
    /// An entry of the channel's allow-from list.
    #[cfg_attr(not(test), expect(dead_code, reason = "part of the stored format; nothing writes it"))]
    Allowed {
        /// The channel.
        channel: ChannelKey,
        /// The entry, in the provider's terms.
        entry: String,
    },
    /// Wrong codes; one per channel.
    Lock(PairingLock),
}

/// A pending message, without what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingMessage {
    /// Its id.
    pub id: MessageId,
    /// The channel that it came through.
    pub channel: ChannelKey,
    /// The conversation within which order is kept.
    pub conversation: Arc<str>,
    /// Text, metadata and stored attachments together.
    pub bytes: u64,
    /// How often it was delivered to the agent.
    pub attempt: u32,
    /// When it arrived.
    pub received_ms: u64,
}

/// A pending reply, without what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingReply {
    /// Its id.
    pub id: ReplyId,
    /// The channel that sends it.
    pub channel: ChannelKey,
    /// The conversation within which order is kept.
    pub conversation: Arc<str>,
    /// Text, metadata and attachments together.
    pub bytes: u64,
    /// How often it has been tried since [`attempts_since`](Self::attempts_since).
    pub attempts: u32,
    /// When its present row of attempts began.
    pub since_ms: u64,
    /// Not to be tried before.
    pub next_ms: u64,
    /// The upstream may have it already: the outcome of an attempt is unknown, be it that the host died in it.
    pub redelivery: bool,
    /// How many of these attempts have trapped.
    pub traps: u32,
}

/// What the host keeps in memory of one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadedChannel {
    /// Its workspace: path to content.
    pub files: BTreeMap<Arc<str>, Arc<str>>,
    /// Its timers, by name.
    pub timers: Vec<TimerRecord>,
    /// Its pending replies, oldest first.
    pub replies: Vec<PendingReply>,
    /// Its keys that are not expired, oldest first, the last one of each key.
    pub dedupe_keys: Vec<DedupeRecord>,
    /// What comes along when the channel was another host's.
    #[cfg(feature = "cluster")]
    pub moved: Option<Box<MovedChannel>>,
    /// New ids are to come after these. Other hosts have given out none of those that follow.
    pub ids_after: LastIds,
}

/// What a host keeps in memory of a channel that another host may have had before, beside what it keeps of each.
#[cfg(feature = "cluster")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MovedChannel {
    /// Its pending messages, oldest first.
    pub messages: Vec<PendingMessage>,
    /// Its pairing.
    pub pairing: PairingState,
}

/// What pairing keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairingState {
    /// Unknown senders who asked, by channel and external id; expired ones may be among them.
    pub requests: Vec<PairingRequest>,
    /// Those approved, by channel and external id.
    pub identities: Vec<PairedIdentity>,
    /// Allow-from lists: channel and entry, sorted.
    pub allowed: Vec<(ChannelKey, String)>,
    /// Wrong codes, by channel.
    pub locks: Vec<PairingLock>,
}

/// Everything that the host keeps in memory, as read at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The largest ids that were ever stored: new ones come after them.
    pub last_ids: LastIds,
    /// By channel. A channel that has nothing may be absent or empty.
    pub channels: BTreeMap<ChannelKey, LoadedChannel>,
    /// Pending messages, oldest first.
    pub messages: Vec<PendingMessage>,
    /// Pairing.
    pub pairing: PairingState,
}

#[cfg(test)]
impl Loaded {
    /// The pending replies of all channels, oldest first.
    pub fn replies(&self) -> Vec<PendingReply> {
        let mut replies: Vec<_> =
            self.channels.values().flat_map(|channel| channel.replies.clone()).collect();
        replies.sort_by_key(|reply| reply.id);
        replies
    }

    /// The keys of all channels, oldest first.
    pub fn dedupe_keys(&self) -> Vec<DedupeRecord> {
        let mut keys: Vec<_> =
            self.channels.values().flat_map(|channel| channel.dedupe_keys.clone()).collect();
        keys.sort_by_key(|key| key.id);
        keys
    }
}

/// How many characters of a text a listing shows.
pub(super) const EXCERPT: usize = 80;

/// The beginning of a text, for listings. A NUL ends it.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT).take_while(|&each| each != '\0').collect()
}

/// Whether an object in JSON has this text or whole number in one of its fields.
#[cfg(any(feature = "cli", test))]
pub(super) fn has_field(json: &str, id: &str) -> bool {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(json) else { return false };
    fields.values().any(|value| match value {
        serde_json::Value::String(text) => text == id,
        serde_json::Value::Number(number) => number.to_string() == id,
        _ => false,
    })
}
