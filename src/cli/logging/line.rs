//! One line of the log: as people read it, as journald takes it, or as JSON.

use std::fmt::{self, Write as _};
use std::os::fd::AsFd as _;
use std::time::SystemTime;

use log::kv::{Error, Key, Value as KvValue, VisitSource};
use log::{Level, Record};
use serde_json::{Map, Value, json};

use crate::admin::rfc3339;
use crate::model::escape::{escaped, escaped_json};
use crate::model::subject::is_about_channel;

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// A JSON object in each line
    Json,
}

/// The priority of a line in the syntax of journald (sd-daemon(3)): the numbers of syslog(3).
pub fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

/// Whether standard error is a stream to journald. `journal` is the variable `JOURNAL_STREAM`, device and inode of that stream
/// (systemd.exec(5)); a program whose standard error was redirected has inherited the variable alone.
pub fn is_journal(journal: Option<&str>) -> bool {
    let Some((device, inode)) = journal.and_then(|stream| stream.split_once(':')) else { return false };
    let Ok(found) = rustix::fs::fstat(std::io::stderr().as_fd()) else { return false };
    device.parse() == Ok(found.st_dev) && inode.parse() == Ok(found.st_ino)
}

/// What a line says, on one line: the target where the line does not name its subject itself, and the text.
pub fn text(record: &Record<'_>) -> String {
    let message = record.args().to_string();
    let target = target_prefix(record.target(), &message).map(|target| format!("{target}: "));
    // The last line of defence: whatever a line quotes, it stays one line and moves no cursor.
    format!("{}{}", target.unwrap_or_default(), escaped(&message))
}

/// A line as JSON: `time`, `level`, `channel`, `tool`, `message_id`, `reply_id`, `target`, `message`; those that a line is not about are not
/// there.
pub fn json_line(record: &Record<'_>, at: SystemTime) -> String {
    let mut fields = Map::new();
    fields.insert("time".into(), rfc3339(at));
    fields.insert("level".into(), json!(record.level().as_str().to_lowercase()));
    // Names of tools, numbers of messages and replies: nothing that could fail.
    let _ = record.key_values().visit(&mut IntoJson(&mut fields));
    match channel_of(record) {
        _ if fields.contains_key("tool") => None,
        Some(channel) => fields.insert("channel".into(), json!(channel)),
        None => fields.insert("target".into(), json!(record.target())),
    };
    fields.insert("message".into(), json!(record.args().to_string()));
    escaped_json(&Value::Object(fields).to_string()).into_owned()
}

/// The channel that a line is about. The host's own lines have its name for a target, where those of other crates have a module.
fn channel_of<'a>(record: &'a Record<'_>) -> Option<&'a str> {
    let is_ours = record.module_path().is_some_and(|path| path.starts_with("tinclaw"));
    let target = record.target();
    (is_ours && !is_host(target) && target != "agent").then_some(target)
}

fn is_host(target: &str) -> bool {
    target == "tinclaw" || target.starts_with("tinclaw::")
}

/// The target, where the line does not name its subject itself: that of other crates.
fn target_prefix<'a>(target: &'a str, message: &str) -> Option<&'a str> {
    let names_tool =
        || message.strip_prefix("tool ").and_then(|rest| rest.strip_prefix(target)?.strip_prefix(':'));
    (!is_host(target) && !is_about_channel(target, message) && names_tool().is_none()).then_some(target)
}

struct IntoJson<'a>(&'a mut Map<String, Value>);

impl<'kvs> VisitSource<'kvs> for IntoJson<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: KvValue<'kvs>) -> Result<(), Error> {
        let value = value.to_u64().map_or_else(|| json!(value.to_string()), |number| json!(number));
        self.0.insert(key.as_str().to_owned(), value);
        Ok(())
    }
}

/// What a value prints. A clock beyond the year 9999 has no date, and writing one would panic in every line.
pub fn display_or(value: impl fmt::Display, otherwise: &str) -> String {
    let mut text = String::new();
    match write!(text, "{value}") {
        Ok(()) => text,
        Err(fmt::Error) => otherwise.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    struct NoDate;

    impl fmt::Display for NoDate {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Err(fmt::Error)
        }
    }

    // With the clock in the year 11476 the first line of the log ended the program.
    #[test]
    fn a_time_that_cannot_be_printed_ends_nothing() {
        assert_eq!(display_or(NoDate, "(no date)"), "(no date)");
        assert_eq!(display_or(7, "(no date)"), "7");
    }

    #[test]
    fn a_line_has_its_subject_once() {
        for (target, message, shown) in [
            ("echo", "channel echo: hello from the guest", None),
            ("weather", "tool weather: hello from the guest", None),
            ("echo", "tool weather: hello", Some("echo")),
            ("echo", "channel echo is ready", None),
            ("echo", "channel `echo`: on-start trapped", None),
            ("tinclaw::router::state", "the store is up again", None),
            ("tinclaw", "stopped", None),
            ("agent", "message 1: it is said again", Some("agent")),
            ("ureq::run", "connecting", Some("ureq::run")),
        ] {
            assert_eq!(target_prefix(target, message), shown, "{target}: {message}");
        }
    }

    fn line(target: &str, module: &str, text: &str) -> Value {
        let fields = [("message_id", 7_u64)];
        let record = json_line(
            &Record::builder()
                .target(target)
                .module_path(Some(module))
                .level(Level::Warn)
                .key_values(&fields)
                .args(format_args!("{text}"))
                .build(),
            UNIX_EPOCH + Duration::from_millis(1),
        );
        assert!(!record.contains(['\n', '\u{1b}']), "{record}");
        serde_json::from_str(&record).unwrap()
    }

    #[test]
    fn a_line_in_json_has_its_channel_and_ids_as_fields() {
        assert_eq!(
            line("echo", "tinclaw::router", "a\n\u{1b}[2J\"b\""),
            json!({"time": "1970-01-01T00:00:00.001Z", "level": "warn", "channel": "echo", "message_id": 7,
                   "message": "a\n\u{1b}[2J\"b\""})
        );
        for (target, module, is_channel) in [
            ("tinclaw::router", "tinclaw::router", false),
            ("agent", "tinclaw::agent::exec", false),
            ("ureq", "ureq", false),
            ("telegram", "tinclaw::sandbox::record", true),
        ] {
            let found = line(target, module, "text");
            assert_eq!(found["channel"] == target, is_channel, "{found}");
            assert_eq!(found["target"] == target, !is_channel, "{found}");
        }
    }

    #[test]
    fn the_journal_is_recognised_by_its_inode_and_not_by_the_variable_alone() {
        let found = rustix::fs::fstat(std::io::stderr().as_fd()).unwrap();
        let (device, inode) = (found.st_dev, found.st_ino);
        assert!(is_journal(Some(&format!("{device}:{inode}"))));
        for other in
            [format!("{device}:{}", inode + 1), format!("{}:{inode}", device + 1), "a:b".into(), "".into()]
        {
            assert!(!is_journal(Some(&other)), "{other}");
        }
        assert!(!is_journal(None));
    }
}
