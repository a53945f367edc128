//! The beginning of a text, cut between two characters.

/// At most `bytes` bytes of the beginning of `text`.
pub(crate) fn prefix(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_two_characters() {
        for (bytes, expected) in [(0, ""), (1, "a"), (2, "a"), (3, "aé"), (4, "aé"), (9, "aé")] {
            assert_eq!(prefix("aé", bytes), expected, "{bytes}");
        }
    }
}
