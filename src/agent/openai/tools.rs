//! What a model may call.

use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use wit_abi::types::StatusType;

use super::super::outcome::Recipient;
use super::draft::{CallRequest, MAX_ARGUMENTS_BYTES};
use super::remind::{self, RemindError};
use super::request::{MAX_KEPT_ARGUMENTS_BYTES, function};
use super::turn::ToolUse;
use crate::host::Host;
use crate::inbox::Delivery;
use crate::model::document::shortened;
use crate::model::prefix::prefix;
use crate::model::scoped_thread::spawn_scoped;
use crate::tool::{ToolCall, ToolError, ToolRegistry};

/// Calls of one response that are made.
const MAX_CALLS_AT_A_TIME: usize = 16;
/// Bytes of a result that the model gets.
pub(super) const MAX_RESULT_BYTES: usize = 16 * 1024;
/// The tools that every agent has.
const NOW: &str = "now";
const REMIND: &str = "remind";

/// Why a call has no result, in words for the model.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("there is no tool `{name}`: there are {known}")]
    Unknown { name: String, known: String },
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error(transparent)]
    Remind(#[from] RemindError),
}

/// The tools of one conversation.
pub(super) struct ConversationTools<'a> {
    registry: Option<&'a ToolRegistry>,
    allowed: Option<&'a [String]>,
}

impl<'a> ConversationTools<'a> {
    /// Those of the host that the model may call: all without a list.
    pub fn new(registry: Option<&'a ToolRegistry>, allowed: Option<&'a [String]>) -> Self {
        Self { registry, allowed }
    }

    /// Them as the API describes functions.
    pub fn functions(&self) -> Vec<Value> {
        let tools = self.registry.map(ToolRegistry::tools).unwrap_or_default();
        let mut functions = Vec::new();
        let none = json!({"type": "object", "properties": {}});
        let built_in =
            [(NOW, "The current date and time.", none), (REMIND, remind::DESCRIPTION, remind::schema())];
        for (name, description, schema) in &built_in {
            // A tool of the host takes the place of one that is built in.
            if self.is_allowed(name) && tools.iter().all(|tool| tool.name() != *name) {
                functions.push(function(name, description, schema));
            }
        }
        let allowed = tools.iter().filter(|tool| self.is_allowed(tool.name()));
        functions.extend(allowed.map(|tool| function(tool.name(), tool.description(), tool.schema())));
        functions
    }

    /// Makes the calls of one response at the same time. Every call has a result, in the same order; one that fails has its
    /// error.
    pub fn call_all(&self, host: &Host, delivery: &Delivery, calls: Vec<CallRequest>) -> Vec<ToolUse> {
        thread::scope(|scope| {
            let running: Vec<_> = calls
                .into_iter()
                .enumerate()
                .map(|(at, call)| {
                    let CallRequest { id, name, arguments } = call;
                    let mut call = ToolUse { id, name, result: String::new(), arguments: String::new() };
                    if arguments.len() > MAX_ARGUMENTS_BYTES {
                        call.result = format!(
                            "error: not called: the arguments are longer than {MAX_ARGUMENTS_BYTES} bytes"
                        );
                    }
                    call.arguments = kept_arguments(&arguments, MAX_KEPT_ARGUMENTS_BYTES);
                    let name = call.name.clone();
                    let work = move || self.call_shown(host, delivery, &name, &arguments);
                    let is_made = at < MAX_CALLS_AT_A_TIME && call.result.is_empty();
                    let started = is_made.then(|| spawn_scoped(scope, "tinclaw-agent-call", work));
                    (call, started)
                })
                .collect();
            let results = running.into_iter().map(|(call, started)| {
                let result = match started.map(|started| started.map(thread::ScopedJoinHandle::join)) {
                    Some(Ok(Ok(result))) => result,
                    Some(Err(error)) => format!("error: not called: {error}"),
                    Some(Ok(Err(_))) => "error: the host failed".to_owned(),
                    None if !call.result.is_empty() => call.result.clone(),
                    None => {
                        format!("error: not called: at most {MAX_CALLS_AT_A_TIME} calls are made at a time")
                    }
                };
                ToolUse { result, ..call }
            });
            results.collect()
        })
    }

    fn call_shown(&self, host: &Host, delivery: &Delivery, name: &str, arguments: &str) -> String {
        let shown = shortened(name);
        Recipient::of(delivery).show(host, StatusType::ToolStarted, &shown);
        let remind = |arguments: &str| remind::call(host.manager().reminders(), delivery, arguments);
        let result = self.call(name, arguments, &context(delivery), &remind);
        Recipient::of(delivery).show(host, StatusType::ToolCompleted, &shown);
        let text = result.unwrap_or_else(|error| format!("error: {error}"));
        cut(text, MAX_RESULT_BYTES)
    }

    fn call(
        &self,
        name: &str,
        arguments: &str,
        context: &Value,
        remind: &dyn Fn(&str) -> Result<String, RemindError>,
    ) -> Result<String, CallError> {
        let registry = self.registry.filter(|registry| registry.find(name).is_ok());
        match registry {
            _ if !self.is_allowed(name) => Err(self.unknown(name)),
            Some(registry) => {
                let call = ToolCall { params: arguments.to_owned(), context: Some(context.to_string()) };
                Ok(registry.call_with(name, call).result?)
            }
            None if name == NOW => Ok(now(SystemTime::now())),
            None if name == REMIND => Ok(remind(arguments)?),
            None => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: &str) -> CallError {
        let known = self.functions();
        let known: Vec<&str> =
            known.iter().filter_map(|function| function["function"]["name"].as_str()).collect();
        CallError::Unknown { name: shortened(name), known: known.join(", ") }
    }

    fn is_allowed(&self, name: &str) -> bool {
        self.allowed.is_none_or(|allowed| allowed.iter().any(|allowed| is_same(allowed, name)))
    }

    /// Names on the list that no tool has.
    pub fn unknown_names(&self) -> Vec<&str> {
        let tools = self.registry.map(ToolRegistry::tools).unwrap_or_default();
        let is_known = |name: &str| {
            is_same(NOW, name) || is_same(REMIND, name) || tools.iter().any(|tool| is_same(tool.name(), name))
        };
        let listed = self.allowed.unwrap_or_default().iter().map(String::as_str);
        listed.filter(|name| !is_known(name)).collect()
    }
}

fn is_same(one: &str, other: &str) -> bool {
    one.replace('-', "_") == other.replace('-', "_")
}

/// What a tool is told of where it is called from.
fn context(delivery: &Delivery) -> Value {
    json!({
        "conversation": &**delivery.conversation(),
        "channel": delivery.channel(),
        "user": delivery.message().user_id,
    })
}

fn now(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    json!({"utc": httpdate::fmt_http_date(time), "unix_seconds": seconds}).to_string()
}

/// The arguments of a call as they are kept. Long ones become another object, because servers take nothing else.
pub(super) fn kept_arguments(arguments: &str, limit: usize) -> String {
    if arguments.len() <= limit {
        return arguments.to_owned();
    }
    // Escaped, a byte becomes six at most.
    let beginning = prefix(arguments, limit / 8);
    json!({"cut": format!("these arguments had {} bytes", arguments.len()), "beginning": beginning})
        .to_string()
}

/// A text of at most so many bytes, with a note when there was more.
pub(super) fn cut(mut text: String, limit: usize) -> String {
    if text.len() <= limit {
        return text;
    }
    let bytes = text.len();
    text.truncate(prefix(&text, limit).len());
    text + &format!("\n[cut: this is the beginning of {bytes} bytes]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_cut_past_its_limit_and_says_so() {
        let at_limit = "ä".repeat(4);
        assert_eq!(cut(at_limit.clone(), 8), at_limit);
        assert_eq!(
            cut(format!("{at_limit}x"), 8),
            format!("{at_limit}\n[cut: this is the beginning of 9 bytes]")
        );
        assert_eq!(cut(at_limit, 7), "äää\n[cut: this is the beginning of 8 bytes]");
    }

    #[test]
    fn long_arguments_are_kept_as_a_short_object() {
        let arguments = json!({"text": "x".repeat(2_000)}).to_string();
        assert_eq!(kept_arguments(&arguments, arguments.len()), arguments);
        let kept = kept_arguments(&arguments, 1024);
        let expected = json!({"cut": "these arguments had 2011 bytes", "beginning": &arguments[..128]});
        assert_eq!(kept, expected.to_string());
        assert!(kept_arguments(&"\u{1}".repeat(2_000), 1024).len() <= 1024);
    }

    #[test]
    fn only_listed_tools_can_be_called() {
        let call = |tools: &ConversationTools<'_>, name: &str| {
            let result = tools.call(name, "{}", &json!({}), &|arguments| Ok(format!("reminded {arguments}")));
            result.map_err(|error| error.to_string())
        };
        let all = ConversationTools::new(None, None);
        assert_eq!(all.functions().len(), 2);
        assert!(call(&all, NOW).is_ok());
        assert_eq!(call(&all, REMIND), Ok("reminded {}".to_owned()));
        assert_eq!(call(&all, "fly"), Err("there is no tool `fly`: there are now, remind".to_owned()));
        let none = ConversationTools::new(None, Some(&[]));
        assert!(none.functions().is_empty() && call(&none, NOW).is_err() && call(&none, REMIND).is_err());
        let listed = ["now".to_owned()];
        assert!(call(&ConversationTools::new(None, Some(&listed)), NOW).is_ok());
        let listed = ["now", "nope", "remind"].map(str::to_owned);
        assert_eq!(ConversationTools::new(None, Some(&listed)).unknown_names(), ["nope"]);
        assert!(all.unknown_names().is_empty());
    }

    #[test]
    fn the_time_has_a_weekday() {
        let time = UNIX_EPOCH + std::time::Duration::from_secs(784_111_777);
        assert_eq!(now(time), r#"{"utc":"Sun, 06 Nov 1994 08:49:37 GMT","unix_seconds":784111777}"#);
    }
}
