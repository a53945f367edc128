//! What the host does for a channel. Outside WebAssembly the calls go to [`fake::FakeHost`](crate::fake::FakeHost).

#[cfg(target_family = "wasm")]
use crate::bindings::near::agent::channel_host as imports;
#[cfg(not(target_family = "wasm"))]
use crate::fake as imports;

pub use crate::bindings::near::agent::channel_host::{
    EmittedMessage, HttpResponse, InboundAttachment, LogLevel, PairingUpsertResult,
};

/// Milliseconds since 1970.
pub fn now_millis() -> u64 {
    imports::now_millis()
}

/// Writes a log line under the channel's name.
pub fn log(level: LogLevel, message: &str) {
    imports::log(level, message);
}

/// A warning in the log.
pub fn warn(message: &str) {
    log(LogLevel::Warn, message);
}

/// An error in the log.
pub fn error(message: &str) {
    log(LogLevel::Error, message);
}

/// Whether a secret is stored. Its value is never shown.
pub fn secret_exists(name: &str) -> bool {
    imports::secret_exists(name)
}

/// Reads a file of the channel's workspace.
pub fn workspace_read(path: &str) -> Option<String> {
    imports::workspace_read(path)
}

/// Writes a file of the channel's workspace. It is kept when the callback succeeds.
///
/// # Errors
/// The host's words: the path is not accepted, or the workspace is full.
pub fn workspace_write(path: &str, content: &str) -> Result<(), String> {
    imports::workspace_write(path, content)
}

pub(crate) fn http_request(
    method: &str,
    url: &str,
    headers_json: &str,
    body: Option<&[u8]>,
    timeout_ms: Option<u32>,
) -> Result<HttpResponse, String> {
    imports::http_request(method, url, headers_json, body, timeout_ms)
}

pub(crate) fn emit_message(message: &EmittedMessage) {
    imports::emit_message(message);
}

pub(crate) fn store_attachment_data(id: &str, data: &[u8]) -> Result<(), String> {
    imports::store_attachment_data(id, data)
}

/// Asks for an unknown sender to be approved. Returns the code that they show to the operator.
///
/// # Errors
/// The host's words: too many senders wait, or this one was told their code often enough.
pub fn pairing_request(channel: &str, id: &str, meta_json: &str) -> Result<PairingUpsertResult, String> {
    imports::pairing_upsert_request(channel, id, meta_json)
}

/// Who a sender is to the host, when they were approved.
///
/// # Errors
/// The host's words.
pub fn paired_identity(channel: &str, id: &str) -> Result<Option<String>, String> {
    imports::pairing_resolve_identity(channel, id)
}
