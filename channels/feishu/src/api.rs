//! Calls of the Open API, and what its error codes mean ("Generic error codes", "Send message", "Reply message").

use serde_json::Value;
use tinclaw_kit::Failure;
use tinclaw_kit::http::{Request, Response};

use crate::{Settings, token};

/// The token is not accepted: it has ended or was revoked. A new one may be.
const TOKEN: [i64; 5] = [99991661, 99991663, 99991664, 99991665, 99991677];
/// Rate limits of the app, of a chat and of a user, and a message that is just being sent.
const TEMPORARY: [i64; 9] = [99991400, 11232, 11233, 11247, 230020, 230049, 1000004, 1500, 2200];
/// The app may not do that at all: a permission is not granted, or the app is not enabled in the tenant.
const UNAUTHORIZED: [i64; 4] = [99991672, 99991679, 99991662, 10014];
/// The content has a form that this kind of message does not take.
const CONTENT: [i64; 3] = [230001, 230099, 230054];

/// The URL of a resource.
pub fn url(settings: &Settings, resource: &str) -> String {
    [&settings.api_base, "/open-apis/", resource].concat()
}

/// Sends a request that `make` makes, with the token, and once more with a new one when the token has ended.
pub fn raw(settings: &Settings, make: impl Fn() -> Request) -> Result<Response, Failure> {
    let send = |token: &str| make().header("authorization", &["Bearer ", token].concat()).send();
    let response = send(&token::current(settings)?)?;
    if code_of(&response).is_some_and(|code| TOKEN.contains(&code)) {
        return send(&token::renew(settings)?);
    }
    Ok(response)
}

/// As [`raw`], for what responds with JSON: its field `data`.
pub fn call(settings: &Settings, make: impl Fn() -> Request) -> Result<Value, Failure> {
    let response = raw(settings, make)?;
    match code_of(&response) {
        Some(0) if response.is_success() => Ok(response.value()["data"].take()),
        _ => Err(failure(&response)),
    }
}

/// Posts JSON.
pub fn post(settings: &Settings, resource: &str, body: &Value) -> Result<Value, Failure> {
    call(settings, || Request::post(url(settings, resource)).json(body))
}

/// What a response that is no success means.
pub fn failure(response: &Response) -> Failure {
    let body = response.value();
    let Some(code) = body["code"].as_i64().filter(|code| *code != 0) else {
        return match response.is_success() {
            true => Failure::temporary("Feishu's response is not readable"),
            false => response.failure("no JSON"),
        };
    };
    let words = words(&body, code);
    if is_temporary(response, code) {
        return Failure::Temporary { words, retry_after_ms: wait_ms(response) };
    }
    match TOKEN.contains(&code) || UNAUTHORIZED.contains(&code) || response.status == 401 {
        true => Failure::unauthorized(words),
        false => Failure::permanent(words),
    }
}

/// Whether the failure says that the content cannot be shown as it is written.
pub fn is_about_content(failure: &Failure) -> bool {
    failure.is_permanent() && CONTENT.iter().any(|code| failure.words().contains(&code.to_string()))
}

/// Whether trying again helps.
pub fn is_temporary(response: &Response, code: i64) -> bool {
    TEMPORARY.contains(&code) || response.status == 429 || response.status >= 500
}

/// The service's words.
pub fn words(body: &Value, code: i64) -> String {
    ["Feishu responded ", &code.to_string(), ": ", body["msg"].as_str().unwrap_or_default()].concat()
}

/// How long to wait: `x-ogw-ratelimit-reset` has seconds ("Rate limits").
fn wait_ms(response: &Response) -> Option<u64> {
    let reset = response.header("x-ogw-ratelimit-reset").and_then(|text| text.trim().parse::<u64>().ok());
    reset.map(|secs| secs.saturating_mul(1000)).or_else(|| response.retry_after_ms())
}

fn code_of(response: &Response) -> Option<i64> {
    // Only a response that is JSON has a code, and a file may be large.
    let is_json = response.header("content-type").is_none_or(|kind| kind.contains("json"));
    if is_json { response.value()["code"].as_i64() } else { None }
}
