//! How much of a conversation a model is told. No I/O.

use serde::Deserialize;

use super::turn::ChatTurn;
use crate::model::bounded;

/// How much of a conversation goes along with a request to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HistoryWindow {
    /// Messages, tool calls included. Default 40.
    #[serde(deserialize_with = "bounded::count::<_, _, 1, 10000>")]
    pub messages: usize,
    /// Tokens, estimated as one for every three bytes. Default 3,000.
    #[serde(deserialize_with = "bounded::count::<_, _, 100, 10000000>")]
    pub tokens: usize,
}

impl Default for HistoryWindow {
    fn default() -> Self {
        Self { messages: 40, tokens: 3_000 }
    }
}

impl HistoryWindow {
    /// The newest turns that fit. The oldest go first, whole, with their tool calls; the last one always stays.
    pub(super) fn of(self, turns: &[ChatTurn]) -> &[ChatTurn] {
        let Some(last) = turns.last() else { return turns };
        let (mut messages, mut tokens) = (last.messages(), last.tokens());
        let mut first = turns.len() - 1;
        for turn in turns[..first].iter().rev() {
            messages += turn.messages();
            tokens += turn.tokens();
            if messages > self.messages || tokens > self.tokens {
                break;
            }
            first -= 1;
        }
        &turns[first..]
    }

    /// A window for a server that found this one too large: half of what these turns have, at most.
    pub(super) fn halved(self, turns: &[ChatTurn]) -> Self {
        let tokens = self.of(turns).iter().map(ChatTurn::tokens).sum::<usize>();
        Self { tokens: self.tokens.min(tokens) / 2, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::super::turn::{Round, ToolUse};
    use super::*;

    /// Two messages and 10 tokens.
    fn turn(message: u64) -> ChatTurn {
        ChatTurn { message, text: "abc".into(), reply: Some("def".into()), ..ChatTurn::default() }
    }

    /// Four messages.
    fn with_call(message: u64) -> ChatTurn {
        let round = Round { text: String::new(), calls: vec![ToolUse::default()] };
        ChatTurn { rounds: vec![round], ..turn(message) }
    }

    fn kept(messages: usize, tokens: usize, turns: &[ChatTurn]) -> Vec<u64> {
        HistoryWindow { messages, tokens }.of(turns).iter().map(|turn| turn.message).collect()
    }

    #[test]
    fn the_oldest_turns_go_first_and_whole() {
        assert_eq!(turn(1).tokens(), 10);
        let turns = [with_call(1), turn(2), turn(3)];
        for (what, messages, tokens, expected) in [
            ("all at the limit of messages", 8, 1000, vec![1, 2, 3]),
            ("one message less: the whole turn goes", 7, 1000, vec![2, 3]),
            ("tokens at the limit", 100, 20, vec![2, 3]),
            ("one token less", 100, 19, vec![3]),
            ("the last one stays, whatever it has", 0, 0, vec![3]),
        ] {
            assert_eq!(kept(messages, tokens, &turns), expected, "{what}");
        }
        assert_eq!(kept(10, 10, &[]), [0; 0]);
    }

    #[test]
    fn a_turn_that_does_not_fit_lets_no_older_one_through() {
        assert_eq!(kept(4, 1000, &[turn(1), with_call(2), turn(3)]), [3]);
    }

    #[test]
    fn half_is_half_of_what_there_was() {
        let turns = [turn(1), turn(2), turn(3), turn(4)];
        let window = HistoryWindow { messages: 100, tokens: 1000 };
        assert_eq!(window.halved(&turns), HistoryWindow { messages: 100, tokens: 20 });
        assert_eq!(window.halved(&turns).of(&turns).len(), 2);
        assert_eq!(HistoryWindow { messages: 100, tokens: 30 }.halved(&turns).of(&turns).len(), 1);
    }
}
