//! Bytes as text: UTF-8, or what most other pages are in, Windows-1252 (which the WHATWG calls by the names of ISO 8859-1
//! too). Other encodings are read as UTF-8, with U+FFFD for what is none.

/// The characters 0x80 to 0x9F of Windows-1252; those that it does not have are as in ISO 8859-1.
const HIGH: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];
/// Bytes in which a page says what it is in (WHATWG HTML, "prescan a byte stream").
const PRESCAN_BYTES: usize = 1024;

/// The text of a body with this `Content-Type`.
pub fn decode(content_type: &str, body: &[u8]) -> String {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let label = label_in(content_type).or_else(|| {
        let start = String::from_utf8_lossy(&body[..body.len().min(PRESCAN_BYTES)]);
        label_in(&start)
    });
    match label.as_deref() {
        Some("windows-1252" | "iso-8859-1" | "latin1" | "iso-8859-15" | "us-ascii" | "ascii") => {
            body.iter().map(|byte| of_byte(*byte)).collect()
        }
        _ => String::from_utf8_lossy(body).into_owned(),
    }
}

fn of_byte(byte: u8) -> char {
    match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

/// What follows `charset=`, in lower case.
fn label_in(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let rest = text.split_once("charset=")?.1.trim_start_matches(['"', '\'']);
    let end =
        rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))).unwrap_or(rest.len());
    Some(rest[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn a_body_is_read_in_the_encoding_that_it_names() {
        for (content_type, body, text) in [
            ("text/html", "ä€".as_bytes(), "ä€"),
            ("text/html; charset=UTF-8", "ä".as_bytes(), "ä"),
            ("text/html; charset=\"ISO-8859-1\"", b"\xe4\x80", "ä€"),
            ("text/html", b"<meta charset=windows-1252>\xfc", "<meta charset=windows-1252>ü"),
            ("text/html; charset=utf-8", b"\xe4", "\u{fffd}"),
            ("text/plain", b"\xef\xbb\xbfa", "a"),
        ] {
            assert_eq!(decode(content_type, body), text, "{content_type}");
        }
    }
}
