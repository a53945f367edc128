//! The headers that a guest wrote, and those that it gets.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};

use super::error::OutboundError;
use crate::net::header_field::{is_name, is_value};

/// The most headers that a guest may send.
pub const MAX_REQUEST_HEADERS: usize = 64;
/// The longest name and value of one header together, in bytes.
pub const MAX_REQUEST_HEADER_BYTES: usize = 8 * 1024;
/// The longest that all names and values together may be, in bytes.
pub const MAX_REQUEST_HEADERS_BYTES: usize = 32 * 1024;

/// Headers that belong to the connection or to the message's framing (RFC 9110, sections 7.6.1, 7.2, 8.6 and 10.1.1; RFC
/// 9112, section 6). The host sets them; what a guest says about them is dropped, because real guests do say it.
///
/// `accept-encoding` is the host's, too: it searches responses for secrets, and would find none in one that came compressed
/// because the guest asked for that.
const HOST_OWNED: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether the host sets this header itself, and drops what others say about it.
#[cfg(feature = "agent-http")]
pub fn is_host_owned(name: &str) -> bool {
    HOST_OWNED.iter().any(|owned| owned.eq_ignore_ascii_case(name))
}

/// One header, its name in lower case.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct OutboundHeader {
    pub(super) name: String,
    pub(super) value: String,
}

impl fmt::Debug for OutboundHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ({} bytes)", self.name, self.value.len())
    }
}

/// Reads a guest's `headers-json`.
///
/// # Errors
/// [`OutboundError::Headers`] for anything but an object of strings, for a name twice (in any case), for characters that
/// have no place in a header (CR, LF and NUL above all), and past the limits.
pub(super) fn parse(json: &str) -> Result<Vec<OutboundHeader>, OutboundError> {
    let refuse = |reason: String| OutboundError::Headers(reason);
    // Escapes make JSON longer than what it says, by at most six.
    if json.len() > 6 * MAX_REQUEST_HEADERS_BYTES {
        return Err(refuse(format!("they are larger than {MAX_REQUEST_HEADERS_BYTES} bytes")));
    }
    let mut reader = serde_json::Deserializer::from_str(json);
    let pairs = reader.deserialize_map(Pairs).and_then(|pairs| reader.end().map(|()| pairs));
    let pairs = pairs.map_err(|_| refuse("headers-json is not a JSON object of strings".to_owned()))?;
    let mut total = 0;
    let mut headers: Vec<OutboundHeader> = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        total += name.len() + value.len();
        let header = check(&name, &value).map_err(|problem| refuse(problem.to_string()))?;
        if headers.iter().any(|other| other.name == header.name) {
            return Err(refuse(format!("'{}' is given twice", header.name)));
        }
        headers.push(header);
        if headers.len() > MAX_REQUEST_HEADERS {
            return Err(refuse(format!("there are more than {MAX_REQUEST_HEADERS}")));
        }
        if total > MAX_REQUEST_HEADERS_BYTES {
            return Err(refuse(format!("they are larger than {MAX_REQUEST_HEADERS_BYTES} bytes")));
        }
    }
    Ok(headers)
}

/// Takes out what is the host's to say: framing, the connection, and whatever `Connection` names (RFC 9110, 7.6.1).
pub(super) fn drop_host_owned(headers: &mut Vec<OutboundHeader>) {
    let named: Vec<String> = headers
        .iter()
        .filter(|header| header.name == "connection")
        .flat_map(|header| header.value.split(','))
        .map(|token| token.trim().to_ascii_lowercase())
        .collect();
    headers.retain(|header| !HOST_OWNED.contains(&header.name.as_str()) && !named.contains(&header.name));
}

/// Why a header is not sent.
#[derive(Debug, thiserror::Error)]
enum HeaderProblem {
    #[error("a name is empty or contains a character that header names do not have")]
    Name,
    #[error("'{0}' is larger than {MAX_REQUEST_HEADER_BYTES} bytes")]
    TooLarge(String),
    #[error("the value of '{0}' contains a line break or another control character")]
    Value(String),
}

fn check(name: &str, value: &str) -> Result<OutboundHeader, HeaderProblem> {
    if !is_name(name) {
        return Err(HeaderProblem::Name);
    }
    let name = name.to_ascii_lowercase();
    let value = value.trim_matches([' ', '\t']);
    if name.len() + value.len() > MAX_REQUEST_HEADER_BYTES {
        let shown: String = name.chars().take(64).collect();
        return Err(HeaderProblem::TooLarge(shown));
    }
    if !is_value(value) {
        return Err(HeaderProblem::Value(name));
    }
    Ok(OutboundHeader { name, value: value.to_owned() })
}

/// The pairs of a JSON object, duplicates included.
struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

/// Response headers as a guest gets them: a JSON object of strings, names in lower case, values of one name joined by
/// `", "` in their order (also those of `set-cookie`: the contract has one string per name).
pub(super) fn to_json<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = value.trim();
        joined
            .entry(name.to_ascii_lowercase())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(value);
            })
            .or_insert_with(|| value.to_owned());
    }
    let object: serde_json::Map<String, serde_json::Value> =
        joined.into_iter().map(|(name, value)| (name, value.into())).collect();
    serde_json::Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(json: &str) -> Vec<String> {
        let mut headers = parse(json).unwrap();
        drop_host_owned(&mut headers);
        headers.into_iter().map(|header| header.name).collect()
    }

    #[test]
    fn an_object_of_strings_is_taken() {
        let headers = parse(r#"{"Content-Type": "application/json", "X-A": " b\t"}"#).unwrap();
        assert_eq!(headers.len(), 2);
        assert_eq!(
            (headers[0].name.as_str(), headers[0].value.as_str()),
            ("content-type", "application/json")
        );
        assert_eq!((headers[1].name.as_str(), headers[1].value.as_str()), ("x-a", "b"));
        assert!(parse("{}").unwrap().is_empty());
    }

    #[test]
    fn everything_else_is_refused() {
        let rows = [
            ("empty text", ""),
            ("null", "null"),
            ("array", "[]"),
            ("array of pairs", r#"[["a", "b"]]"#),
            ("string", r#""a: b""#),
            ("number as value", r#"{"a": 1}"#),
            ("null as value", r#"{"a": null}"#),
            ("list as value", r#"{"a": ["b"]}"#),
            ("object as value", r#"{"a": {}}"#),
            ("broken", r#"{"a": "b""#),
            ("something after it", r#"{"a": "b"} x"#),
            ("two objects", "{}{}"),
            ("line break in a value", r#"{"a": "b\r\nX: y"}"#),
            ("line feed in a value", r#"{"a": "b\nX: y"}"#),
            ("carriage return in a value", r#"{"a": "b\rX: y"}"#),
            ("NUL in a value", r#"{"a": "b\u0000"}"#),
            ("escape in a value", r#"{"a": "b\u001b"}"#),
            ("delete in a value", r#"{"a": "b\u007f"}"#),
            ("line break in a name", r#"{"a\r\nX": "y"}"#),
            ("colon in a name", r#"{"a:": "y"}"#),
            ("space in a name", r#"{"a b": "y"}"#),
            ("name not ASCII", r#"{"ä": "y"}"#),
            ("empty name", r#"{"": "y"}"#),
            ("a name twice", r#"{"a": "b", "a": "c"}"#),
            ("a name twice in two cases", r#"{"Host": "b", "hOST": "c"}"#),
        ];
        for (what, json) in rows {
            assert!(parse(json).is_err(), "{what}");
        }
    }

    #[test]
    fn headers_that_the_host_sets_are_dropped() {
        let rows = [
            ("host", r#"{"Host": "evil.example", "a": "b"}"#),
            ("length", r#"{"CONTENT-LENGTH": "5", "a": "b"}"#),
            ("framing", r#"{"Transfer-Encoding": "chunked", "a": "b"}"#),
            ("connection and what it names", r#"{"Connection": "close, X-Hop", "x-hop": "1", "a": "b"}"#),
            ("keep-alive", r#"{"Keep-Alive": "1", "Proxy-Connection": "x", "a": "b"}"#),
            ("upgrade", r#"{"Upgrade": "h2c", "HTTP2-Settings": "x", "a": "b"}"#),
            ("trailers", r#"{"TE": "trailers", "Trailer": "x", "a": "b"}"#),
            ("proxy credentials", r#"{"Proxy-Authorization": "x", "a": "b"}"#),
            ("expectation", r#"{"Expect": "100-continue", "a": "b"}"#),
            ("compression", r#"{"Accept-Encoding": "gzip, br", "a": "b"}"#),
        ];
        for (what, json) in rows {
            assert_eq!(names(json), ["a"], "{what}");
        }
    }

    #[test]
    fn limits_hold_at_the_limit_and_one_past_it() {
        let many = |n: usize| {
            let pairs: Vec<String> = (0..n).map(|i| format!(r#""h{i}": """#)).collect();
            format!("{{{}}}", pairs.join(","))
        };
        assert!(parse(&many(MAX_REQUEST_HEADERS)).is_ok());
        assert!(parse(&many(MAX_REQUEST_HEADERS + 1)).is_err());
        let one = |n: usize| format!(r#"{{"a": "{}"}}"#, "x".repeat(n - 1));
        assert!(parse(&one(MAX_REQUEST_HEADER_BYTES)).is_ok());
        assert!(parse(&one(MAX_REQUEST_HEADER_BYTES + 1)).is_err());
        let total = |last: usize| {
            let value = "x".repeat(MAX_REQUEST_HEADER_BYTES - 1);
            let last = "x".repeat(last - 1);
            format!(r#"{{"a": "{value}", "b": "{value}", "c": "{value}", "d": "{last}"}}"#)
        };
        assert!(parse(&total(MAX_REQUEST_HEADER_BYTES)).is_ok());
        let mut over = total(MAX_REQUEST_HEADER_BYTES);
        over.insert_str(1, r#""e": "","#);
        assert!(parse(&over).is_err());
        assert!(parse(&format!("{}{{}}", " ".repeat(1 << 20))).is_err());
    }

    #[test]
    fn response_headers_are_lower_case_and_joined() {
        let json = to_json([("Set-Cookie", "a=1"), ("X-Encrypted-Param", "v"), ("set-cookie", "b=2 ")]);
        assert_eq!(json, r#"{"set-cookie":"a=1, b=2","x-encrypted-param":"v"}"#);
        assert_eq!(to_json([]), "{}");
    }

    /// What header JSON is made of, well and badly.
    const PARTS: &[&str] = &[
        r#""a":"b""#,
        r#""X-A": "c\r\nX: y""#,
        r#""Host":"evil.example""#,
        r#""host":"h""#,
        r#""b":" d\t""#,
        r#""\u0061":"e""#,
        r#""c":"\u0000""#,
        r#""d":"\ud83d\ude00""#,
        r#""e":"\ud83d""#,
        r#""f":1"#,
        r#""g":null"#,
        r#""h":["i"]"#,
        r#""j":{}"#,
        r#""":"""#,
        "\"k\":\"\u{7f}\"",
        "\"l\":\"\n\"",
        ",",
        ", ",
        ":",
        "{",
        "}",
        "[",
        "]",
        "\"",
        "\\",
        " ",
        "\u{feff}",
        "null",
        "1e9",
    ];

    proptest! {
        #[test]
        fn nothing_panics_and_no_line_break_survives(json in any::<String>()) {
            if let Ok(headers) = parse(&json) {
                prop_assert!(headers.iter().all(|h| is_name(&h.name) && is_value(&h.value)));
            }
        }

        /// Texts that come close to an object of strings: what is taken is one to any other parser, too, and says the same.
        #[test]
        fn almost_valid_header_json_is_refused_or_read_alike_by_another_parser(
            parts in prop::collection::vec(prop::sample::select(PARTS), 0..24),
            inside in any::<bool>(),
        ) {
            let text = if inside { format!("{{{}}}", parts.concat()) } else { parts.concat() };
            if let Ok(headers) = parse(&text) {
                let other: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(other.len(), headers.len());
                for (header, (name, value)) in headers.iter().zip(&other) {
                    prop_assert_eq!(&header.name, &name.to_ascii_lowercase());
                    prop_assert_eq!(Some(header.value.as_str()), value.as_str().map(|v| v.trim_matches([' ', '\t'])));
                    prop_assert!(is_name(&header.name) && is_value(&header.value));
                }
            }
        }

        #[test]
        fn any_object_of_strings_is_judged_by_its_bytes(name in any::<String>(), value in any::<String>()) {
            let json = serde_json::json!({ (name.clone()): value }).to_string();
            let acceptable = is_name(&name) && is_value(value.trim_matches([' ', '\t']));
            prop_assert_eq!(parse(&json).is_ok(), acceptable);
        }
    }
}
