//! The id that a provider gives a delivery, from a header or from the body.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::dedupe_memory::DedupeKey;
use super::plan::Scheme;
use super::provider_ids::ProviderId;
use crate::capability::webhook::WebhookDedupe;

/// Where the id of a delivery is looked for: what the capability file declares, or else where the provider puts it. The
/// first place that has one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DedupeRule {
    places: Vec<IdPlace>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum IdPlace {
    Declared(WebhookDedupe),
    Provider(ProviderId),
}

impl DedupeRule {
    /// The rule of a channel with these schemes.
    pub(super) fn of(declared: Option<&WebhookDedupe>, schemes: &[Scheme], is_open: bool) -> Self {
        if let Some(declared) = declared {
            return Self { places: vec![IdPlace::Declared(declared.clone())] };
        }
        let of_schemes = schemes.iter().flat_map(ProviderId::of_scheme).copied();
        let of_guests = is_open.then_some(ProviderId::FeishuEvent);
        Self { places: of_schemes.chain(of_guests).map(IdPlace::Provider).collect() }
    }

    /// The key to recognise a duplicate of this request by, or `None` when it carries no id; then it always runs.
    ///
    /// Ids are the text of a header that is there once, or a string or whole number in the body. Nothing else counts:
    /// two fractions, or two whole numbers beyond 64 bits, may look the same after parsing, and taking one message for
    /// a duplicate of another would lose it.
    pub fn key(&self, headers: &[(String, String)], body: &[u8]) -> Option<DedupeKey> {
        let id = self.places.iter().find_map(|place| {
            let id = match place {
                IdPlace::Declared(WebhookDedupe::Header(name)) => header_id(name, headers)?.to_owned(),
                IdPlace::Declared(WebhookDedupe::JsonPointer(pointer)) => pointer_id(pointer, body)?,
                IdPlace::Provider(provider) => provider.find(headers, body)?,
            };
            (!id.is_empty()).then_some(id)
        })?;
        Some(DedupeKey::derive("dedupe", id.as_bytes()))
    }
}

pub(super) fn pointer_id(pointer: &str, body: &[u8]) -> Option<String> {
    body_id(&pointer_path(pointer)?, body)
}

pub(super) fn header_id<'a>(name: &str, headers: &'a [(String, String)]) -> Option<&'a str> {
    let mut values =
        headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
    values.next().filter(|_| values.next().is_none())
}

/// The segments of a JSON pointer (RFC 6901), unescaped; `None` when it is none.
pub(super) fn pointer_path(pointer: &str) -> Option<Vec<String>> {
    if pointer.is_empty() {
        return Some(Vec::new());
    }
    pointer.strip_prefix('/')?.split('/').map(unescape).collect()
}

fn unescape(segment: &str) -> Option<String> {
    let mut text = String::with_capacity(segment.len());
    let mut chars = segment.chars();
    while let Some(char) = chars.next() {
        text.push(match (char, char == '~') {
            (_, true) => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            (char, false) => char,
        });
    }
    Some(text)
}

/// Walks to the value without building the document, so that a large body costs no memory.
fn body_id(path: &[String], body: &[u8]) -> Option<String> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let id = Walk { path }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    id
}

struct Walk<'p> {
    path: &'p [String],
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Walk<'_> {
    /// The value that the pointer leads to, unless it leads further.
    fn arrived(&self, text: impl FnOnce() -> String) -> Option<String> {
        self.path.is_empty().then(text)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.arrived(|| text.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(self.arrived(|| number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(self.arrived(|| number.to_string()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            match self.path.split_first() {
                // Of equal keys the last one counts, as in the JSON parsers of guests.
                Some((wanted, path)) if *wanted == key => found = map.next_value_seed(Walk { path })?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let target = self.path.split_first().and_then(|(index, path)| Some((array_index(index)?, path)));
        let mut found = None;
        let mut at = 0;
        loop {
            match target {
                Some((index, path)) if index == at => match seq.next_element_seed(Walk { path })? {
                    Some(id) => found = id,
                    None => return Ok(None),
                },
                _ => {
                    if seq.next_element::<IgnoredAny>()?.is_none() {
                        return Ok(found);
                    }
                }
            }
            at += 1;
        }
    }
}

/// An array index as RFC 6901 writes it: no leading zero, no sign.
fn array_index(text: &str) -> Option<usize> {
    let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pointer: &str, body: &str) -> Option<String> {
        body_id(&pointer_path(pointer)?, body.as_bytes())
    }

    #[test]
    fn ids_are_found_where_the_pointer_says() {
        let body = r#"{"update_id": 7, "event": {"id": "Ev1", "n": -3}, "a/b": {"m~n": "x"},
            "list": [{"id": 1}, {"id": 2}], "big": 18446744073709551615}"#;
        let cases = [
            ("/update_id", Some("7")),
            ("/event/id", Some("Ev1")),
            ("/event/n", Some("-3")),
            ("/a~1b/m~0n", Some("x")),
            ("/list/1/id", Some("2")),
            ("/list/01/id", None),
            ("/list/-/id", None),
            ("/list/2/id", None),
            ("/big", Some("18446744073709551615")),
            ("/event", None),
            ("/list", None),
            ("/missing", None),
            ("/update_id/deeper", None),
            ("", None),
        ];
        for (pointer, id) in cases {
            assert_eq!(at(pointer, body).as_deref(), id, "{pointer}");
        }
        assert_eq!(at("", "\"whole\"").as_deref(), Some("whole"));
    }

    #[test]
    fn values_that_could_be_mistaken_for_another_are_no_ids() {
        for body in [
            "1.5",
            "18446744073709551616",
            "1e3",
            "true",
            "null",
            "[]",
            "{}",
            "",
            "{",
            "1 2",
            "\"a\" x",
            "\u{0}",
        ] {
            assert_eq!(at("", body), None, "{body:?}");
            assert_eq!(at("/id", &format!("{{\"id\": {body}}}")), None, "{body:?}");
        }
    }

    #[test]
    fn of_equal_keys_the_last_one_counts() {
        assert_eq!(at("/id", r#"{"id": 1, "id": 2}"#).as_deref(), Some("2"));
        assert_eq!(at("/id", r#"{"id": 1, "id": null}"#), None);
    }

    #[test]
    fn deep_nesting_is_survived() {
        let body = format!("{{\"x\": {}{}, \"id\": 1}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(at("/id", &body).as_deref(), Some("1"), "a sibling may be as deep as it likes");
        let pointer = "/0".repeat(1000);
        assert_eq!(at(&pointer, &"[".repeat(100_000)), None);
    }

    #[test]
    fn pointers_are_checked() {
        for (pointer, valid) in
            [("", true), ("/", true), ("/a~0~1", true), ("a", false), ("/~2", false), ("/~", false)]
        {
            assert_eq!(pointer_path(pointer).is_some(), valid, "{pointer}");
        }
    }

    #[test]
    fn a_header_counts_when_it_is_there_once() {
        let declared = WebhookDedupe::Header("X-GitHub-Delivery".to_owned());
        let rule = DedupeRule::of(Some(&declared), &[], false);
        let pairs = |values: &[&str]| -> Vec<(String, String)> {
            values.iter().map(|value| ("x-github-delivery".to_owned(), (*value).to_owned())).collect()
        };
        let key = |values: &[&str]| rule.key(&pairs(values), b"");
        assert!(key(&["a"]).is_some());
        assert_eq!(key(&["a"]), key(&["a"]));
        assert_ne!(key(&["a"]), key(&["b"]));
        assert_eq!(key(&[]), None);
        assert_eq!(key(&[""]), None);
        assert_eq!(key(&["a", "a"]), None);
    }
}
