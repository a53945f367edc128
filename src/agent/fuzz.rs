//! Fuzzing of what agents say.

use super::exec::parse_line;
use super::response::ResponseFields;
use super::{response, text};

/// A line of a program, and the same bytes as the body of an HTTP agent's response.
pub fn agent_line(bytes: &[u8]) {
    let text = text::lossy(bytes);
    let text = text::without_lone_surrogates(&text);
    if let Err(bad) = parse_line(&text) {
        assert!(!bad.error.to_string().is_empty(), "a refused line is explained");
    }
    if let Ok(fields) = response::read::<ResponseFields>(&text) {
        let _ = fields.into_response();
    }
}

/// A stream of a model's server, cut into pieces: the first byte says how long each is.
pub fn chat_stream(bytes: &[u8]) {
    super::openai::fuzz_stream(bytes);
}
