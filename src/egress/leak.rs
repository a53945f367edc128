//! Finding the values of secrets in what guests write and in what servers answer.
//!
//! A guest should never have a secret, so whatever it writes that contains one is stopped, whichever of the usual
//! encodings it chose; and what a server says back is freed of them before the guest sees it.
//!
//! # What is found
//! A value of at least [`MIN_SEARCHED_BYTES`] is found anywhere in a text: as it is; percent-encoded (all usual sets of
//! characters, either case of the digits); in base64, standard or URL-safe, at each of the three alignments that it can
//! have inside a longer encoded text; in hexadecimal, either or mixed case; escaped for JSON or HTML. In guests' texts the
//! percent-encoding and the JSON escapes are also undone before the search, so that no choice of what to escape hides
//! anything.
//!
//! A shorter value of at least [`MIN_GUARDED_BYTES`] is found only as it is and only as a word of its own, with no letter
//! or digit directly before or after it: `1234` inside of `51234` is chance. Values that are shorter still are not looked
//! for. A determined guest that does have a secret can still hide it (encrypt it, send it in halves); what keeps it from
//! having one is that it never gets one, and what limits the damage is the allow-list.
//!
//! # How
//! One pass over the text, which looks at each pair of bytes in a bitmap of the patterns' first two. Where it says yes, the
//! first eight (or four) bytes are looked up among the patterns, and only what begins alike is compared. With 20 secrets,
//! some 250 patterns, that is a few nanoseconds per byte.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use super::headers::Header;
use super::json_escapes;
use crate::secrets::Secret;

/// Values from this length on are searched for anywhere and in every encoding.
pub const MIN_SEARCHED_BYTES: usize = 8;
/// Values from this length on are searched for as whole words. Shorter ones are not guarded.
pub const MIN_GUARDED_BYTES: usize = 4;
/// What stands in an answer in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// How often percent-encoding is undone in what a guest wrote.
const MAX_DECODE_ROUNDS: usize = 3;

/// The values of a channel's secrets in all their encodings. Erased when it is dropped.
pub(super) struct SecretMatcher {
    names: Vec<String>,
    patterns: Vec<Pattern>,
    pairs: Pairs,
    /// For exact, case-blind and short patterns.
    indexes: [Index; 3],
}

struct Pattern {
    bytes: Zeroizing<Vec<u8>>,
    secret: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exact,
    /// Hexadecimal: letters in either case.
    CaseBlind,
    /// At least four bytes, as a word of its own.
    Word,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Exact, Self::CaseBlind, Self::Word];

    /// The key under which a pattern or a place in a text is looked up.
    fn key(self, bytes: &[u8]) -> Option<u64> {
        match self {
            Self::Exact => Some(u64::from_le_bytes(*bytes.first_chunk()?)),
            // Setting this bit makes letters small and leaves digits alone.
            Self::CaseBlind => Some(u64::from_le_bytes(*bytes.first_chunk()?) | 0x2020_2020_2020_2020),
            Self::Word => Some(u64::from(u32::from_le_bytes(*bytes.first_chunk()?))),
        }
    }
}

/// The pairs of bytes with which patterns begin, a bit for each possible one.
struct Pairs(Vec<u64>);

impl Pairs {
    fn new(patterns: &[Pattern]) -> Self {
        let mut bits = vec![0; 1 << 10];
        for pattern in patterns {
            let [first, second] = [pattern.bytes[0], pattern.bytes[1]];
            let cases = |byte: u8| match pattern.kind {
                Kind::CaseBlind => [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()],
                Kind::Exact | Kind::Word => [byte, byte],
            };
            for a in cases(first) {
                for b in cases(second) {
                    let pair = usize::from(u16::from_be_bytes([a, b]));
                    bits[pair >> 6] |= 1 << (pair & 63);
                }
            }
        }
        Self(bits)
    }

    /// The first place, from `from` on, where a pattern may begin.
    fn next(&self, text: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        let mut pair = usize::from(*text.get(at)?);
        while at + 1 < text.len() {
            pair = (pair << 8 | text[at + 1] as usize) & 0xffff;
            if self.0[pair >> 6] >> (pair & 63) & 1 == 1 {
                return Some(at);
            }
            at += 1;
        }
        None
    }
}

/// Patterns by their beginning, sorted.
#[derive(Default)]
struct Index(Vec<(u64, usize)>);

impl Index {
    fn candidates(&self, key: u64) -> impl Iterator<Item = usize> {
        let from = self.0.partition_point(|(k, _)| *k < key);
        self.0[from..].iter().take_while(move |(k, _)| *k == key).map(|(_, pattern)| *pattern)
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        // The keys are the beginnings of secrets.
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// A secret in a text.
struct Found {
    pattern: usize,
    length: usize,
}

impl SecretMatcher {
    /// A matcher for these secrets, with their names.
    pub(super) fn new(secrets: impl IntoIterator<Item = (String, Secret)>) -> Self {
        let mut names = Vec::new();
        let mut patterns: Vec<Pattern> = Vec::new();
        for (name, value) in secrets {
            let mut add = |bytes: Vec<u8>, kind: Kind| {
                let bytes = Zeroizing::new(bytes);
                let known = patterns.iter().any(|other| other.kind == kind && other.bytes == bytes);
                if !known {
                    patterns.push(Pattern { bytes, secret: names.len(), kind });
                }
            };
            add_patterns(value.expose(), &mut add);
            names.push(name);
        }
        let indexes = Kind::ALL.map(|kind| {
            let of_kind = patterns.iter().enumerate().filter(|(_, pattern)| pattern.kind == kind);
            let mut keys: Vec<(u64, usize)> =
                of_kind.filter_map(|(at, pattern)| Some((kind.key(&pattern.bytes)?, at))).collect();
            keys.sort_unstable();
            Index(keys)
        });
        Self { names, pairs: Pairs::new(&patterns), patterns, indexes }
    }

    /// The name of a secret whose value stands in what a guest wrote, also behind percent-encoding and JSON escapes.
    pub(super) fn find_in_guest_text(&self, text: &[u8]) -> Option<&str> {
        if self.patterns.is_empty() {
            return None;
        }
        let unescaped = text.contains(&b'\\').then(|| Zeroizing::new(json_escapes::undo(text)));
        let views = [Some(text), unescaped.as_ref().map(|bytes| bytes.as_slice())];
        views.into_iter().flatten().find_map(|view| self.find_decoding(view))
    }

    fn find_decoding(&self, text: &[u8]) -> Option<&str> {
        let mut view = Cow::Borrowed(text);
        for _ in 0..=MAX_DECODE_ROUNDS {
            if let Some(name) = self.find(&view) {
                return Some(name);
            }
            match Cow::from(percent_decode(&view)) {
                Cow::Borrowed(_) => break,
                Cow::Owned(decoded) => view = Cow::Owned(decoded),
            }
        }
        None
    }

    /// The name of a secret whose value stands in the text.
    pub(super) fn find(&self, text: &[u8]) -> Option<&str> {
        let (_, found) = self.next(text, 0)?;
        Some(self.names[self.patterns[found.pattern].secret].as_str())
    }

    /// The text with every secret replaced by [`REDACTED`], or the same text when there is none.
    pub(super) fn redact(&self, text: Vec<u8>) -> (Vec<u8>, bool) {
        let mut out: Vec<u8> = Vec::new();
        let mut copied = 0;
        while let Some((at, found)) = self.next(&text, copied) {
            out.extend_from_slice(&text[copied..at]);
            out.extend_from_slice(REDACTED.as_bytes());
            copied = at + found.length;
        }
        if copied == 0 {
            return (text, false);
        }
        out.extend_from_slice(&text[copied..]);
        drop(Zeroizing::new(text));
        (out, true)
    }

    /// A header's value without secrets. Headers are short, so here percent-encoding is undone as for guests; a value
    /// that still shows a secret then is replaced whole.
    pub(super) fn redact_header(&self, value: &[u8]) -> (String, bool) {
        let (value, mut changed) = self.redact(value.to_vec());
        let mut text = String::from_utf8_lossy(&value).into_owned();
        if self.find_in_guest_text(text.as_bytes()).is_some() {
            REDACTED.clone_into(&mut text);
            changed = true;
        }
        (text, changed)
    }

    /// The first secret from `from` on, and where it begins.
    fn next(&self, text: &[u8], from: usize) -> Option<(usize, Found)> {
        let mut from = from;
        while let Some(at) = self.pairs.next(text, from) {
            if let Some(found) = self.at(text, at) {
                return Some((at, found));
            }
            from = at + 1;
        }
        None
    }

    /// The longest pattern that begins exactly here.
    fn at(&self, text: &[u8], at: usize) -> Option<Found> {
        let rest = &text[at..];
        let mut longest: Option<Found> = None;
        for (kind, index) in Kind::ALL.into_iter().zip(&self.indexes) {
            let Some(key) = kind.key(rest) else { continue };
            for pattern in index.candidates(key) {
                let length = self.patterns[pattern].bytes.len();
                if longest.as_ref().is_none_or(|found| found.length < length)
                    && self.stands(pattern, text, at)
                {
                    longest = Some(Found { pattern, length });
                }
            }
        }
        longest
    }

    fn stands(&self, pattern: usize, text: &[u8], at: usize) -> bool {
        let Pattern { bytes, kind, .. } = &self.patterns[pattern];
        let Some(part) = text.get(at..at + bytes.len()) else { return false };
        let in_word =
            |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(u8::is_ascii_alphanumeric);
        match kind {
            Kind::Exact => part == bytes.as_slice(),
            Kind::CaseBlind => part.eq_ignore_ascii_case(bytes),
            Kind::Word => {
                part == bytes.as_slice() && !in_word(at.checked_sub(1)) && !in_word(Some(at + bytes.len()))
            }
        }
    }
}

/// Searches everything that a guest wrote. Returns the secret's name and the place.
pub(super) fn find_in_request<'m>(
    matcher: &'m SecretMatcher,
    url: &str,
    headers: &[Header],
    body: Option<&[u8]>,
) -> Option<(&'m str, &'static str)> {
    let in_headers = || {
        headers.iter().find_map(|header| {
            let name = matcher.find_in_guest_text(header.name.as_bytes());
            name.or_else(|| matcher.find_in_guest_text(header.value.as_bytes()))
        })
    };
    let in_body = || matcher.find_in_guest_text(body?);
    matcher
        .find_in_guest_text(url.as_bytes())
        .map(|name| (name, "URL"))
        .or_else(|| in_headers().map(|name| (name, "header")))
        .or_else(|| in_body().map(|name| (name, "body")))
}

fn add_patterns(value: &str, add: &mut impl FnMut(Vec<u8>, Kind)) {
    let bytes = value.as_bytes();
    if bytes.len() < MIN_GUARDED_BYTES {
        return;
    }
    if bytes.len() < MIN_SEARCHED_BYTES {
        return add(bytes.to_vec(), Kind::Word);
    }
    add(bytes.to_vec(), Kind::Exact);
    for escaped in percent_encodings(value).into_iter().chain(escapes(value)) {
        add(escaped.into_bytes(), Kind::Exact);
    }
    for alignment in 0..3 {
        add(base64_inside(&STANDARD_NO_PAD, bytes, alignment), Kind::Exact);
        add(base64_inside(&URL_SAFE_NO_PAD, bytes, alignment), Kind::Exact);
    }
    add(hexadecimal(bytes).into_bytes(), Kind::CaseBlind);
}

/// The characters that the bytes have inside of any base64 text in which `alignment` bytes (modulo three) precede them.
///
/// The first character after the preceding bytes and the last one can share bits with the neighbours; they are left out.
fn base64_inside(engine: &base64::engine::GeneralPurpose, bytes: &[u8], alignment: usize) -> Vec<u8> {
    let mut padded = Zeroizing::new(vec![0; alignment]);
    padded.extend_from_slice(bytes);
    let mut text = engine.encode(&*padded).into_bytes();
    text.truncate(padded.len() * 8 / 6);
    text.drain(..[0, 2, 3][alignment]);
    text
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

/// The percent-encodings in use: what is left alone differs, and so does the case of the digits.
fn percent_encodings(value: &str) -> Vec<String> {
    const UNRESERVED: &str = "-._~";
    const COMPONENT: &str = "-._~!'()*";
    const PATH: &str = "-._~!$&'()*+,;=:@";
    const FORM: &str = "*-._";
    let mut encodings = Vec::new();
    for upper in [true, false] {
        for kept in [UNRESERVED, COMPONENT, PATH] {
            encodings.push(percent_encode(value, upper, |b| {
                b.is_ascii_alphanumeric() || kept.as_bytes().contains(&b)
            }));
        }
        let form = |b: u8| b.is_ascii_alphanumeric() || b == b' ' || FORM.as_bytes().contains(&b);
        encodings.push(percent_encode(value, upper, form).replace(' ', "+"));
        encodings.push(percent_encode(value, upper, |_| false));
    }
    encodings
}

fn percent_encode(value: &str, upper: bool, kept: impl Fn(u8) -> bool) -> String {
    value.bytes().fold(String::with_capacity(value.len()), |mut text, byte| {
        if kept(byte) {
            text.push(char::from(byte));
        } else if upper {
            write!(text, "%{byte:02X}").expect("writing to a string cannot fail");
        } else {
            write!(text, "%{byte:02x}").expect("writing to a string cannot fail");
        }
        text
    })
}

/// The value inside of a JSON string and inside of HTML.
fn escapes(value: &str) -> [String; 3] {
    let quoted = serde_json::Value::from(value).to_string();
    let json = quoted[1..quoted.len() - 1].to_owned();
    let slashes = json.replace('/', "\\/");
    let html = value
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;");
    [json, slashes, html]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALUE: &str = "s3cr3t/Value+with~\"odd\" chars: 7&8";

    fn matcher(values: &[&str]) -> SecretMatcher {
        SecretMatcher::new(
            values.iter().enumerate().map(|(i, value)| (format!("secret{i}"), Secret::from(*value))),
        )
    }

    #[test]
    fn every_encoding_that_a_guest_may_try_is_found() {
        let plain = VALUE;
        let hex = hexadecimal(plain.as_bytes());
        let mixed: String = hex
            .chars()
            .enumerate()
            .map(|(i, c)| if i % 3 == 0 { c.to_ascii_uppercase() } else { c })
            .collect();
        let every_byte = percent_encode(plain, false, |_| false);
        let twice = percent_encode(&every_byte, true, |_| false);
        let some = plain.replace('c', "%63").replace('/', "%2f");
        let unicode: String = plain.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
        let rows: &[(&str, String)] = &[
            ("raw", plain.to_owned()),
            ("raw inside", format!("x{plain}y")),
            ("percent, every byte, small", every_byte.clone()),
            ("percent, every byte, capital", percent_encode(plain, true, |_| false)),
            ("percent, some bytes", some),
            ("percent, twice", twice.clone()),
            ("percent, three times", percent_encode(&twice, true, |_| false)),
            (
                "form",
                plain
                    .replace('%', "%25")
                    .replace('+', "%2B")
                    .replace(' ', "+")
                    .replace('&', "%26")
                    .replace('"', "%22")
                    .replace('/', "%2F")
                    .replace(':', "%3A")
                    .replace('~', "%7E"),
            ),
            ("base64", STANDARD_NO_PAD.encode(plain)),
            ("base64 padded", base64::engine::general_purpose::STANDARD.encode(plain)),
            ("base64 after one byte", STANDARD_NO_PAD.encode(format!("a{plain}b"))),
            ("base64 after two bytes", STANDARD_NO_PAD.encode(format!("ab{plain}bc"))),
            ("base64 after three bytes", STANDARD_NO_PAD.encode(format!("abc{plain}bcd"))),
            ("base64 of a user and it", STANDARD_NO_PAD.encode(format!("user:{plain}"))),
            ("base64 URL-safe", URL_SAFE_NO_PAD.encode(plain)),
            ("base64 URL-safe after one byte", URL_SAFE_NO_PAD.encode(format!("a{plain}"))),
            ("base64 URL-safe after two bytes", URL_SAFE_NO_PAD.encode(format!("ab{plain}"))),
            (
                "base64, percent-encoded",
                percent_encode(&STANDARD_NO_PAD.encode(plain), true, |b| b.is_ascii_alphanumeric()),
            ),
            ("hex", hex.clone()),
            ("hex in capitals", hex.to_uppercase()),
            ("hex mixed", mixed),
            ("JSON", serde_json::to_string(plain).unwrap()),
            ("JSON with escaped slashes", serde_json::to_string(plain).unwrap().replace('/', "\\/")),
            ("JSON, every character", unicode.clone()),
            ("JSON over percent", every_byte.replace('%', "\\u0025")),
            ("HTML", plain.replace('&', "&amp;").replace('"', "&quot;")),
        ];
        let matcher = matcher(&["another secret", plain]);
        for (what, text) in rows {
            assert_eq!(matcher.find_in_guest_text(text.as_bytes()), Some("secret1"), "{what}: {text}");
        }
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        let matcher = matcher(&[VALUE, "tok1"]);
        let rows =
            ["", "s3cr3t/Value+with~", "atok1", "tok12", "TOK1", "tok", "czNjcjN0", "%", "%%%25", "\\u"];
        for text in rows {
            assert_eq!(matcher.find_in_guest_text(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn short_values_are_found_as_words_and_shorter_ones_never() {
        let matcher = matcher(&["1234567", "1234", "123"]);
        let rows = [
            ("1234567", Some("secret0")),
            ("pin=1234567&x", Some("secret0")),
            ("\"1234\"", Some("secret1")),
            ("%31234", Some("secret1")),
            ("x1234", None),
            ("12345", None),
            ("12345678", None),
            ("123", None),
        ];
        for (text, expected) in rows {
            assert_eq!(matcher.find_in_guest_text(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_value_at_the_searched_length_is_found_anywhere() {
        let matcher = matcher(&["abcdefgh"]);
        assert_eq!(matcher.find(b"xxabcdefghxx"), Some("secret0"));
        assert_eq!(matcher.find(STANDARD_NO_PAD.encode("zabcdefghz").as_bytes()), Some("secret0"));
    }

    #[test]
    fn answers_are_redacted_in_every_encoding_and_stay_whole_otherwise() {
        let matcher = matcher(&[VALUE, "word"]);
        let rows = [
            ("raw", format!("a{VALUE}b"), "a[redacted]b".to_owned()),
            ("twice", format!("{VALUE}{VALUE}"), "[redacted][redacted]".to_owned()),
            ("JSON", serde_json::json!({"text": VALUE}).to_string(), r#"{"text":"[redacted]"}"#.to_owned()),
            ("hex", format!("<{}>", hexadecimal(VALUE.as_bytes()).to_uppercase()), "<[redacted]>".to_owned()),
            ("percent", format!("?k={}&", percent_encodings(VALUE)[0]), "?k=[redacted]&".to_owned()),
            ("word", "a word, swords".to_owned(), "a [redacted], swords".to_owned()),
            ("nothing", "nothing".to_owned(), "nothing".to_owned()),
        ];
        for (what, text, expected) in rows {
            let changed = text != expected;
            let (redacted, said) = matcher.redact(text.into_bytes());
            assert_eq!(String::from_utf8(redacted).unwrap(), expected, "{what}");
            assert_eq!(said, changed, "{what}");
        }
    }

    #[test]
    fn the_longer_of_two_secrets_with_one_beginning_is_taken_out_whole() {
        let matcher = matcher(&["abcdefgh", "abcdefghijkl"]);
        assert_eq!(matcher.redact(b"abcdefghijkl".to_vec()).0, REDACTED.as_bytes());
    }

    #[test]
    fn a_header_that_hides_a_secret_behind_odd_escapes_goes_whole() {
        let matcher = matcher(&["topsecretvalue"]);
        let (value, changed) = matcher.redact_header(b"https://x/?a=t%6fpsecretvalue");
        assert_eq!((value.as_str(), changed), (REDACTED, true));
        assert_eq!(matcher.redact_header(b"plain"), ("plain".to_owned(), false));
        assert_eq!(matcher.redact_header(b"x topsecretvalue y").0, "x [redacted] y");
    }

    #[test]
    fn twenty_secrets_and_a_body_of_the_default_limit_are_searched() {
        let values: Vec<String> = (0..20).map(|i| format!("secret value number {i:04} of twenty")).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let matcher = matcher(&values);
        let mut body = b"secret value number ".repeat(10 * 1024 * 1024 / 20);
        assert_eq!(matcher.find(&body), None);
        body.extend_from_slice(values[19].as_bytes());
        assert_eq!(matcher.find(&body), Some("secret19"));
    }

    #[test]
    fn url_headers_and_body_are_all_searched() {
        let matcher = matcher(&["topsecretvalue"]);
        let header = |name: &str, value: &str| Header { name: name.into(), value: value.into() };
        type Row<'a> = (&'a str, Vec<Header>, Option<&'a [u8]>, Option<&'a str>);
        let rows: [Row<'_>; 5] = [
            ("https://a/?topsecretvalue", vec![], None, Some("URL")),
            ("https://a/", vec![header("topsecretvalue", "x")], None, Some("header")),
            ("https://a/", vec![header("x", "topsecretvalue")], None, Some("header")),
            ("https://a/", vec![], Some(b"\xfftopsecretvalue\xff"), Some("body")),
            ("https://a/", vec![header("x", "y")], Some(b"z"), None),
        ];
        for (url, headers, body, expected) in rows {
            assert_eq!(find_in_request(&matcher, url, &headers, body).map(|(_, place)| place), expected);
        }
    }

    proptest! {
        #[test]
        fn a_secret_is_found_at_any_place_in_any_base64(
            value in "[ -~]{8,40}", before in prop::collection::vec(any::<u8>(), 0..9), after in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            let matcher = matcher(&[&value]);
            let whole = [before.as_slice(), value.as_bytes(), after.as_slice()].concat();
            prop_assert!(matcher.find(STANDARD_NO_PAD.encode(&whole).as_bytes()).is_some());
            prop_assert!(matcher.find(URL_SAFE_NO_PAD.encode(&whole).as_bytes()).is_some());
        }

        #[test]
        fn no_choice_of_escaped_bytes_hides_a_secret(value in "[ -~]{8,40}", mask in any::<u64>()) {
            let matcher = matcher(&[&value]);
            let escaped: String = value.bytes().enumerate().map(|(i, b)| {
                // A per cent sign of the value itself must be escaped, or the text would say something else.
                if mask >> (i % 64) & 1 == 1 || b == b'%' { format!("%{b:02x}") } else { char::from(b).to_string() }
            }).collect();
            prop_assert!(matcher.find_in_guest_text(escaped.as_bytes()).is_some());
        }

        #[test]
        fn after_redaction_nothing_is_left(value in "[a-z0-9]{8,20}", parts in prop::collection::vec("[a-z0-9 ]{0,10}", 0..5)) {
            let matcher = matcher(&[&value]);
            let text = parts.join(&value);
            let (redacted, _) = matcher.redact(text.into_bytes());
            prop_assert!(!String::from_utf8(redacted).unwrap().contains(&value));
        }
    }
}
