//! Callbacks of a channel as they were run, so that they can be run again: what went in, everything that the guest learnt from its
//! host meanwhile (responses, times, random values), and what came of it.
//!
//! | file | job |
//! |---|---|
//! | `input`, `outcome` | a callback's input and what came of it, as JSON |
//! | `recorder` | notes what a guest asks of its host, within bounds |
//! | `replay` | gives the same responses again |

mod input;
mod outcome;
mod recorder;
mod replay;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use outcome::outcome;
pub(crate) use recorder::{MAX_CALLBACKS, Recorder};
pub(crate) use replay::{ReplayServices, compare};

/// One callback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordedCallback {
    /// Its name, such as `on-poll`.
    pub callback: String,
    /// When it was run, in Unix milliseconds.
    pub at_ms: u64,
    /// What went in, as `tinclaw call` takes it.
    pub input: Value,
    /// What `on-start` got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_json: Option<String>,
    /// The files that it found.
    pub workspace: BTreeMap<String, String>,
    /// What it asked of its host, in its order.
    pub calls: Vec<RecordedCall>,
    /// What came of it.
    pub outcome: Value,
}

/// A question of a guest to its host, with the response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum RecordedCall {
    /// A request to another server.
    Http { request: RecordedRequest, response: RecordedResponse },
    /// The time, in Unix milliseconds.
    NowMillis { value: u64 },
    /// The time, in nanoseconds since the Unix epoch.
    WallClock { value: u64 },
    /// The monotonic clock, in nanoseconds.
    MonotonicClock { value: u64 },
    /// Random bytes.
    Random { value: Bytes },
    /// Whether a secret is stored.
    SecretExists { name: String, value: bool },
    /// A frame to the websocket.
    WebsocketSend { payload: String, error: Option<String> },
    /// A pairing request.
    PairingUpsert { id: String, code: String, created: bool, error: Option<String> },
    /// Who somebody is.
    PairingResolve { id: String, value: Option<String>, error: Option<String> },
    /// Who may talk to the agent.
    PairingAllowFrom { value: Vec<String>, error: Option<String> },
    /// Whether somebody may.
    PairingIsAllowed { id: String, value: bool, error: Option<String> },
}

/// A request as the guest wrote it: with placeholders, without credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordedRequest {
    pub method: String,
    pub url: String,
    pub headers_json: String,
    pub body: Option<Bytes>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RecordedResponse {
    /// A response of any status.
    Response { status: u16, headers_json: String, body: Bytes, retry_after_ms: Option<u64> },
    /// None, and why.
    Error { message: String, is_permanent: bool },
}

/// Bytes: as text where they are one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Bytes {
    Text(String),
    Base64 { base64: String },
}

impl Bytes {
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64 { base64: BASE64.encode(bytes) },
        }
    }

    /// The bytes; none of a text that is no base64.
    pub fn to_vec(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Base64 { base64 } => BASE64.decode(base64).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_the_file_whether_they_are_text_or_not() {
        for bytes in [&b""[..], b"text", b"\xff\x00"] {
            let written = serde_json::to_string(&Bytes::of(bytes)).unwrap();
            assert_eq!(serde_json::from_str::<Bytes>(&written).unwrap().to_vec(), bytes, "{written}");
        }
    }
}
