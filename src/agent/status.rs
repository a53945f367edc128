//! The names of statuses.

use wit_abi::types::StatusType;

const STATUSES: [(&str, StatusType); 11] = [
    ("thinking", StatusType::Thinking),
    ("done", StatusType::Done),
    ("interrupted", StatusType::Interrupted),
    ("tool_started", StatusType::ToolStarted),
    ("tool_completed", StatusType::ToolCompleted),
    ("tool_result", StatusType::ToolResult),
    ("approval_needed", StatusType::ApprovalNeeded),
    ("status", StatusType::Status),
    ("job_started", StatusType::JobStarted),
    ("auth_required", StatusType::AuthRequired),
    ("auth_completed", StatusType::AuthCompleted),
];

/// The status of this name, with `-` or `_` between words.
///
/// # Errors
/// The name is unknown; the error's text lists the known ones.
pub fn status_type(name: &str) -> Result<StatusType, UnknownStatus> {
    let normal = name.replace('-', "_");
    let found = STATUSES.iter().find(|(known, _)| *known == normal).map(|(_, status)| *status);
    found.ok_or_else(|| UnknownStatus(name.to_owned()))
}

/// There is no status of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a status: known are {known}", known = STATUSES.map(|(known, _)| known).join(", "))]
pub struct UnknownStatus(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_status_are_joined_by_either_sign() {
        assert_eq!(status_type("tool-started"), Ok(StatusType::ToolStarted));
        assert_eq!(status_type("tool_started"), Ok(StatusType::ToolStarted));
        let unknown = status_type("asleep").unwrap_err().to_string();
        assert!(unknown.starts_with(r#""asleep" is not a status: known are thinking, done"#), "{unknown}");
    }
}
