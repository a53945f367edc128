//! The queue of messages for the agent: what can be delivered, what is in flight, what is redelivered, what becomes a dead
//! letter. No I/O, no clock.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::deadline::deadline_after;
use crate::store::MessageId;

use super::conversations::Conversations;

/// How much may wait before new work is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Messages, those in flight included. Default 10,000.
    pub messages: usize,
    /// Bytes of content and attachments. Default 256 MiB; they wait on disk, not in memory.
    pub bytes: u64,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { messages: 10_000, bytes: 256 * 1024 * 1024 }
    }
}

/// How messages are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryPolicy {
    /// A message that is neither acknowledged nor requeued within this time is redelivered. Default 10 min.
    pub ack_timeout: Duration,
    /// Whether messages of one conversation wait for each other. Default true.
    pub in_order: bool,
    /// After so many failed attempts a message is a dead letter. Default 5.
    pub max_attempts: u32,
}

impl Default for DeliveryPolicy {
    fn default() -> Self {
        Self { ack_timeout: Duration::from_secs(600), in_order: true, max_attempts: 5 }
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
    /// How often it was delivered before.
    pub attempt: u32,
    /// When it was emitted, in Unix milliseconds.
    pub received_ms: u64,
    /// The message itself, when it is kept in memory.
    pub body: Option<B>,
}

/// One delivery of a message: a reader that is late does not decide about the next reader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The message.
    pub id: MessageId,
    number: u64,
}

/// A message that has just been taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dequeued<B> {
    /// This delivery.
    pub lease: Lease,
    /// 1 for the first time.
    pub attempt: u32,
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
struct Entry<B> {
    bytes: u64,
    attempt: u32,
    received_ms: u64,
    body: Option<B>,
    /// The present delivery, and when it expires.
    in_flight: Option<(u64, Instant)>,
}

/// Messages in order of arrival within their conversations.
#[derive(Debug)]
pub struct MessageQueue<B> {
    order: Conversations<MessageId>,
    entries: HashMap<MessageId, Entry<B>>,
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
    pub fn push(&mut self, message: Waiting<B>, now: Instant) {
        if self.entries.contains_key(&message.id) {
            return;
        }
        let Waiting { id, conversation, bytes, attempt, received_ms, body } = message;
        let conversation = if self.policy.in_order { conversation } else { Arc::from(id.to_string()) };
        self.bytes += bytes;
        self.entries.insert(id, Entry { bytes, attempt, received_ms, body, in_flight: None });
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
        self.expiries.insert((until, id));
        let lease = Lease { id, number: self.deliveries };
        Some(Dequeued { lease, attempt: entry.attempt, body: entry.body.clone() })
    }

    /// A delivery whose time for an acknowledgement is over, if there is one.
    pub fn expired(&self, now: Instant) -> Option<Lease> {
        let (until, id) = *self.expiries.first()?;
        let (number, _) = self.entries.get(&id)?.in_flight?;
        (until <= now).then_some(Lease { id, number })
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
    pub fn is_last_attempt(&self, lease: Lease) -> bool {
        self.leased(lease).is_some_and(|entry| entry.attempt >= self.policy.max_attempts)
    }

    /// A delivery has failed: the message can be taken again at `due`, or is a dead letter.
    pub fn fail(&mut self, lease: Lease, due: Instant) -> Failed {
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
    pub fn give_up(&mut self, lease: Lease) -> Failed {
        if self.leased(lease).is_none() {
            return Failed::Stale;
        }
        self.acknowledge(lease.id);
        Failed::DeadLetter
    }

    /// Ends a delivery that came to nothing through no fault of the message: it does not count as an attempt.
    pub fn release(&mut self, lease: Lease, due: Instant) -> bool {
        if !self.requeue(lease, due) {
            return false;
        }
        if let Some(entry) = self.entries.get_mut(&lease.id) {
            entry.attempt = entry.attempt.saturating_sub(1);
        }
        true
    }

    /// Gives a delivery time until `until`. False when it is no longer this reader's.
    pub fn extend(&mut self, lease: Lease, until: Instant) -> bool {
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

    fn requeue(&mut self, lease: Lease, due: Instant) -> bool {
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

    fn leased(&self, lease: Lease) -> Option<&Entry<B>> {
        let entry = self.entries.get(&lease.id)?;
        entry.in_flight.is_some_and(|(number, _)| number == lease.number).then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACK_TIMEOUT: Duration = Duration::from_secs(600);

    fn message(id: u64, conversation: &str) -> Waiting<()> {
        Waiting {
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
        MessageQueue::new(QueueLimits { messages: 3, bytes: 1000 }, policy)
    }

    fn taken(queue: &mut MessageQueue<()>, now: Instant) -> Vec<(u64, u32)> {
        std::iter::from_fn(|| queue.take(now)).map(|taken| (taken.lease.id.0, taken.attempt)).collect()
    }

    /// The present delivery of a message.
    fn lease(queue: &MessageQueue<()>, id: u64) -> Lease {
        let (number, _) = queue.entries[&MessageId(id)].in_flight.unwrap();
        Lease { id: MessageId(id), number }
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
        queue.push(Waiting { bytes: 999, ..message(1, "ann") }, now);
        assert!(!queue.is_full());
        queue.push(Waiting { bytes: 1, ..message(2, "ann") }, now);
        assert!(queue.is_full());
    }
}
