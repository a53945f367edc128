//! The built-in tool `remind`: what a model asks for, and what it is told.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::host::{Addressee, MAX_REMINDERS_OF_PERSON, Reminder, Reminders};
use crate::inbox::Delivery;
use crate::model::clock::{time_of, unix_ms};

use super::rfc3339;

pub(super) const DESCRIPTION: &str = "Reminds the person in this conversation of something later. `set` needs `text` and either \
     `in_seconds` or `at`. `list` shows the person's reminders, `cancel` takes the one with this `id` away.";

/// The parameters, as JSON Schema.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "action": {"type": "string", "enum": ["set", "list", "cancel"]},
            "text": {"type": "string", "description": "what to remind of, as it is said to the person"},
            "in_seconds": {"type": "integer", "minimum": 1},
            "at": {"type": "string", "description": "RFC 3339 with an offset, as 2026-12-24T18:00:00+01:00"},
            "id": {"type": "integer"}
        },
        "required": ["action"]
    })
}

#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
enum Asked {
    Set { text: String, in_seconds: Option<u64>, at: Option<String> },
    List,
    Cancel { id: u64 },
}

/// Does what the model asks for.
///
/// # Errors
/// What is wrong, for the model.
pub(super) fn call(reminders: &Reminders, delivery: &Delivery, arguments: &str) -> Result<String, String> {
    let asked: Asked = serde_json::from_str(arguments).map_err(|error| error.to_string())?;
    let person = addressee(delivery);
    match asked {
        Asked::Set { text, in_seconds, at } => {
            let delay = delay(in_seconds, at.as_deref(), unix_ms())?;
            let set = reminders.add(person, delivery.id().0, &text, delay);
            let set = set.map_err(|error| error.to_string())?;
            Ok(json!({"set": shown(&set)}).to_string())
        }
        Asked::List => {
            let found: Vec<Value> = reminders.of(&person).iter().map(shown).collect();
            Ok(json!({"reminders": found, "most": MAX_REMINDERS_OF_PERSON}).to_string())
        }
        Asked::Cancel { id } => {
            let cancelled = reminders.cancel(&person, id).map_err(|error| error.to_string())?;
            Ok(json!({"cancelled": shown(&cancelled)}).to_string())
        }
    }
}

/// How long to wait.
fn delay(in_seconds: Option<u64>, at: Option<&str>, now_ms: u64) -> Result<Duration, String> {
    match (in_seconds, at) {
        (Some(seconds), None) => Ok(Duration::from_secs(seconds)),
        (None, Some(text)) => {
            let at_ms = rfc3339::unix_ms(text)
                .ok_or_else(|| format!("`at`: {text:?} is no time such as 2026-12-24T18:00:00+01:00"))?;
            match at_ms.checked_sub(now_ms) {
                Some(wait) => Ok(Duration::from_millis(wait)),
                None => Err(format!("`at`: {text} is over")),
            }
        }
        _ => Err("`set` needs either `in_seconds` or `at`".to_owned()),
    }
}

fn shown(reminder: &Reminder) -> Value {
    let Reminder { id, due_ms, text, .. } = reminder;
    json!({"id": id, "text": text, "at": httpdate::fmt_http_date(time_of(*due_ms))})
}

/// Who is reminded, and where.
fn addressee(delivery: &Delivery) -> Addressee {
    let message = delivery.message();
    Addressee {
        channel: delivery.channel().to_owned(),
        conversation: delivery.conversation().to_string(),
        user_id: message.user_id.clone(),
        thread_id: message.thread_id.clone(),
        metadata_json: message.metadata_json.clone(),
    }
}

/// What the person reads when it is time.
pub(super) fn said(reminder: &Reminder) -> String {
    format!("Reminder: {}", reminder.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_of_seconds_or_a_moment_and_not_both() {
        let now_ms = rfc3339::unix_ms("2026-12-24T17:00:00Z").unwrap();
        let seconds = |seconds| Ok(Duration::from_secs(seconds));
        assert_eq!(delay(Some(90), None, now_ms), seconds(90));
        assert_eq!(delay(None, Some("2026-12-24T18:30:00+01:00"), now_ms), seconds(1_800));
        assert_eq!(delay(None, Some("2026-12-24T17:00:00Z"), now_ms), seconds(0));
        for (in_seconds, at, part) in [
            (None, None, "either"),
            (Some(1), Some("2026-12-24T18:30:00Z"), "either"),
            (None, Some("2026-12-24T16:59:59Z"), "is over"),
            (None, Some("tomorrow"), "is no time"),
        ] {
            let error = delay(in_seconds, at, now_ms).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_a_model_may_ask_for_is_what_its_schema_says() {
        for good in [
            r#"{"action":"set","text":"a","in_seconds":5}"#,
            r#"{"action":"set","text":"a","at":"2026-12-24T18:30:00Z"}"#,
            r#"{"action":"list"}"#,
            r#"{"action":"list","text":"","id":0}"#,
            r#"{"action":"cancel","id":3}"#,
        ] {
            assert!(serde_json::from_str::<Asked>(good).is_ok(), "{good}");
        }
        for bad in ["{}", "[]", r#"{"action":"fly"}"#, r#"{"action":"set"}"#, r#"{"action":"cancel"}"#] {
            assert!(serde_json::from_str::<Asked>(bad).is_err(), "{bad}");
        }
    }
}
