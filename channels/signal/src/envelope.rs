//! What signal-cli says of a message: its JSON output, "envelope".

use serde_json::Value;
use tinclaw_kit::base64;

/// The place of a mention in a text.
const MENTION: char = '\u{fffc}';

/// An envelope with a message, or with a changed one.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    envelope: &'a Value,
    /// `dataMessage`.
    pub message: &'a Value,
    /// The message is another's new text.
    pub is_edit: bool,
}

impl<'a> Envelope<'a> {
    /// The message of an envelope; typing, receipts and what the bot's other devices do have none.
    pub fn of(received: &'a Value) -> Option<Self> {
        let envelope = &received["envelope"];
        let edited = &envelope["editMessage"]["dataMessage"];
        let is_edit = edited.is_object();
        let message = if is_edit { edited } else { &envelope["dataMessage"] };
        message.is_object().then_some(Self { envelope, message, is_edit })
    }

    /// The sender's id, which stays when the number changes.
    pub fn sender(self) -> &'a str {
        self.envelope["sourceUuid"].as_str().unwrap_or_else(|| self.number())
    }

    /// The sender's number; empty when they hide it.
    pub fn number(self) -> &'a str {
        text(&self.envelope["sourceNumber"]).or(text(&self.envelope["source"])).unwrap_or_default()
    }

    /// The sender's name, which they choose.
    pub fn name(self) -> Option<&'a str> {
        text(&self.envelope["sourceName"])
    }

    /// The message's time, which with the sender is its id.
    pub fn timestamp(self) -> u64 {
        self.envelope["timestamp"].as_u64().unwrap_or_default()
    }

    /// The group, as it is written to: `group.` and its id once more in base64.
    pub fn group(self) -> Option<String> {
        let id = text(&self.message["groupInfo"]["groupId"])?;
        Some(["group.", &base64::encode(id.as_bytes())].concat())
    }

    /// Whether it mentions this number, or replies to a message of it.
    pub fn is_for(self, number: &str) -> bool {
        let quoted = &self.message["quote"];
        let is_reply =
            [&quoted["authorNumber"], &quoted["author"]].into_iter().any(|author| author == number);
        is_reply || self.mentions().any(|mention| mention["number"] == number)
    }

    fn mentions(self) -> impl Iterator<Item = &'a Value> {
        self.message["mentions"].as_array().into_iter().flatten()
    }

    /// The text with the names of those who are mentioned, without the bot's own.
    pub fn text(self, number: &str) -> String {
        let mut names = self.mentions().map(|mention| match mention["number"] == number {
            true => String::new(),
            false => ["@", text(&mention["name"]).unwrap_or_default()].concat(),
        });
        let mut out = String::new();
        for c in text(&self.message["message"]).unwrap_or_default().chars() {
            match c {
                MENTION => out.push_str(&names.next().unwrap_or_default()),
                c => out.push(c),
            }
        }
        out.trim().to_owned()
    }

    /// The message that it replies to, unless that is of this number: as lines of a quotation.
    pub fn quoted(self, number: &str) -> String {
        let quoted = &self.message["quote"];
        let words = text(&quoted["text"]).unwrap_or_default();
        if words.is_empty() || quoted["authorNumber"] == number || quoted["author"] == number {
            return String::new();
        }
        let cut: String = words.chars().take(500).collect();
        let lines: Vec<String> = cut.lines().map(|line| ["> ", line, "\n"].concat()).collect();
        [lines.concat(), "\n".to_owned()].concat()
    }
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}
