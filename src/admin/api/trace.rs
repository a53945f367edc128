//! What became of a message.

use serde_json::json;

use super::{ApiError, ApiRequest, ApiResult};
use crate::admin::story;
use crate::host::{DaemonOperator, TraceQuery, stories};
use crate::store::{MessageId, ReplyId};

/// What `kind` says that the id is: a message, a reply, or what a service calls a message or a delivery (`provider`). Without it, the
/// first of these that is known.
pub(super) fn show(operator: &dyn DaemonOperator, request: &ApiRequest) -> ApiResult {
    let id = request.place(0);
    let queries = match request.parameter("kind") {
        None => TraceQuery::all_of(id),
        Some("message") => vec![TraceQuery::Message(MessageId(request.id(0)?))],
        Some("reply") => vec![TraceQuery::Reply(ReplyId(request.id(0)?))],
        Some("provider") => vec![TraceQuery::Provider(id.to_owned())],
        Some(other) => {
            return Err(ApiError::Invalid(format!(
                "there is no kind `{other}`; there are message, reply, provider"
            )));
        }
    };
    for query in queries {
        let found = stories(operator, &query).map_err(ApiError::failed)?;
        if !found.is_empty() {
            return Ok(story::stories(&found));
        }
    }
    Ok(json!({"traces": []}))
}
