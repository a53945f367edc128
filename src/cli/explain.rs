//! `tinclaw egress explain` and `tinclaw verify-webhook`: why a request of a channel, or one to it, is refused.

use std::io::Read as _;
use std::path::Path;

use jiff::Timestamp;
use log::LevelFilter;
use serde_json::{Value, json};

use super::args::{Common, EgressCommand, VerifyWebhookArgs};
use super::client::{HostResponse, ask_running};
use super::config::Settings;
use super::output::{CommandResult, Failure, print_json};
use super::raw_request::RawRequest;
use crate::admin::{ApiCall, explained};
use crate::channel::ChannelName;
use crate::host::ChannelHarness;
use crate::model::clock::unix_ms;
use crate::model::escape::escaped;
use crate::model::regular_file;
use crate::webhook::{Explanation, Verdict, WebhookRequest};

/// The largest request that is read, in bytes.
const MAX_REQUEST_BYTES: u64 = 64 << 20;

/// Does what `tinclaw egress …` says. Exit code 1 when the request would be refused.
pub fn egress(common: &Common, command: &EgressCommand) -> CommandResult {
    let EgressCommand::Explain { channel, method, url, output } = command;
    let settings = Settings::load(common)?;
    super::logging::start(common, None, LevelFilter::Off)?;
    let mut found = match of_running(&settings, channel, method, url)? {
        Some(found) => found,
        None => explained(&harness(&settings, channel)?.explain_request(method, url)),
    };
    if output.json {
        found["source"] = found.get("source").cloned().unwrap_or_else(|| "files".into());
        print_json(&found);
    } else {
        for check in found["checks"].as_array().into_iter().flatten() {
            let text = |field: &str| check[field].as_str().unwrap_or_default();
            let (mark, reason) = match text("state") {
                "ok" => ("ok", text("message")),
                "refused" => ("REFUSED", text("message")),
                _ => ("-", "not looked at"),
            };
            outln!("{mark:<8}{:<12}{}", text("code"), escaped(reason));
        }
        if found["source"] == "host" {
            outln!("\nwith the rights that the channel has in the running host");
        }
    }
    if found["allowed"] == true { Ok(()) } else { Err(Failure::Reported) }
}

/// What the running host says, which may have given the channel other rights than its file asks for; none when the channel does not
/// run.
fn of_running(settings: &Settings, channel: &str, method: &str, url: &str) -> Result<Option<Value>, Failure> {
    let running = |call: &ApiCall| match ask_running(settings, call)? {
        HostResponse::Running(value) => Ok::<_, Failure>(value),
        HostResponse::NotRunning(_) => Ok(Value::Null),
    };
    let health = running(&ApiCall::get(&["health"]))?;
    if !health["channels"].as_array().into_iter().flatten().any(|known| known["name"] == channel) {
        return Ok(None);
    }
    let call = ApiCall::get(&["channels", channel, "egress"]);
    let mut found = running(&call.with("method", Some(method)).with("url", Some(url)))?;
    if found.is_null() {
        return Ok(None);
    }
    found["source"] = "host".into();
    Ok(Some(found))
}

/// Does what `tinclaw verify-webhook` says. Exit code 1 when the request would be refused.
pub fn verify_webhook(common: &Common, options: &VerifyWebhookArgs) -> CommandResult {
    let settings = Settings::load(common)?;
    super::logging::start(common, None, LevelFilter::Off)?;
    let request = RawRequest::parse(&read(&options.input)?)
        .map_err(|error| Failure::usage(format!("{}: {error}", options.input.display())))?;
    let now_ms = match &options.at {
        Some(at) => moment(at)?,
        None => unix_ms(),
    };
    let base = match settings.public_url() {
        Some(url) => url.as_str().to_owned(),
        None => format!("https://{}", request.header("host").unwrap_or("localhost")),
    };
    let presented = WebhookRequest {
        method: &request.method,
        query: request.query(),
        public_url: &format!("{base}{}", request.target),
        headers: &request.headers,
        body: &request.body,
        now_ms,
    };
    let explanation = harness(&settings, &options.channel)?.explain_webhook(&presented);
    let mut notes = Vec::new();
    if let Some(announced) = request.announced_length() {
        let found = request.body.len();
        notes.push(format!("Content-Length says {announced} bytes, and the body in this file has {found}"));
    }
    if options.output.json {
        print_json(&as_json(&explanation, &notes));
    } else {
        out!("{}", as_text(&explanation, &notes));
    }
    match explanation.verdict {
        Verdict::Authentic(_) => Ok(()),
        _ => Err(Failure::Reported),
    }
}

/// The channel as a host would run it.
fn harness(settings: &Settings, channel: &str) -> Result<ChannelHarness, Failure> {
    let name = ChannelName::new(channel).map_err(Failure::usage)?;
    let planned = settings.planned(&name).ok_or_else(|| {
        Failure::problem(format!(
            "there is no channel {name}; `tinclaw channels list` shows those that there are"
        ))
    })?;
    let channel = settings.loader()?.load_planned(&planned).map_err(Failure::problem)?;
    ChannelHarness::new(&channel, settings.manager_in_memory()?).map_err(Failure::problem)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(MAX_REQUEST_BYTES).read_to_end(&mut bytes)
    } else {
        regular_file::read_named(path).and_then(|file| file.take(MAX_REQUEST_BYTES).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::problem(format!("cannot read {}: {error}", path.display())))?;
    Ok(bytes)
}

/// A moment in RFC 3339 or in seconds of Unix time, in milliseconds of Unix time.
fn moment(text: &str) -> Result<u64, Failure> {
    let seconds = text.parse::<u64>().ok().and_then(|seconds| seconds.checked_mul(1000));
    let time = || text.parse::<Timestamp>().ok().and_then(|time| u64::try_from(time.as_millisecond()).ok());
    seconds.or_else(time).ok_or_else(|| {
        Failure::usage(format!("--at {text:?} is no time such as 2026-11-27T05:00:00Z or 1795755600"))
    })
}

/// What the server would respond, in one word and a sentence.
fn verdict(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Authentic(authentic) if authentic.secret_validated() => {
            ("authentic", "the request passes".to_owned())
        }
        Verdict::Authentic(_) => ("open", "the channel asks for no authentication".to_owned()),
        Verdict::Refused(reason) => ("refused", reason.to_string()),
        Verdict::SecretUnusable { secret_name, problem } => {
            ("secret_unusable", format!("secret {secret_name} {problem}"))
        }
    }
}

fn as_json(explanation: &Explanation, notes: &[String]) -> Value {
    let (word, message) = verdict(&explanation.verdict);
    let checks = explanation.checks.iter().map(|check| {
        let headers = check.headers.iter().map(|(name, count)| json!({"name": name, "count": count}));
        json!({
            "scheme": check.scheme,
            "secret_name": check.secret_name,
            "headers": headers.collect::<Value>(),
            "timestamp": check.timestamp.as_ref().map(|(text, _)| text),
            "timestamp_skew_secs": check.timestamp.as_ref().and_then(|(_, skew)| *skew),
            "tolerance_secs": check.tolerance_secs,
            "signed": check.signed,
            "hints": check.hints,
        })
    });
    json!({"verdict": word, "message": message, "checks": checks.collect::<Value>(), "notes": notes})
}

fn as_text(explanation: &Explanation, notes: &[String]) -> String {
    let (word, reason) = verdict(&explanation.verdict);
    let mut text = format!("{}: {reason}\n", word.replace('_', " "));
    for check in &explanation.checks {
        text += &format!("\n{}, with the secret {}\n", check.scheme, check.secret_name);
        for (name, count) in &check.headers {
            let found = match count {
                0 => "missing".to_owned(),
                1 => "there".to_owned(),
                count => format!("there {count} times; it must be there once"),
            };
            text += &format!("  header     {name}: {found}\n");
        }
        if let Some((value, skew)) = &check.timestamp {
            let skew = match skew {
                Some(skew) => {
                    format!("{skew:+} s from this host's clock, {} s are tolerated", check.tolerance_secs)
                }
                None => "not a number of seconds".to_owned(),
            };
            text += &format!("  timestamp  {}: {skew}\n", escaped(value));
        }
        if let Some(signed) = &check.signed {
            text += &format!("  signed     {}\n", escaped(signed));
        }
        for hint in &check.hints {
            text += &format!("  hint       {hint}\n");
        }
    }
    for note in notes {
        text += &format!("\nnote: {note}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_seconds() {
        assert_eq!(moment("1700000000"), Ok(1_700_000_000_000));
        assert_eq!(moment("2023-11-14T22:13:20.5Z"), Ok(1_700_000_000_500));
        for bad in ["", "yesterday", "-1", "18446744073709551615"] {
            assert!(matches!(moment(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }
}
