//! Reminders as a part of their conversations: the model sees what it has reminded of.
//!
//! A transcript has one writer at a time. While a message is worked on, it is whoever does that, and gets the turns of reminders
//! from here; else a reminder's turn is written with the reminder itself.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::remind;
use super::turn::{ChatTurn, Transcript};
use super::window::HistoryWindow;
use crate::host::{Host, Reminder, ReplyError};
use crate::model::clock::unix_ms;
use crate::store::Change;

/// The conversations that are worked on.
#[derive(Default)]
pub(super) struct SaidReminders {
    /// For each how many work on it, and the turns that they have not taken yet. Held also while a reminder is stored, so
    /// that nobody begins to work on its conversation meanwhile.
    open: Mutex<HashMap<String, (usize, Vec<ChatTurn>)>>,
}

impl SaidReminders {
    /// From now on this conversation's turns are taken here. To be called before its transcript is read.
    pub(super) fn begin(&self, conversation: &str) -> OpenConversation<'_> {
        self.lock().entry(conversation.to_owned()).or_default().0 += 1;
        OpenConversation { said: self, conversation: conversation.to_owned() }
    }

    /// Says a reminder, with the change that removes it.
    ///
    /// # Errors
    /// Why it was not said.
    pub(super) fn say(
        &self,
        host: &Host,
        reminder: &Reminder,
        removal: Change,
        window: HistoryWindow,
    ) -> Result<(), ReplyError> {
        let (text, turn) = (remind::said(reminder), turn_of(reminder));
        let mut open = self.lock();
        let mut changes = vec![removal];
        let taken = open.get_mut(&reminder.to.conversation);
        if taken.is_none() {
            let stored = host.manager().transcript(&reminder.to.conversation)?;
            changes.extend(with_turn(stored.as_deref(), turn.clone(), window).map(|content| {
                Change::PutTranscript {
                    conversation: reminder.to.conversation.as_str().into(),
                    at_ms: unix_ms(),
                    content: content.into(),
                }
            }));
        }
        host.manager().say_later(&reminder.to, text, changes)?;
        if let Some((_, turns)) = taken {
            turns.push(turn);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (usize, Vec<ChatTurn>)>> {
        // Nothing that holds it panics half-way.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A conversation that is worked on, until it is dropped.
pub(super) struct OpenConversation<'a> {
    said: &'a SaidReminders,
    conversation: String,
}

impl OpenConversation<'_> {
    /// The turns of reminders that were said since the last time.
    pub(super) fn take(&self) -> Vec<ChatTurn> {
        self.said
            .lock()
            .get_mut(&self.conversation)
            .map(|(_, turns)| std::mem::take(turns))
            .unwrap_or_default()
    }
}

impl Drop for OpenConversation<'_> {
    fn drop(&mut self) {
        let mut open = self.said.lock();
        if let Some((workers, _)) = open.get_mut(&self.conversation) {
            *workers -= 1;
            if *workers == 0 {
                open.remove(&self.conversation);
            }
        }
    }
}

/// A reminder as a turn. Models want messages of the two sides to alternate, so it has one of either.
fn turn_of(reminder: &Reminder) -> ChatTurn {
    ChatTurn {
        user_id: reminder.to.user_id.clone(),
        text: "[the time of a reminder has come]".to_owned(),
        reply: Some(remind::said(reminder)),
        ..ChatTurn::default()
    }
}

/// What is stored with one more turn; nothing when what is stored cannot be read, and is left alone.
fn with_turn(stored: Option<&str>, turn: ChatTurn, window: HistoryWindow) -> Option<String> {
    let mut transcript =
        stored.map_or_else(|| Some(Transcript::default()), |json| Transcript::read(json).ok())?;
    transcript.insert(turn);
    transcript.turns = window.of(&transcript.turns).to_vec();
    serde_json::to_string(&transcript).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: HistoryWindow = HistoryWindow { messages: 4, tokens: 1000 };

    fn turn(text: &str, reply: Option<&str>) -> ChatTurn {
        ChatTurn { text: text.into(), reply: reply.map(str::to_owned), ..ChatTurn::default() }
    }

    fn texts(json: &str) -> Vec<String> {
        Transcript::read(json).unwrap().turns.into_iter().map(|turn| turn.text).collect()
    }

    #[test]
    fn a_reminder_s_turn_stands_before_a_message_that_has_no_reply_yet() {
        let first = with_turn(None, turn("a", Some("b")), WINDOW).unwrap();
        assert_eq!(texts(&first), ["a"]);
        let second = with_turn(Some(&first), turn("c", None), WINDOW).unwrap();
        let third = with_turn(Some(&second), turn("reminder", Some("tea")), WINDOW).unwrap();
        assert_eq!(texts(&third), ["reminder", "c"], "and the oldest goes when there is no room");
        assert_eq!(with_turn(Some("{"), turn("a", None), WINDOW), None);
    }

    #[test]
    fn turns_wait_for_whoever_works_on_the_conversation() {
        let said = SaidReminders::default();
        let (one, other) = (said.begin("a"), said.begin("a"));
        said.lock().get_mut("a").unwrap().1.push(turn("x", Some("y")));
        assert_eq!((one.take().len(), one.take().len()), (1, 0));
        drop(one);
        assert!(said.lock().contains_key("a"));
        drop(other);
        assert!(said.lock().is_empty());
    }
}
