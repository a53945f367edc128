//! Notes of one person: written, searched by words, removed. They are in the tool's own state, so they survive.

mod book;

use book::{Book, Note};
use serde::Deserialize;
use serde_json::{Value, json};
use tinclaw_tool_kit::{Call, Tool, host, state};

/// The file that the notes are in.
const FILE: &str = "notes.json";
/// Notes that are shown without a number, and the most that are shown at all.
const SHOWN: usize = 10;
const MAX_SHOWN: usize = 50;

/// The tool.
pub struct Notes;

/// What is asked for. Optional fields belong to some actions only.
#[derive(Deserialize)]
pub struct Params {
    action: Action,
    text: Option<String>,
    words: Option<String>,
    id: Option<u64>,
    limit: Option<usize>,
}

/// What is to be done.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Add,
    Search,
    List,
    Remove,
}

impl Tool for Notes {
    type Params = Params;

    fn description() -> String {
        "Notes about this person that last: what they asked to remember, or what will matter later. `add` keeps `text`, \
         `search` finds notes with `words`, `list` shows the newest, `remove` takes the one with `id` away."
            .into()
    }

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "action": {"type": "string", "enum": ["add", "search", "list", "remove"]},
                "text": {"type": "string", "description": "for add: the note"},
                "words": {"type": "string", "description": "for search: words, or beginnings of words"},
                "id": {"type": "integer", "description": "for remove: the note's number"},
                "limit": {"type": "integer", "minimum": 1, "maximum": MAX_SHOWN},
            },
            "required": ["action"],
            "additionalProperties": false,
        })
    }

    fn call(params: Params, _: &Call) -> Result<String, String> {
        let mut book: Book = match host::state_read(FILE) {
            // Notes that cannot be read are never written over.
            Some(text) => {
                serde_json::from_str(&text).map_err(|error| format!("the notes cannot be read: {error}"))?
            }
            None => Book::default(),
        };
        let limit = params.limit.unwrap_or(SHOWN).clamp(1, MAX_SHOWN);
        match params.action {
            Action::Add => {
                let text = params.text.as_deref().unwrap_or_default().trim();
                let id = book.add(text, host::now_millis())?;
                state::set(FILE, &book)?;
                Ok(json!({"added": id}).to_string())
            }
            Action::Search => {
                let words = params.words.as_deref().unwrap_or_default();
                if words.split_whitespace().next().is_none() {
                    return Err("`search` needs `words`".into());
                }
                Ok(shown(&book, &book.found(words), limit))
            }
            Action::List => Ok(shown(&book, &book.newest(), limit)),
            Action::Remove => {
                let id = params.id.ok_or("`remove` needs the `id` of a note")?;
                let text = book.remove(id)?;
                state::set(FILE, &book)?;
                Ok(json!({"removed": {"id": id, "text": text}}).to_string())
            }
        }
    }
}

fn shown(book: &Book, found: &[&Note], limit: usize) -> String {
    let notes: Vec<Value> = found
        .iter()
        .take(limit)
        .map(|note| json!({"id": note.id, "text": note.text, "unix_seconds": note.at_ms / 1000}))
        .collect();
    json!({"notes": notes, "found": found.len(), "of": book.notes.len()}).to_string()
}

tinclaw_tool_kit::tool!(Notes);

#[cfg(test)]
mod tests {
    use tinclaw_tool_kit::fake::FakeHost;

    use super::*;
    use crate::book::{MAX_NOTES, MAX_TEXT_BYTES};

    fn call(params: Value) -> Result<Value, String> {
        let params = serde_json::from_value(params).expect("they fit");
        Notes::call(params, &Call::default()).map(|text| serde_json::from_str(&text).expect("JSON"))
    }

    #[test]
    fn a_note_is_kept_found_and_removed() {
        let host = FakeHost::new();
        assert_eq!(call(json!({"action": "add", "text": " Oslo in May "})).unwrap(), json!({"added": 1}));
        host.set_now_ms(1_800_000_000_000);
        assert_eq!(call(json!({"action": "add", "text": "likes tea"})).unwrap(), json!({"added": 2}));
        let found = call(json!({"action": "search", "words": "osl"})).unwrap();
        assert_eq!(found["notes"], json!([{"id": 1, "text": "Oslo in May", "unix_seconds": 1_700_000_000}]));
        let all = call(json!({"action": "list", "limit": 1})).unwrap();
        assert_eq!((&all["notes"][0]["id"], &all["found"]), (&json!(2), &json!(2)), "the newest first");
        call(json!({"action": "remove", "id": 1})).unwrap();
        assert!(call(json!({"action": "remove", "id": 1})).unwrap_err().contains("no note 1"));
        assert_eq!(
            call(json!({"action": "add", "text": "a"})).unwrap(),
            json!({"added": 3}),
            "no number twice"
        );
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_is_written() {
        let host = FakeHost::new();
        for (params, part) in [
            (json!({"action": "add"}), "1 to"),
            (json!({"action": "add", "text": "x".repeat(MAX_TEXT_BYTES + 1)}), "1 to"),
            (json!({"action": "search", "words": " "}), "`words`"),
            (json!({"action": "remove"}), "`id`"),
        ] {
            let error = call(params).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(host.file(FILE), None);
        assert!(call(json!({"action": "add", "text": "x".repeat(MAX_TEXT_BYTES)})).is_ok());
    }

    #[test]
    fn there_are_so_many_notes_and_no_more() {
        let _host = FakeHost::new();
        let book = Book {
            next: 1000,
            notes: (0..MAX_NOTES as u64 - 1).map(|id| Note { id, at_ms: id, text: "a".into() }).collect(),
        };
        state::set(FILE, &book).unwrap();
        assert!(call(json!({"action": "add", "text": "the last"})).is_ok());
        assert!(call(json!({"action": "add", "text": "one more"})).unwrap_err().contains("remove one first"));
    }

    #[test]
    fn notes_that_cannot_be_read_are_not_written_over() {
        let host = FakeHost::new();
        host::state_write(FILE, "{").unwrap();
        assert!(call(json!({"action": "add", "text": "a"})).unwrap_err().contains("cannot be read"));
        assert_eq!(host.file(FILE).as_deref(), Some("{"));
    }
}
