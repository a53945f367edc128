//! What a model may call.

use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use wit_abi::types::StatusType;

use crate::host::Host;
use crate::inbox::Delivery;
use crate::model::document::shortened;
use crate::model::prefix::prefix;
use crate::tool::{ToolCall, ToolRegistry};

use super::super::outcome::Recipient;
use super::draft::CallRequest;
use super::remind;
use super::request::function;
use super::turn::ToolUse;

/// Calls of one response that are made.
const MAX_CALLS_AT_A_TIME: usize = 16;
/// Bytes of a result that the model gets.
pub(super) const MAX_RESULT_BYTES: usize = 16 * 1024;
/// The tools that every agent has.
const NOW: &str = "now";
const REMIND: &str = "remind";

/// The tools of one conversation.
pub(super) struct Tools<'a> {
    registry: Option<&'a ToolRegistry>,
    allowed: Option<&'a [String]>,
}

impl<'a> Tools<'a> {
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
                    let call = (name.clone(), arguments.clone());
                    let started = (at < MAX_CALLS_AT_A_TIME)
                        .then(|| scope.spawn(move || self.call_shown(host, delivery, &call.0, &call.1)));
                    (ToolUse { id, name, arguments, result: String::new() }, started)
                })
                .collect();
            let results = running.into_iter().map(|(call, started)| {
                let result = match started.map(thread::ScopedJoinHandle::join) {
                    Some(Ok(result)) => result,
                    Some(Err(_)) => "error: the host failed".to_owned(),
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
        remind: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<String, String> {
        let registry = self.registry.filter(|registry| registry.find(name).is_ok());
        match registry {
            _ if !self.is_allowed(name) => Err(self.unknown(name)),
            Some(registry) => {
                let call = ToolCall { params: arguments.to_owned(), context: Some(context.to_string()) };
                registry.call_with(name, call).result.map_err(|error| error.to_string())
            }
            None if name == NOW => Ok(now(SystemTime::now())),
            None if name == REMIND => remind(arguments),
            None => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: &str) -> String {
        let known = self.functions();
        let known: Vec<&str> =
            known.iter().filter_map(|function| function["function"]["name"].as_str()).collect();
        format!("there is no tool `{}`: there are {}", shortened(name), known.join(", "))
    }

    fn is_allowed(&self, name: &str) -> bool {
        let same = |one: &str, other: &str| one.replace('-', "_") == other.replace('-', "_");
        self.allowed.is_none_or(|allowed| allowed.iter().any(|allowed| same(allowed, name)))
    }
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
    fn only_listed_tools_can_be_called() {
        let call = |tools: &Tools<'_>, name: &str| {
            tools.call(name, "{}", &json!({}), &|arguments| Ok(format!("reminded {arguments}")))
        };
        let all = Tools::new(None, None);
        assert_eq!(all.functions().len(), 2);
        assert!(call(&all, NOW).is_ok());
        assert_eq!(call(&all, REMIND), Ok("reminded {}".to_owned()));
        assert_eq!(call(&all, "fly"), Err("there is no tool `fly`: there are now, remind".to_owned()));
        let none = Tools::new(None, Some(&[]));
        assert!(none.functions().is_empty() && call(&none, NOW).is_err() && call(&none, REMIND).is_err());
        let listed = ["now".to_owned()];
        assert!(call(&Tools::new(None, Some(&listed)), NOW).is_ok());
    }

    #[test]
    fn the_time_has_a_weekday() {
        let time = UNIX_EPOCH + std::time::Duration::from_secs(784_111_777);
        assert_eq!(now(time), r#"{"utc":"Sun, 06 Nov 1994 08:49:37 GMT","unix_seconds":784111777}"#);
    }
}
