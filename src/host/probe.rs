//! Asks a channel's service a question with the channel's own rights and secrets, without running its guest: whether a
//! token is right, what a webhook looks like from there.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::harness::ChannelHarness;
use crate::capability::StatusQuery;
use crate::egress::{OutboundCall, OutboundRequest, OutboundResponse, RequestPurpose};
use crate::model::deadline::deadline_after;

/// How long a service may take to respond.
const RESPONSE_TIME: Duration = Duration::from_secs(20);

/// Words with which Slack says that it has trouble of its own, although the status is 200.
const OWN_TROUBLE: &[&str] =
    &["ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"];

/// What a service says to a question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ServiceVerdict {
    /// What was asked is right; the response, null when it is no JSON.
    Accepted(Value),
    /// It refuses, in its own words.
    Refused(String),
    /// It did not respond to the question, and why.
    Unavailable(String),
}

impl ChannelHarness {
    /// Asks the channel's service. In the URL, `{name}` is a setting of `config` that is a text, or else a secret; in texts of
    /// the body it is a setting.
    pub(crate) fn ask_service(&self, query: &StatusQuery, config: &Map<String, Value>) -> ServiceVerdict {
        let method = query.method.as_deref().unwrap_or("GET");
        let body = query.body.clone().map(|body| filled(body, config).to_string().into_bytes());
        let headers = match body {
            Some(_) => r#"{"content-type": "application/json; charset=utf-8"}"#,
            None => "{}",
        };
        let request = OutboundRequest {
            method: method.to_owned(),
            url: fill_url(&query.url, config),
            headers_json: headers.to_owned(),
            body: (method == "POST").then(|| body.unwrap_or_default()),
            timeout: Some(RESPONSE_TIME),
        };
        let call = OutboundCall {
            deadline: deadline_after(Instant::now(), RESPONSE_TIME),
            calls_before: 0,
            purpose: RequestPurpose::Other,
        };
        match self.services().http_request(request, call, &mut |_| true) {
            Ok(OutboundResponse { response, .. }) => judge(response.status, &response.body),
            Err(error) => ServiceVerdict::Unavailable(error.message),
        }
    }
}

/// Fills settings into a URL; other names in braces are placeholders of secrets, which are written in upper case.
fn fill_url(url: &str, config: &Map<String, Value>) -> String {
    let mut filled = String::with_capacity(url.len());
    let mut rest = url;
    while let Some((before, name, after)) = next_name(rest) {
        filled += before;
        match config.get(name).and_then(Value::as_str) {
            Some(setting) => filled += setting.trim_end_matches('/'),
            None => filled += &format!("{{{}}}", name.to_ascii_uppercase()),
        }
        rest = after;
    }
    filled + rest
}

/// A body with settings filled into its texts.
fn filled(body: Value, config: &Map<String, Value>) -> Value {
    match body {
        Value::String(text) => {
            let setting =
                text.strip_prefix('{').and_then(|text| config.get(text.strip_suffix('}')?)).cloned();
            setting.unwrap_or(Value::String(text))
        }
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, filled(value, config))).collect()
        }
        other => other,
    }
}

/// The next name in braces: what stands before it, the name, and what stands behind it.
fn next_name(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

/// What a response means. Services say no with a status, or with 200 and `"ok": false` (Slack, Telegram) or a `code` other
/// than 0 (Feishu).
fn judge(status: u16, body: &[u8]) -> ServiceVerdict {
    let response: Value = serde_json::from_slice(body).unwrap_or_default();
    let words = words_of(&response);
    let said = |words: Option<&str>| match words {
        Some(words) => format!("{words} (status {status})"),
        None => format!("status {status}"),
    };
    match status {
        200..=299 => {
            let code = response["code"].as_i64().filter(|code| *code != 0);
            if response["ok"] != Value::Bool(false) && code.is_none() {
                return ServiceVerdict::Accepted(response);
            }
            let words = words.unwrap_or("it gives no reason").to_owned();
            if OWN_TROUBLE.contains(&words.as_str()) {
                ServiceVerdict::Unavailable(words)
            } else {
                ServiceVerdict::Refused(words)
            }
        }
        400..=499 if !matches!(status, 408 | 409 | 425 | 429) => ServiceVerdict::Refused(said(words)),
        _ => ServiceVerdict::Unavailable(said(words)),
    }
}

/// What a service says of an error: `description` (Telegram), `error` (Slack, Matrix), `error.message` (Meta), `message` (Discord),
/// `msg` (Feishu).
fn words_of(response: &Value) -> Option<&str> {
    ["/description", "/error/message", "/error", "/message", "/msg"]
        .into_iter()
        .find_map(|place| response.pointer(place)?.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_response_is_a_yes_a_no_or_service_error() {
        use ServiceVerdict::{Accepted, Refused, Unavailable};
        let no = |words: &str| Refused(words.to_owned());
        let none = |words: &str| Unavailable(words.to_owned());
        for (case, status, body, expected) in [
            (
                "telegram, yes",
                200,
                r#"{"ok": true, "result": {}}"#,
                Accepted(json!({"ok": true, "result": {}})),
            ),
            (
                "telegram, no",
                401,
                r#"{"ok": false, "description": "Unauthorized"}"#,
                no("Unauthorized (status 401)"),
            ),
            ("slack, no", 200, r#"{"ok": false, "error": "invalid_auth"}"#, no("invalid_auth")),
            ("slack, in trouble", 200, r#"{"ok": false, "error": "ratelimited"}"#, none("ratelimited")),
            ("meta, no", 400, r#"{"error": {"message": "expired"}}"#, no("expired (status 400)")),
            ("feishu, yes", 200, r#"{"code": 0, "msg": "ok"}"#, Accepted(json!({"code": 0, "msg": "ok"}))),
            ("feishu, no", 200, r#"{"code": 10014, "msg": "bad secret"}"#, no("bad secret")),
            ("no reason", 200, r#"{"ok": false}"#, no("it gives no reason")),
            ("no JSON", 204, "", Accepted(Value::Null)),
            ("no words", 404, "<html>", no("status 404")),
            ("rate limited", 429, "{}", none("status 429")),
            ("down", 502, "<html>", none("status 502")),
            ("elsewhere", 302, "", none("status 302")),
        ] {
            assert_eq!(judge(status, body.as_bytes()), expected, "{case}");
        }
    }

    #[test]
    fn settings_are_filled_in_and_secrets_stay_placeholders() {
        let Value::Object(config) = json!({"server": "http://10.0.0.1:8008/", "number": 5}) else {
            unreachable!("it is an object")
        };
        for (url, expected) in [
            ("{server}/_matrix/whoami", "http://10.0.0.1:8008/_matrix/whoami"),
            ("https://a.example/bot{bot_token}/getMe", "https://a.example/bot{BOT_TOKEN}/getMe"),
            ("https://a.example/{number}", "https://a.example/{NUMBER}"),
            ("https://a.example/{", "https://a.example/{"),
        ] {
            assert_eq!(fill_url(url, &config), expected);
        }
        let body =
            json!({"number": "{number}", "text": "{other}", "in": {"server": "{server}"}, "flag": true});
        let expected =
            json!({"number": 5, "text": "{other}", "in": {"server": "http://10.0.0.1:8008/"}, "flag": true});
        assert_eq!(filled(body, &config), expected);
    }
}
