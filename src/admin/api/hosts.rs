//! Hosts on one database: who has which channel and why, and a host that hands its channels over.

use serde::Deserialize;
use serde_json::json;

use super::{ApiError, ApiRequest, ApiResult};
use crate::admin::AdminState;

/// The body of a request to drain.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Drain {
    /// Whether this host is to have no channels; true without it.
    draining: Option<bool>,
}

/// Every host, and every channel with its host.
pub(super) fn list(state: &AdminState, _: &ApiRequest) -> ApiResult {
    state.manager.hosts().ok_or_else(|| ApiError::Failed(ALONE.to_owned()))
}

/// Has this host hand its channels over, or take its share again.
pub(super) fn drain(state: &AdminState, request: &ApiRequest) -> ApiResult {
    let Drain { draining } = request.json()?;
    let draining = draining.unwrap_or(true);
    match state.manager.drain_channels(draining) {
        true => Ok(json!({"draining": draining})),
        false => Err(ApiError::Failed(ALONE.to_owned())),
    }
}

/// What a host says that is none of several.
const ALONE: &str = "this host shares its store with no other: `store` in tinclaw.toml is not set";
