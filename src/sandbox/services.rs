//! What the sandbox asks of the rest of the host on a guest's behalf.
//!
//! Everything here leaves the callback's transaction: a request that went out cannot be taken back. What stays inside
//! (messages, workspace, timers) is collected in [`Effects`](crate::event::callback::Effects) instead.

use std::time::Instant;

use wit_abi::types::PairingUpsertResult;

use super::context::StopFlag;
use crate::egress::{OutboundCall, OutboundRequest, OutboundResponse, ResponseRoom};

/// Why an outbound request got no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestHttpError {
    /// In words, for the guest.
    pub message: String,
    /// Whether the host would refuse the same request again.
    pub is_permanent: bool,
}

/// A failure that may pass.
impl From<String> for GuestHttpError {
    fn from(message: String) -> Self {
        Self { message, is_permanent: false }
    }
}

/// What `tool-invoke` lends to the tool that it calls.
#[derive(Clone, Debug)]
pub struct ToolBudget {
    /// Units of fuel that are left to the caller.
    pub fuel: u64,
    /// When the caller must have ended.
    pub deadline: Instant,
    /// Ends the caller, and with it the tool.
    pub stop: StopFlag,
}

/// What became of a `tool-invoke`.
#[derive(Clone, Debug)]
pub struct InvokedTool {
    /// What the other tool returned, or why it did not.
    pub result: Result<String, String>,
    /// Units of fuel that it used, also when it failed; the caller pays them.
    pub fuel: u64,
}

/// What only guests of the other world import, so nobody asks for it.
const NOT_IN_WORLD: &str = "this guest's world does not have this function";

/// One guest's access to the world, with that guest's rights.
///
/// The methods are called from worker threads and may block, but never beyond the callback's deadline. Errors
/// are texts for the guest and must not quote secrets.
pub trait GuestServices: Send + Sync {
    /// Sends an HTTP request for a callback. `room` is asked before memory for the response is taken.
    ///
    /// # Errors
    /// The request is not allowed, could not be sent or had no response in time.
    fn http_request(
        &self,
        request: OutboundRequest,
        call: OutboundCall,
        room: ResponseRoom<'_>,
    ) -> Result<OutboundResponse, GuestHttpError>;

    /// A text of the guest for a log or an error, without the secrets that the guest was given on purpose.
    fn without_given_secrets(&self, text: String) -> String {
        text
    }

    /// Whether a secret of this name is stored and this channel may know that.
    fn secret_exists(&self, name: &str) -> bool;

    /// A file that a tool may read, if there is one at `path`.
    ///
    /// # Errors
    /// The tool may not read it, or it cannot be read.
    fn read_file(&self, path: &str) -> Result<Option<String>, String> {
        let _ = path;
        Err(NOT_IN_WORLD.to_owned())
    }

    /// Calls another tool for a tool.
    fn tool_invoke(&self, alias: &str, params_json: String, budget: ToolBudget) -> InvokedTool {
        let _ = (alias, params_json, budget);
        InvokedTool { result: Err(NOT_IN_WORLD.to_owned()), fuel: 0 }
    }

    /// Sends a text frame on the channel's socket.
    ///
    /// # Errors
    /// The channel has no socket, or it is not connected.
    fn websocket_send(&self, payload: String) -> Result<(), String> {
        let _ = payload;
        Err(NOT_IN_WORLD.to_owned())
    }

    /// Starts or repeats a pairing request of this channel's user `id`.
    ///
    /// # Errors
    /// There are too many pending requests.
    fn pairing_upsert(&self, id: &str, meta_json: &str) -> Result<PairingUpsertResult, String> {
        let _ = (id, meta_json);
        Err(NOT_IN_WORLD.to_owned())
    }

    /// Who this channel's user `external_id` is to the host, if anyone.
    ///
    /// # Errors
    /// The pairings cannot be read.
    fn pairing_resolve(&self, external_id: &str) -> Result<Option<String>, String> {
        let _ = external_id;
        Err(NOT_IN_WORLD.to_owned())
    }

    /// The ids that may talk to the agent through this channel.
    ///
    /// # Errors
    /// The pairings cannot be read.
    fn pairing_allow_from(&self) -> Result<Vec<String>, String> {
        Err(NOT_IN_WORLD.to_owned())
    }

    /// Whether this channel's user `id`, or `username`, may talk to the agent.
    ///
    /// # Errors
    /// The pairings cannot be read.
    fn pairing_is_allowed(&self, id: &str, username: Option<&str>) -> Result<bool, String> {
        let _ = (id, username);
        Err(NOT_IN_WORLD.to_owned())
    }

    /// Unix time in milliseconds.
    fn now_millis(&self) -> u64;
}
