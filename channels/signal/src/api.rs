//! Calls of signal-cli-rest-api.

use serde_json::Value;
use tinclaw_kit::http::{Request, Response, encoded};
use tinclaw_kit::{Failure, host};

use crate::{Mode, Settings};

/// The URL of a path.
pub fn url(settings: &Settings, path: &str) -> String {
    [settings.api.as_deref().unwrap_or_default().trim_end_matches('/'), path].concat()
}

/// The URL of a path that ends with the bot's number.
pub fn of_number(settings: &Settings, path: &str) -> String {
    url(settings, &[path, &encoded(settings.number())].concat())
}

/// What a call responded. The field `error` has signal-cli's words.
pub fn read(response: Response) -> Result<Value, Failure> {
    if response.is_success() {
        return Ok(response.value());
    }
    let body = response.value();
    let words = body["error"].as_str().unwrap_or("no JSON").trim().to_owned();
    // The API responds with 400 to everything that signal-cli did not do; these pass.
    let passes = ["RateLimit", "rate limit", "timed out", "Timeout", "Connection", "UnknownHost", "Network"];
    if response.status == 400 && passes.iter().any(|sign| words.contains(sign)) {
        return Err(Failure::Temporary { words, retry_after_ms: response.retry_after_ms() });
    }
    Err(response.failure(&words))
}

/// In the mode `json-rpc` messages come through a websocket only, and in the others they have to be fetched.
///
/// # Errors
/// What to change, when it is in that mode. A service that is down is asked later, at the polls.
pub fn check_mode(settings: &Settings) -> Result<(), String> {
    match Request::get(url(settings, "/v1/about")).send().and_then(read) {
        Ok(about) => {
            let mode = about["mode"].as_str().unwrap_or_default();
            match (mode == "json-rpc") == (settings.mode == Mode::JsonRpc) {
                true => Ok(()),
                false => Err(format!(
                    "signal-cli-rest-api runs with MODE={mode}: run `tinclaw setup signal --set mode={mode}`"
                )),
            }
        }
        Err(failure) => {
            host::warn(&["signal-cli-rest-api does not respond: ", failure.words()].concat());
            Ok(())
        }
    }
}
