//! Conversations in which the agent thinks, and when their guest is told so again: pure bookkeeping.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wit_abi::types::StatusUpdate;

use crate::model::deadline::deadline_after;

/// How often `thinking` is repeated: providers show "typing…" for about five seconds.
const REPEAT_EVERY: Duration = Duration::from_secs(4);

/// How long `thinking` is repeated at most.
const REPEAT_FOR: Duration = Duration::from_secs(300);

/// Conversations of one channel in which `thinking` is repeated at one time.
const MAX_CONVERSATIONS: usize = 256;

/// The conversations of one channel in which `thinking` is repeated.
#[derive(Debug, Default)]
pub struct Thinking {
    conversations: HashMap<Arc<str>, Repeated>,
}

#[derive(Debug)]
struct Repeated {
    update: Arc<StatusUpdate>,
    until: Instant,
}

impl Thinking {
    /// The agent thinks. Returns when to say so again; never when it does so in too many conversations already.
    pub fn begin(
        &mut self,
        conversation: &Arc<str>,
        update: &Arc<StatusUpdate>,
        now: Instant,
    ) -> Option<Instant> {
        let is_full = self.conversations.len() >= MAX_CONVERSATIONS;
        if is_full && !self.conversations.contains_key(conversation) {
            return None;
        }
        let repeated = Repeated { update: update.clone(), until: deadline_after(now, REPEAT_FOR) };
        self.conversations.insert(conversation.clone(), repeated);
        Some(deadline_after(now, REPEAT_EVERY))
    }

    /// The conversation has its response. False when nobody thought there.
    pub fn end(&mut self, conversation: &str) -> bool {
        self.conversations.remove(conversation).is_some()
    }

    /// It is time to say it again: what to say, and when the next time is. Nothing when it has been said for long enough.
    pub fn repeat(&mut self, conversation: &str, now: Instant) -> Option<(Arc<StatusUpdate>, Instant)> {
        let repeated = self.conversations.get(conversation)?;
        if repeated.until <= now {
            self.conversations.remove(conversation);
            return None;
        }
        Some((repeated.update.clone(), deadline_after(now, REPEAT_EVERY)))
    }
}

#[cfg(test)]
mod tests {
    use wit_abi::types::StatusType;

    use super::*;

    fn update() -> Arc<StatusUpdate> {
        let (message, metadata_json) = (String::new(), "{}".to_owned());
        Arc::new(StatusUpdate { status: StatusType::Thinking, message, metadata_json })
    }

    #[test]
    fn thinking_is_repeated_every_four_seconds_for_five_minutes() {
        let (begin, conversation) = (Instant::now(), Arc::from("c"));
        let mut thinking = Thinking::default();
        let mut due = thinking.begin(&conversation, &update(), begin).expect("it is repeated");
        let mut repeats = 0;
        while let Some((_, next)) = thinking.repeat(&conversation, due) {
            assert_eq!(next - due, REPEAT_EVERY);
            (due, repeats) = (next, repeats + 1);
        }
        assert_eq!((repeats, due - begin), (74, REPEAT_FOR));
        assert!(!thinking.end(&conversation), "it has ended by itself");
    }

    #[test]
    fn a_reply_ends_it() {
        let (now, conversation) = (Instant::now(), Arc::from("c"));
        let mut thinking = Thinking::default();
        thinking.begin(&conversation, &update(), now);
        assert!(thinking.end(&conversation) && !thinking.end(&conversation));
        assert!(thinking.repeat(&conversation, now).is_none());
    }

    #[test]
    fn there_is_room_for_256_conversations_and_no_more() {
        let (now, mut thinking) = (Instant::now(), Thinking::default());
        let name = |number: usize| Arc::from(number.to_string());
        for number in 0..MAX_CONVERSATIONS {
            assert!(thinking.begin(&name(number), &update(), now).is_some(), "{number}");
        }
        assert!(thinking.begin(&name(MAX_CONVERSATIONS), &update(), now).is_none());
        assert!(thinking.begin(&name(0), &update(), now).is_some(), "one that is there already");
    }
}
