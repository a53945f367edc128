//! JSON of people and programs, in which no name may stand twice in one object: of two values the last one would count without a
//! word, and whoever reviewed the text may have seen the first.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::document::place_of;

/// Why a text is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    /// Not JSON; the reason has line and column.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// The field at this path stands twice.
    #[error("duplicate field `{0}`; remove one")]
    Duplicate(String),
}

/// Parses a text.
///
/// # Errors
/// It is not JSON, or an object has a name twice. Nesting is bounded by `serde_json`'s own limit of 128 levels.
pub(crate) fn parse_json(bytes: &[u8]) -> Result<Value, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(without_mark(bytes));
    let value: Unique = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        match error.inner().is_data() {
            true => JsonError::Duplicate(place_of(error.path())),
            false => JsonError::Syntax(error.inner().to_string()),
        }
    })?;
    deserializer.end().map_err(|error| JsonError::Syntax(error.to_string()))?;
    Ok(value.0)
}

/// Some editors write a byte order mark before the text; RFC 8259, section 8.1, lets a reader ignore it.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// A value in which no object has a name twice. Its only data error is that one has.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

/// Takes the place of a value whose name was there before, so that the error has its path.
struct DuplicateField;

impl<'de> DeserializeSeed<'de> for DuplicateField {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, _deserializer: D) -> Result<(), D::Error> {
        Err(D::Error::custom("duplicate field"))
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(value)) = items.next_element()? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if object.contains_key(&name) {
                fields.next_value_seed(DuplicateField)?;
            }
            let Unique(value) = fields.next_value()?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duplicate(text: &str) -> Option<String> {
        match parse_json(text.as_bytes()) {
            Err(JsonError::Duplicate(path)) => Some(path),
            _ => None,
        }
    }

    #[test]
    fn a_field_that_stands_twice_is_refused_with_its_place() {
        assert_eq!(duplicate(r#"{"a": 1, "a": 2}"#).as_deref(), Some("a"));
        assert_eq!(duplicate(r#"{"a": [{"b": 1, "b": 1}]}"#).as_deref(), Some("a[0].b"));
        assert_eq!(duplicate(r#"{"a": {"b": 1}, "c": {"b": 1}}"#), None);
    }

    #[test]
    fn other_text_is_what_the_plain_parser_makes_of_it() {
        let text = r#" {"a": [1, -2, 3.5, 18446744073709551615, "x", null, true], "b": {}} "#;
        let Ok(value) = parse_json(text.as_bytes()) else { panic!("refused") };
        assert_eq!(value, serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn a_byte_order_mark_is_ignored() {
        assert!(parse_json(b"\xEF\xBB\xBF{}").is_ok());
    }

    #[test]
    fn text_that_is_not_json_is_a_syntax_error_with_line_and_column() {
        for text in ["", "{", "{} x", "{\"a\": 1,}", "\u{0}", &"[".repeat(1_000_000)] {
            match parse_json(text.as_bytes()) {
                Err(JsonError::Syntax(reason)) => assert!(reason.contains("line "), "{reason}"),
                _ => panic!("accepted: {}", &text[..text.len().min(20)]),
            }
        }
    }
}
