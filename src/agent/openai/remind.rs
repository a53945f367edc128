//! The built-in tool `remind`: what a model asks for, and what it is told.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::conversation::plain;
use super::rfc3339;
use crate::host::{Addressee, MAX_REMINDERS_OF_PERSON, Reminder, ReminderError, Reminders};
use crate::inbox::Delivery;
use crate::model::clock::{time_of, unix_ms};
use crate::tool::ParameterSchema;

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
            "id": {"type": "integer", "minimum": 0}
        },
        "required": ["action"],
        "additionalProperties": false
    })
}

#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
enum ReminderCall {
    Set { text: String, in_seconds: Option<u64>, at: Option<String> },
    List,
    Cancel { id: u64 },
}

/// Why a reminder is not set, listed or cancelled, in words for the model.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemindError {
    #[error("the parameters are not JSON: {0}")]
    NotJson(serde_json::Error),
    #[error("the parameters do not fit the schema: {0}")]
    Schema(String),
    #[error("`set` needs either `in_seconds` or `at`")]
    NoTime,
    #[error("`at`: {0:?} is no time such as 2026-12-24T18:00:00+01:00")]
    NotATime(String),
    #[error("`at`: {0} is over")]
    Past(String),
    #[error(transparent)]
    Reminder(#[from] ReminderError),
}

/// Does what the model asks for.
///
/// # Errors
/// What is wrong, for the model.
pub(super) fn call(
    reminders: &Reminders,
    delivery: &Delivery,
    arguments: &str,
) -> Result<String, RemindError> {
    let asked = read_call(arguments)?;
    let person = addressee(delivery);
    match asked {
        ReminderCall::Set { text, in_seconds, at } => {
            let delay = delay(in_seconds, at.as_deref(), unix_ms())?;
            let set = reminders.add(person, delivery.id().0, &text, delay)?;
            Ok(json!({"set": shown(&set)}).to_string())
        }
        ReminderCall::List => {
            let found: Vec<Value> = reminders.of(&person).iter().map(shown).collect();
            Ok(json!({"reminders": found, "most": MAX_REMINDERS_OF_PERSON}).to_string())
        }
        ReminderCall::Cancel { id } => {
            let cancelled = reminders.cancel(&person, id)?;
            Ok(json!({"cancelled": shown(&cancelled)}).to_string())
        }
    }
}

/// What is asked for. Errors name the field, as those of the tools of the host do. A field that is `null` is none.
fn read_call(arguments: &str) -> Result<ReminderCall, RemindError> {
    let mut params: Value = serde_json::from_str(arguments).map_err(RemindError::NotJson)?;
    if let Value::Object(fields) = &mut params {
        fields.retain(|_, value| !value.is_null());
    }
    let problems = ParameterSchema::of(schema()).problems(&params);
    if problems.is_empty() {
        return ReminderCall::deserialize(params).map_err(|error| RemindError::Schema(error.to_string()));
    }
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err(RemindError::Schema(problems.join("; ")))
}

/// How long to wait.
fn delay(in_seconds: Option<u64>, at: Option<&str>, now_ms: u64) -> Result<Duration, RemindError> {
    match (in_seconds, at) {
        (Some(seconds), None) => Ok(Duration::from_secs(seconds)),
        (None, Some(text)) => {
            let at_ms = rfc3339::unix_ms(text).ok_or_else(|| RemindError::NotATime(text.to_owned()))?;
            match at_ms.checked_sub(now_ms) {
                Some(wait) => Ok(Duration::from_millis(wait)),
                None => Err(RemindError::Past(text.to_owned())),
            }
        }
        _ => Err(RemindError::NoTime),
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
        channel: delivery.channel().to_string(),
        conversation: delivery.conversation().to_string(),
        user_id: message.user_id.clone(),
        thread_id: message.thread_id.clone(),
        metadata_json: message.metadata_json.clone(),
    }
}

/// What the person reads when it is time.
pub(super) fn said(reminder: &Reminder) -> String {
    format!("Reminder: {}", plain(&reminder.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of a reminder reached the chat with the control characters that the model wrote.
    #[test]
    fn a_reminder_is_said_without_control_characters() {
        let to = Addressee {
            channel: "webchat".into(),
            conversation: "c".into(),
            user_id: "ann".into(),
            thread_id: None,
            metadata_json: "{}".into(),
        };
        let reminder = Reminder { id: 1, message: 1, to, due_ms: 0, text: "tea\u{1b}[2J\0\nnow ".into() };
        assert_eq!(said(&reminder), "Reminder: tea[2J\nnow");
    }

    #[test]
    fn a_time_is_a_number_of_seconds_or_a_moment_and_not_both() {
        let now_ms = rfc3339::unix_ms("2026-12-24T17:00:00Z").unwrap();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let delay_of = |in_seconds, at| delay(in_seconds, at, now_ms).ok();
        assert_eq!(delay_of(Some(90), None), seconds(90));
        assert_eq!(delay_of(None, Some("2026-12-24T18:30:00+01:00")), seconds(1_800));
        assert_eq!(delay_of(None, Some("2026-12-24T17:00:00Z")), seconds(0));
        for (in_seconds, at, part) in [
            (None, None, "either"),
            (Some(1), Some("2026-12-24T18:30:00Z"), "either"),
            (None, Some("2026-12-24T16:59:59Z"), "is over"),
            (None, Some("tomorrow"), "is no time"),
        ] {
            let error = delay(in_seconds, at, now_ms).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn reminder_requests_are_checked_against_the_schema() {
        for good in [
            r#"{"action":"set","text":"a","in_seconds":5}"#,
            r#"{"action":"set","text":"a","at":"2026-12-24T18:30:00Z"}"#,
            r#"{"action":"list"}"#,
            r#"{"action":"list","text":"","id":0}"#,
            r#"{"action":"list","text":null,"in_seconds":null,"at":null,"id":null}"#,
            r#"{"action":"cancel","id":3}"#,
        ] {
            assert!(read_call(good).is_ok(), "{good}");
        }
        // A number in quotation marks was refused without a word about which field it was.
        for (bad, part) in [
            ("{}", "`action` is missing"),
            ("[]", "must be of type object"),
            (r#"{"action":"#, "are not JSON"),
            (r#"{"action":"fly"}"#, "`action`"),
            (r#"{"action":"set"}"#, "missing field `text`"),
            (r#"{"action":"cancel"}"#, "missing field `id`"),
            (r#"{"action":"cancel","id":-1}"#, "`id`"),
            (r#"{"action":"set","text":"a","in_seconds":"60"}"#, "`in_seconds` must be of type integer"),
            (r#"{"action":"set","text":"a","in_second":60}"#, "did you mean `in_seconds`"),
        ] {
            let error = read_call(bad).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(part), "{bad}: {error}");
        }
    }
}
