//! Messages for the agent.

use serde_json::json;

use super::rows::PageOfRows;
use super::{ApiError, ApiRequest, ApiResult, change};
use crate::admin::records;
use crate::host::DaemonOperator;
use crate::store::{MessageFilter, MessageId, MessageState};

const STATES: [MessageState; 4] =
    [MessageState::Pending, MessageState::Acked, MessageState::Dropped, MessageState::Dead];

/// The newest messages.
pub(super) fn list(operator: &dyn DaemonOperator, request: &ApiRequest) -> ApiResult {
    let rows = PageOfRows::read(request, &STATES, records::message_state)?;
    let filter = MessageFilter {
        channel: rows.channel.as_deref().map(Into::into),
        state: rows.state,
        before: rows.before.map(MessageId),
        limit: rows.read_limit(),
    };
    let messages = operator.list_messages(filter).map_err(ApiError::failed)?;
    Ok(json!({"messages": rows.found(messages.iter().map(records::message_summary))}))
}

/// One message in full.
pub(super) fn show(operator: &dyn DaemonOperator, request: &ApiRequest) -> ApiResult {
    let id = request.id(0)?;
    let message = operator.message(MessageId(id)).map_err(ApiError::failed)?;
    message.map(|message| records::message(&message)).ok_or(ApiError::NoSuch { what: "message", id })
}

/// Redelivers a completed message or a dead letter.
pub(super) fn redeliver(operator: &dyn DaemonOperator, request: &ApiRequest) -> ApiResult {
    let id = request.id(0)?;
    let reason = "it is still pending, so there is nothing to redeliver";
    change(operator.redeliver_message(MessageId(id)), || unchanged(operator, id, reason))
}

/// Drops a pending message or a dead letter.
pub(super) fn drop(operator: &dyn DaemonOperator, request: &ApiRequest) -> ApiResult {
    let id = request.id(0)?;
    let reason = "it is not pending any more";
    change(operator.drop_message(MessageId(id)), || unchanged(operator, id, reason))
}

fn unchanged(operator: &dyn DaemonOperator, id: u64, reason: &'static str) -> ApiError {
    match operator.message(MessageId(id)) {
        Ok(Some(_)) => ApiError::Unchanged { what: "message", id, reason },
        Ok(None) => ApiError::NoSuch { what: "message", id },
        Err(error) => ApiError::failed(error),
    }
}
