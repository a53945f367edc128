//! A reply that is shown while it is written, where the service lets a bot change what it has sent.
//!
//! The host tells the text so far as a status ([`Status::partial_reply`](crate::Status::partial_reply)), when the operator has
//! set `partial_reply_interval_ms`. It becomes a message, which is changed as the text grows and is at last changed into the
//! beginning of the reply.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::{host, reply, state};

/// Files that remember the messages that grow: enough for the replies that are written at one time.
const FILES: u64 = 64;
/// After this time a message that was shown is no longer changed: its reply never came.
const FORGOTTEN_MS: u64 = 15 * 60 * 1000;
/// What stands at the end of a text that goes on.
pub const GOES_ON: &str = " …";

/// A message that grows.
#[derive(Default, Serialize, Deserialize)]
struct Growing {
    /// Whose it is.
    key: u64,
    /// The service's id of the message; empty when none was sent yet.
    id: String,
    /// When it was shown last, in milliseconds since 1970.
    at_ms: u64,
    /// The next change comes no earlier.
    not_before_ms: u64,
}

/// Shows the text so far, unless less than `interval_ms` has passed since the last time, or the service has asked to wait
/// for longer. `conversation` names where the reply goes. `send` gets the id of the message to change, or none when it is
/// still to be sent, and the text; it returns the id.
pub fn show(
    conversation: &str,
    interval_ms: u64,
    text: &str,
    send: impl FnOnce(Option<&str>, &str) -> Result<String, Failure>,
) {
    let (key, now) = (reply::hash(conversation), host::now_millis());
    let path = path(key);
    let mut growing: Growing = state::get(&path);
    let is_forgotten = growing.at_ms.saturating_add(FORGOTTEN_MS) < now;
    if growing.key != key || is_forgotten {
        // Another conversation's, which is still written.
        if growing.key != 0 && !is_forgotten && !growing.id.is_empty() {
            return;
        }
        growing = Growing { key, ..Growing::default() };
    }
    if now < growing.not_before_ms {
        return;
    }
    let known = Some(growing.id.as_str()).filter(|id| !id.is_empty());
    match send(known, &[text, GOES_ON].concat()) {
        Ok(id) => {
            growing.id = id;
            growing.not_before_ms = now + interval_ms;
        }
        Err(failure) => {
            host::log(host::LogLevel::Debug, failure.words());
            growing.not_before_ms = now + failure.retry_after_ms().unwrap_or_default().max(2 * interval_ms);
        }
    }
    growing.at_ms = now;
    state::set(&path, &growing);
}

/// Changes what was shown into the beginning of the reply. False when nothing was shown, or when it cannot be changed any
/// more: then the beginning is sent as any other message.
///
/// # Errors
/// What may pass, for the host to try again.
pub fn replace(
    conversation: &str,
    change: impl FnOnce(&str) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    let key = reply::hash(conversation);
    let path = path(key);
    let growing: Growing = state::get(&path);
    let is_forgotten = growing.at_ms.saturating_add(FORGOTTEN_MS) < host::now_millis();
    if growing.key != key || growing.id.is_empty() || is_forgotten {
        return Ok(false);
    }
    let changed = match change(&growing.id) {
        Ok(()) => true,
        Err(failure @ Failure::Permanent(_)) => {
            host::log(host::LogLevel::Debug, failure.words());
            false
        }
        Err(failure) => return Err(failure),
    };
    state::set(&path, &Growing::default());
    Ok(changed)
}

fn path(key: u64) -> String {
    format!("growing/{}.json", key % FILES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeHost;

    /// What was sent: the id that was changed, and the text.
    fn shown(conversation: &str, text: &str) -> Option<(Option<String>, String)> {
        let mut sent = None;
        show(conversation, 1000, text, |id, text| {
            sent = Some((id.map(str::to_owned), text.to_owned()));
            Ok("m1".to_owned())
        });
        sent
    }

    fn replaced(conversation: &str) -> Result<bool, Failure> {
        replace(conversation, |id| {
            assert_eq!(id, "m1");
            Ok(())
        })
    }

    #[test]
    fn a_message_is_sent_changed_at_its_rate_and_becomes_the_reply() {
        let host = FakeHost::new();
        let begin = host::now_millis();
        assert_eq!(replaced("a"), Ok(false), "nothing was shown");
        assert_eq!(shown("a", "one"), Some((None, "one …".into())));
        host.set_now_ms(begin + 999);
        assert_eq!(shown("a", "one two"), None);
        host.set_now_ms(begin + 1000);
        assert_eq!(shown("a", "one two"), Some((Some("m1".into()), "one two …".into())));
        assert_eq!(replaced("b"), Ok(false));
        assert_eq!(replaced("a"), Ok(true));
        assert_eq!(replaced("a"), Ok(false), "the next reply is another message");
        assert_eq!(shown("a", "next"), Some((None, "next …".into())));
        host.set_now_ms(begin + 1000 + FORGOTTEN_MS + 1);
        assert_eq!(replaced("a"), Ok(false), "a reply that never came");
    }

    #[test]
    fn a_service_that_asks_to_wait_is_left_alone() {
        let host = FakeHost::new();
        let begin = host::now_millis();
        let wait = Failure::Temporary { words: "slow down".into(), retry_after_ms: Some(7000) };
        show("a", 1000, "one", |_, _| Err(wait));
        host.set_now_ms(begin + 6999);
        assert_eq!(shown("a", "one"), None);
        host.set_now_ms(begin + 7000);
        assert!(shown("a", "one").is_some());
    }

    #[test]
    fn what_cannot_be_changed_is_sent_anew_and_what_may_pass_is_tried_again() {
        let _host = FakeHost::new();
        shown("a", "one");
        assert_eq!(replace("a", |_| Err(Failure::temporary("down"))), Err(Failure::temporary("down")));
        assert_eq!(replace("a", |_| Err(Failure::permanent("deleted"))), Ok(false));
        assert_eq!(replaced("a"), Ok(false));
    }
}
