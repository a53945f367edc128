//! A model's response while it is read: whole, or in pieces from a stream. No I/O.
//!
//! Servers differ in nearly every field, so nothing is refused for a field that is missing or of another type.

use std::collections::HashSet;

use serde_json::Value;

use super::thinking::{without_open_tag, without_thinking};
use crate::model::prefix::prefix;

/// Tool calls of one response.
const MAX_CALLS: usize = 64;
/// Bytes of the arguments of one call, as many as a tool takes by default.
pub(super) const MAX_ARGUMENTS_BYTES: usize = 1024 * 1024;
/// Bytes of a call's id and of its name that are kept.
const MAX_NAME_BYTES: usize = 256;
/// Bytes of text and arguments of one response.
pub(super) const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;

/// What a model said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ChatCompletion {
    /// Its text, without thoughts.
    pub text: String,
    /// The tools that it wants to have called, in this order.
    pub calls: Vec<CallRequest>,
    /// Why it ended.
    pub finish: Finish,
}

/// A tool call that a model asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CallRequest {
    /// Unique in its response; made up where the server gave none.
    pub id: String,
    pub name: String,
    /// JSON, or what the model took for it.
    pub arguments: String,
}

/// Why a response ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Finish {
    /// The model was done.
    #[default]
    Stop,
    /// It reached the largest number of tokens.
    Length,
    /// The server held it back.
    Filtered,
}

/// Why there is no completion.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DraftError {
    /// The server says that it failed: its `error`.
    Refused(Value),
    /// What came is not what was asked for.
    NotUnderstood(String),
    /// The stream ended before the model was done.
    Cut,
    /// Neither text nor calls.
    Empty,
}

/// What has arrived of a response.
#[derive(Debug, Default)]
pub(super) struct Draft {
    text: String,
    calls: Vec<Piece>,
    finish: Option<Finish>,
    is_done: bool,
    bytes: usize,
}

/// What has arrived of a tool call.
#[derive(Debug, Default)]
struct Piece {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

impl Draft {
    /// The completion of a response that came whole.
    pub fn of_response(json: &str) -> Result<ChatCompletion, DraftError> {
        let mut draft = Self::default();
        draft.add(json)?;
        draft.is_done = true;
        draft.finish()
    }

    /// Takes the data of one event of a stream.
    pub fn add(&mut self, event: &str) -> Result<(), DraftError> {
        if event.trim() == "[DONE]" {
            self.is_done = true;
            return Ok(());
        }
        let value: Value = serde_json::from_str(event)
            .map_err(|error| DraftError::NotUnderstood(format!("not JSON: {error}")))?;
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            return Err(DraftError::Refused(error.clone()));
        }
        let Some(choices) = value.get("choices") else {
            // An error that came as a field of the stream has no object around it.
            return match value.get("message") {
                Some(_) => Err(DraftError::Refused(value)),
                None if is_without_content(&value) => Ok(()),
                None => Err(DraftError::NotUnderstood("it has no `choices`".to_owned())),
            };
        };
        // Of several choices only the first is the response; the chunk that tells the usage has none.
        let is_first = |choice: &&Value| choice.get("index").and_then(Value::as_u64).unwrap_or(0) == 0;
        match choices.as_array().into_iter().flatten().find(is_first) {
            Some(choice) => self.add_choice(choice),
            None => Ok(()),
        }
    }

    /// Whether the model was done, whatever becomes of the connection.
    pub fn is_complete(&self) -> bool {
        self.is_done || self.finish.is_some()
    }

    /// The text so far, without thoughts.
    pub fn text_so_far(&self) -> String {
        without_thinking(without_open_tag(&self.text))
    }

    /// Nothing more arrives.
    pub fn finish(self) -> Result<ChatCompletion, DraftError> {
        if !self.is_complete() {
            return Err(DraftError::Cut);
        }
        let text = without_thinking(&self.text);
        let calls = requests(self.calls)?;
        let finish = self.finish.unwrap_or_default();
        if text.trim().is_empty() && calls.is_empty() && finish == Finish::Stop {
            return Err(DraftError::Empty);
        }
        Ok(ChatCompletion { text, calls, finish })
    }

    fn add_choice(&mut self, choice: &Value) -> Result<(), DraftError> {
        // `text` is what completions without a chat have; some servers give it for a chat, too.
        let said = choice.get("delta").or_else(|| choice.get("message")).unwrap_or(choice);
        let text = said.get("content").map(text_of).unwrap_or_default();
        self.count(text.len())?;
        self.text.push_str(&text);
        let calls = said.get("tool_calls").and_then(Value::as_array);
        for call in calls.into_iter().flatten() {
            self.add_call(call)?;
        }
        match choice.get("finish_reason").and_then(Value::as_str) {
            Some("length") => self.finish = Some(Finish::Length),
            Some("content_filter") => self.finish = Some(Finish::Filtered),
            Some("") | None => {}
            Some(_) => self.finish = Some(Finish::Stop),
        }
        Ok(())
    }

    fn add_call(&mut self, call: &Value) -> Result<(), DraftError> {
        let function = call.get("function").unwrap_or(call);
        let index = call.get("index").and_then(Value::as_u64);
        let id = call.get("id").and_then(Value::as_str).unwrap_or_default();
        let name = function.get("name").and_then(Value::as_str).unwrap_or_default();
        let arguments = match function.get("arguments") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(piece)) => piece.clone(),
            Some(whole) => whole.to_string(),
        };
        self.count(id.len() + name.len() + arguments.len())?;
        let at = match self.place(index, id, name, &arguments) {
            Some(at) => at,
            None if self.calls.len() == MAX_CALLS => {
                return Err(DraftError::NotUnderstood(format!(
                    "it asks for more than {MAX_CALLS} tool calls"
                )));
            }
            None => {
                self.calls.push(Piece { index, ..Piece::default() });
                self.calls.len() - 1
            }
        };
        let piece = &mut self.calls[at];
        // Both come once; who repeats them repeats them whole.
        if piece.id.is_empty() {
            id.clone_into(&mut piece.id);
        }
        if piece.name.is_empty() {
            name.clone_into(&mut piece.name);
        }
        // Proxies begin with an empty object before they send the pieces of the real one.
        if piece.arguments == "{}" && !arguments.is_empty() {
            piece.arguments.clear();
        }
        // No call is made with more, so it does not matter what else there is.
        if piece.arguments.len() <= MAX_ARGUMENTS_BYTES {
            piece.arguments.push_str(&arguments);
        }
        Ok(())
    }

    /// The call that a piece goes on with; none when it begins another one.
    fn place(&self, index: Option<u64>, id: &str, name: &str, arguments: &str) -> Option<usize> {
        // Some servers give every call the index 0, so an id of its own counts for more. Without ids another name with
        // arguments begins a call once those before are whole.
        let has_ids = |piece: &Piece| !id.is_empty() && !piece.id.is_empty();
        let begins_again =
            |piece: &Piece| !name.is_empty() && !arguments.is_empty() && is_object(&piece.arguments);
        let is_other = |piece: &Piece| {
            if has_ids(piece) { piece.id != id } else { id.is_empty() && begins_again(piece) }
        };
        let found = match index {
            Some(_) => self.calls.iter().rposition(|piece| piece.index == index),
            None if !id.is_empty() => self.calls.iter().rposition(|piece| piece.id == id),
            // Without any number a name begins a call.
            None if !name.is_empty() => None,
            None => self.calls.len().checked_sub(1),
        };
        found.filter(|at| !is_other(&self.calls[*at]))
    }

    fn count(&mut self, bytes: usize) -> Result<(), DraftError> {
        self.bytes += bytes;
        if self.bytes > MAX_RESPONSE_BYTES {
            let reason = format!("it has more than {MAX_RESPONSE_BYTES} bytes");
            return Err(DraftError::NotUnderstood(reason));
        }
        Ok(())
    }
}

/// Whether this is the JSON of an object: what a function is called with.
pub(super) fn is_object(arguments: &str) -> bool {
    serde_json::from_str::<serde_json::Map<String, Value>>(arguments).is_ok()
}

/// Whether an object without `choices` says nothing about the response: the usage, a sign of life.
fn is_without_content(value: &Value) -> bool {
    let is_chunk = value.get("object").is_some_and(|object| object == "chat.completion.chunk");
    let is_ping = value.get("type").is_some_and(|kind| kind == "ping");
    is_chunk || is_ping || value.get("usage").is_some()
}

/// A text, or the texts of a list of parts. A part of another type (a thought, say) is none.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().filter(|part| part.get("type").is_none_or(|kind| kind == "text"));
            texts.filter_map(|part| part.get("text")?.as_str()).collect()
        }
        _ => String::new(),
    }
}

/// Whole calls, each with an id of its own.
fn requests(pieces: Vec<Piece>) -> Result<Vec<CallRequest>, DraftError> {
    let mut ids = HashSet::new();
    let mut requests = Vec::with_capacity(pieces.len());
    for (at, Piece { mut id, name, arguments, .. }) in pieces.into_iter().enumerate() {
        if name.is_empty() {
            return Err(DraftError::NotUnderstood("it has a tool call without a name".to_owned()));
        }
        if id.is_empty() || id.len() > MAX_NAME_BYTES || !ids.insert(id.clone()) {
            // Mistral takes only ids of nine letters and digits.
            id = format!("call{at:05}");
            ids.insert(id.clone());
        }
        let arguments = if arguments.trim().is_empty() { "{}".to_owned() } else { arguments };
        let name = prefix(&name, MAX_NAME_BYTES).to_owned();
        requests.push(CallRequest { id, name, arguments });
    }
    Ok(requests)
}

#[cfg(test)]
#[path = "draft_tests.rs"]
mod tests;
