//! What can be asked through the control socket.

use serde::Serialize;
use tinclaw::fields::Fields;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
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

impl Request {
    /// Reads what was written by the derived `Serialize`.
    pub fn read(fields: &mut Fields) -> Option<Self> {
        let ask = fields.text("ask")?;
        Some(match ask.as_str() {
            "health" => Self::Health,
            "list-messages" => Self::ListMessages(Rows::read(fields)?),
            "show-message" => Self::ShowMessage { id: fields.u64("id")? },
            "replay-message" => Self::ReplayMessage { id: fields.u64("id")? },
            "drop-message" => Self::DropMessage { id: fields.u64("id")? },
            "list-replies" => Self::ListReplies(Rows::read(fields)?),
            "show-reply" => Self::ShowReply { id: fields.u64("id")? },
            "retry-reply" => Self::RetryReply { id: fields.u64("id")? },
            "drop-reply" => Self::DropReply { id: fields.u64("id")? },
            "list-pairing" => Self::ListPairing,
            "approve-pairing" => Self::ApprovePairing {
                channel: fields.text("channel")?,
                code: fields.text("code")?,
                identity: fields.text("identity"),
            },
            "revoke-pairing" => {
                Self::RevokePairing { channel: fields.text("channel")?, id: fields.text("id")? }
            }
            _ => return fields.check("ask", Err(format!("{ask:?} is not known"))),
        })
    }
}

/// Which rows of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
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

impl Rows {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            channel: fields.text("channel"),
            state: fields.text("state"),
            before: fields.u64("before"),
            limit: fields.usize("limit")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tinclaw::fields::{json, strictly};

    fn read(line: &str) -> Result<Request, String> {
        json(line).and_then(|value| strictly(value, Request::read)).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn requests_survive_the_wire() {
        let rows = Rows { channel: Some("echo".into()), state: None, before: Some(3), limit: 2 };
        let (channel, id) = (|| "echo".to_owned(), 7);
        for request in [
            Request::Health,
            Request::ListMessages(rows.clone()),
            Request::ShowMessage { id },
            Request::ReplayMessage { id },
            Request::DropMessage { id },
            Request::ListReplies(Rows { state: Some("dead".into()), ..rows }),
            Request::ShowReply { id },
            Request::RetryReply { id },
            Request::DropReply { id },
            Request::ListPairing,
            Request::ApprovePairing { channel: channel(), code: "ABCD".into(), identity: None },
            Request::ApprovePairing { channel: channel(), code: "ABCD".into(), identity: Some("ann".into()) },
            Request::RevokePairing { channel: channel(), id: "9".into() },
        ] {
            let line = serde_json::to_string(&request).unwrap();
            assert_eq!(read(&line), Ok(request), "{line}");
        }
    }

    #[test]
    fn what_another_version_may_ask_is_refused() {
        for (line, expected) in [
            ("nonsense", "no JSON: expected ident at line 1 column 2"),
            ("[]", "it must be a set of fields, not a list"),
            ("{}", "`ask` is missing"),
            (r#"{"ask":"everything"}"#, "ask: \"everything\" is not known"),
            (r#"{"ask":"show-message","id":-1}"#, "id must be 0 or more, not -1"),
            (r#"{"ask":"list-messages"}"#, "`limit` is missing"),
            (r#"{"ask":"health","of":"a"}"#, "unknown field `of`; known here are ask"),
        ] {
            assert_eq!(read(line), Err(expected.to_owned()), "{line}");
        }
    }
}
