//! Server-sent events, as far as servers of the chat completions API use them: one JSON text on each `data:` line. No I/O.
//!
//! The format is that of the HTML standard (section 9.2.6) but for this: a line is an event of its own. No server of this API
//! spreads a JSON text over lines, and some leave out the empty line between events.

/// The longest line, in bytes. A whole tool call may come on one.
pub(super) const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;

/// Bytes in, events out.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    line: Vec<u8>,
    /// The last byte was CR: a LF after it belongs to the same line end.
    after_cr: bool,
    has_begun: bool,
}

/// A line is longer than [`MAX_EVENT_BYTES`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LineTooLong;

impl EventReader {
    /// Takes what has arrived, which may end anywhere, and gives the data of each event that is whole.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, LineTooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            let is_second_half = byte == b'\n' && self.after_cr;
            self.after_cr = byte == b'\r';
            if is_second_half {
                continue;
            }
            if matches!(byte, b'\r' | b'\n') {
                events.extend(self.end_line());
            } else if self.line.len() == MAX_EVENT_BYTES {
                return Err(LineTooLong);
            } else {
                self.line.push(byte);
            }
        }
        Ok(events)
    }

    /// Nothing more arrives: the last line may lack its end.
    pub fn finish(mut self) -> Option<String> {
        self.end_line()
    }

    fn end_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !std::mem::replace(&mut self.has_begun, true) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        data_of(&String::from_utf8_lossy(line)).map(str::to_owned)
    }
}

/// The data of a line; none when it is empty, a comment or another field. An error comes as the field `error` (llama.cpp)
/// or as JSON without a field at all.
fn data_of(line: &str) -> Option<&str> {
    if line.starts_with('{') {
        return Some(line);
    }
    let (field, value) = line.split_once(':')?;
    let value = value.strip_prefix(' ').unwrap_or(value);
    (matches!(field, "data" | "error") && !value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<String> {
        let mut reader = EventReader::default();
        let mut events: Vec<String> = pieces.iter().flat_map(|piece| reader.push(piece).unwrap()).collect();
        events.extend(reader.finish());
        events
    }

    #[test]
    fn lines_are_events_whatever_ends_them() {
        let rows: [(&str, &[u8], &[&str]); 12] = [
            ("LF", b"data: a\n\ndata: b\n\n", &["a", "b"]),
            ("CRLF", b"data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]),
            ("CR", b"data: a\r\rdata: b\r\r", &["a", "b"]),
            ("no empty line between", b"data: a\ndata: b\n", &["a", "b"]),
            ("no space after the colon", b"data:a\n\n", &["a"]),
            ("only one space goes", b"data:  a\n\n", &[" a"]),
            ("comments and other fields", b": keep-alive\nevent: x\nid: 1\nretry: 5\ndata: a\n\n", &["a"]),
            ("no end of line at the end", b"data: [DONE]", &["[DONE]"]),
            ("a byte order mark", b"\xef\xbb\xbfdata: a\n\n", &["a"]),
            ("an error as a field", b"error: {\"code\":500}\n\n", &["{\"code\":500}"]),
            ("JSON without a field", b"{\"error\":1}\n", &["{\"error\":1}"]),
            ("nothing", b"\n\r\n\r:\ndata:\ndata\n", &[]),
        ];
        for (what, bytes, expected) in rows {
            assert_eq!(read(&[bytes]), expected, "{what}");
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_allowed_and_no_longer() {
        let at_limit = "a".repeat(MAX_EVENT_BYTES - "data:".len());
        let mut reader = EventReader::default();
        assert_eq!(reader.push(format!("data:{at_limit}\n").as_bytes()), Ok(vec![at_limit.clone()]));
        assert_eq!(reader.push(format!("data:{at_limit}b").as_bytes()), Err(LineTooLong));
    }

    proptest! {
        #[test]
        fn events_are_parsed_alike_however_they_are_split(
            text in "(data: ?|: |error: |x|ä|\\{|\r\n|\n|\r){0,40}",
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = text.as_bytes();
            let (left, right) = bytes.split_at(cut.index(bytes.len() + 1));
            prop_assert_eq!(read(&[left, right]), read(&[bytes]));
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(read(&single), read(&[bytes]));
        }
    }
}
