//! The token of the app in its tenant ("Obtain tenant_access_token of a custom app").

use serde::{Deserialize, Serialize};
use tinclaw_kit::http::Request;
use tinclaw_kit::{Failure, host, state};

use crate::{Settings, api};

/// Where the token is kept.
const PATH: &str = "token.json";
/// A new one is asked for so long before the old one ends, in milliseconds. In its last half hour the service gives a new one.
const EARLY_MS: u64 = 10 * 60 * 1000;

#[derive(Clone, Default, Serialize, Deserialize)]
struct Kept {
    /// The cloud that has given it.
    api_base: String,
    token: String,
    /// Milliseconds since 1970.
    until_ms: u64,
}

/// The token: the kept one while it is good.
pub fn current(settings: &Settings) -> Result<String, Failure> {
    let kept: Kept = state::get(PATH);
    if kept.api_base == settings.api_base && host::now_millis() < kept.until_ms {
        return Ok(kept.token);
    }
    renew(settings)
}

/// A new token. The host puts `app_secret` into the request.
pub fn renew(settings: &Settings) -> Result<String, Failure> {
    let url = api::url(settings, "auth/v3/tenant_access_token/internal");
    let response = Request::post(url).json(&serde_json::json!({"app_id": settings.app_id})).send()?;
    let body = response.value();
    let code = body["code"].as_i64();
    let token = body["tenant_access_token"].as_str();
    match (code, token) {
        (Some(0), Some(token)) => {
            let lifetime_ms = body["expire"].as_u64().unwrap_or_default().saturating_mul(1000);
            let until_ms = host::now_millis().saturating_add(lifetime_ms.saturating_sub(EARLY_MS));
            let token = token.to_owned();
            state::set(PATH, &Kept { api_base: settings.api_base.clone(), token: token.clone(), until_ms });
            Ok(token)
        }
        (Some(code), _) if code != 0 && !api::is_temporary(&response, code) => {
            Err(Failure::unauthorized(api::words(&body, code)))
        }
        _ => Err(api::failure(&response)),
    }
}
