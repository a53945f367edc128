//! Order within a conversation: pure bookkeeping, used for messages to the agent and for replies to a channel.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Entries in conversations. Of each conversation only the oldest entry can be taken; the others wait until it is
/// finished, however long it is retried. Conversations do not wait for each other.
///
/// `I` is an identifier that grows with time, so that entries that are due together come in order of arrival.
#[derive(Debug)]
pub struct Conversations<I> {
    queues: HashMap<Arc<str>, VecDeque<ConversationEntry<I>>>,
    /// The conversation of every entry.
    places: HashMap<I, Arc<str>>,
    /// The oldest entry of every conversation that has none taken.
    heads: BTreeSet<(Instant, I)>,
    /// How many entries have stepped aside: each has a queue of its own since.
    stepped_aside: u64,
}

#[derive(Clone, Copy, Debug)]
struct ConversationEntry<I> {
    id: I,
    due: Instant,
}

impl<I> Default for Conversations<I> {
    fn default() -> Self {
        Self { queues: HashMap::new(), places: HashMap::new(), heads: BTreeSet::new(), stepped_aside: 0 }
    }
}

impl<I: Copy + Ord + std::hash::Hash> Conversations<I> {
    /// Adds an entry at the end of its conversation. An entry that is already known is left where it is.
    pub fn push(&mut self, id: I, conversation: Arc<str>, due: Instant) {
        if self.places.contains_key(&id) {
            return;
        }
        self.places.insert(id, conversation.clone());
        let queue = self.queues.entry(conversation).or_default();
        queue.push_back(ConversationEntry { id, due });
        if queue.len() == 1 {
            self.heads.insert((due, id));
        }
    }

    /// Takes the entry that has been due for longest. It keeps its place until it is finished or requeued.
    pub fn take_due(&mut self, now: Instant) -> Option<I> {
        let &(due, id) = self.heads.first()?;
        if due > now {
            return None;
        }
        self.heads.pop_first();
        Some(id)
    }

    /// Requeues a taken entry, to be taken again at `due`. False when the entry is not known (any more).
    pub fn requeue(&mut self, id: I, due: Instant) -> bool {
        let Some(head) = self.head_of(id) else { return false };
        if head.id != id {
            return false;
        }
        let old = std::mem::replace(&mut head.due, due);
        self.heads.remove(&(old, id));
        self.heads.insert((due, id));
        true
    }

    /// Makes an entry that is not taken due now. It still waits for those before it.
    pub fn make_due(&mut self, id: I, now: Instant) {
        let Some(queue) = self.places.get(&id).and_then(|place| self.queues.get_mut(place)) else { return };
        let Some(entry) = queue.iter_mut().find(|entry| entry.id == id) else { return };
        let old = std::mem::replace(&mut entry.due, now);
        if self.heads.remove(&(old, id)) {
            self.heads.insert((now, id));
        }
    }

    /// Lets those behind an entry go on without it: it leaves its conversation, and waits for nobody and holds up nobody
    /// from now on. False when it is not known or is alone already.
    pub fn step_aside(&mut self, id: I) -> bool {
        let is_alone = |conversation: &Arc<str>| conversation.starts_with('\0');
        let conversation = self.places.get(&id).filter(|conversation| !is_alone(conversation)).cloned();
        let Some(conversation) = conversation else { return false };
        let Some(queue) = self.queues.get_mut(&conversation) else { return false };
        let Some(at) = queue.iter().position(|entry| entry.id == id) else { return false };
        let Some(entry) = queue.remove(at) else { return false };
        if let Some(next) = queue.front().filter(|_| at == 0) {
            self.heads.insert((next.due, next.id));
        }
        if queue.is_empty() {
            self.queues.remove(&conversation);
        }
        self.stepped_aside += 1;
        // No conversation has such a name.
        let alone: Arc<str> = format!("\0{}", self.stepped_aside).into();
        self.places.insert(id, alone.clone());
        self.queues.insert(alone, VecDeque::from([entry]));
        if at > 0 {
            self.heads.insert((entry.due, id));
        }
        true
    }

    /// Removes an entry, taken or not; the next one of its conversation can then be taken.
    pub fn finish(&mut self, id: I) -> bool {
        let Some(conversation) = self.places.remove(&id) else { return false };
        let Some(queue) = self.queues.get_mut(&conversation) else { return false };
        let was_head = queue.front().is_some_and(|head| head.id == id);
        if was_head {
            // Nearly always: without looking at all that wait behind it.
            if let Some(entry) = queue.pop_front() {
                self.heads.remove(&(entry.due, id));
            }
        } else {
            queue.retain(|entry| entry.id != id);
        }
        match queue.front() {
            Some(next) if was_head => {
                self.heads.insert((next.due, next.id));
            }
            Some(_) => {}
            None => {
                self.queues.remove(&conversation);
            }
        }
        true
    }

    /// When the next entry can be taken.
    pub fn next_due(&self) -> Option<Instant> {
        self.heads.first().map(|(due, _)| *due)
    }

    /// How many entries there are, taken ones included.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    fn head_of(&mut self, id: I) -> Option<&mut ConversationEntry<I>> {
        let conversation = self.places.get(&id)?;
        self.queues.get_mut(conversation)?.front_mut()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn all_due(conversations: &mut Conversations<u32>, now: Instant) -> Vec<u32> {
        std::iter::from_fn(|| conversations.take_due(now)).collect()
    }

    fn filled(entries: &[(u32, &str)], due: Instant) -> Conversations<u32> {
        let mut conversations = Conversations::default();
        for (id, conversation) in entries {
            conversations.push(*id, Arc::from(*conversation), due);
        }
        conversations
    }

    #[test]
    fn the_next_one_is_due_when_the_earliest_of_all_conversations_is() {
        let now = Instant::now();
        let after = |secs| now + Duration::from_secs(secs);
        let mut conversations = filled(&[(1, "ann")], after(2));
        conversations.push(2, Arc::from("bob"), after(1));
        conversations.push(3, Arc::from("cat"), after(3));
        assert_eq!(conversations.next_due(), Some(after(1)));
        assert_eq!(conversations.take_due(after(3)), Some(2));
        assert_eq!(conversations.next_due(), Some(after(2)));
    }

    #[test]
    fn one_entry_of_each_conversation_can_be_taken_at_a_time() {
        let now = Instant::now();
        let mut conversations = filled(&[(1, "ann"), (2, "ann"), (3, "bob")], now);
        assert_eq!(all_due(&mut conversations, now), [1, 3]);
        assert!(conversations.finish(1));
        assert_eq!(all_due(&mut conversations, now), [2]);
    }

    #[test]
    fn a_later_entry_waits_while_an_earlier_one_is_retried() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut conversations = filled(&[(1, "ann"), (2, "ann")], now);
        assert_eq!(conversations.take_due(now), Some(1));
        assert!(conversations.requeue(1, later));
        assert_eq!(conversations.take_due(now), None);
        assert_eq!(conversations.next_due(), Some(later));
        assert_eq!(conversations.take_due(later), Some(1));
    }

    #[test]
    fn an_entry_that_is_made_due_keeps_its_place() {
        let now = Instant::now();
        let mut conversations = filled(&[(1, "ann"), (2, "ann")], now + Duration::from_secs(5));
        conversations.make_due(2, now);
        assert_eq!(conversations.take_due(now), None);
        conversations.make_due(1, now);
        assert_eq!(conversations.take_due(now), Some(1));
        conversations.make_due(1, now);
        assert_eq!(conversations.take_due(now), None, "it is taken");
        conversations.finish(1);
        assert_eq!(conversations.take_due(now), Some(2));
    }

    #[test]
    fn an_entry_is_made_due_and_not_one_behind_it_that_was_due_at_another_time() {
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let mut conversations = filled(&[(1, "ann")], later(5));
        conversations.push(2, Arc::from("ann"), later(9));
        conversations.make_due(1, now);
        assert_eq!(conversations.take_due(now), Some(1));
        assert!(conversations.finish(1));
        assert_eq!(conversations.next_due(), Some(later(9)));
    }

    #[test]
    fn finishing_an_entry_that_waits_leaves_the_taken_one_alone() {
        let now = Instant::now();
        let mut conversations = filled(&[(1, "ann"), (2, "ann"), (3, "ann")], now);
        assert_eq!(conversations.take_due(now), Some(1));
        assert!(conversations.finish(2));
        assert_eq!(conversations.take_due(now), None);
        assert!(conversations.finish(1));
        assert_eq!(conversations.take_due(now), Some(3));
    }

    #[test]
    fn an_entry_that_steps_aside_lets_the_next_go_and_is_taken_again_itself() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut conversations = filled(&[(1, "ann"), (2, "ann"), (3, "ann")], now);
        assert_eq!(conversations.take_due(now), Some(1));
        assert!(conversations.step_aside(1));
        assert!(!conversations.step_aside(1), "it is alone already");
        assert!(conversations.requeue(1, later));
        assert_eq!(all_due(&mut conversations, now), [2], "3 waits for 2");
        assert!(conversations.finish(2));
        assert_eq!(all_due(&mut conversations, later), [3, 1]);
        assert!(conversations.finish(1) && conversations.finish(3));
        assert!(conversations.queues.is_empty() && conversations.heads.is_empty());
    }

    #[test]
    fn an_entry_that_was_not_taken_can_step_aside_too() {
        let now = Instant::now();
        for aside in [1, 2] {
            let mut conversations = filled(&[(1, "ann"), (2, "ann")], now);
            assert!(conversations.step_aside(aside));
            assert_eq!(all_due(&mut conversations, now), [1, 2]);
        }
        let mut conversations = filled(&[(1, "ann")], now);
        assert!(conversations.step_aside(1), "the only one: those that come later do not wait for it");
        conversations.push(2, Arc::from("ann"), now);
        assert_eq!(all_due(&mut conversations, now), [1, 2]);
    }

    #[test]
    fn a_finished_conversation_leaves_nothing_behind() {
        let now = Instant::now();
        let mut conversations = filled(&[(1, "ann")], now);
        assert!(conversations.finish(1));
        assert!(!conversations.finish(1));
        assert!(!conversations.requeue(1, now));
        assert!(
            conversations.places.is_empty()
                && conversations.queues.is_empty()
                && conversations.heads.is_empty()
        );
    }

    #[test]
    fn an_entry_that_is_pushed_twice_is_taken_once() {
        let now = Instant::now();
        let mut conversations = filled(&[(1, "ann"), (1, "ann"), (2, "ann")], now);
        assert_eq!(all_due(&mut conversations, now), [1]);
        assert_eq!(conversations.len(), 2);
        assert!(conversations.finish(1));
        assert_eq!(all_due(&mut conversations, now), [2]);
    }

    #[test]
    fn an_entry_behind_the_first_one_cannot_be_requeued() {
        let now = Instant::now();
        let mut conversations = filled(&[(1, "ann"), (2, "ann")], now);
        assert!(!conversations.requeue(2, now + Duration::from_secs(5)));
        assert_eq!(all_due(&mut conversations, now), [1]);
        assert!(conversations.finish(1));
        assert_eq!(all_due(&mut conversations, now), [2], "it is due when it was");
    }

    #[test]
    fn an_entry_that_is_requeued_before_it_was_taken_is_due_only_then() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut conversations = filled(&[(1, "ann")], now);
        assert!(conversations.requeue(1, later));
        assert_eq!(conversations.take_due(now), None);
        assert_eq!(all_due(&mut conversations, later), [1]);
    }

    #[test]
    fn the_next_in_order_follows_and_the_ones_behind_it_wait() {
        let now = Instant::now();
        let mut conversations = filled(&[(1, "ann"), (2, "ann"), (3, "ann")], now);
        assert_eq!(all_due(&mut conversations, now), [1]);
        assert!(conversations.finish(1));
        assert_eq!(all_due(&mut conversations, now), [2]);
    }

    #[test]
    fn an_entry_that_was_taken_and_steps_aside_is_not_taken_twice() {
        let now = Instant::now();
        let mut conversations = filled(&[(1, "ann"), (2, "ann")], now);
        assert_eq!(conversations.take_due(now), Some(1));
        assert!(conversations.step_aside(1));
        assert_eq!(all_due(&mut conversations, now), [2]);
    }

    #[test]
    fn entries_that_stepped_aside_do_not_wait_for_each_other() {
        let now = Instant::now();
        let mut conversations = filled(&[(1, "ann"), (2, "ann"), (3, "ann")], now);
        assert!(conversations.step_aside(1) && conversations.step_aside(2) && conversations.step_aside(3));
        assert_eq!(conversations.queues.len(), 3, "their conversation is gone");
        assert_eq!(all_due(&mut conversations, now), [1, 2, 3]);
    }
}
