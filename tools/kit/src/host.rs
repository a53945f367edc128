//! What the host does for a tool. Outside WebAssembly the calls go to [`fake::FakeHost`](crate::fake::FakeHost).

#[cfg(target_family = "wasm")]
use crate::bindings::near::agent::host as imports;
#[cfg(target_family = "wasm")]
use crate::bindings::tinclaw::tools::state;
#[cfg(not(target_family = "wasm"))]
use crate::fake::{self as imports, state};

pub use crate::bindings::near::agent::host::{HttpResponse, LogLevel};

/// Milliseconds since 1970.
pub fn now_millis() -> u64 {
    imports::now_millis()
}

/// Writes a log line under the tool's name.
pub fn log(level: LogLevel, message: &str) {
    imports::log(level, message);
}

/// Whether a secret is stored. Its value is never shown.
pub fn secret_exists(name: &str) -> bool {
    imports::secret_exists(name)
}

/// Reads one of the tool's own files for this person.
pub fn state_read(path: &str) -> Option<String> {
    state::read(path)
}

/// Writes one of the tool's own files for this person. It is kept when the call succeeds.
///
/// # Errors
/// The host's words: the path is not accepted, or there is no room.
pub fn state_write(path: &str, content: &str) -> Result<(), String> {
    state::write(path, content)
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
