//! The forms in which the value of a secret is searched for.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use super::matcher::PatternKind;
use super::{MIN_GUARDED_BYTES, MIN_SEARCHED_BYTES};

pub(super) fn add_patterns(value: &str, add: &mut impl FnMut(Vec<u8>, PatternKind)) {
    let bytes = value.as_bytes();
    if bytes.len() < MIN_GUARDED_BYTES {
        return;
    }
    if bytes.len() < MIN_SEARCHED_BYTES {
        return add(bytes.to_vec(), PatternKind::Word);
    }
    add(bytes.to_vec(), PatternKind::Exact);
    for escaped in percent_encodings(value).into_iter().chain(escapes(value)) {
        add(escaped.into_bytes(), PatternKind::Exact);
    }
    for alignment in 0..3 {
        add(base64_inside(&STANDARD_NO_PAD, bytes, alignment), PatternKind::Exact);
        add(base64_inside(&URL_SAFE_NO_PAD, bytes, alignment), PatternKind::Exact);
    }
    add(HEXLOWER.encode(bytes).into_bytes(), PatternKind::CaseBlind);
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

/// The percent-encodings in use: what is left alone differs, and so does the case of the digits.
pub(super) fn percent_encodings(value: &str) -> Vec<String> {
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

pub(super) fn percent_encode(value: &str, upper: bool, kept: impl Fn(u8) -> bool) -> String {
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
