//! Bytes in JSON: base64 with the standard alphabet and padding (RFC 4648, section 4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes as text.
pub fn encode(data: &[u8]) -> String {
    STANDARD.encode(data)
}

/// Bytes of a text; none when it is no base64.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}
