//! The queue of messages for the agent: what can be delivered, what is in flight, what is redelivered, what becomes a dead
//! letter. No I/O, no clock.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::conversations::Conversations;
use crate::model::bounded;
use crate::model::deadline::deadline_after;
use crate::store::MessageId;

/// How much may wait before new work is refused.
/// Deserialises from the fields of `[queue]` in `tinclaw.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueLimits {
    /// Messages, those in flight included. Default 10,000.
    #[serde(rename = "max_messages", deserialize_with = "bounded::count::<_, _, 1, 100000000>")]
    pub messages: usize,
    /// Bytes of content and attachments of messages. Default 256 MiB; they wait on disk, not in memory.
    #[serde(rename = "max_megabytes", deserialize_with = "bounded::megabytes::<_, 1, 1048576>")]
    pub bytes: u64,
    /// Replies that may wait for delivery, over all channels. Default 10,000.
    #[serde(rename = "max_replies", deserialize_with = "bounded::count::<_, _, 1, 100000000>")]
    pub replies: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { messages: 10_000, bytes: 256 * 1024 * 1024, replies: 10_000 }
    }
}

/// How messages are delivered.
/// Deserialises from fields at the top of `tinclaw.toml`; `max_attempts` stands in `[agent]` there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryPolicy {
    /// A message that is neither acknowledged nor requeued within this time is redelivered. Default 10 min.
    #[serde(rename = "ack_timeout_secs", deserialize_with = "bounded::secs::<_, 1, 604800>")]
    pub ack_timeout: Duration,
    /// Whether messages of one conversation wait for each other. Default true.
    pub in_order: bool,
    /// After so many failed attempts a message is a dead letter. Default 5.
    #[serde(skip)]
    pub max_attempts: u32,
}

impl Default for DeliveryPolicy {
    fn default() -> Self {
        Self { ack_timeout: Duration::from_secs(600), in_order: true, max_attempts: 5 }
    }
}

/// A message as the queue knows it.
#[derive(Clone, Debug)]
pub struct WaitingMessage<B> {
    /// Its place in the store.
    pub id: MessageId,
    /// Messages with the same value come in order.
    pub conversation: Arc<str>,
    /// Content and attachments.
    pub bytes: u64,
    /// How often it was delivered before.
    pub attempt: u32,
    /// When it was emitted, in Unix milliseconds.
    pub received_ms: u64,
    /// The message itself, when it is kept in memory.
    pub body: Option<B>,
}

/// One delivery of a message: a reader that is late does not decide about the next reader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryLease {
    /// The message.
    pub id: MessageId,
    number: u64,
}

/// A message that has just been taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dequeued<B> {
    /// This delivery.
    pub lease: DeliveryLease,
    /// 1 for the first time.
    pub attempt: u32,
    /// How often the agent could not be asked before.
    pub outages: u32,
    /// The message itself, when it was kept in memory.
    pub body: Option<B>,
}

/// What became of a delivery that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The message is redelivered.
    Requeued,
    /// That was its last attempt: the queue has forgotten it.
    DeadLetter,
    /// It is no longer this reader's.
    Stale,
}

#[derive(Debug)]
struct QueueEntry<B> {
    bytes: u64,
    attempt: u32,
    /// Deliveries that did not count, because the agent could not be asked; since the start of the host.
    outages: u32,
    received_ms: u64,
    body: Option<B>,
    /// The present delivery, and when it expires.
    in_flight: Option<(u64, Instant)>,
    /// When it was delivered last.
    delivered: Option<Instant>,
}

/// Messages in order of arrival within their conversations.
#[derive(Debug)]
pub struct MessageQueue<B> {
    order: Conversations<MessageId>,
    entries: HashMap<MessageId, QueueEntry<B>>,
    /// When deliveries expire: one entry for each message in flight.
    expiries: BTreeSet<(Instant, MessageId)>,
    /// Deliveries so far.
    deliveries: u64,
    bytes: u64,
    limits: QueueLimits,
    policy: DeliveryPolicy,
}

impl<B: Clone> MessageQueue<B> {
    /// An empty queue.
    pub fn new(limits: QueueLimits, policy: DeliveryPolicy) -> Self {
        Self {
            order: Conversations::default(),
            entries: HashMap::new(),
            expiries: BTreeSet::new(),
            deliveries: 0,
            bytes: 0,
            limits,
            policy,
        }
    }

    /// Adds a stored message. A message that is already here is left as it is.
    pub fn push(&mut self, message: WaitingMessage<B>, now: Instant) {
        if self.entries.contains_key(&message.id) {
            return;
        }
        let WaitingMessage { id, conversation, bytes, attempt, received_ms, body } = message;
        let conversation = if self.policy.in_order { conversation } else { Arc::from(id.to_string()) };
        self.bytes += bytes;
        let entry =
            QueueEntry { bytes, attempt, outages: 0, received_ms, body, in_flight: None, delivered: None };
        self.entries.insert(id, entry);
        self.order.push(id, conversation, now);
    }

    /// Takes the message that has been due for longest.
    pub fn take(&mut self, now: Instant) -> Option<Dequeued<B>> {
        let id = self.order.take_due(now)?;
        let entry = self.entries.get_mut(&id)?;
        entry.attempt = entry.attempt.saturating_add(1);
        self.deliveries += 1;
        let until = deadline_after(now, self.policy.ack_timeout);
        entry.in_flight = Some((self.deliveries, until));
        entry.delivered = Some(now);
        self.expiries.insert((until, id));
        let lease = DeliveryLease { id, number: self.deliveries };
        Some(Dequeued { lease, attempt: entry.attempt, outages: entry.outages, body: entry.body.clone() })
    }

    /// A delivery whose time for an acknowledgement is over, if there is one.
    pub fn expired(&self, now: Instant) -> Option<DeliveryLease> {
        let (until, id) = *self.expiries.first()?;
        let (number, _) = self.entries.get(&id)?.in_flight?;
        (until <= now).then_some(DeliveryLease { id, number })
    }

    /// Which attempt the last delivery of a message was, and when it was delivered.
    pub fn last_delivery(&self, id: MessageId) -> Option<(u32, Instant)> {
        let entry = self.entries.get(&id)?;
        Some((entry.attempt, entry.delivered?))
    }

    /// The size of a message that is kept in memory.
    pub fn kept(&self, id: MessageId) -> Option<u64> {
        self.entries.get(&id).filter(|entry| entry.body.is_some()).map(|entry| entry.bytes)
    }

    /// A message that is kept in memory.
    pub fn body(&self, id: MessageId) -> Option<B> {
        self.entries.get(&id)?.body.clone()
    }

    /// Forgets a message. False when it was not here: acknowledged before, or dropped by the operator.
    pub fn acknowledge(&mut self, id: MessageId) -> bool {
        let Some(entry) = self.entries.remove(&id) else { return false };
        if let Some((_, until)) = entry.in_flight {
            self.expiries.remove(&(until, id));
        }
        self.bytes -= entry.bytes;
        self.order.finish(id)
    }

    /// Whether a failure of this delivery makes the message a dead letter.
    pub fn is_last_attempt(&self, lease: DeliveryLease) -> bool {
        self.leased(lease).is_some_and(|entry| entry.attempt >= self.policy.max_attempts)
    }

    /// A delivery has failed: the message can be taken again at `due`, or is a dead letter.
    pub fn fail(&mut self, lease: DeliveryLease, due: Instant) -> Failed {
        if self.leased(lease).is_none() {
            return Failed::Stale;
        }
        if self.is_last_attempt(lease) {
            return self.give_up(lease);
        }
        self.requeue(lease, due);
        Failed::Requeued
    }

    /// A delivery has failed in a way that another attempt would not change.
    pub fn give_up(&mut self, lease: DeliveryLease) -> Failed {
        if self.leased(lease).is_none() {
            return Failed::Stale;
        }
        self.acknowledge(lease.id);
        Failed::DeadLetter
    }

    /// Ends a delivery that came to nothing through no fault of the message: it does not count as an attempt.
    pub fn release(&mut self, lease: DeliveryLease, due: Instant) -> bool {
        if !self.requeue(lease, due) {
            return false;
        }
        if let Some(entry) = self.entries.get_mut(&lease.id) {
            entry.attempt = entry.attempt.saturating_sub(1);
        }
        true
    }

    /// The same because the agent could not be asked. Returns how often that was; 0 when it is no longer this reader's.
    pub fn release_unasked(&mut self, lease: DeliveryLease, due: Instant) -> u32 {
        if !self.release(lease, due) {
            return 0;
        }
        let Some(entry) = self.entries.get_mut(&lease.id) else { return 0 };
        entry.outages = entry.outages.saturating_add(1);
        entry.outages
    }

    /// Gives a delivery time until `until`. False when it is no longer this reader's.
    pub fn extend(&mut self, lease: DeliveryLease, until: Instant) -> bool {
        if self.leased(lease).is_none() {
            return false;
        }
        if let Some(entry) = self.entries.get_mut(&lease.id)
            && let Some((_, old)) = entry.in_flight.replace((lease.number, until))
        {
            self.expiries.remove(&(old, lease.id));
            self.expiries.insert((until, lease.id));
        }
        true
    }

    /// When the first of the deliveries that are under way expires.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|(until, _)| *until)
    }

    /// When something can be taken or expires next, if anything is here at all.
    pub fn next_due(&self) -> Option<Instant> {
        match (self.order.next_due(), self.next_expiry()) {
            (Some(due), Some(expires)) => Some(due.min(expires)),
            (due, expires) => due.or(expires),
        }
    }

    /// Whether so much waits that no new message should be accepted.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.limits.messages || self.bytes >= self.limits.bytes
    }

    /// Messages here, those in flight included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Messages that are delivered and not acknowledged.
    pub fn in_flight(&self) -> usize {
        self.expiries.len()
    }

    /// When the oldest message was emitted, in Unix milliseconds.
    pub fn oldest_ms(&self) -> Option<u64> {
        self.entries.values().map(|entry| entry.received_ms).min()
    }

    fn requeue(&mut self, lease: DeliveryLease, due: Instant) -> bool {
        if self.leased(lease).is_none() {
            return false;
        }
        if let Some(entry) = self.entries.get_mut(&lease.id)
            && let Some((_, until)) = entry.in_flight.take()
        {
            self.expiries.remove(&(until, lease.id));
        }
        self.order.requeue(lease.id, due)
    }

    fn leased(&self, lease: DeliveryLease) -> Option<&QueueEntry<B>> {
        let entry = self.entries.get(&lease.id)?;
        entry.in_flight.is_some_and(|(number, _)| number == lease.number).then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACK_TIMEOUT: Duration = Duration::from_secs(600);

    fn message(id: u64, conversation: &str) -> WaitingMessage<()> {
        WaitingMessage {
            id: MessageId(id),
            conversation: conversation.into(),
            bytes: 10,
            attempt: 0,
            received_ms: 0,
            body: None,
        }
    }

    fn queue(in_order: bool) -> MessageQueue<()> {
        let policy = DeliveryPolicy { ack_timeout: ACK_TIMEOUT, in_order, max_attempts: 3 };
        MessageQueue::new(QueueLimits { messages: 3, bytes: 1000, ..QueueLimits::default() }, policy)
    }

    fn taken(queue: &mut MessageQueue<()>, now: Instant) -> Vec<(u64, u32)> {
        std::iter::from_fn(|| queue.take(now)).map(|taken| (taken.lease.id.0, taken.attempt)).collect()
    }

    /// The present delivery of a message.
    fn lease(queue: &MessageQueue<()>, id: u64) -> DeliveryLease {
        let (number, _) = queue.entries[&MessageId(id)].in_flight.unwrap();
        DeliveryLease { id: MessageId(id), number }
    }

    #[test]
    fn a_message_that_is_given_up_is_gone_whatever_its_attempt_and_only_by_its_reader() {
        let (mut queue, now) = (queue(true), Instant::now());
        queue.push(message(1, "a"), now);
        let first = queue.take(now).unwrap().lease;
        assert_eq!(queue.fail(first, now), Failed::Requeued);
        let second = queue.take(now).unwrap().lease;
        assert_eq!(queue.give_up(first), Failed::Stale);
        assert_eq!(queue.give_up(second), Failed::DeadLetter);
        assert_eq!((queue.len(), queue.in_flight()), (0, 0));
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
    fn a_delivery_expires_after_the_ack_timeout_and_not_before() {
        let now = Instant::now();
        let mut queue = queue(true);
        queue.push(message(1, "ann"), now);
        assert_eq!(taken(&mut queue, now), [(1, 1)]);
        assert_eq!(queue.expired(now + ACK_TIMEOUT - Duration::from_millis(1)), None);
        assert_eq!(queue.next_due(), Some(now + ACK_TIMEOUT));
        assert_eq!(queue.expired(now + ACK_TIMEOUT), Some(lease(&queue, 1)));
    }

    #[test]
    fn a_delivery_that_is_extended_expires_later() {
        let now = Instant::now();
        let mut queue = queue(true);
        queue.push(message(1, "ann"), now);
        let first = queue.take(now).unwrap().lease;
        assert!(queue.extend(first, now + 2 * ACK_TIMEOUT));
        assert_eq!(queue.expired(now + ACK_TIMEOUT), None);
        assert_eq!(queue.expired(now + 2 * ACK_TIMEOUT), Some(first));
        assert_eq!(queue.fail(first, now), Failed::Requeued);
        assert!(!queue.extend(first, now + 3 * ACK_TIMEOUT), "it has ended");
    }

    #[test]
    fn a_late_reader_cannot_decide_about_what_the_next_reader_holds() {
        let now = Instant::now();
        let mut queue = queue(true);
        queue.push(message(1, "ann"), now);
        let late = queue.take(now).unwrap().lease;
        // Released, so that both deliveries have the same attempt number.
        assert!(queue.release(late, now));
        let next = queue.take(now).unwrap();
        assert_eq!(next.attempt, 1);
        assert_eq!(queue.fail(late, now), Failed::Stale);
        assert!(!queue.release(late, now) && !queue.extend(late, now));
        assert_eq!(queue.fail(next.lease, now), Failed::Requeued);
    }

    #[test]
    fn a_message_that_failed_waits_for_its_delay_and_counts_its_attempts() {
        let now = Instant::now();
        let mut queue = queue(true);
        queue.push(message(1, "ann"), now);
        let first = queue.take(now).unwrap().lease;
        let later = now + Duration::from_secs(3);
        assert_eq!(queue.fail(first, later), Failed::Requeued);
        assert_eq!(taken(&mut queue, now), []);
        assert_eq!(taken(&mut queue, later), [(1, 2)]);
    }

    /// A message that its agent failed on was redelivered for ever, and its conversation waited for ever.
    #[test]
    fn the_last_attempt_makes_a_dead_letter_and_the_conversation_goes_on() {
        let now = Instant::now();
        let mut queue = queue(true);
        queue.push(message(1, "ann"), now);
        queue.push(message(2, "ann"), now);
        for attempt in 1..=2 {
            let taken = queue.take(now).unwrap();
            assert_eq!((taken.lease.id, taken.attempt), (MessageId(1), attempt));
            assert!(!queue.is_last_attempt(taken.lease));
            assert_eq!(queue.fail(taken.lease, now), Failed::Requeued);
        }
        let last = queue.take(now).unwrap().lease;
        assert!(queue.is_last_attempt(last));
        assert_eq!(queue.fail(last, now), Failed::DeadLetter);
        assert_eq!(queue.len(), 1);
        assert_eq!(taken(&mut queue, now), [(2, 1)]);
    }

    #[test]
    fn a_released_delivery_does_not_count() {
        let now = Instant::now();
        let mut queue = queue(true);
        queue.push(message(1, "ann"), now);
        for _ in 0..10 {
            let taken = queue.take(now).unwrap();
            assert_eq!(taken.attempt, 1);
            assert!(queue.release(taken.lease, now));
        }
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
        queue.push(WaitingMessage { bytes: 999, ..message(1, "ann") }, now);
        assert!(!queue.is_full());
        queue.push(WaitingMessage { bytes: 1, ..message(2, "ann") }, now);
        assert!(queue.is_full());
        queue.acknowledge(MessageId(2));
        assert!(!queue.is_full(), "what is acknowledged makes room");
    }

    #[test]
    fn the_queue_knows_what_is_in_flight_and_which_message_is_the_oldest() {
        let now = Instant::now();
        let mut queue = queue(true);
        assert_eq!((queue.in_flight(), queue.oldest_ms()), (0, None));
        queue.push(WaitingMessage { received_ms: 7, body: Some(()), ..message(1, "ann") }, now);
        queue.push(WaitingMessage { received_ms: 5, ..message(2, "bob") }, now);
        assert_eq!((queue.in_flight(), queue.oldest_ms()), (0, Some(5)));
        assert_eq!(queue.last_delivery(MessageId(1)), None);
        queue.take(now).expect("the first");
        assert_eq!((queue.in_flight(), queue.last_delivery(MessageId(1))), (1, Some((1, now))));
        // Only what is kept in memory has a size and a body there.
        assert_eq!((queue.kept(MessageId(1)), queue.body(MessageId(1))), (Some(10), Some(())));
        assert_eq!((queue.kept(MessageId(2)), queue.body(MessageId(2))), (None, None));
        queue.acknowledge(MessageId(2));
        assert_eq!((queue.in_flight(), queue.oldest_ms()), (1, Some(7)));
    }
}
