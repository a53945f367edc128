//! The access log as text: Apache's combined format, or JSON.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::access_log_queue::{AccessLog, WriteEntry};
use super::logging::{FileLimits, LogFormat, RotatingFile};
use super::output::Failure;
use super::print::stdout_file;
use crate::admin::rfc3339;
use crate::model::clock::micros;
use crate::model::escape::escaped_json;
use crate::server::{AccessEntry, LoggedRequest};

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

/// Whether the access log can be written. Nothing is made.
///
/// # Errors
/// The file cannot be.
pub fn check(target: &AccessLogTarget) -> Result<(), Failure> {
    match target {
        AccessLogTarget::Stdout => Ok(()),
        AccessLogTarget::File(path) => RotatingFile::check(path).map_err(|error| failed(path, &error)),
    }
}

/// Starts the access log.
///
/// # Errors
/// The file cannot be written, or the system gives no thread.
pub fn start(target: &AccessLogTarget, format: LogFormat, limits: FileLimits) -> Result<AccessLog, Failure> {
    // The thread ends with the process; whoever ends that flushes first.
    let (log, _thread) = AccessLog::start(writer(target, format, limits)?)
        .map_err(|error| Failure::problem(format!("the access log's thread cannot be started: {error}")))?;
    Ok(log)
}

/// What writes an entry there.
///
/// # Errors
/// The file cannot be written.
pub fn writer(
    target: &AccessLogTarget,
    format: LogFormat,
    limits: FileLimits,
) -> Result<WriteEntry, Failure> {
    let mut out: Box<dyn Write + Send> = match target {
        AccessLogTarget::Stdout => {
            Box::new(stdout_file().map_err(|error| Failure::problem(format!("standard output: {error}")))?)
        }
        AccessLogTarget::File(path) => {
            Box::new(RotatingFile::open(path, limits).map_err(|error| failed(path, &error))?)
        }
    };
    let mut lost = 0_u64;
    Ok(Box::new(move |entry: &AccessEntry| {
        let line = match format {
            LogFormat::Text => combined(entry),
            LogFormat::Json => json_line(entry),
        };
        // A full disk or a closed standard output is no reason not to serve.
        match out.write_all((line + "\n").as_bytes()).and_then(|()| out.flush()) {
            Ok(()) if lost > 0 => {
                log::warn!("{lost} requests are not in the access log: it could not be written");
                lost = 0;
            }
            Ok(()) => {}
            Err(error) => {
                if lost == 0 {
                    log::error!("the access log cannot be written: {error}");
                }
                lost += 1;
            }
        }
    }))
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::problem(format!("access_log {:?}: {error}", path.display().to_string()))
}

/// Apache's combined format: `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"`.
fn combined(entry: &AccessEntry) -> String {
    let AccessEntry { client, status, bytes, asked, .. } = entry;
    let seconds = entry.at.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let time =
        time.unwrap_or_default().to_zoned(TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
    let request = asked.as_ref().map(|asked| format!("{} {} HTTP/1.1", asked.method, asked.target));
    let field =
        |get: fn(&LoggedRequest) -> Option<&String>| quoted(asked.as_ref().and_then(get).map(String::as_str));
    format!(
        "{client} - - [{time}] {} {status} {bytes} {} {}",
        quoted(request.as_deref()),
        field(|asked| asked.referer.as_ref()),
        field(|asked| asked.user_agent.as_ref()),
    )
}

/// A field between quotes, as Apache writes it: `\"`, `\\`, and `\xhh` for what is not printable ASCII.
fn quoted(field: Option<&str>) -> String {
    let Some(field) = field else { return "\"-\"".to_owned() };
    let mut text = String::from("\"");
    for byte in field.bytes() {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            0x20..=0x7e => text.push(char::from(byte)),
            _ => text += &format!("\\x{byte:02x}"),
        }
    }
    text + "\""
}

fn json_line(entry: &AccessEntry) -> String {
    let AccessEntry { client, at, asked, status, bytes, took } = entry;
    let asked = asked.as_ref();
    let line = json!({
        "time": rfc3339(*at),
        "client": client.to_string(),
        "method": asked.map(|asked| &asked.method),
        "target": asked.map(|asked| &asked.target),
        "status": status,
        "bytes": bytes,
        "duration_us": micros(*took),
        "referer": asked.and_then(|asked| asked.referer.as_ref()),
        "user_agent": asked.and_then(|asked| asked.user_agent.as_ref()),
    });
    escaped_json(&line.to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_forge_an_access_log_line() {
        for (field, expected) in [
            (None, "\"-\""),
            (Some(""), "\"\""),
            (Some("curl/8"), "\"curl/8\""),
            (Some("a\" 200 \\\n\u{1b}é"), "\"a\\\" 200 \\\\\\x0a\\x1b\\xc3\\xa9\""),
        ] {
            assert_eq!(quoted(field), expected);
        }
    }
}
