//! Calls of signal-cli-rest-api.

use serde_json::Value;
use tinclaw_kit::http::{Request, Response, encoded};
use tinclaw_kit::{Failure, host};

use crate::Settings;

/// The URL of a path.
pub fn url(settings: &Settings, path: &str) -> String {
    [settings.api.as_deref().unwrap_or_default().trim_end_matches('/'), path].concat()
}

/// The URL of a path that ends with the bot's number.
pub fn of_number(settings: &Settings, path: &str) -> String {
    url(settings, &[path, &encoded(settings.number())].concat())
}

/// What a call answered. The field `error` has signal-cli's words.
pub fn read(response: Response) -> Result<Value, Failure> {
    if response.is_success() {
        return Ok(response.value());
    }
    let answer = response.value();
    let words = answer["error"].as_str().unwrap_or("no JSON").trim().to_owned();
    // The API answers 400 to everything that signal-cli did not do; these pass.
    let passes = ["RateLimit", "rate limit", "timed out", "Timeout", "Connection", "UnknownHost", "Network"];
    if response.status == 400 && passes.iter().any(|sign| words.contains(sign)) {
        return Err(Failure::Temporary { words, retry_after_ms: response.retry_after_ms() });
    }
    Err(response.failure(&words))
}

/// Messages are fetched here; in the mode `json-rpc` they come through a websocket only.
///
/// # Errors
/// What to change, when it is in that mode. A service that is down is asked later, at the polls.
pub fn check_mode(settings: &Settings) -> Result<(), String> {
    match Request::get(url(settings, "/v1/about")).send().and_then(read) {
        Ok(about) if about["mode"] == "json-rpc" => {
            Err("signal-cli-rest-api runs with MODE=json-rpc: set MODE=native, or normal".to_owned())
        }
        Ok(_) => Ok(()),
        Err(failure) => {
            host::warn(&["signal-cli-rest-api does not answer: ", failure.words()].concat());
            Ok(())
        }
    }
}
