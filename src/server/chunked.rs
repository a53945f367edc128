//! Decodes the chunked transfer coding (RFC 9112 section 7.1), strictly and without I/O.

use super::reply::Rejection;

/// Longest line with a chunk's size, its extensions included, in bytes. Nobody is known to use extensions.
const MAX_SIZE_LINE_BYTES: usize = 256;

/// Most bytes of trailer fields. They are dropped: nothing here is to learn a field after it was checked.
const MAX_TRAILER_BYTES: usize = 8 << 10;

/// Decodes a body that comes piece by piece.
#[derive(Debug)]
pub(crate) struct ChunkedDecoder {
    state: ChunkState,
    /// Bytes of the size line or of the trailer so far.
    overhead: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    /// Hexadecimal digits; `None` before the first.
    Size(Option<u64>),
    /// White space between the size and an extension (RFC 9112 section 7.1.1).
    SizeBlank(u64),
    Extension(u64),
    SizeLineFeed(u64),
    Data(u64),
    DataReturn,
    DataLineFeed,
    /// In a trailer line that has this many bytes so far.
    Trailer(usize),
    TrailerLineFeed(usize),
    Done,
}

impl ChunkedDecoder {
    pub(crate) fn new() -> Self {
        ChunkedDecoder { state: ChunkState::Size(None), overhead: 0 }
    }

    /// Decodes the next bytes and appends what they carry to `body`, which never grows beyond `limit` bytes. Returns how
    /// many of the bytes were used: fewer than given only when the body has ended.
    pub(crate) fn decode(
        &mut self,
        bytes: &[u8],
        body: &mut Vec<u8>,
        limit: u64,
    ) -> Result<usize, Rejection> {
        let mut used = 0;
        while used < bytes.len() && self.state != ChunkState::Done {
            if let ChunkState::Data(left) = self.state {
                let count = (bytes.len() - used).min(usize::try_from(left).unwrap_or(usize::MAX));
                body.extend_from_slice(&bytes[used..used + count]);
                used += count;
                let left = left - count as u64;
                self.state = if left == 0 { ChunkState::DataReturn } else { ChunkState::Data(left) };
            } else {
                self.state = self.step(bytes[used], body.len() as u64, limit)?;
                used += 1;
            }
        }
        Ok(used)
    }

    /// Whether the end of the body has been seen.
    pub(crate) fn is_done(&self) -> bool {
        self.state == ChunkState::Done
    }

    /// One byte that is not data.
    fn step(&mut self, byte: u8, decoded: u64, limit: u64) -> Result<ChunkState, Rejection> {
        match (self.state, byte) {
            (ChunkState::Size(size), digit) if digit.is_ascii_hexdigit() => {
                self.count(MAX_SIZE_LINE_BYTES)?;
                let size = push_digit(size.unwrap_or(0), digit)?;
                // Refused before the chunk is read, so that a body never stands for more than it may have.
                if size > limit.saturating_sub(decoded) {
                    Err(Rejection::BodyTooLarge)
                } else {
                    Ok(ChunkState::Size(Some(size)))
                }
            }
            (ChunkState::Size(Some(size)), b'\r') | (ChunkState::Extension(size), b'\r') => {
                Ok(ChunkState::SizeLineFeed(size))
            }
            (ChunkState::Size(Some(size)) | ChunkState::SizeBlank(size), b' ' | b'\t') => {
                self.count(MAX_SIZE_LINE_BYTES)?;
                Ok(ChunkState::SizeBlank(size))
            }
            (ChunkState::Size(Some(size)) | ChunkState::SizeBlank(size), b';') => {
                Ok(ChunkState::Extension(size))
            }
            (ChunkState::Extension(size), byte) if is_text(byte) => {
                self.count(MAX_SIZE_LINE_BYTES)?;
                Ok(ChunkState::Extension(size))
            }
            (ChunkState::SizeLineFeed(size), b'\n') => {
                self.overhead = 0;
                Ok(if size == 0 { ChunkState::Trailer(0) } else { ChunkState::Data(size) })
            }
            (ChunkState::DataReturn, b'\r') => Ok(ChunkState::DataLineFeed),
            (ChunkState::DataLineFeed, b'\n') => Ok(ChunkState::Size(None)),
            (ChunkState::Trailer(length), b'\r') => Ok(ChunkState::TrailerLineFeed(length)),
            (ChunkState::Trailer(length), byte) if is_text(byte) => {
                self.count(MAX_TRAILER_BYTES)?;
                Ok(ChunkState::Trailer(length + 1))
            }
            (ChunkState::TrailerLineFeed(0), b'\n') => Ok(ChunkState::Done),
            (ChunkState::TrailerLineFeed(_), b'\n') => Ok(ChunkState::Trailer(0)),
            _ => Err(Rejection::Chunk),
        }
    }

    fn count(&mut self, max: usize) -> Result<(), Rejection> {
        self.overhead += 1;
        if self.overhead > max { Err(Rejection::Chunk) } else { Ok(()) }
    }
}

fn push_digit(size: u64, digit: u8) -> Result<u64, Rejection> {
    let value = char::from(digit).to_digit(16).ok_or(Rejection::Chunk)?;
    size.checked_mul(16).map(|size| size + u64::from(value)).ok_or(Rejection::BodyTooLarge)
}

/// What a line may contain: no control characters but the tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(input: &[u8], limit: u64, piece: usize) -> Result<(Vec<u8>, usize, bool), Rejection> {
        let mut decoder = ChunkedDecoder::new();
        let mut body = Vec::new();
        let mut used = 0;
        for bytes in input.chunks(piece) {
            used += decoder.decode(bytes, &mut body, limit)?;
        }
        Ok((body, used, decoder.is_done()))
    }

    #[test]
    fn bodies_decode_alike_however_they_are_cut() {
        let long_extension = format!("1;{}\r\na\r\n0\r\n\r\n", "e".repeat(255));
        let rows: &[(&str, &[u8], &[u8])] = &[
            ("empty", b"0\r\n\r\n", b""),
            ("one chunk", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
            (
                "two chunks, upper and lower case",
                b"A\r\n0123456789\r\nb\r\nabcdefghijk\r\n0\r\n\r\n",
                b"0123456789abcdefghijk",
            ),
            ("leading zeros", b"0005\r\nhello\r\n000\r\n\r\n", b"hello"),
            ("extension", b"5;name=\"value\"\r\nhello\r\n0;last\r\n\r\n", b"hello"),
            ("blanks around an extension", b"5 \t; name = \"v\" ; b\r\nhello\r\n0 ;\r\n\r\n", b"hello"),
            ("longest extension", long_extension.as_bytes(), b"a"),
            ("trailers are dropped", b"5\r\nhello\r\n0\r\nX-Secret: 1\r\nB: 2\r\n\r\n", b"hello"),
            ("line ends inside data", b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
        ];
        for (name, input, expected) in rows {
            for piece in [1, 2, 3, 7, 1000] {
                let (body, used, done) =
                    decode(input, 1 << 20, piece).unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
                assert_eq!(
                    (body.as_slice(), used, done),
                    (*expected, input.len(), true),
                    "{name} in pieces of {piece}"
                );
            }
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        let long_extension = format!("1;{}\r\na\r\n0\r\n\r\n", "e".repeat(256));
        let long_trailer = format!("0\r\nA: {}\r\n\r\n", "b".repeat(MAX_TRAILER_BYTES));
        let rows: &[(&str, &[u8], Rejection)] = &[
            ("no size", b"\r\n", Rejection::Chunk),
            ("sign", b"+5\r\nhello\r\n", Rejection::Chunk),
            ("prefix", b"0x5\r\nhello\r\n", Rejection::Chunk),
            ("space before", b" 5\r\nhello\r\n", Rejection::Chunk),
            ("space after", b"5 \r\nhello\r\n", Rejection::Chunk),
            ("blanks before a line end", b"5 ;\r\nhello\r\n0 \r\n\r\n", Rejection::Chunk),
            ("a digit after a blank", b"5 0;a\r\nhello\r\n", Rejection::Chunk),
            ("underscore", b"1_0\r\n", Rejection::Chunk),
            ("bare line feed after the size", b"5\nhello\r\n", Rejection::Chunk),
            ("bare carriage return after the size", b"5\rhello\r\n", Rejection::Chunk),
            ("line feed in an extension", b"5;a\nb\r\nhello\r\n", Rejection::Chunk),
            ("NUL in an extension", b"5;\0\r\nhello\r\n", Rejection::Chunk),
            ("data longer than its size", b"5\r\nhello!\r\n", Rejection::Chunk),
            ("bare line feed after data", b"5\r\nhello\n0\r\n\r\n", Rejection::Chunk),
            ("bare line feed in a trailer", b"0\r\nA: b\n\r\n", Rejection::Chunk),
            ("size beyond 64 bits", b"10000000000000000\r\n", Rejection::BodyTooLarge),
            ("size line one byte too long", long_extension.as_bytes(), Rejection::Chunk),
            ("trailer too long", long_trailer.as_bytes(), Rejection::Chunk),
        ];
        for (name, input, expected) in rows {
            for piece in [1, 5, 100_000] {
                assert_eq!(decode(input, u64::MAX, piece), Err(*expected), "{name} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn the_limit_counts_decoded_bytes_over_all_chunks() {
        assert!(decode(b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n", 10, 3).is_ok());
        assert_eq!(decode(b"5\r\nhello\r\n6\r\nworlds\r\n0\r\n\r\n", 10, 3), Err(Rejection::BodyTooLarge));
        // Before a single byte of the chunk has come.
        assert_eq!(decode(b"b", 10, 1), Err(Rejection::BodyTooLarge));
    }

    #[test]
    fn bytes_after_the_end_are_left_alone() {
        let (body, used, done) = decode(b"1\r\na\r\n0\r\n\r\nGET /", 10, 1000).unwrap();
        assert_eq!((body.as_slice(), used, done), (&b"a"[..], 11, true));
    }

    proptest! {
        /// Where the network cuts makes no difference, and a body never grows beyond its limit.
        #[test]
        fn cuts_make_no_difference(
            parts in proptest::collection::vec(
                proptest::sample::select(vec!["0", "1", "a", "5", "\r\n", "\r", "\n", ";", "hello", "x: y", " ", "\0", "\r\n0\r\n\r\n"]),
                0..30,
            ),
            cut in 1_usize..20,
            limit in 0_u64..20,
        ) {
            let input = parts.concat();
            let whole = decode(input.as_bytes(), limit, input.len().max(1));
            prop_assert_eq!(&decode(input.as_bytes(), limit, cut), &whole);
            if let Ok((body, used, _)) = whole {
                prop_assert!(body.len() as u64 <= limit && used <= input.len());
            }
        }

        /// What is encoded is decoded.
        #[test]
        fn chunks_are_put_together(chunks in proptest::collection::vec("[a-z\r\n]{1,40}", 0..10), cut in 1_usize..50) {
            let mut input: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
            input.push_str("0\r\n\r\n");
            let (body, used, done) = decode(input.as_bytes(), 1000, cut).unwrap();
            prop_assert_eq!(body, chunks.concat().into_bytes());
            prop_assert!(used == input.len() && done);
        }
    }
}
