//! Replies of the agent.

use serde_json::json;

use super::rows::PageOfRows;
use super::{ApiError, ApiRequest, ApiResult, change};
use crate::admin::records;
use crate::host::DaemonOperator;
use crate::store::{ReplyFilter, ReplyId, ReplyState};

const STATES: [ReplyState; 4] =
    [ReplyState::Pending, ReplyState::Delivered, ReplyState::Dead, ReplyState::Dropped];

/// The newest replies.
pub(super) fn list(operator: &dyn DaemonOperator, request: &ApiRequest) -> ApiResult {
    let rows = PageOfRows::read(request, &STATES, records::reply_state)?;
    let filter = ReplyFilter {
        channel: rows.channel.as_deref().map(Into::into),
        state: rows.state,
        before: rows.before.map(ReplyId),
        limit: rows.read_limit(),
    };
    let replies = operator.list_replies(filter).map_err(ApiError::failed)?;
    Ok(json!({"replies": rows.found(replies.iter().map(records::reply_summary))}))
}

/// One reply in full.
pub(super) fn show(operator: &dyn DaemonOperator, request: &ApiRequest) -> ApiResult {
    let id = request.id(0)?;
    let reply = operator.reply(ReplyId(id)).map_err(ApiError::failed)?;
    reply.map(|reply| records::reply(&reply)).ok_or(ApiError::NoSuch { what: "reply", id })
}

/// Retries a dead or dropped reply.
pub(super) fn retry(operator: &dyn DaemonOperator, request: &ApiRequest) -> ApiResult {
    let id = request.id(0)?;
    let reason = "it was delivered, so there is nothing to retry";
    change(operator.retry_reply(ReplyId(id)), || unchanged(operator, id, reason))
}

/// Drops a pending or dead reply.
pub(super) fn drop(operator: &dyn DaemonOperator, request: &ApiRequest) -> ApiResult {
    let id = request.id(0)?;
    let reason = "it was delivered or dropped already";
    change(operator.drop_reply(ReplyId(id)), || unchanged(operator, id, reason))
}

fn unchanged(operator: &dyn DaemonOperator, id: u64, reason: &'static str) -> ApiError {
    match operator.reply(ReplyId(id)) {
        Ok(Some(_)) => ApiError::Unchanged { what: "reply", id, reason },
        Ok(None) => ApiError::NoSuch { what: "reply", id },
        Err(error) => ApiError::failed(error),
    }
}
