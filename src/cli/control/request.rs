//! What can be asked through the control socket.

use serde::{Deserialize, Serialize};

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How everything is.
    Health,
    /// Messages, the newest first.
    ListMessages(Rows),
    /// One message in full.
    ShowMessage { id: u64 },
    /// Hand a settled message out again.
    ReplayMessage { id: u64 },
    /// Take a waiting message away.
    DropMessage { id: u64 },
    /// Replies, the newest first.
    ListReplies(Rows),
    /// One reply in full.
    ShowReply { id: u64 },
    /// Try a dead or dropped reply again.
    RetryReply { id: u64 },
    /// Give up a reply.
    DropReply { id: u64 },
    /// Strangers who wait, and those who were approved.
    ListPairing,
    /// Let a stranger in.
    ApprovePairing { channel: String, code: String, identity: Option<String> },
    /// Forget somebody.
    RevokePairing { channel: String, id: String },
}

/// Which rows of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// Only of this channel.
    pub channel: Option<String>,
    /// Only in this state, as [`Request`]s name it.
    pub state: Option<String>,
    /// Only with a smaller id.
    pub before: Option<u64>,
    /// How many.
    pub limit: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_wire() {
        let rows = Rows { channel: Some("echo".into()), state: None, before: Some(3), limit: 2 };
        for request in [
            Request::Health,
            Request::ListMessages(rows),
            Request::ShowReply { id: 7 },
            Request::ApprovePairing { channel: "echo".into(), code: "ABCD".into(), identity: None },
        ] {
            let line = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request, "{line}");
        }
    }
}
