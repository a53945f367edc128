//! What can be asked through the control socket.

use serde::{Deserialize, Serialize};

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ControlRequest {
    /// How everything is.
    Health,
    /// Messages, the newest first.
    ListMessages(Rows),
    /// One message in full.
    ShowMessage { id: u64 },
    /// Redeliver a completed message or a dead letter.
    ReplayMessage { id: u64 },
    /// Drop a pending message or a dead letter.
    DropMessage { id: u64 },
    /// Replies, the newest first.
    ListReplies(Rows),
    /// One reply in full.
    ShowReply { id: u64 },
    /// Retry a dead or dropped reply.
    RetryReply { id: u64 },
    /// Drop a pending or dead reply.
    DropReply { id: u64 },
    /// Senders that wait for approval, and approved ones.
    ListPairing,
    /// Approve the sender with this code.
    ApprovePairing { channel: String, code: String, identity: Option<String> },
    /// Withdraw an approval.
    RevokePairing { channel: String, id: String },
    /// Load a channel, anew when it runs, with the configuration as it is now.
    StartChannel { name: String },
}

/// Which rows of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    /// Only of this channel.
    pub channel: Option<String>,
    /// Only in this state, as [`ControlRequest`]s name it.
    pub state: Option<String>,
    /// Only with a smaller id.
    pub before: Option<u64>,
    /// How many.
    pub limit: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<ControlRequest, String> {
        serde_json::from_str(line).map_err(|error| error.to_string())
    }

    #[test]
    fn requests_survive_the_wire() {
        let rows = Rows { channel: Some("echo".into()), state: None, before: Some(3), limit: 2 };
        let (channel, id) = (|| "echo".to_owned(), 7);
        for request in [
            ControlRequest::Health,
            ControlRequest::ListMessages(rows.clone()),
            ControlRequest::ShowMessage { id },
            ControlRequest::ReplayMessage { id },
            ControlRequest::DropMessage { id },
            ControlRequest::ListReplies(Rows { state: Some("dead".into()), ..rows }),
            ControlRequest::ShowReply { id },
            ControlRequest::RetryReply { id },
            ControlRequest::DropReply { id },
            ControlRequest::ListPairing,
            ControlRequest::ApprovePairing { channel: channel(), code: "ABCD".into(), identity: None },
            ControlRequest::ApprovePairing {
                channel: channel(),
                code: "ABCD".into(),
                identity: Some("ann".into()),
            },
            ControlRequest::RevokePairing { channel: channel(), id: "9".into() },
            ControlRequest::StartChannel { name: channel() },
        ] {
            let line = serde_json::to_string(&request).unwrap();
            assert_eq!(read(&line), Ok(request), "{line}");
        }
    }

    #[test]
    fn what_another_version_may_ask_is_refused() {
        for (line, expected) in [
            ("nonsense", "expected ident at line 1 column 2"),
            ("[]", ""),
            ("{}", "ask"),
            (r#"{"ask":"everything"}"#, "everything"),
            (r#"{"ask":"show-message","id":-1}"#, "u64"),
            (r#"{"ask":"list-messages"}"#, "missing field `limit`"),
            (r#"{"ask":"show-message","id":1,"of":"a"}"#, "unknown field `of`"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
