//! What a conversation with a model is made of. No I/O.

use serde::{Deserialize, Serialize};

/// What is kept of a conversation: whole turns, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Transcript {
    pub turns: Vec<ChatTurn>,
    /// Messages that became dead letters after tools had run for them. No model is told of them; they are for the operator who
    /// replays one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dead_letters: Vec<ChatTurn>,
}

/// How many turns without a reply are kept, and their bytes together.
const MAX_DEAD_LETTERS: usize = 8;
const MAX_DEAD_LETTERS_BYTES: usize = 256 * 1024;

/// A message and all that came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChatTurn {
    /// The message's number.
    pub message: u64,
    /// Who wrote it, as the channel knows them.
    pub user_id: String,
    /// What they are called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// What they wrote.
    pub text: String,
    /// Rounds of tool calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<Round>,
    /// What the model replied in the end.
    #[serde(default, alias = "answer", skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
}

/// Tool calls of one response, with their results.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Round {
    /// What the model said besides.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    pub calls: Vec<ToolUse>,
}

/// A tool call that was made. There is none without a result: servers refuse such a history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ToolUse {
    pub id: String,
    pub name: String,
    /// JSON.
    pub arguments: String,
    pub result: String,
}

impl Transcript {
    /// Reads what was kept.
    ///
    /// # Errors
    /// It is not a transcript of this version.
    pub fn read(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// Adds a turn: before one without a reply, which is still worked on and stays the last.
    pub fn insert(&mut self, turn: ChatTurn) {
        let is_open = self.turns.last().is_some_and(|last| last.reply.is_none());
        self.turns.insert(self.turns.len() - usize::from(is_open), turn);
    }

    /// Begins the turn of a message, or goes on with the one that it has: what was called for it is not called again.
    pub fn begin(&mut self, turn: ChatTurn) {
        if self.turns.last().is_some_and(|last| last.message == turn.message) {
            return;
        }
        // A turn without a reply is of a message that became a dead letter.
        let given_up = self.turns.extract_if(.., |turn| turn.reply.is_none());
        self.dead_letters.extend(given_up.filter(|turn| !turn.rounds.is_empty()));
        let known = self.dead_letters.iter().position(|known| known.message == turn.message);
        let rounds = known.map(|at| self.dead_letters.remove(at).rounds).unwrap_or_default();
        self.turns.push(ChatTurn { rounds, ..turn });
        self.drop_oldest_dead_letters();
    }

    fn drop_oldest_dead_letters(&mut self) {
        let mut bytes = 0;
        let newest = self.dead_letters.iter().rev().take(MAX_DEAD_LETTERS);
        let kept = newest.take_while(|turn| {
            bytes += turn.bytes();
            bytes <= MAX_DEAD_LETTERS_BYTES
        });
        let kept = kept.count();
        self.dead_letters.drain(..self.dead_letters.len() - kept);
    }
}

impl ChatTurn {
    /// How many messages of the API it is.
    pub fn messages(&self) -> usize {
        let rounds: usize = self.rounds.iter().map(|round| 1 + round.calls.len()).sum();
        1 + rounds + usize::from(self.reply.is_some())
    }

    /// About how many tokens it is: a token for every three bytes, which is more than most texts have, and four for each
    /// message.
    pub fn tokens(&self) -> usize {
        tokens_of_bytes(self.bytes()) + 4 * self.messages()
    }

    /// The bytes of its texts.
    fn bytes(&self) -> usize {
        let calls = self.rounds.iter().flat_map(|round| &round.calls);
        let calls: usize = calls.map(|call| call.name.len() + call.arguments.len() + call.result.len()).sum();
        let texts: usize = self.rounds.iter().map(|round| round.text.len()).sum();
        self.text.len() + texts + calls + self.reply.as_ref().map_or(0, String::len)
    }
}

/// About how many tokens a text of so many bytes has.
pub(super) fn tokens_of_bytes(bytes: usize) -> usize {
    bytes.div_ceil(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_counts_every_message_that_it_becomes() {
        let call =
            ToolUse { id: "1".into(), name: "now".into(), arguments: "{}".into(), result: "noon".into() };
        let open = ChatTurn { text: "when?".into(), ..ChatTurn::default() };
        let with_calls = ChatTurn {
            rounds: vec![Round { text: String::new(), calls: vec![call.clone(), call] }],
            reply: Some("noon".into()),
            ..open.clone()
        };
        for (turn, messages, tokens) in [(open, 1, 2 + 4), (with_calls, 5, 9 + 20)] {
            assert_eq!((turn.messages(), turn.tokens()), (messages, tokens), "{turn:?}");
        }
    }

    #[test]
    fn a_transcript_is_read_as_it_was_written() {
        let call =
            ToolUse { id: "1".into(), name: "now".into(), arguments: "{}".into(), result: "noon".into() };
        let turn = ChatTurn {
            message: 3,
            user_id: "ann".into(),
            user_name: Some("Ann".into()),
            text: "when?".into(),
            rounds: vec![Round { text: "let me look".into(), calls: vec![call] }],
            reply: Some("noon".into()),
        };
        let open = ChatTurn { message: 4, text: "and now?".into(), ..ChatTurn::default() };
        let transcript = Transcript { turns: vec![turn, open.clone()], dead_letters: vec![open] };
        let json = serde_json::to_string(&transcript).unwrap();
        assert_eq!(Transcript::read(&json).unwrap(), transcript);
        let older = json.replace("\"reply\":", "\"answer\":");
        assert_eq!(Transcript::read(&older).unwrap(), transcript, "the field's name before it was `reply`");
        assert!(Transcript::read("[]x").is_err());
        let without = r#"{"turns":[]}"#;
        assert_eq!(
            Transcript::read(without).unwrap(),
            Transcript::default(),
            "as it was before `dead_letters`"
        );
    }

    fn called(message: u64, bytes: usize) -> ChatTurn {
        let call = ToolUse { result: "x".repeat(bytes), ..ToolUse::default() };
        let rounds = vec![Round { text: String::new(), calls: vec![call] }];
        ChatTurn { message, rounds, ..ChatTurn::default() }
    }

    fn turn(message: u64) -> ChatTurn {
        ChatTurn { message, ..ChatTurn::default() }
    }

    /// With the next message of the conversation the results were dropped, and a replayed dead letter called its tools again.
    #[test]
    fn a_dead_letter_that_is_replayed_later_finds_its_calls() {
        let mut transcript = Transcript { turns: vec![called(1, 5)], ..Transcript::default() };
        transcript.begin(turn(1));
        assert_eq!(transcript.turns, [called(1, 5)], "delivered again at once");
        transcript.begin(turn(2));
        assert_eq!((&transcript.turns[..], transcript.dead_letters.len()), (&[turn(2)][..], 1));
        transcript.begin(turn(1));
        assert_eq!((&transcript.turns[..], transcript.dead_letters.len()), (&[called(1, 5)][..], 0));
    }

    #[test]
    fn so_many_turns_without_a_reply_are_kept_and_no_more_bytes() {
        for (count, bytes, kept) in
            [(8, 1, 8), (9, 1, 8), (2, MAX_DEAD_LETTERS_BYTES / 2, 2), (2, MAX_DEAD_LETTERS_BYTES / 2 + 1, 1)]
        {
            let mut transcript = Transcript::default();
            for message in 1..=count {
                transcript.turns = vec![called(message, bytes)];
                transcript.begin(turn(100));
            }
            assert_eq!(transcript.dead_letters.len(), kept, "{count} of {bytes}");
            assert_eq!(transcript.dead_letters.last().map(|turn| turn.message), Some(count));
        }
    }
}
