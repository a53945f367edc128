//! The queue of messages for the agent: what can be handed out, what is out, what comes back. No I/O, no clock.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::deadline::deadline_after;
use crate::store::MessageId;

use super::conversations::Conversations;

/// How much may wait before new work is refused at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Messages, handed-out ones included. Default 10,000.
    pub messages: usize,
    /// Bytes of content and attachments. Default 256 MiB; they wait on disk, not in memory.
    pub bytes: u64,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { messages: 10_000, bytes: 256 * 1024 * 1024 }
    }
}

/// A message as the queue knows it.
#[derive(Clone, Debug)]
pub struct Waiting<B> {
    /// Its place in the store.
    pub id: MessageId,
    /// Messages with the same value come in order.
    pub conversation: Arc<str>,
    /// Content and attachments.
    pub bytes: u64,
    /// How often it was handed out before.
    pub attempt: u32,
    /// The message itself, when it is kept in memory.
    pub body: Option<B>,
}

/// A message that has just been handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedOut<B> {
    /// Its place in the store.
    pub id: MessageId,
    /// 1 for the first time.
    pub attempt: u32,
    /// The message itself, when it was kept in memory.
    pub body: Option<B>,
}

#[derive(Debug)]
struct Entry<B> {
    bytes: u64,
    attempt: u32,
    body: Option<B>,
    visible_again: Option<Instant>,
}

/// Messages in order of arrival within their conversations.
#[derive(Debug)]
pub struct MessageQueue<B> {
    order: Conversations<MessageId>,
    entries: HashMap<MessageId, Entry<B>>,
    out: BTreeSet<(Instant, MessageId)>,
    bytes: u64,
    limits: QueueLimits,
    visibility: Duration,
    in_order: bool,
}

impl<B: Clone> MessageQueue<B> {
    /// An empty queue. A message that is neither acknowledged nor given back within `visibility` is handed out again.
    /// With `in_order` false, messages of one conversation do not wait for each other.
    pub fn new(limits: QueueLimits, visibility: Duration, in_order: bool) -> Self {
        Self {
            order: Conversations::default(),
            entries: HashMap::new(),
            out: BTreeSet::new(),
            bytes: 0,
            limits,
            visibility,
            in_order,
        }
    }

    /// Adds a stored message. A message that is already here is left as it is.
    pub fn push(&mut self, message: Waiting<B>, now: Instant) {
        if self.entries.contains_key(&message.id) {
            return;
        }
        let Waiting { id, conversation, bytes, attempt, body } = message;
        let conversation = if self.in_order { conversation } else { Arc::from(id.to_string()) };
        self.bytes += bytes;
        self.entries.insert(id, Entry { bytes, attempt, body, visible_again: None });
        self.order.push(id, conversation, now);
    }

    /// Hands out the message that has been due for longest.
    pub fn take(&mut self, now: Instant) -> Option<HandedOut<B>> {
        self.take_back_expired(now);
        let id = self.order.take_due(now)?;
        let entry = self.entries.get_mut(&id)?;
        entry.attempt += 1;
        let until = deadline_after(now, self.visibility);
        entry.visible_again = Some(until);
        self.out.insert((until, id));
        Some(HandedOut { id, attempt: entry.attempt, body: entry.body.clone() })
    }

    /// The size of a message that is kept in memory.
    pub fn kept(&self, id: MessageId) -> Option<u64> {
        self.entries.get(&id).filter(|entry| entry.body.is_some()).map(|entry| entry.bytes)
    }

    /// Forgets a message. False when it was not here: acknowledged before, or dropped by the operator.
    pub fn acknowledge(&mut self, id: MessageId) -> bool {
        let Some(entry) = self.entries.remove(&id) else { return false };
        if let Some(until) = entry.visible_again {
            self.out.remove(&(until, id));
        }
        self.bytes -= entry.bytes;
        self.order.finish(id)
    }

    /// Takes a handed-out message back; it can be taken again at `due`.
    ///
    /// `attempt` says which handing-out is meant: a reader that is late does not take the message from the next one.
    pub fn give_back(&mut self, id: MessageId, attempt: u32, due: Instant) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        if entry.attempt != attempt {
            return false;
        }
        let Some(until) = entry.visible_again.take() else { return false };
        self.out.remove(&(until, id));
        self.order.give_back(id, due)
    }

    /// When something can be taken next, if anything is here at all.
    pub fn next_due(&self) -> Option<Instant> {
        let expires = self.out.first().map(|(until, _)| *until);
        match (self.order.next_due(), expires) {
            (Some(due), Some(expires)) => Some(due.min(expires)),
            (due, expires) => due.or(expires),
        }
    }

    /// Whether so much waits that no new message should be accepted.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.limits.messages || self.bytes >= self.limits.bytes
    }

    /// Messages here, handed-out ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Messages that are handed out.
    pub fn handed_out(&self) -> usize {
        self.out.len()
    }

    fn take_back_expired(&mut self, now: Instant) {
        while let Some(&(until, id)) = self.out.first() {
            if until > now {
                return;
            }
            self.out.pop_first();
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.visible_again = None;
            }
            self.order.give_back(id, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VISIBILITY: Duration = Duration::from_secs(600);

    fn message(id: u64, conversation: &str) -> Waiting<()> {
        Waiting { id: MessageId(id), conversation: conversation.into(), bytes: 10, attempt: 0, body: None }
    }

    fn queue(in_order: bool) -> MessageQueue<()> {
        MessageQueue::new(QueueLimits { messages: 3, bytes: 1000 }, VISIBILITY, in_order)
    }

    fn taken(queue: &mut MessageQueue<()>, now: Instant) -> Vec<(u64, u32)> {
        std::iter::from_fn(|| queue.take(now)).map(|out| (out.id.0, out.attempt)).collect()
    }

    #[test]
    fn a_later_message_of_a_conversation_waits_for_the_acknowledgement_of_the_earlier_one() {
        let now = Instant::now();
        let mut queue = queue(true);
        queue.push(message(1, "ann"), now);
        queue.push(message(2, "ann"), now);
        assert_eq!(taken(&mut queue, now), [(1, 1)]);
        assert!(queue.acknowledge(MessageId(1)));
        assert_eq!(taken(&mut queue, now), [(2, 1)]);
    }

    #[test]
    fn a_reader_that_opts_out_of_order_gets_them_all() {
        let now = Instant::now();
        let mut queue = queue(false);
        queue.push(message(1, "ann"), now);
        queue.push(message(2, "ann"), now);
        assert_eq!(taken(&mut queue, now), [(1, 1), (2, 1)]);
    }

    #[test]
    fn what_is_not_acknowledged_in_time_comes_again_with_its_attempt_number() {
        let now = Instant::now();
        let mut queue = queue(true);
        queue.push(message(1, "ann"), now);
        assert_eq!(taken(&mut queue, now), [(1, 1)]);
        assert_eq!(taken(&mut queue, now + VISIBILITY - Duration::from_millis(1)), []);
        assert_eq!(queue.next_due(), Some(now + VISIBILITY));
        assert_eq!(taken(&mut queue, now + VISIBILITY), [(1, 2)]);
    }

    #[test]
    fn a_late_reader_cannot_give_back_what_the_next_reader_holds() {
        let now = Instant::now();
        let mut queue = queue(true);
        queue.push(message(1, "ann"), now);
        assert_eq!(taken(&mut queue, now), [(1, 1)]);
        assert_eq!(taken(&mut queue, now + VISIBILITY), [(1, 2)]);
        assert!(!queue.give_back(MessageId(1), 1, now));
        assert!(queue.give_back(MessageId(1), 2, now + VISIBILITY));
    }

    #[test]
    fn a_message_that_is_given_back_waits_for_its_delay() {
        let now = Instant::now();
        let mut queue = queue(true);
        queue.push(message(1, "ann"), now);
        assert_eq!(taken(&mut queue, now), [(1, 1)]);
        let later = now + Duration::from_secs(3);
        assert!(queue.give_back(MessageId(1), 1, later));
        assert_eq!(taken(&mut queue, now), []);
        assert_eq!(taken(&mut queue, later), [(1, 2)]);
    }

    #[test]
    fn the_queue_is_full_at_its_limit_of_messages_and_not_one_before() {
        let now = Instant::now();
        let mut queue = queue(true);
        queue.push(message(1, "ann"), now);
        queue.push(message(2, "ann"), now);
        assert!(!queue.is_full());
        queue.push(message(3, "ann"), now);
        assert!(queue.is_full());
        queue.acknowledge(MessageId(3));
        assert!(!queue.is_full());
    }

    #[test]
    fn the_queue_is_full_at_its_limit_of_bytes_and_not_one_before() {
        let now = Instant::now();
        let mut queue = queue(true);
        queue.push(Waiting { bytes: 999, ..message(1, "ann") }, now);
        assert!(!queue.is_full());
        queue.push(Waiting { bytes: 1, ..message(2, "ann") }, now);
        assert!(queue.is_full());
    }
}
