//! From text to fields, with errors that name the line and the nearest field.

use std::fmt::{self, Display, Formatter};

use serde_json::{Number, Value};
use toml::de::{DeInteger, DeTable, DeValue};

use super::file::{ConfigFile, RENAMED, renamed_place};
use super::layers::{ConfigValue, Environment, ValueSource, as_written, is_at_or_below, leaves_of, set};
use crate::model::document::{DocumentError, DocumentProblem, Expected, FoundValue, PathStep};

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

impl ParseError {
    /// Whether it is about the file, and not about a variable.
    pub fn is_in_file(&self) -> bool {
        self.line.is_some()
    }
}

impl std::error::Error for ParseError {}

/// A configuration, and where each value of it came from.
#[derive(Default)]
pub struct ParsedConfig {
    /// The fields.
    pub file: ConfigFile,
    /// The same as a document.
    pub document: Value,
    /// Every value with its source.
    pub values: Vec<ConfigValue>,
}

/// Reads a configuration without an environment.
///
/// # Errors
/// As [`parse_in`].
#[cfg(test)]
pub fn parse(text: &str) -> Result<ConfigFile, ParseError> {
    parse_in(text, &Environment::default()).map(|parsed| parsed.file)
}

/// Reads a configuration. `${NAME}` in it stands for a variable of the environment, and variables `TINCLAW_FIELD` and
/// `TINCLAW_TABLE__FIELD` go before it.
///
/// # Errors
/// One line: which line of the file or which variable, what is wrong there, and what may have been meant.
pub fn parse_in(text: &str, environment: &Environment) -> Result<ParsedConfig, ParseError> {
    let table = DeTable::parse(text).map_err(|error| {
        let message = match error.message().trim() {
            "duplicate key" => "duplicate field".to_owned(),
            message => message.replace('\n', "; "),
        };
        ParseError { line: Some(error.span().map_or(1, |span| line_of(text, span.start))), message }
    })?;
    let table = DeValue::Table(table.into_inner());
    let in_file = |error: &DocumentError| line_of(text, offset_of(&table, &error.path));
    let expanded = json(&table).and_then(|mut value| expand(&mut value, environment).map(|()| value));
    let mut document = expanded.map_err(|error| worded(&error, Some(in_file(&error))))?;
    let mut values = leaves_of(&document, |path| {
        let path: Vec<PathStep> = path.iter().map(|name| PathStep::Field((*name).to_owned())).collect();
        ValueSource::File { line: line_of(text, offset_of(&table, &path)) }
    });
    let overrides = environment.overrides().map_err(|message| ParseError { line: None, message })?;
    let mut set_by = Vec::new();
    for (variable, path, value) in overrides {
        let path = as_written(&document, path);
        values.retain(|known| !known.is_at_or_below(&path));
        let source = ValueSource::Environment { variable: variable.clone() };
        values
            .extend(leaves_of(&value, |_| source.clone()).into_iter().map(|leaf| within_table(&path, leaf)));
        set(&mut document, &path, value);
        set_by.push((path.join("."), variable));
    }
    let file = ConfigFile::read(document.clone()).map_err(|error| {
        let place = error.place();
        match set_by.iter().rev().find(|(field, _)| is_at_or_below(&place, field)) {
            Some((_, variable)) => ParseError { line: None, message: of_variable(variable, &error) },
            None => worded(&error, Some(in_file(&error))),
        }
    })?;
    Ok(ParsedConfig { file, document, values })
}

/// A value of a table that a variable sets as a whole.
fn within_table(table: &[String], leaf: ConfigValue) -> ConfigValue {
    let field =
        if leaf.field.is_empty() { table.join(".") } else { format!("{}.{}", table.join("."), leaf.field) };
    ConfigValue { field, ..leaf }
}

/// What is wrong with a variable. One that reads as JSON is not a text, also where only a text can be meant.
fn of_variable(variable: &str, error: &DocumentError) -> String {
    match &error.problem {
        DocumentProblem::Invalid {
            expected: Expected::Text,
            found: FoundValue::Number(_) | FoundValue::Flag(_),
        } => {
            format!("{variable}: {error}; write it in double quotes within the value: {variable}='\"…\"'")
        }
        _ => format!("{variable}: {error}"),
    }
}

/// The defaults, as the page with all settings has them.
pub fn documented_defaults() -> Value {
    // The page is part of the program, and a test reads it.
    parse_in(include_str!("../../../docs/tinclaw.toml"), &Environment::default())
        .map(|parsed| parsed.document)
        .unwrap_or_default()
}

fn worded(error: &DocumentError, line: Option<usize>) -> ParseError {
    let message = match new_name(error) {
        Some(new) => format!("`{}` is now called `{new}`", error.place()),
        None => error.to_string(),
    };
    ParseError { line, message }
}

/// What a field is called now that is unknown because it was renamed.
fn new_name(error: &DocumentError) -> Option<String> {
    let DocumentProblem::Unknown { .. } = error.problem else { return None };
    let place = error.place();
    RENAMED.iter().find(|(old, _)| *old == place).map(|(old, new)| renamed_place(old, new))
}

/// Fields whose texts are the business of a shell or of a guest, to which `${X}` may mean something.
const FREE_TEXTS: [&str; 2] = ["agent", "channel"];

/// Puts variables of the environment in the place of `${NAME}`.
fn expand(config: &mut Value, environment: &Environment) -> Result<(), DocumentError> {
    let fields = config.as_object_mut().into_iter().flatten();
    for (name, value) in fields.filter(|(name, _)| !FREE_TEXTS.contains(&name.as_str())) {
        expand_in(value, environment).map_err(|error| error.within(PathStep::Field(name.clone())))?;
    }
    Ok(())
}

fn expand_in(value: &mut Value, environment: &Environment) -> Result<(), DocumentError> {
    match value {
        Value::String(text) if text.contains("${") => {
            *text = environment.expanded(text).map_err(|reason| DocumentError {
                path: Vec::new(),
                problem: DocumentProblem::Other(reason),
            })?;
            Ok(())
        }
        Value::Array(items) => items.iter_mut().enumerate().try_for_each(|(index, item)| {
            expand_in(item, environment).map_err(|error| error.within(PathStep::Item(index)))
        }),
        Value::Object(fields) => fields.iter_mut().try_for_each(|(name, value)| {
            expand_in(value, environment).map_err(|error| error.within(PathStep::Field(name.clone())))
        }),
        _ => Ok(()),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Where a value stands: its key, or itself when it is in a list.
fn offset_of(table: &DeValue, path: &[PathStep]) -> usize {
    let (mut value, mut offset) = (table, 0);
    for step in path {
        let next = match (step, value) {
            (PathStep::Field(name), DeValue::Table(table)) => table
                .iter()
                .find(|(key, _)| key.get_ref() == name)
                .map(|(key, value)| (value.get_ref(), key.span().start)),
            (PathStep::Item(index), DeValue::Array(items)) => {
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
            let items = items.map(|(index, item)| within(PathStep::Item(index), item.get_ref()));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(fields) => {
            let mut object = serde_json::Map::new();
            for (key, value) in fields {
                let name = key.get_ref().to_string();
                object.insert(name.clone(), within(PathStep::Field(name), value.get_ref())?);
            }
            Value::Object(object)
        }
    })
}

fn within(step: PathStep, value: &DeValue) -> Result<Value, DocumentError> {
    json(value).map_err(|error| error.within(step))
}

fn integer(number: &DeInteger) -> Result<Number, DocumentError> {
    let (digits, radix) = (number.as_str(), number.radix());
    let unsigned = u64::from_str_radix(digits, radix).map(Number::from);
    let number_of_64_bits = unsigned.or_else(|_| i64::from_str_radix(digits, radix).map(Number::from));
    number_of_64_bits.map_err(|_| unlike("a number of 64 bits", number))
}

fn unlike(expected: &'static str, found: &impl Display) -> DocumentError {
    DocumentError::invalid(Expected::Words(expected.to_owned()), FoundValue::Words(found.to_string()))
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
                "line 2: unknown field `queue.zzz`; known here are max_messages, max_megabytes, max_replies",
            ),
            // `agent` is a text or a table, so its fields are found out only while they are read: the name stood there twice.
            (
                "[agent]\nconcurency = 3",
                "line 2: unknown field `agent.concurency`; did you mean `concurrency`?",
            ),
            (
                "agent = { agent = 1 }",
                "line 1: unknown field `agent.agent`; known here are kind, max_attempts, dead_letter_text, concurrency, timeout_secs, env, headers, auth_secret, auth_header, \
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
            (
                "[limits]\nfuel = 2000000\nmemory_mb = 1.5",
                "line 3: limits.memory_mb must be a whole number, not 1.5",
            ),
            ("webchat = 1", "line 1: webchat must be true or false, not 1"),
            ("log = 3", "line 1: log must be a string, not 3"),
            ("channels = \"a\"", "line 1: channels must be a list, not a string"),
            ("channels = [\n  \"a\",\n  2,\n]", "line 3: channels[1] must be a string, not 2"),
            ("[http_rewrite]\na = false", "line 2: http_rewrite.a must be a string, not false"),
            ("\nsecrets = 3", "line 2: secrets must be a set of fields, not 3"),
            ("[[queue]]\nmax_replies = 1", "line 1: queue must be a set of fields, not a list"),
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
            ("workers = 1\nworkers = 2", "line 2: duplicate field"),
            ("[queue]\n[queue]", "line 2: duplicate field"),
        ];
        for (text, expected) in rows {
            assert_eq!(parse(text).err().map(|error| error.to_string()).as_deref(), Some(expected), "{text}");
        }
        assert!(parse("a = ").err().unwrap().to_string().starts_with("line 1: "));
    }

    #[test]
    fn a_model_s_history_has_bounds_and_takes_both() {
        for (field, min, max) in [("messages", 1, 10_000), ("tokens", 100, 10_000_000)] {
            let read = |value: u64| parse(&format!("[agent]\nhistory = {{ {field} = {value} }}"));
            assert!(read(min).is_ok() && read(max).is_ok(), "{field}");
            for value in [min - 1, max + 1] {
                let error = read(value).err().unwrap().to_string();
                assert!(error.contains(&format!("{value} is out of range; give {min} to {max}")), "{error}");
            }
        }
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
            ("retention.dead_letter_days", 0, 36_500),
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
                assert_eq!(parse(&format!("{field} = {bad}")).err().unwrap().to_string(), expected);
            }
        }
        let pages = [
            include_str!("file.rs"),
            include_str!("../../agent/exec/mod.rs"),
            include_str!("../../agent/http.rs"),
            include_str!("../../agent/openai/settings.rs"),
            include_str!("../../host/config.rs"),
            include_str!("../../inbox/queue.rs"),
            include_str!("../../router/state.rs"),
            include_str!("../../channel/outbox.rs"),
            include_str!("../../store/retention.rs"),
            include_str!("../../server/limits.rs"),
        ];
        let kinds = ["bounded::secs::<", "bounded::millis::<", "bounded::days::<"];
        let is_duration = |line: &&str| kinds.iter().any(|kind| line.contains(kind));
        let declared = pages.iter().flat_map(|page| page.lines()).filter(is_duration);
        assert_eq!(
            declared.count(),
            19,
            "every duration is a row above; each kind of agent has that of `agent`"
        );
    }

    #[test]
    fn a_renamed_field_is_refused_with_its_new_name() {
        for (old, new) in RENAMED {
            let place = renamed_place(old, new);
            let expected = format!("line 1: `{old}` is now called `{place}`");
            assert_eq!(parse(&format!("{old} = 1")).err().unwrap().to_string(), expected);
            // 1 is below the least that some of them may be.
            let is_known = [1, 256].iter().any(|value| parse(&format!("{place} = {value}")).is_ok());
            assert!(is_known, "{place}");
        }
    }

    /// A variable with an old name was only a warning that it sets nothing, without the new name: the host ran with the default.
    #[test]
    fn a_variable_of_a_renamed_field_is_refused_with_its_new_name() {
        for (old, new) in RENAMED {
            let variable = |place: &str| format!("TINCLAW_{}", place.replace('.', "__").to_uppercase());
            let expected = format!(
                "{}: `{old}` is now called `{}`; set {}",
                variable(old),
                renamed_place(old, new),
                variable(&renamed_place(old, new))
            );
            let environment = Environment::of([(variable(old).as_str(), "1")]);
            assert_eq!(parse_in("", &environment).err().map(|error| error.to_string()), Some(expected));
        }
    }

    #[test]
    fn variables_of_the_environment_are_put_in_where_they_can_be_meant() {
        let environment = Environment::of([("HOST", "bot.example.org"), ("HOME", "/home/a")]);
        let parsed = |text: &str| parse_in(text, &environment).map_err(|error| error.to_string());
        let file =
            parsed("public_url = \"https://${HOST}/\"\nchannels = [\"a\", \"${HOME}/b\"]").unwrap().file;
        assert_eq!(file.manager.public_url.unwrap().as_str(), "https://bot.example.org");
        assert_eq!(file.channels.unwrap()[1].to_str(), Some("/home/a/b"));
        for (text, expected) in [
            ("public_url = \"https://${HSOT}/\"", "line 1: public_url: the variable HSOT is not set"),
            ("\n[secrets]\ndirectory = \"${X\"", "line 3: secrets.directory: `${` is not closed"),
        ] {
            let error = parsed(text).err().unwrap();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        let file = parsed("log = \"$${HOME}\"").unwrap().file;
        assert_eq!(file.log.as_deref(), Some("${HOME}"), "two dollars are one");
        // They mean something to a shell, and perhaps to a guest.
        for text in ["agent = \"exec:echo ${NOTHING}\"", "[channel.a.config]\ntext = \"${name}\""] {
            assert!(parsed(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_variable_goes_before_the_file_and_an_error_names_it() {
        let file = "listen = \"127.0.0.1:1\"\n[queue]\nmax_messages = 5\nmax_replies = 6";
        let environment = Environment::of([
            ("TINCLAW_LISTEN", "127.0.0.1:2"),
            ("TINCLAW_QUEUE__MAX_MESSAGES", "7"),
            ("TINCLAW_CHANNEL__TELEGRAM__OWNER_ID", "9"),
            ("TINCLAW_STATE_DIR", "/x"),
            ("TINCLAW_SECRET_A", "b"),
            ("TINCLAW_SOMETHING_ELSE_ENTIRELY", "1"),
        ]);
        let parsed = parse_in(file, &environment).unwrap();
        assert_eq!(parsed.file.listen.unwrap().port(), 2);
        assert_eq!(parsed.file.manager.queue.messages, 7);
        assert_eq!(parsed.file.manager.channels["telegram"].owner_id, Some(9.into()));
        let shown: Vec<String> =
            parsed.values.iter().map(|value| format!("{} from {}", value.field, value.source)).collect();
        assert_eq!(
            shown,
            [
                "queue.max_replies from line 4",
                "channel.telegram.owner_id from TINCLAW_CHANNEL__TELEGRAM__OWNER_ID",
                "listen from TINCLAW_LISTEN",
                "queue.max_messages from TINCLAW_QUEUE__MAX_MESSAGES",
            ]
        );
        for (variable, value, expected) in [
            ("TINCLAW_LISTEN", "here", "TINCLAW_LISTEN: listen: \"here\" is not an address"),
            ("TINCLAW_QUEUE__MESAGES", "1", "TINCLAW_QUEUE__MESAGES: unknown field `queue.mesages`"),
            ("TINCLAW_LISEN", "1", "TINCLAW_LISEN: unknown field `lisen`; did you mean TINCLAW_LISTEN?"),
        ] {
            let error = parse_in("", &Environment::of([(variable, value)])).err().unwrap().to_string();
            assert!(error.starts_with(expected), "{variable}: {error}");
        }
    }

    fn error_of(file: &str, variable: &str, value: &str) -> String {
        let environment = Environment::of([(variable, value)]);
        parse_in(file, &environment).err().map(|error| error.to_string()).unwrap_or_default()
    }

    /// `TINCLAW_WORKERS=null` took the file's value away, the last of two equal names counted, and `TINCLAW_FOO` stopped the host.
    #[test]
    fn what_a_variable_cannot_mean_is_refused() {
        for (variable, value, expected) in [
            ("TINCLAW_WORKERS", "null", "TINCLAW_WORKERS: `null` is no value"),
            ("TINCLAW_CHANNEL__A__OWNER_ID", "null", "TINCLAW_CHANNEL__A__OWNER_ID: `null` is no value"),
            (
                "TINCLAW_AGENT",
                r#"{"kind":"echo","kind":"exec:x"}"#,
                "TINCLAW_AGENT: duplicate field `kind`; remove one",
            ),
            ("TINCLAW_QUEUE", r#"{"messages":1,"messages":2}"#, "TINCLAW_QUEUE: duplicate field `messages`"),
            ("TINCLAW_AGENT", r#"{"kind":"http://u:LIVEKEY@h""#, "TINCLAW_AGENT: not JSON: EOF"),
            (
                "TINCLAW_AGENT__MODEL",
                "123",
                "TINCLAW_AGENT__MODEL: agent.model must be a string, not 123; write it in double quotes within the value: \
                 TINCLAW_AGENT__MODEL='\"…\"'",
            ),
            ("TINCLAW_QUEUE", "7", "TINCLAW_QUEUE: queue must be a set of fields, not 7"),
            (
                "TINCLAW_LIMITS__MEMORY_MB",
                "0",
                "TINCLAW_LIMITS__MEMORY_MB: limits.memory_mb: 0 is out of range",
            ),
            ("TINCLAW_FOO", "1", ""),
            ("TINCLAW_CHANNEL__A__CONFIG__B", "null", ""),
        ] {
            let error = error_of("workers = 2\n[agent]\nkind = \"openai:http://a/\"", variable, value);
            assert!(
                error.starts_with(expected) && error.is_empty() == expected.is_empty(),
                "{variable}: {error}"
            );
            assert!(!error.contains("LIVEKEY"), "{error}");
        }
    }

    /// `config show` hides fields by their places, and a table that a variable set as a whole was one value.
    #[test]
    fn a_table_from_a_variable_is_its_fields() {
        let environment = Environment::of([("TINCLAW_AGENT", r#"{"kind":"http://a/","headers":{"a":"b"}}"#)]);
        let values = parse_in("agent = \"echo\"", &environment).unwrap().values;
        let shown: Vec<String> =
            values.iter().map(|value| format!("{}={}", value.field, value.value)).collect();
        assert_eq!(shown, ["agent.kind=\"http://a/\"", "agent.headers.a=\"b\""]);
        assert!(
            parse_in("agent = \"echo\"", &Environment::of([("TINCLAW_AGENT", "{}")]))
                .unwrap()
                .values
                .is_empty()
        );
    }

    /// One of the two was left out without a word.
    #[test]
    fn a_name_in_two_spellings_is_refused() {
        for (text, expected) in [
            (
                "[channel.a-b]\n[channel.a_b]",
                "line 2: channel.a_b: it is the same as \"a-b\"; keep one of them",
            ),
            ("[tool.x_y]\n[tool.x-y]", "line 1: tool.x_y: it is the same as \"x-y\"; keep one of them"),
            (
                "[http_rewrite]\n\"a.example\" = \"http://b\"\n\"A.example\" = \"http://c\"",
                "line 2: http_rewrite[\"a.example\"]: it is the same as \"A.example\"; keep one of them",
            ),
            (
                "[agent]\nkind = \"http://a/\"\nheaders = { X-A = \"a\", x-a = \"b\" }",
                "line 3: agent.headers.x-a: it is the same as \"X-A\"; keep one of them",
            ),
            (
                "[limits]\nmemory_mb = 8\n\"channel.memory_mb\" = 9",
                "line 2: limits.memory_mb: duplicate limit; keep one of them",
            ),
        ] {
            assert_eq!(parse(text).err().map(|error| error.to_string()).as_deref(), Some(expected), "{text}");
        }
        // A variable cannot have `-` in its name.
        let environment = Environment::of([("TINCLAW_CHANNEL__A_B__OWNER_ID", "9")]);
        let file = parse_in("[channel.a-b]\nbot_username = \"b\"", &environment).unwrap().file;
        let channel = &file.manager.channels["a_b"];
        assert_eq!((&channel.owner_id, channel.bot_username.as_deref()), (&Some(9.into()), Some("b")));
    }

    #[test]
    fn every_table_is_read() {
        let file = parse(
            "listen = \"127.0.0.1:0\"\nhttp_rewrite = { \"a.example\" = \"http://127.0.0.1:1\" }\n[limits]\nmemory_mb = 64\n\
             [channel.telegram]\nowner_id = 7\n[channel.telegram.config]\ndm_policy = \"open\"\nnested = { a = [1, 2] }\n\
             since = 2024-01-02T03:04:05Z\nminus = -1.5\n",
        )
        .unwrap();
        assert_eq!(file.manager.limit_caps.as_limits().memory_bytes, 64 << 20);
        assert_eq!(file.manager.outbound.http_rewrite["a.example"], "http://127.0.0.1:1");
        let channel = &file.manager.channels["telegram"];
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
            // Without its kind, an agent may have the fields of every kind.
            _ if line.starts_with("kind = \"echo\"") => "",
            _ => line,
        });
        let uncommented = uncommented.collect::<Vec<_>>().join("\n");
        parse(&uncommented).unwrap();
        for table in ["", "agent.", "secrets.", "queue.", "retry.", "retention.", "server.", "trust."] {
            let error = parse(&format!("{table}zzzzzzzzzzzz = 1")).err().unwrap().to_string();
            let (_, known) = error.split_once("known here are ").expect("all of its fields");
            for field in known.split(", ") {
                let begins = |line: &str| {
                    [format!("{field} = "), format!("[{field}]"), format!("[{field}.")]
                        .iter()
                        .any(|start| line.starts_with(start))
                };
                let mut lines = page.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
                assert!(lines.any(begins), "{table}{field}");
            }
        }
    }
}
