//! From text to fields, with errors that name the line and the nearest field.

use std::fmt::{self, Display, Formatter};

use crate::model::document::{Comments, DocumentError, Expected, Found, Problem, Step, read};
use serde_json::{Number, Value};
use toml::de::{DeInteger, DeTable, DeValue};

use super::file::{ConfigFile, RENAMED};

/// What is wrong with a configuration: one line of text.
#[derive(Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Where, when that is known; the first line is 1.
    line: Option<usize>,
    message: String,
}

impl Display for ParseError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for ParseError {}

/// Reads a configuration.
///
/// # Errors
/// One line: which line of the file, what is wrong there, and what may have been meant.
pub fn parse(text: &str) -> Result<ConfigFile, ParseError> {
    let table = DeTable::parse(text).map_err(|error| {
        let message = error.message().trim().replace('\n', "; ");
        ParseError { line: error.span().map(|span| line_of(text, span.start)), message }
    })?;
    let table = DeValue::Table(table.into_inner());
    let parsed = json(&table).and_then(|value| {
        refuse_variables(&value)?;
        read(value, Comments::Refused)
    });
    parsed.map_err(|error| {
        let line = line_of(text, offset_of(&table, &error.path));
        let message = match new_name(&error) {
            Some(new) => format!("`{}` is now called `{new}`", error.place()),
            None => error.to_string(),
        };
        ParseError { line: Some(line), message }
    })
}

/// What a field is called now that is unknown because it was renamed.
fn new_name(error: &DocumentError) -> Option<&'static str> {
    let Problem::Unknown { .. } = error.problem else { return None };
    let place = error.place();
    RENAMED.iter().find(|(old, _)| *old == place).map(|(_, new)| *new)
}

/// Fields whose texts are the business of a shell or of a guest, to which `${X}` may mean something.
const FREE_TEXTS: [&str; 2] = ["agent", "channel"];

/// Refuses `${X}`: nothing is expanded here, and a path or address with such a name in it is never meant.
fn refuse_variables(config: &Value) -> Result<(), DocumentError> {
    let fields = config.as_object().into_iter().flatten();
    for (name, value) in fields.filter(|(name, _)| !FREE_TEXTS.contains(&name.as_str())) {
        refuse_variables_in(value).map_err(|error| error.within(Step::Field(name.clone())))?;
    }
    Ok(())
}

fn refuse_variables_in(value: &Value) -> Result<(), DocumentError> {
    match value {
        Value::String(text) if text.contains("${") => {
            let what = "`${…}` is not expanded in this file; write the value itself".to_owned();
            Err(DocumentError { path: Vec::new(), problem: Problem::Other(what) })
        }
        Value::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
            refuse_variables_in(item).map_err(|error| error.within(Step::Item(index)))
        }),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            refuse_variables_in(value).map_err(|error| error.within(Step::Field(name.clone())))
        }),
        _ => Ok(()),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Where a value stands: its key, or itself when it is in a list.
fn offset_of(table: &DeValue, path: &[Step]) -> usize {
    let (mut value, mut offset) = (table, 0);
    for step in path {
        let next = match (step, value) {
            (Step::Field(name), DeValue::Table(table)) => table
                .iter()
                .find(|(key, _)| key.get_ref() == name)
                .map(|(key, value)| (value.get_ref(), key.span().start)),
            (Step::Item(index), DeValue::Array(items)) => {
                items.get(*index).map(|item| (item.get_ref(), item.span().start))
            }
            _ => None,
        };
        let Some(next) = next else { break };
        (value, offset) = next;
    }
    offset
}

/// The same in JSON; dates and times are texts there.
fn json(value: &DeValue) -> Result<Value, DocumentError> {
    Ok(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => Value::Number(integer(number)?),
        DeValue::Float(number) => {
            let finite = number.as_str().parse().ok().and_then(Number::from_f64);
            Value::Number(finite.ok_or_else(|| unlike("a finite number", number))?)
        }
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => {
            let items = items.iter().enumerate();
            let items = items.map(|(index, item)| within(Step::Item(index), item.get_ref()));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(fields) => {
            let mut object = serde_json::Map::new();
            for (key, value) in fields {
                let name = key.get_ref().to_string();
                object.insert(name.clone(), within(Step::Field(name), value.get_ref())?);
            }
            Value::Object(object)
        }
    })
}

fn within(step: Step, value: &DeValue) -> Result<Value, DocumentError> {
    json(value).map_err(|error| error.within(step))
}

fn integer(number: &DeInteger) -> Result<Number, DocumentError> {
    let (digits, radix) = (number.as_str(), number.radix());
    let unsigned = u64::from_str_radix(digits, radix).map(Number::from);
    let number_of_64_bits = unsigned.or_else(|_| i64::from_str_radix(digits, radix).map(Number::from));
    number_of_64_bits.map_err(|_| unlike("a number of 64 bits", number))
}

fn unlike(expected: &'static str, found: &impl Display) -> DocumentError {
    DocumentError::invalid(Expected::Words(expected.to_owned()), Found::Words(found.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let rows = [
            ("lisen = \"127.0.0.1:1\"", "line 1: unknown field `lisen`; did you mean `listen`?"),
            (
                "workers = 3\n\n[secrets]\nenv_prefix_only = true",
                "line 4: unknown field `secrets.env_prefix_only`; did you mean `env_prefixed_only`?",
            ),
            (
                "[channel.echo]\nowner = 3",
                "line 2: unknown field `channel.echo.owner`; did you mean `owner_id`?",
            ),
            (
                "[queue]\nzzz = 1",
                "line 2: unknown field `queue.zzz`; known here are messages, megabytes, replies",
            ),
            // `agent` is a text or a table, so its fields are found out only while they are read: the name stood there twice.
            (
                "[agent]\nconcurency = 3",
                "line 2: unknown field `agent.concurency`; did you mean `concurrency`?",
            ),
            (
                "agent = { agent = 1 }",
                "line 1: unknown field `agent.agent`; known here are kind, concurrency, timeout_secs, max_attempts, dead_letter_text, env, headers, auth_secret, auth_header, \
                 model, system_prompt, temperature, max_tokens, api_key, stream, images, tools, history, reset_command",
            ),
            (
                "trusted_proxies = [\"proxy\"]",
                "line 1: trusted_proxies: `proxy` is no address range: expected something like 192.0.2.0/24, 2001:db8::/32 or \
                 192.0.2.7",
            ),
            ("\nworkers = \"many\"", "line 2: workers must be a whole number, not a string"),
            ("workers = 1.0", "line 1: workers must be a whole number, not 1.0"),
            ("workers = 0", "line 1: workers: 0 is out of range; give 1 to 1024"),
            ("workers = true", "line 1: workers must be a whole number, not true"),
            ("workers = [1]", "line 1: workers must be a whole number, not a list"),
            ("workers = { a = 1 }", "line 1: workers must be a whole number, not a set of fields"),
            ("workers = 2024-01-02", "line 1: workers must be a whole number, not a string"),
            ("workers = -1", "line 1: workers must be 0 or more, not -1"),
            (
                "[retry]\nmax_traps = 4294967296",
                "line 2: retry.max_traps: 4294967296 is out of range; give 1 to 1000",
            ),
            (
                "max_body_bytes = 18446744073709551616",
                "line 1: max_body_bytes must be a number of 64 bits, not 18446744073709551616",
            ),
            (
                "queue_timeout_secs = -9223372036854775809",
                "line 1: queue_timeout_secs must be a number of 64 bits, not -9223372036854775809",
            ),
            ("[limits]\na = 1\nmemory_mb = 1.5", "line 3: limits.memory_mb must be a whole number, not 1.5"),
            ("webchat = 1", "line 1: webchat must be true or false, not 1"),
            ("log = 3", "line 1: log must be a string, not 3"),
            ("channels = \"a\"", "line 1: channels must be a list, not a string"),
            ("channels = [\n  \"a\",\n  2,\n]", "line 3: channels[1] must be a string, not 2"),
            ("[http_rewrite]\na = false", "line 2: http_rewrite.a must be a string, not false"),
            ("\nsecrets = 3", "line 2: secrets must be a set of fields, not 3"),
            ("[[queue]]\nreplies = 1", "line 1: queue must be a set of fields, not a list"),
            ("[channel]\necho = 1", "line 2: channel.echo must be a set of fields, not 1"),
            ("channel.echo.config = 1", "line 1: channel.echo.config must be a set of fields, not 1"),
            (
                "[channel.a.config]\nb = [1, nan]",
                "line 2: channel.a.config.b[1] must be a finite number, not nan",
            ),
            (
                "channel.a.config = { b = 1e999 }",
                "line 1: channel.a.config.b must be a finite number, not 1e999",
            ),
            ("durability = \"none\"", "line 1: durability must be \"full\" or \"normal\", not \"none\""),
            ("listen = \"a\"", "line 1: listen: \"a\" is not an address with a port, such as 127.0.0.1:8080"),
            (
                "\npublic_url = \"bot.example.org\"",
                "line 2: public_url: \"bot.example.org\" is not an http:// or https:// address, such as \
                 https://bot.example.org",
            ),
            ("workers = 1\nworkers = 2", "line 2: duplicate key"),
            ("[queue]\n[queue]", "line 2: duplicate key"),
        ];
        for (text, expected) in rows {
            assert_eq!(parse(text).err().map(|error| error.to_string()).as_deref(), Some(expected), "{text}");
        }
        assert!(parse("a = ").unwrap_err().to_string().starts_with("line 1: "));
    }

    #[test]
    fn every_duration_has_bounds_and_takes_both() {
        // The timeouts of acknowledgements and of the queue had no bound: a wait of 2^64 s overflowed the clock of a thread.
        for (field, min, max) in [
            ("agent.timeout_secs", 1, 3_600),
            ("min_poll_interval_ms", 1, 86_400_000),
            ("ack_timeout_secs", 1, 604_800),
            ("queue_timeout_secs", 1, 300),
            ("retry.initial_backoff_secs", 1, 3_600),
            ("retry.max_backoff_secs", 1, 86_400),
            ("retry.max_elapsed_secs", 0, 2_592_000),
            ("retry.max_blocking_secs", 0, 86_400),
            ("retention.completed_days", 0, 36_500),
            ("retention.dead_days", 0, 36_500),
            ("retention.history_days", 0, 36_500),
            ("server.header_timeout_secs", 1, 300),
            ("server.body_timeout_secs", 1, 3_600),
            ("server.dispatch_timeout_secs", 1, 300),
            ("server.response_timeout_secs", 1, 3_600),
            ("server.write_timeout_secs", 1, 3_600),
            ("server.keep_alive_secs", 0, 3_600_u64),
        ] {
            for good in [min, max] {
                assert!(parse(&format!("{field} = {good}")).is_ok(), "{field} = {good}");
            }
            for bad in [min.checked_sub(1), Some(max + 1), Some(u64::MAX)].into_iter().flatten() {
                let expected = format!("line 1: {field}: {bad} is out of range; give {min} to {max}");
                assert_eq!(parse(&format!("{field} = {bad}")).unwrap_err().to_string(), expected);
            }
        }
        let page = include_str!("file.rs");
        let durations = page.lines().filter(|line| {
            let name = line.trim().strip_prefix("pub ").and_then(|line| line.split(':').next());
            name.is_some_and(|name| {
                name.ends_with("_secs") || name.ends_with("_ms") || name.ends_with("_days")
            })
        });
        assert_eq!(durations.clone().count(), 17, "every duration is a row above");
        for line in durations {
            assert!(line.contains("Secs<") || line.contains("Millis<") || line.contains("Days<"), "{line}");
        }
    }

    #[test]
    fn a_renamed_field_is_refused_with_its_new_name() {
        for (old, new) in RENAMED {
            let expected = format!("line 1: `{old}` is now called `{new}`");
            assert_eq!(parse(&format!("{old} = 1")).unwrap_err().to_string(), expected);
            let table = old.rsplit_once('.').map(|(table, _)| format!("{table}.")).unwrap_or_default();
            // 1 is below the least that some of them may be.
            let is_known = [1, 256].iter().any(|value| parse(&format!("{table}{new} = {value}")).is_ok());
            assert!(is_known, "{table}{new}");
        }
    }

    #[test]
    fn variables_that_nobody_expands_are_refused_where_they_cannot_be_meant() {
        for (text, place) in [
            ("public_url = \"https://${HOST}/\"", "public_url"),
            ("channels = [\"a\", \"${HOME}/b\"]", "channels[1]"),
            ("[secrets]\ndirectory = \"${X}\"", "secrets.directory"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{place}: `${{…}}` is not expanded")), "{text}: {error}");
        }
        for text in ["agent = \"exec:echo ${HOME}\"", "[channel.a.config]\ntext = \"${name}\""] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn every_table_is_read() {
        let file = parse(
            "listen = \"127.0.0.1:0\"\nhttp_rewrite = { \"a.example\" = \"http://127.0.0.1:1\" }\n[limits]\nmemory_mb = 64\n\
             [channel.telegram]\nowner_id = 7\n[channel.telegram.config]\ndm_policy = \"open\"\nnested = { a = [1, 2] }\n\
             since = 2024-01-02T03:04:05Z\nminus = -1.5\n",
        )
        .unwrap();
        assert_eq!(file.limits.as_limits().memory_bytes, 64 << 20);
        assert_eq!(file.http_rewrite["a.example"], "http://127.0.0.1:1");
        let channel = &file.channel["telegram"];
        assert_eq!(channel.owner_id, Some(7.into()));
        assert_eq!(
            serde_json::Value::Object(channel.config.clone()),
            serde_json::json!({
                "dm_policy": "open", "minus": -1.5, "nested": {"a": [1, 2]}, "since": "2024-01-02T03:04:05Z",
            })
        );
    }

    /// The page with all settings, where those without a default are comments.
    #[test]
    fn every_field_is_documented_and_every_documented_field_is_read() {
        let page = include_str!("../../../docs/tinclaw.toml");
        let uncommented = page.lines().map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.starts_with('[') || setting.contains(" = ") => setting,
            _ => line,
        });
        let file = parse(&uncommented.collect::<Vec<_>>().join("\n")).unwrap();
        let shown = format!("{file:#?}");
        assert!(!shown.contains("None") && !shown.contains("{}"), "{shown}");
    }
}
