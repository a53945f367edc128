//! Channels of the running host.

use serde_json::Value;

use super::{ApiError, ApiRequest, ApiResult};
use crate::admin::AdminState;
use crate::admin::log_tail::{LogQuery, log_lines};
use crate::admin::records;
use crate::admin::{ChangeError, HostChange};
use crate::channel::ChannelName;

/// What says which lines of the log.
pub(super) const LOG_PARAMETERS: &[&str] = &["after", "level", "text", "limit"];
/// Lines of the log in one response.
const MAX_LOG_LINES: usize = 500;

/// The state of everything.
pub(super) fn health(state: &AdminState, _: &ApiRequest) -> ApiResult {
    let health = state.manager.health().map_err(ApiError::failed)?;
    let mut health = records::health(&health);
    health["host"] = records::host(state);
    health["held"] = state.changes.held(&state.manager);
    health["restart_for"] = state.changes.restart_for().into();
    Ok(health)
}

/// How the last hour was.
pub(super) fn history(state: &AdminState, _: &ApiRequest) -> ApiResult {
    Ok(state.history.to_json())
}

/// The last lines of the log.
pub(super) fn log_tail(_: &AdminState, request: &ApiRequest) -> ApiResult {
    let lines: Vec<Value> = log_lines(&log_query(request)?).iter().map(records::log_line).collect();
    Ok(serde_json::json!({"lines": lines}))
}

fn log_query(request: &ApiRequest) -> Result<LogQuery, ApiError> {
    let level = request.parameter("level").unwrap_or("trace");
    let level = level.parse().map_err(|_| {
        ApiError::Invalid(format!("there is no level `{level}`; there are error, warn, info, debug, trace"))
    })?;
    let limit = request.number("limit")?.and_then(|limit| usize::try_from(limit).ok());
    Ok(LogQuery {
        after: request.number("after")?.unwrap_or(0),
        level,
        text: request.parameter("text").unwrap_or_default().to_owned(),
        limit: limit.unwrap_or(MAX_LOG_LINES).min(MAX_LOG_LINES),
    })
}

/// Loads a channel, or reloads it when it runs, with the configuration as it is now.
pub(super) fn start(state: &AdminState, request: &ApiRequest) -> ApiResult {
    let change = HostChange::Start { channel: request.place(0).to_owned() };
    make(state, &change)
}

/// Changes the host: channels, packages that wait, the configuration.
pub(super) fn change(state: &AdminState, request: &ApiRequest) -> ApiResult {
    make(state, &request.json()?)
}

fn make(state: &AdminState, change: &HostChange) -> ApiResult {
    if let Some(name) = change.channel() {
        ChannelName::new(name).map_err(|source| ApiError::ChannelName { name: name.to_owned(), source })?;
    }
    state.changes.change(&state.manager, change).map_err(|error| match error {
        ChangeError::UnknownChannel(text) => ApiError::UnknownChannel(text),
        ChangeError::Failed(text) => ApiError::Failed(text),
    })
}

/// The tools that agents may call.
pub(super) fn tools(state: &AdminState, _: &ApiRequest) -> ApiResult {
    let tools = state.tools.as_ref().map(crate::ToolRegistry::tools).unwrap_or_default();
    let tools: Vec<Value> = tools.iter().map(|tool| records::tool(tool)).collect();
    Ok(serde_json::json!({"tools": tools}))
}

/// Reminders: texts that are delivered later.
pub(super) fn reminders(state: &AdminState, _: &ApiRequest) -> ApiResult {
    let reminders: Vec<Value> = state.manager.reminders().all().iter().map(records::reminder).collect();
    Ok(serde_json::json!({"reminders": reminders}))
}

/// A path at which no other host responds, and what this one responds there.
pub(super) fn public_probe(state: &AdminState, _: &ApiRequest) -> ApiResult {
    let probe = state.manager.public_probe();
    Ok(serde_json::json!({"path": probe.path, "token": probe.token}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_has_as_many_lines_of_the_log_as_the_limit_and_no_more() {
        let limit = |query: &[(&str, &str)]| {
            let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            log_query(&ApiRequest { query, ..ApiRequest::default() }).map(|query| query.limit)
        };
        assert_eq!(limit(&[]), Ok(MAX_LOG_LINES));
        for (asked, expected) in [("0", 0), ("499", 499), ("500", 500), ("501", 500)] {
            assert_eq!(limit(&[("limit", asked)]), Ok(expected), "{asked}");
        }
    }
}
