//! From a JSON value to typed values, strictly: an unknown field is an error, and every error knows its place.
//!
//! The types of this folder derive `Deserialize`; the derived code tells a deserializer which fields it knows. This one
//! listens, so each type is checked by what it really reads and no second list of names can be forgotten. Parts that
//! are typed as maps or JSON values have no known fields and stay free-form.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde_json::{Map, Value};

/// One step into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Into a field of an object.
    Field(String),
    /// Into an element of a list.
    Element(usize),
}

/// Steps as text: `capabilities.http.allowlist[2].host`; a single dot for the whole document.
pub(super) fn path_text<'a>(steps: impl IntoIterator<Item = &'a Step>) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Element(index) => text.push_str(&format!("[{index}]")),
            Step::Field(name) if !is_plain(name) => text.push_str(&format!("[{:?}]", shortened(name))),
            Step::Field(name) if text.is_empty() => text.push_str(name),
            Step::Field(name) => text.push_str(&format!(".{name}")),
        }
    }
    if text.is_empty() { ".".to_owned() } else { text }
}

/// Whether a name needs no quotes in a path.
fn is_plain(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$'))
}

/// A name or value for an error's text: never longer than a line.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 64;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StrictError {
    /// The way to the place, last step first: steps are added while the error travels up.
    steps_back: Vec<Step>,
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Problem {
    /// A field that is not one of these.
    Unknown { nearest: Option<String>, known: Vec<String> },
    /// The field at the path is not there.
    Missing,
    /// The value at the path is not acceptable.
    Invalid { found: String, accepted: String },
}

/// Reads a typed value.
pub(super) fn read<T: DeserializeOwned>(value: &Value) -> Result<T, StrictError> {
    T::deserialize(Node(value))
}

/// Whether a field is a comment or an extension, to be skipped wherever fields are checked.
pub(super) fn is_skipped(name: &str) -> bool {
    name == "$schema" || name.starts_with('_') || name.starts_with("x-")
}

/// The known name that is most like `name`: at most a third of its letters differ.
fn nearest_of(name: &str, known: &[&str]) -> Option<String> {
    if name.len() > 128 {
        return None;
    }
    let lower = name.to_ascii_lowercase().replace('-', "_");
    let (distance, nearest) = known.iter().map(|k| (edit_distance(&lower, k), *k)).min()?;
    (distance <= nearest.len().max(lower.len()).div_ceil(3)).then(|| nearest.to_owned())
}

/// Letters to insert, remove or replace to make one word of the other (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

impl StrictError {
    /// Where it is, as text.
    pub fn path(&self) -> String {
        path_text(self.steps_back.iter().rev())
    }

    fn inside(mut self, step: Step) -> Self {
        self.steps_back.push(step);
        self
    }

    fn here(problem: Problem) -> Self {
        Self { steps_back: Vec::new(), problem }
    }

    fn invalid(found: impl Into<String>, accepted: impl Into<String>) -> Self {
        Self::here(Problem::Invalid { found: found.into(), accepted: accepted.into() })
    }

    fn unknown(name: &str, known: &[&str]) -> Self {
        let known_names = known.iter().map(|k| (*k).to_owned()).collect();
        Self::here(Problem::Unknown { nearest: nearest_of(name, known), known: known_names })
            .inside(Step::Field(name.to_owned()))
    }
}

impl fmt::Display for StrictError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.path(), self.problem)
    }
}

impl std::error::Error for StrictError {}

impl serde::de::Error for StrictError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::invalid("not acceptable", shortened_line(&message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid(described(found), in_words(&expected.to_string()))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let accepted = expected.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ");
        Self::invalid(format!("{:?}", shortened(variant)), accepted)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown(field, expected)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::invalid("there under two names", "one of them").inside(Step::Field(field.to_owned()))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::here(Problem::Missing).inside(Step::Field(field.to_owned()))
    }
}

fn shortened_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(256).collect()
}

/// What was found, without its text: it could be a secret that was put in the wrong file.
fn described(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Str(_) | Unexpected::Char(_) | Unexpected::Bytes(_) => "a string".to_owned(),
        Unexpected::Unit => "`null`".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "an object".to_owned(),
        other => other.to_string(),
    }
}

/// What Rust types are called in JSON.
fn in_words(expected: &str) -> String {
    match expected {
        "u8" => format!("a whole number from 0 to {}", u8::MAX),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => "a whole number, not negative".to_owned(),
        "i64" => "a whole number".to_owned(),
        "f64" => "a number".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "an object".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        other if other.starts_with("struct ") => "an object".to_owned(),
        other => other.to_owned(),
    }
}

/// One value of the document.
#[derive(Clone, Copy)]
struct Node<'a>(&'a Value);

impl<'a> Node<'a> {
    fn unexpected(self) -> Unexpected<'a> {
        match self.0 {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Number(_) => Unexpected::Other("a number"),
            Value::String(text) => Unexpected::Str(text),
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
        }
    }
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = StrictError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, StrictError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => visitor.visit_u64(value),
                (None, Some(value), _) => visitor.visit_i64(value),
                (None, None, value) => visitor.visit_f64(value.unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_str(text),
            Value::Array(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            Value::Object(fields) if takes_anything(&visitor) => visitor.visit_map(Fields::all(fields)),
            Value::Object(fields) => visitor.visit_map(Fields::meant(fields)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, StrictError> {
        match self.0 {
            Value::Object(fields) => visitor.visit_map(Fields::all(fields)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, StrictError> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, StrictError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, StrictError> {
        match self.0 {
            Value::Object(fields) => visitor.visit_map(Fields::known(fields, known)?),
            _ => Err(StrictError::invalid_type(self.unexpected(), &"an object")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, StrictError> {
        let accepted = "a string or an object with one field";
        let fields = match self.0 {
            Value::String(variant) => return visitor.visit_enum(Choice { variant, content: None }),
            Value::Object(fields) => Fields::known(fields, variants)?,
            _ => return Err(StrictError::invalid_type(self.unexpected(), &accepted)),
        };
        match fields.fields.as_slice() {
            [(variant, content)] => visitor.visit_enum(Choice { variant, content: Some(Node(content)) }),
            _ => Err(StrictError::invalid("another object", accepted)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, StrictError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct identifier
    }
}

/// Whether the reader takes any JSON as it is. Every other reader that does not say beforehand what it wants (an enum
/// that is told by a tag among its own fields, a type that is a string or an object) checks the names by itself, when
/// comments can no longer be told from fields. What a reader expects is the only thing that tells them apart.
fn takes_anything<'de, V: Visitor<'de>>(visitor: &V) -> bool {
    (visitor as &dyn Expected).to_string() == "any valid JSON value"
}

/// The elements of a list.
struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Value>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = StrictError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, StrictError> {
        let Some((index, item)) = self.items.next() else { return Ok(None) };
        seed.deserialize(Node(item)).map(Some).map_err(|error| error.inside(Step::Element(index)))
    }
}

/// The fields of an object that are to be read.
struct Fields<'a> {
    fields: std::vec::IntoIter<(&'a String, &'a Value)>,
    current: Option<(&'a String, &'a Value)>,
}

impl<'a> Fields<'a> {
    /// Every field: the object is a map, its names are the author's.
    fn all(fields: &'a Map<String, Value>) -> Self {
        Self::of(fields.iter().collect())
    }

    /// Every field that is meant for the host, all of which must be known; one that is `null` counts as absent.
    fn known(fields: &'a Map<String, Value>, known: &'static [&'static str]) -> Result<Self, StrictError> {
        match fields.keys().find(|name| !is_skipped(name) && !known.contains(&name.as_str())) {
            Some(name) => Err(StrictError::unknown(name, known)),
            None => Ok(Self::meant(fields)),
        }
    }

    fn meant(fields: &'a Map<String, Value>) -> Self {
        Self::of(fields.iter().filter(|(name, value)| !is_skipped(name) && !value.is_null()).collect())
    }

    fn of(fields: Vec<(&'a String, &'a Value)>) -> Self {
        Self { fields: fields.into_iter(), current: None }
    }
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = StrictError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, StrictError> {
        self.current = self.fields.next();
        let Some((name, _)) = self.current else { return Ok(None) };
        let key: StrDeserializer<'_, StrictError> = name.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|error| error.inside(Step::Field(name.clone())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, StrictError> {
        let Some((name, value)) = self.current.take() else {
            return Err(StrictError::custom("a value was asked for before its name"));
        };
        seed.deserialize(Node(value)).map_err(|error| error.inside(Step::Field(name.clone())))
    }
}

/// One variant of an enum: its name, and what belongs to it.
struct Choice<'a> {
    variant: &'a str,
    content: Option<Node<'a>>,
}

impl<'a, 'de> EnumAccess<'de> for Choice<'a> {
    type Error = StrictError;
    type Variant = Content<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content<'a>), StrictError> {
        let name: StrDeserializer<'_, StrictError> = self.variant.into_deserializer();
        let variant = seed.deserialize(name)?;
        Ok((variant, Content { variant: self.variant, content: self.content }))
    }
}

/// What belongs to a variant.
struct Content<'a> {
    variant: &'a str,
    content: Option<Node<'a>>,
}

impl<'a> Content<'a> {
    fn node(&self) -> Result<Node<'a>, StrictError> {
        self.content.ok_or_else(|| {
            let accepted = format!("an object with the field {:?}", shortened(self.variant));
            StrictError::invalid(format!("the string {:?}", shortened(self.variant)), accepted)
        })
    }

    fn step(&self) -> Step {
        Step::Field(self.variant.to_owned())
    }
}

impl<'de> VariantAccess<'de> for Content<'_> {
    type Error = StrictError;

    fn unit_variant(self) -> Result<(), StrictError> {
        match self.content {
            None => Ok(()),
            Some(_) => {
                Err(StrictError::invalid("an object", format!("the string {:?}", shortened(self.variant))))
            }
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, StrictError> {
        let node = self.node()?;
        seed.deserialize(node).map_err(|error| error.inside(self.step()))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Result<V::Value, StrictError> {
        let node = self.node()?;
        node.deserialize_any(visitor).map_err(|error| error.inside(self.step()))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, StrictError> {
        let node = self.node()?;
        node.deserialize_struct("", known, visitor).map_err(|error| error.inside(self.step()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Outer {
        inner: Option<Inner>,
        list: Vec<Inner>,
        free: Map<String, Value>,
        any: Value,
        mode: Option<Mode>,
        tagged: Option<Tagged>,
        small: u8,
        flag: bool,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        host: String,
        #[serde(default)]
        path_prefix: Option<String>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        Plain,
        With(Inner),
        Fields { depth: u8 },
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
    enum Tagged {
        Bearer,
        Header {
            #[serde(alias = "header_name")]
            name: String,
        },
    }

    #[test]
    fn errors_name_the_place_and_what_is_accepted() {
        let table: &[(&str, Value, &str, &str)] = &[
            ("misspelt", json!({"inner": {"hots": "a"}}), "inner.hots", "nearest: Some(\"host\")"),
            (
                "minus for underscore",
                json!({"inner": {"path-prefix": "a"}}),
                "inner.path-prefix",
                "\"path_prefix\"",
            ),
            ("far from all", json!({"colour": 1}), "colour", "nearest: None"),
            (
                "in a list",
                json!({"list": [{"host": "a"}, {"host": "a", "hosts": 1}]}),
                "list[1].hosts",
                "\"host\"",
            ),
            ("missing", json!({"list": [{}]}), "list[0].host", "Missing"),
            ("null for what must be there", json!({"list": [{"host": null}]}), "list[0].host", "Missing"),
            ("wrong type", json!({"inner": 3}), "inner", "an object"),
            ("list for an object", json!({"inner": ["a", "b"]}), "inner", "an object"),
            ("whole document", json!([]), ".", "an object"),
            ("too large", json!({"small": 256}), "small", "from 0 to 255"),
            ("negative", json!({"small": -1}), "small", "from 0 to 255"),
            ("fraction", json!({"small": 1.5}), "small", "from 0 to 255"),
            ("string for a flag", json!({"flag": "yes"}), "flag", "`true` or `false`"),
            ("unknown choice", json!({"mode": "plian"}), "mode", "\\\"plain\\\""),
            ("choice without its content", json!({"mode": "with"}), "mode", "an object with the field"),
            ("two choices", json!({"mode": {"plain": 1, "with": 2}}), "mode", "one field"),
            ("misspelt choice of an object", json!({"mode": {"withs": {}}}), "mode.withs", "\"with\""),
            ("no choice", json!({"mode": {}}), "mode", "one field"),
            ("inside a choice", json!({"mode": {"with": {"host": 1}}}), "mode.with.host", "a string"),
            (
                "unknown inside a choice",
                json!({"mode": {"fields": {"dept": 1}}}),
                "mode.fields.dept",
                "\"depth\"",
            ),
            ("unknown tag", json!({"tagged": {"type": "bear"}}), "tagged.type", "bearer"),
            (
                "unknown field of a tag",
                json!({"tagged": {"type": "header", "nam": 1}}),
                "tagged.nam",
                "\"name\"",
            ),
            (
                "two names of one field",
                json!({"tagged": {"type": "header", "name": "a", "header_name": "b"}}),
                "tagged.name",
                "two names",
            ),
            ("odd name", json!({"a b": 1}), "[\"a b\"]", "Unknown"),
        ];
        for (case, document, path, part) in table {
            let error = read::<Outer>(document).unwrap_err();
            assert_eq!(error.path(), *path, "{case}");
            assert!(format!("{:?}", error.problem).contains(part), "{case}: {:?}", error.problem);
        }
    }

    #[test]
    fn comments_extensions_and_free_parts_are_not_checked() {
        let document = json!({
            "$schema": "x", "_comment": 1, "x-vendor": {}, "flag": true, "mode": null,
            "tagged": {"type": "header", "_why": 1, "name": "a"},
            "inner": {"_why": "y", "host": "a"},
            "free": {"anything": {"goes": null, "_kept": 3}, "_kept": 1, "x-kept": 2},
            "any": {"_kept": [{"x-kept": null}]},
        });
        let outer: Outer = read(&document).unwrap();
        assert_eq!(outer.inner.unwrap().host, "a");
        assert_eq!(Value::Object(outer.free), document["free"]);
        assert_eq!(outer.any, document["any"]);
        assert!(outer.flag);
    }

    #[test]
    fn a_choice_with_a_comment_beside_it_is_read() {
        let outer: Outer = read(&json!({"mode": {"_why": 1, "fields": {"x-note": 2, "depth": 3}}})).unwrap();
        assert_eq!(outer.mode, Some(Mode::Fields { depth: 3 }));
    }

    #[test]
    fn no_string_of_the_document_is_quoted_where_a_secret_could_be() {
        let error = read::<Outer>(&json!({"small": "hunter2"})).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn distances_count_edits() {
        for (a, b, distance) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("host", "hots", 2), ("host", "hosts", 1)]
        {
            assert_eq!(edit_distance(a, b), distance, "{a} {b}");
        }
    }
}
