//! Regular expressions of a schema, which a guest wrote.

use regex_lite::RegexBuilder;

/// Bytes of a pattern; a longer one is not used.
const MAX_PATTERN_BYTES: usize = 1024;
/// Bytes of a compiled pattern; a larger one is not used.
const MAX_COMPILED_BYTES: usize = 64 * 1024;
/// Bytes of a text that is held against a pattern. The time of a match is the product of both sizes.
const MAX_TEXT_BYTES: usize = 4096;

/// Whether `text` matches; none when the pattern, or the text, is not one that is checked here: ECMA-262 has look-around and
/// back-references, and what the pattern means then is the tool's to say.
pub(super) fn is_match(pattern: &str, text: &str) -> Option<bool> {
    if pattern.len() > MAX_PATTERN_BYTES || text.len() > MAX_TEXT_BYTES {
        return None;
    }
    let regex = RegexBuilder::new(pattern).size_limit(MAX_COMPILED_BYTES).build().ok()?;
    Some(regex.is_match(text))
}
