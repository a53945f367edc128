//! Who may talk to the agent.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{ApiError, ApiRequest, ApiResult};
use crate::admin::records;
use crate::channel::ChannelName;
use crate::host::DaemonOperator;
use crate::pairing::PairingError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApprovalBody {
    channel: String,
    code: String,
    #[serde(default)]
    identity: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revocation {
    channel: String,
    id: String,
}

/// Senders that wait for approval, and approved ones.
pub(super) fn list(operator: &dyn DaemonOperator, _: &ApiRequest) -> ApiResult {
    let pending: Vec<Value> = operator.pairing().pending().iter().map(records::pending_pairing).collect();
    let approved: Vec<Value> = operator.pairing().approved().iter().map(records::approved_pairing).collect();
    Ok(json!({"pending": pending, "approved": approved}))
}

/// Approves the sender with a code.
pub(super) fn approve(operator: &dyn DaemonOperator, request: &ApiRequest) -> ApiResult {
    let ApprovalBody { channel, code, identity } = request.json()?;
    let channel = channel_name(&channel)?;
    let id =
        operator.pairing().approve(&channel, &code, identity.as_deref()).map_err(|error| match &error {
            PairingError::WrongCode(_) => ApiError::WrongCode(error.to_string()),
            PairingError::Locked { .. } => ApiError::Locked(error.to_string()),
            _ => ApiError::failed(error),
        })?;
    let identity = identity.unwrap_or_else(|| id.clone());
    Ok(json!({"channel": channel, "external_id": id, "identity": identity}))
}

/// Withdraws an approval.
pub(super) fn revoke(operator: &dyn DaemonOperator, request: &ApiRequest) -> ApiResult {
    let Revocation { channel, id } = request.json()?;
    let channel = channel_name(&channel)?;
    match operator.pairing().revoke(&channel, &id).map_err(ApiError::failed)? {
        true => Ok(json!({"channel": channel, "revoked": id})),
        false => Err(ApiError::NotApproved { id, channel }),
    }
}

fn channel_name(name: &str) -> Result<ChannelName, ApiError> {
    ChannelName::new(name).map_err(|source| ApiError::ChannelName { name: name.to_owned(), source })
}
