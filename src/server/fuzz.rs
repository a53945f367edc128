//! Fuzzing of requests as they arrive.

use super::ServerLimits;
use super::chunked::ChunkedDecoder;
use super::head::{HeadScanner, read_head};

/// A head, read whole and in pieces, and the rest as a chunked body, likewise: both readings agree.
pub fn http_request(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let piece = usize::from(*piece).max(1);
    let limits = ServerLimits::default();
    let whole = HeadScanner::default().scan(bytes, &limits);
    let mut scanner = HeadScanner::default();
    let mut cut = Ok(None);
    for (index, part) in bytes.chunks(piece).enumerate() {
        cut = scanner.scan(part, &limits).map(|end| end.map(|end| index * piece + end));
        if !matches!(cut, Ok(None)) {
            break;
        }
    }
    assert_eq!(whole.is_ok(), cut.is_ok(), "cuts make no difference");
    let Ok(Some(end)) = whole else { return };
    assert_eq!(cut, Ok(Some(end)), "cuts make no difference");
    let Ok(head) = read_head(&bytes[..end], &limits) else { return };
    for (name, value) in &head.fields {
        assert!(!name.is_empty() && !name.contains([':', ' ', '\r', '\n']));
        assert!(!value.contains(&b'\r') && !value.contains(&b'\n') && !value.contains(&0));
    }
    let rest = &bytes[end..];
    assert_eq!(decode(rest, rest.len().max(1)), decode(rest, piece), "cuts make no difference");
}

fn decode(bytes: &[u8], piece: usize) -> Option<(Vec<u8>, usize, bool)> {
    let mut decoder = ChunkedDecoder::new();
    let mut body = Vec::new();
    let mut used = 0;
    for part in bytes.chunks(piece) {
        if decoder.is_done() {
            break;
        }
        used += decoder.decode(part, &mut body, 1 << 16).ok()?;
    }
    Some((body, used, decoder.is_done()))
}
