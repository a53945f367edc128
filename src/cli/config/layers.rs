//! Where the values of a configuration come from: defaults, the file, the environment, the command line; each goes before those
//! on its left.

use std::fmt;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

use super::file::{RENAMED, renamed_place};
use crate::model::document::nearest;
use crate::model::unique_json::{JsonError, parse_json};

/// What the name of a variable begins with that sets a field.
const PREFIX: &str = "TINCLAW_";
/// Between a table and its field.
const SEPARATOR: &str = "__";
/// Variables that are no fields: what a command looks at before there is a configuration, and secrets.
const OTHER_VARIABLES: &[&str] = &["STATE_DIR", "CHANNELS_DIR", "TOOLS_DIR", "HOST", "ADMIN_TOKEN"];
const OTHER_PREFIXES: &[&str] = &["SECRET_", "SECRETS_PASS"];
/// The fields of the configuration, of which variables may set any.
const FIELDS: &[&str] = &[
    "listen",
    "admin",
    "admin_token",
    "public_url",
    "durability",
    #[cfg(feature = "cluster")]
    "store",
    #[cfg(feature = "cluster")]
    "cluster",
    "channels",
    "tools",
    "tool_files",
    "webchat",
    "agent",
    "log",
    "log_format",
    "log_file",
    "log_file_max_mb",
    "log_files",
    "access_log",
    "http_rewrite",
    "allow_private_hosts",
    "proxy",
    "trusted_proxies",
    "min_poll_interval_ms",
    "memory_budget_mb",
    "workers",
    "ack_timeout_secs",
    "in_order",
    "queue_timeout_secs",
    "max_body_bytes",
    "secrets",
    "queue",
    "retry",
    "retention",
    "limits",
    "server",
    "trust",
    "channel",
    "tool",
];

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ValueSource {
    /// Nobody has set it.
    Default,
    /// The file.
    File {
        /// The first line is 1.
        line: usize,
    },
    /// A variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// An option of the command.
    CommandLine,
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { line } => write!(f, "line {line}"),
            Self::Environment { variable } => f.write_str(variable),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// One value of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigValue {
    /// Its place: `queue.max_messages`.
    pub field: String,
    /// The value; a list is one.
    pub value: Value,
    /// Where it comes from.
    pub source: ValueSource,
}

impl ConfigValue {
    /// Whether this is the field, or one of the table at this place.
    pub fn is_at_or_below(&self, path: &[String]) -> bool {
        is_at_or_below(&self.field, &path.join("."))
    }
}

/// Whether a place is the other one, or in it: `queue.messages` in `queue`.
pub fn is_at_or_below(place: &str, outer: &str) -> bool {
    place.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Where a field is set, as the beginning of an error: `tinclaw.toml, line 3: ` or `TINCLAW_LOG: `; empty when nobody has set it.
pub fn place_of(values: &[ConfigValue], file: Option<&Path>, field: &str) -> String {
    let is_meant =
        |value: &&ConfigValue| is_at_or_below(&value.field, field) || is_at_or_below(field, &value.field);
    match (values.iter().find(is_meant).map(|value| &value.source), file) {
        (Some(source @ ValueSource::File { .. }), Some(file)) => format!("{}, {source}: ", file.display()),
        (Some(source @ ValueSource::Environment { .. }), _) => format!("{source}: "),
        _ => String::new(),
    }
}

/// The variables of a process, as far as the configuration looks at them. One whose value is not UTF-8 has none here.
#[derive(Clone, Debug, Default)]
pub struct Environment(Vec<(String, Option<String>)>);

/// Variables of this process that look like those that set a field, and set none.
pub fn unused_variables() -> Vec<String> {
    let environment = Environment::of_process();
    let unused = environment.fields().filter(|(_, path, _)| !is_field(path));
    unused
        .map(|(variable, path, _)| format!("{variable} sets nothing: unknown field `{}`", path[0]))
        .collect()
}

fn is_field(path: &[String]) -> bool {
    path.first().is_some_and(|first| FIELDS.contains(&first.as_str()))
}

impl Environment {
    /// That of this process. Variables whose name is not UTF-8 are left out.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os();
        let texts =
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok())));
        let mut texts: Vec<_> = texts.collect();
        texts.sort();
        Self(texts)
    }

    /// Variables that are for fields by their names, with the places of these.
    fn fields(&self) -> impl Iterator<Item = (&String, Vec<String>, Option<&str>)> {
        self.0.iter().filter(|(_, text)| text.as_deref() != Some("")).filter_map(|(variable, text)| {
            let name = variable.strip_prefix(PREFIX)?;
            let is_other =
                OTHER_VARIABLES.contains(&name) || OTHER_PREFIXES.iter().any(|other| name.starts_with(other));
            let path = || name.split(SEPARATOR).map(str::to_ascii_lowercase).collect();
            (!is_other).then(|| (variable, path(), text.as_deref()))
        })
    }

    /// These variables.
    #[cfg(test)]
    pub fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let mut texts: Vec<_> =
            variables.into_iter().map(|(name, value)| (name.to_owned(), Some(value.to_owned()))).collect();
        texts.sort();
        Self(texts)
    }

    fn get(&self, name: &str) -> Result<&str, String> {
        let found = self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let value = found
            .ok_or_else(|| format!("the variable {name} is not set; write `$${{` for the characters"))?;
        value.as_deref().ok_or_else(|| format!("the variable {name} is not UTF-8"))
    }

    /// A text with variables in the place of `${NAME}`; `$${` is `${`.
    ///
    /// # Errors
    /// A variable is not set, or a brace is not closed.
    pub fn expanded(&self, text: &str) -> Result<String, String> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                expanded += before;
                expanded += "${";
                rest = after;
                continue;
            }
            let (name, after) =
                after.split_once('}').ok_or("`${` is not closed; write `$${` for the characters")?;
            let value = self.get(name);
            expanded += before;
            expanded += value?;
            rest = after;
        }
        Ok(expanded + rest)
    }

    /// What variables set: their names, the places of the fields, and the values.
    ///
    /// # Errors
    /// A variable is that of a renamed field or nearly that of a field, or its value is not UTF-8.
    pub fn overrides(&self) -> Result<Vec<(String, Vec<String>, Value)>, String> {
        let mut overrides = Vec::new();
        for (variable, path, text) in self.fields() {
            if let Some((old, new)) = RENAMED.iter().find(|(old, _)| *old == path.join(".")) {
                let new = renamed_place(old, new);
                let variable_of_new = variable_of(&new);
                return Err(format!("{variable}: `{old}` is now called `{new}`; set {variable_of_new}"));
            }
            let first = path.first().map(String::as_str).unwrap_or_default();
            if FIELDS.contains(&first) {
                let text = text.ok_or_else(|| format!("{variable}: the value is not UTF-8"))?;
                let value = value_of(text, &path).map_err(|reason| format!("{variable}: {reason}"))?;
                overrides.push((variable.clone(), path, value));
            } else if let Some(near) = nearest(first, FIELDS).filter(|near| is_misspelt(first, near)) {
                let near = near.to_ascii_uppercase();
                return Err(format!("{variable}: unknown field `{first}`; did you mean {PREFIX}{near}?"));
            }
        }
        Ok(overrides)
    }
}

/// The variable that sets the field at this place.
fn variable_of(place: &str) -> String {
    format!("{PREFIX}{}", place.replace('.', SEPARATOR).to_ascii_uppercase())
}

/// Whether a field is meant so surely that the host must not run without it: at most a third of the letters differ, rounded down.
/// `TINCLAW_FOO` may belong to another program.
fn is_misspelt(written: &str, field: &str) -> bool {
    strsim::levenshtein(written, field) * 3 <= written.len().max(field.len())
}

/// A number, a list, a table, true or false, or else a text.
fn value_of(text: &str, path: &[String]) -> Result<Value, String> {
    match parse_json(text.as_bytes()) {
        // It would take the file's value away. The settings of a guest may have it.
        Ok(Value::Null) if !is_of_guest(path) => {
            Err("`null` is no value; an empty variable leaves the field as it is".to_owned())
        }
        Ok(value) => Ok(value),
        Err(error @ JsonError::Duplicate(_)) => Err(error.to_string()),
        // What stands there is no text, and may have a secret in it.
        Err(error @ JsonError::Syntax(_)) if path.len() == 1 && text.starts_with('{') => {
            Err(error.to_string())
        }
        Err(JsonError::Syntax(_)) => Ok(Value::String(text.to_owned())),
    }
}

/// Whether a place is one of the settings that a guest gets.
fn is_of_guest(path: &[String]) -> bool {
    matches!(path, [table, _, config, ..] if ["channel", "tool"].contains(&&**table) && config == "config")
        && path.len() > 3
}

/// Tables whose names may be written with `-`, which stands for `_`. A variable has no `-` in its name.
const NAMED_TABLES: [&str; 2] = ["channel", "tool"];

/// The place with the name of a channel or tool as the document writes it.
pub fn as_written(document: &Value, mut path: Vec<String>) -> Vec<String> {
    if let [table, name, ..] = &mut *path
        && NAMED_TABLES.contains(&&**table)
        && let Some(fields) = document[&**table].as_object()
        && let Some(written) = fields.keys().find(|key| key.replace('-', "_") == name.replace('-', "_"))
    {
        name.clone_from(written);
    }
    path
}

/// Puts a value into a document, with the tables that it needs.
pub fn set(document: &mut Value, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        *document = value;
        return;
    };
    if !document.is_object() {
        // `agent = "echo"` is its table's `kind`.
        let kind = document.take();
        *document = Value::Object(Map::new());
        if kind.is_string() {
            document["kind"] = kind;
        }
    }
    if let Some(fields) = document.as_object_mut() {
        set(fields.entry(first.clone()).or_insert(Value::Null), rest, value);
    }
}

/// Every value of a document, with its source.
pub fn leaves_of(document: &Value, source: impl Fn(&[&str]) -> ValueSource) -> Vec<ConfigValue> {
    let mut leaves = Vec::new();
    collect(document, &mut Vec::new(), &source, &mut leaves);
    leaves
}

fn collect<'a>(
    value: &'a Value,
    path: &mut Vec<&'a str>,
    source: &impl Fn(&[&str]) -> ValueSource,
    leaves: &mut Vec<ConfigValue>,
) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                path.push(name);
                collect(value, path, source, leaves);
                path.pop();
            }
        }
        value => {
            leaves.push(ConfigValue { field: path.join("."), value: value.clone(), source: source(path) })
        }
    }
}

/// The fields that differ between two documents, in the order of their places.
pub fn changed(old: &Value, new: &Value) -> Vec<String> {
    let leaves = |document: &Value| leaves_of(document, |_| ValueSource::Default);
    let (old, new) = (leaves(old), leaves(new));
    let differs = |one: &ConfigValue, others: &[ConfigValue]| {
        !others.iter().any(|other| other.field == one.field && other.value == one.value)
    };
    let mut changed: Vec<String> =
        old.iter().filter(|value| differs(value, &new)).map(|value| value.field.clone()).collect();
    changed.extend(new.iter().filter(|value| differs(value, &old)).map(|value| value.field.clone()));
    changed.sort();
    changed.dedup();
    changed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changed_fields_are_named_by_their_place() {
        let old = json!({"listen": "a", "queue": {"messages": 1, "replies": 2}, "channels": ["a"]});
        for (case, new, expected) in [
            ("nothing", old.clone(), &[][..]),
            (
                "a value",
                json!({"listen": "b", "queue": {"messages": 1, "replies": 2}, "channels": ["a"]}),
                &["listen"],
            ),
            (
                "a field is gone",
                json!({"listen": "a", "queue": {"replies": 2}, "channels": ["a"]}),
                &["queue.messages"],
            ),
            (
                "a field is new",
                json!({"listen": "a", "queue": {"messages": 1, "replies": 2}, "channels": ["a"], "log": "x"}),
                &["log"],
            ),
            (
                "a list",
                json!({"listen": "a", "queue": {"messages": 1, "replies": 2}, "channels": ["b"]}),
                &["channels"],
            ),
        ] {
            assert_eq!(changed(&old, &new), expected, "{case}");
        }
    }

    /// A field that is missing here could not be set by a variable.
    #[test]
    fn every_field_of_the_page_is_one_that_a_variable_sets() {
        let page = include_str!("../../../docs/tinclaw.toml");
        let mut table = String::new();
        for line in page.lines() {
            let line = line.strip_prefix("# ").unwrap_or(line);
            if let Some(name) = line.strip_prefix('[') {
                table = name.split([']', '.']).next().unwrap_or_default().to_owned();
                assert!(FIELDS.contains(&table.as_str()), "{table}");
            } else if let Some((field, _)) = line.split_once(" = ") {
                let is_known = !table.is_empty() || FIELDS.contains(&field) || field == "state_dir";
                assert!(is_known || field.contains(' '), "{field}");
            }
        }
    }

    #[test]
    fn a_value_is_put_where_its_table_is_or_was_not() {
        let mut document = json!({"agent": "echo"});
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        set(&mut document, &path("agent.concurrency"), json!(2));
        set(&mut document, &path("queue.messages"), json!(3));
        set(&mut document, &path("log"), json!("info"));
        assert_eq!(
            document,
            json!({"agent": {"kind": "echo", "concurrency": 2}, "queue": {"messages": 3}, "log": "info"})
        );
    }
}
