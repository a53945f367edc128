//! The search in all its forms.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::encodings::{percent_encode, percent_encodings};
use super::*;
use crate::egress::headers::OutboundHeader;
use crate::model::prefix::prefix;
use crate::secrets::Secret;

const VALUE: &str = "s3cr3t/Value+with~\"odd\" chars: 7&8";

fn matcher(values: &[&str]) -> SecretMatcher {
    SecretMatcher::new(
        values.iter().enumerate().map(|(i, value)| (format!("secret{i}"), Secret::from(*value))),
    )
}

#[test]
fn every_encoding_that_a_guest_may_try_is_found() {
    let plain = VALUE;
    let hex = HEXLOWER.encode(plain.as_bytes());
    let mixed: String =
        hex.chars().enumerate().map(|(i, c)| if i % 3 == 0 { c.to_ascii_uppercase() } else { c }).collect();
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
    let rows = ["", "s3cr3t/Value+with~", "atok1", "tok12", "TOK1", "tok", "czNjcjN0", "%", "%%%25", "\\u"];
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
fn of_a_long_text_only_its_beginning_is_copied_and_no_part_of_a_secret() {
    let matcher = matcher(&[VALUE]);
    let long = format!("a {VALUE} b{}", "x".repeat(1 << 20));
    let Cow::Owned(shown) = matcher.redact_beginning(&long, 100) else { panic!("it has a secret") };
    assert!(shown.starts_with("a [redacted] bx") && shown.len() == 100, "{shown}");
    let Cow::Owned(whole) = matcher.redact_beginning(&long, usize::MAX) else { panic!("it has a secret") };
    assert_eq!(whole.len(), long.len() - VALUE.len() + REDACTED.len());
    assert!(
        matches!(matcher.redact_beginning(&long[VALUE.len()..], 100), Cow::Borrowed(_)),
        "nothing to replace"
    );
    // Secrets at and across the limit, which are not seen when the text is cut first.
    for before in 0..=102 {
        let text = format!("{}{VALUE}{VALUE} end", "ä".repeat(before / 2));
        let shown = matcher.redact_beginning(&text, 100);
        let expected = format!("{}[redacted][redacted] end", "ä".repeat(before / 2));
        assert!(shown.len() >= expected.len().min(100) && shown.len() < 120, "{before}: {shown}");
        let kept = prefix(&shown, 90);
        assert!(expected.starts_with(kept), "{before}: {kept}");
    }
}

#[test]
fn responses_are_redacted_in_every_encoding_and_stay_whole_otherwise() {
    let matcher = matcher(&[VALUE, "word"]);
    let rows = [
        ("raw", format!("a{VALUE}b"), "a[redacted]b".to_owned()),
        ("twice", format!("{VALUE}{VALUE}"), "[redacted][redacted]".to_owned()),
        ("JSON", serde_json::json!({"text": VALUE}).to_string(), r#"{"text":"[redacted]"}"#.to_owned()),
        ("hex", format!("<{}>", HEXLOWER.encode(VALUE.as_bytes()).to_uppercase()), "<[redacted]>".to_owned()),
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

// A key as the name of a header left the host in lower case.
#[test]
fn url_and_headers_are_all_searched() {
    let matcher = matcher(&["topsecretvalue", "MixedCaseValue", "Ab3D"]);
    let header = |name: &str, value: &str| OutboundHeader { name: name.into(), value: value.into() };
    let rows = [
        ("https://a/?topsecretvalue", vec![], Some("URL")),
        ("https://a/", vec![header("topsecretvalue", "x")], Some("header")),
        ("https://a/", vec![header("x", "topsecretvalue")], Some("header")),
        ("https://a/", vec![header("x", "y"), header("mixedcasevalue", "x")], Some("header")),
        ("https://a/", vec![header("x-m%69xed%43asevalue-x", "x")], Some("header")),
        ("https://a/", vec![header("x-ab3d", "x")], Some("header")),
        ("https://a/", vec![header("x-ab3de", "x")], None),
        ("https://a/", vec![header("x", "mixedcasevalue")], None),
        ("https://a/", vec![header("x", "y")], None),
    ];
    for (url, headers, expected) in rows {
        assert_eq!(find_in_head(&matcher, url, &headers).map(|(_, place)| place), expected);
    }
}

#[test]
fn a_secret_in_a_body_is_replaced_in_any_form_and_the_rest_stays() {
    let matcher = matcher(&["topsecretvalue", "a\"quoted\" value"]);
    let rows: [(&str, &[u8], &[u8]); 9] = [
        ("plain", b"a topsecretvalue b", b"a [redacted] b"),
        ("binary", b"\xfftopsecretvalue\xff", b"\xff[redacted]\xff"),
        ("twice", b"topsecretvalue,topsecretvalue", b"[redacted],[redacted]"),
        ("JSON", br#"{"t":"a\"quoted\" value"}"#, br#"{"t":"[redacted]"}"#),
        ("JSON, one escape", br#"{"t":"t\u006fpsecretvalue!"}"#, br#"{"t":"[redacted]!"}"#),
        ("percent, one escape", b"q=x+t%6fpsecretvalue&b=%20", b"q=x+[redacted]&b=%20"),
        ("percent, twice", b"q=t%256fpsecretvalue&b=%2520", b"q=[redacted]&b=%2520"),
        ("both kinds", b"t\\u006fpsecretvalue t%6fpsecretvalue", b"[redacted] [redacted]"),
        ("plain and hidden", b"topsecretvalue=t%6fpsecretvalue", b"[redacted]=[redacted]"),
    ];
    for (what, body, expected) in rows {
        let BodySearch::Redacted(redacted, names) = matcher.search_body(body.to_vec()) else {
            panic!("{what} is not redacted");
        };
        assert_eq!(String::from_utf8_lossy(&redacted), String::from_utf8_lossy(expected), "{what}");
        assert_eq!(names.len(), 1, "{what}");
    }
    assert_eq!(matcher.search_body(b"nothing".to_vec()), BodySearch::Clean(b"nothing".to_vec()));
}

#[test]
fn a_hidden_secret_is_replaced_in_a_body_of_a_mebibyte_and_refused_in_a_longer_one() {
    let matcher = matcher(&["topsecretvalue"]);
    let hidden = b"t%6fpsecretvalue";
    let mut body = vec![b' '; 1024 * 1024 - hidden.len()];
    body.extend_from_slice(hidden);
    assert!(matches!(matcher.search_body(body.clone()), BodySearch::Redacted(..)));
    body.push(b' ');
    assert_eq!(matcher.search_body(body), BodySearch::Hidden("secret0".to_owned()));
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
    fn after_redaction_no_secret_is_left(value in "[a-z0-9]{8,20}", parts in prop::collection::vec("[a-z0-9 ]{0,10}", 0..5)) {
        let matcher = matcher(&[&value]);
        let text = parts.join(&value);
        let (redacted, _) = matcher.redact(text.into_bytes());
        prop_assert!(!String::from_utf8(redacted).unwrap().contains(&value));
    }

    #[test]
    fn a_redacted_body_contains_no_secret_however_it_was_escaped(
        value in "[ -~]{8,20}", mask in any::<u64>(), around in "[a-z%\\\\ ]{0,12}",
    ) {
        let matcher = matcher(&[&value]);
        let escaped: String = value.bytes().enumerate().map(|(i, b)| match mask >> (2 * i % 64) & 3 {
            1 => format!("%{b:02x}"),
            2 => format!("\\u{b:04x}"),
            _ => char::from(b).to_string(),
        }).collect();
        match matcher.search_body(format!("{around}{escaped}{around}").into_bytes()) {
            BodySearch::Clean(body) | BodySearch::Redacted(body, _) => {
                prop_assert!(matcher.find_in_guest_text(&body).is_none());
            }
            BodySearch::Hidden(name) => prop_assert_eq!(name, "secret0"),
        }
    }
}
