//! A reply of the agent, and how it is sent in parts.

use crate::bindings::exports::near::agent::channel::{AgentResponse, Attachment};
use crate::failure::Failure;
use crate::json;
use crate::state;

/// Files that remember how much of a long reply was sent: enough for the replies that are under way at one time.
const PROGRESS_FILES: u64 = 32;

/// A reply of the agent.
#[derive(Debug)]
pub struct Reply {
    /// The id of the message that it belongs to; empty for a broadcast.
    pub message_id: String,
    /// The text, in Markdown.
    pub content: String,
    /// The conversation.
    pub thread_id: Option<String>,
    /// Files to send with it.
    pub attachments: Vec<Attachment>,
    /// An earlier attempt may have arrived: the host does not know.
    pub is_redelivery: bool,
    pub(crate) metadata_json: String,
}

impl Reply {
    pub(crate) fn of(response: AgentResponse) -> Self {
        let metadata = json::value(response.metadata_json.as_bytes());
        Self {
            message_id: response.message_id,
            content: response.content,
            thread_id: response.thread_id,
            attachments: response.attachments,
            is_redelivery: metadata["redelivery"] == true,
            metadata_json: response.metadata_json,
        }
    }

    /// A number that is the same for each attempt of this reply, and another one for every other reply.
    pub fn key(&self) -> u64 {
        let mut hash = Fnv::default();
        hash.add(self.message_id.as_bytes());
        hash.add(self.thread_id.as_deref().unwrap_or_default().as_bytes());
        hash.add(self.content.as_bytes());
        for file in &self.attachments {
            hash.add(file.filename.as_bytes());
            hash.add_long(&file.data);
        }
        hash.0
    }

    /// Sends the parts of this reply one after the other. When one fails, the next attempt goes on with it: those that
    /// have arrived are not sent twice. `send` gets the number of the part and the part.
    ///
    /// # Errors
    /// What `send` returns.
    pub fn send_parts<T>(
        &self,
        parts: &[T],
        mut send: impl FnMut(usize, &T) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let reply = self.key();
        let path = format!("replies/{}.json", reply % PROGRESS_FILES);
        // The reply, and how many of its parts are sent.
        let (known, sent) = state::get::<(u64, usize)>(&path);
        let before = if known == reply { sent } else { 0 };
        for (number, part) in parts.iter().enumerate().skip(before) {
            if let Err(failure) = send(number, part) {
                if number > before {
                    state::set(&path, &(reply, number));
                }
                return Err(failure.keeping_progress(number > before));
            }
        }
        if before > 0 {
            state::set(&path, &(0, 0));
        }
        Ok(())
    }
}

/// A number for a text.
pub(crate) fn hash(text: &str) -> u64 {
    let mut hash = Fnv::default();
    hash.add(text.as_bytes());
    hash.0
}

/// FNV-1a with 64 bits (the page of Fowler, Noll and Vo): small, and nobody gains by a collision.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        // A byte that is in no text keeps "ab", "c" and "a", "bc" apart.
        for byte in bytes.iter().chain(&[0xff]) {
            self.mix(u64::from(*byte));
        }
    }

    /// Adds many bytes, eight at a time, because each instruction costs fuel.
    fn add_long(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        self.add(rest);
    }

    fn mix(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x0100_0000_01b3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeHost;

    fn reply(content: &str) -> Reply {
        Reply {
            message_id: "7".into(),
            content: content.into(),
            thread_id: None,
            attachments: Vec::new(),
            is_redelivery: false,
            metadata_json: "{}".into(),
        }
    }

    // A reply of three messages whose second one was rate limited began anew at each attempt.
    #[test]
    fn the_next_attempt_goes_on_with_the_part_that_failed() {
        let _host = FakeHost::new();
        let (reply, mut sent) = (reply("long"), Vec::new());
        let first = reply.send_parts(&["a", "b", "c"], |number, part| {
            if number == 1 {
                return Err(Failure::temporary("slow down"));
            }
            sent.push(*part);
            Ok(())
        });
        assert_eq!(first, Err(Failure::temporary("slow down")));
        reply
            .send_parts(&["a", "b", "c"], |_, part| {
                sent.push(*part);
                Ok(())
            })
            .unwrap();
        assert_eq!(sent, ["a", "b", "c"]);
    }

    #[test]
    fn replies_are_told_apart() {
        assert_eq!(reply("a").key(), reply("a").key());
        assert_ne!(reply("a").key(), reply("b").key());
    }

    #[test]
    fn each_byte_of_a_file_counts() {
        let with = |data: Vec<u8>| {
            let file = Attachment { filename: "a".into(), mime_type: String::new(), data };
            Reply { attachments: vec![file], ..reply("a") }.key()
        };
        for length in 0..20 {
            let data = vec![7; length];
            assert_ne!(with(data.clone()), with(vec![7; length + 1]), "{length}");
            for at in 0..length {
                let mut other = data.clone();
                other[at] = 8;
                assert_ne!(with(other), with(data.clone()), "byte {at} of {length}");
            }
        }
    }
}
