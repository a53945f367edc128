//! Calls of the Graph API.

use serde_json::Value;
use tinclaw_kit::Failure;
use tinclaw_kit::http::{Request, Response};

use crate::Settings;

/// Errors that pass ("Error Codes"): rate limits of the app, the account and the pair, and a service that is down.
const TEMPORARY: [i64; 8] = [1, 2, 4, 80007, 130429, 131000, 131016, 131056];
/// The token has expired, was revoked, or lacks a permission.
const UNAUTHORIZED: [i64; 4] = [0, 10, 190, 200];

/// The URL of a resource of the number that the bot writes from.
pub fn of_number(settings: &Settings, resource: &str) -> String {
    let number = settings.phone_number_id.as_deref().unwrap_or_default();
    url(settings, &[number, "/", resource].concat())
}

/// The URL of an object.
pub fn url(settings: &Settings, path: &str) -> String {
    ["https://graph.facebook.com/", &settings.api_version, "/", path].concat()
}

/// Posts a JSON object to `messages` of the number.
pub fn message(settings: &Settings, body: &Value) -> Result<Value, Failure> {
    read(Request::post(of_number(settings, "messages")).json(body).send()?)
}

/// What a call responded.
pub fn read(response: Response) -> Result<Value, Failure> {
    if response.is_success() {
        return Ok(response.value());
    }
    let error = &response.value()["error"];
    let Some(code) = error["code"].as_i64() else {
        return Err(response.failure("no JSON"));
    };
    let details = error["error_data"]["details"].as_str().or(error["message"].as_str()).unwrap_or_default();
    let words = format!("WhatsApp responded with {code}: {details}");
    Err(if TEMPORARY.contains(&code) || response.status >= 500 || response.status == 429 {
        Failure::Temporary { words, retry_after_ms: response.retry_after_ms() }
    } else if UNAUTHORIZED.contains(&code) {
        Failure::unauthorized(words)
    } else {
        Failure::permanent(words)
    })
}
