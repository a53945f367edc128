//! Calls of the Web API. It responds with 200 to most errors; what happened is in the field `error`.

use serde_json::{Value, json};
use tinclaw_kit::http::{Request, Response};
use tinclaw_kit::{Failure, state};

/// Errors that pass ("Errors", on the pages of the methods).
const TEMPORARY: &[&str] = &[
    "ratelimited",
    "rate_limited",
    "message_limit_exceeded",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
];

/// Errors that mean the token.
const UNAUTHORIZED: &[&str] =
    &["invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "missing_scope"];

/// Calls a method with a JSON object.
pub fn call(method: &str, body: &Value) -> Result<Value, Failure> {
    read(method, Request::post(url(method)).json(body).send()?)
}

/// The URL of a method.
pub fn url(method: &str) -> String {
    ["https://slack.com/api/", method].concat()
}

/// What a method responded.
pub fn read(method: &str, response: Response) -> Result<Value, Failure> {
    let response = response.success()?;
    let body = response.value();
    if body["ok"] == true {
        return Ok(body);
    }
    let error = body["error"].as_str().unwrap_or("no JSON");
    let mut words = format!("{method}: {error}");
    if let Some(needed) = body["needed"].as_str() {
        words.push_str(&format!(" (the app needs the scope {needed})"));
    }
    Err(match error {
        "no JSON" => Failure::temporary(words),
        error if TEMPORARY.contains(&error) => {
            Failure::Temporary { words, retry_after_ms: response.retry_after_ms() }
        }
        error if UNAUTHORIZED.contains(&error) => Failure::unauthorized(words),
        _ => Failure::permanent(words),
    })
}

/// The user that the app is: asked once and kept.
pub fn own_user() -> Result<String, Failure> {
    const PATH: &str = "own_user";
    if let Some(user) = state::find(PATH) {
        return Ok(user);
    }
    let user = call("auth.test", &json!({}))?["user_id"].as_str().unwrap_or_default().to_owned();
    state::set(PATH, &user);
    Ok(user)
}
