//! What commands print (JSON for programs, times), and how a command ends.

use std::fmt::{self, Display, Formatter};
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::Value;

use super::colours::{self, marked};
use crate::model::escape::{escaped_json, escaped_lines};

/// Prints a JSON document on one line.
pub fn print_json(value: &Value) {
    outln!("{}", escaped_json(&value.to_string()));
}

/// Whether the command line asks for JSON. It is looked for in the arguments themselves, because they may be what is wrong.
fn is_json_wanted() -> bool {
    std::env::args_os().skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

/// What a command prints that is to print an object and has failed before it did: `{"error": TEXT}`. Nothing without `--json`.
pub fn print_json_error(text: &str) {
    if is_json_wanted() && !super::print::has_printed() {
        print_json(&serde_json::json!({"error": text}));
    }
}

/// A path for a JSON document. What of it is not UTF-8 is replaced: a path that is given to `json!` itself panics then.
pub fn path_text(path: impl AsRef<Path>) -> String {
    path.as_ref().to_string_lossy().into_owned()
}

/// Several of them.
pub fn path_texts<P: AsRef<Path>>(paths: &[P]) -> Vec<String> {
    paths.iter().map(path_text).collect()
}

/// How long ago a time in RFC 3339 was, or in how long it will be.
pub fn age(time: &Value, now_ms: u64) -> String {
    match time.as_str().and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(time) => age_of(u64::try_from(time.as_millisecond()).unwrap_or_default(), now_ms),
        None => String::new(),
    }
}

fn age_of(at_ms: u64, now_ms: u64) -> String {
    let seconds = at_ms.abs_diff(now_ms) / 1000;
    let text = match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    };
    if at_ms <= now_ms { format!("{text} ago") } else { format!("in {text}") }
}

/// Now, in Unix milliseconds.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `1 error`, `2 errors`.
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Why a command did not do what was asked. The text goes to standard error and says what to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// A problem was found, or the command failed: exit code 1.
    Problem(String),
    /// The command line or the configuration is invalid: exit code 2.
    Usage(String),
    /// The command failed and has printed why: exit code 1.
    Reported,
}

/// The result of a command.
pub type CommandResult = Result<(), Failure>;

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem(text) | Self::Usage(text) => f.write_str(text),
            Self::Reported => Ok(()),
        }
    }
}

impl Failure {
    /// The command failed.
    pub fn problem(text: impl Display) -> Self {
        Self::Problem(text.to_string())
    }

    /// The command line or the configuration is invalid.
    pub fn usage(text: impl Display) -> Self {
        Self::Usage(text.to_string())
    }

    /// Prints it and returns the exit code.
    pub fn report(self) -> ExitCode {
        let code = match self {
            Self::Problem(_) => 1,
            Self::Usage(_) => 2,
            Self::Reported => return ExitCode::from(1),
        };
        let text = self.to_string();
        let line = format!("error: {}", escaped_lines(&text));
        errln!("{}", marked(&line, colours::on_stderr()));
        print_json_error(&text);
        ExitCode::from(code)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::admin::rfc3339;

    #[test]
    fn times_are_rfc_3339_and_ages_are_short() {
        let of = |unix_ms: u64| rfc3339(UNIX_EPOCH + Duration::from_millis(unix_ms));
        assert_eq!(of(0), json!("1970-01-01T00:00:00.000Z"));
        assert_eq!(of(1_700_000_000_123), json!("2023-11-14T22:13:20.123Z"));
        assert_eq!(of(i64::MAX as u64), Value::Null);
        for (at, now, expected) in [
            (0, 0, "0 s ago"),
            (0, 119_000, "119 s ago"),
            (0, 120_000, "2 min ago"),
            (0, 7_200_000, "2 h ago"),
            (0, 172_800_000, "2 d ago"),
            (61_000, 1_000, "in 60 s"),
        ] {
            assert_eq!(age(&of(at), now), expected);
        }
        assert_eq!(age(&Value::Null, 0), "");
    }
}
