//! The serde format behind [`read`](super::document::read): a JSON value as a `Deserializer` with typed errors.

use std::fmt::{self, Display};
use std::iter::Enumerate;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::{Map, Number, Value};

use super::document::{DocumentProblem, Expected, FoundValue, PathStep, one_of, shortened};

/// What becomes of fields that are comments or extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comments {
    /// `$schema` and names that begin with `_` or `x-` are skipped.
    Skipped,
    /// They are unknown fields like any other.
    #[cfg(any(feature = "cli", test))]
    Refused,
}

/// Whether a field is a comment or an extension.
pub fn is_comment(name: &str) -> bool {
    name == "$schema" || name.starts_with('_') || name.starts_with("x-")
}

/// Fields that name the variant of an enum, in the order in which they are looked for.
const TAGS: [&str; 3] = ["type", "preset", "scheme"];

/// A problem, and the way from the current value to its place: the last step comes first, as every value on the way adds its own.
#[derive(Clone, Debug)]
pub(super) struct FormatError {
    pub steps: Vec<PathStep>,
    pub problem: DocumentProblem,
}

impl FormatError {
    fn here(problem: DocumentProblem) -> Self {
        Self { steps: Vec::new(), problem }
    }

    fn invalid(expected: Expected, found: FoundValue) -> Self {
        Self::here(DocumentProblem::Invalid { expected, found })
    }

    fn about(field: &str, problem: DocumentProblem) -> Self {
        Self::here(problem).within(PathStep::Field(field.to_owned()))
    }

    /// The same, as seen from the object or list that has the value.
    fn within(mut self, step: PathStep) -> Self {
        self.steps.push(step);
        self
    }
}

impl std::error::Error for FormatError {}

impl Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.problem)
    }
}

impl de::Error for FormatError {
    fn custom<T: Display>(message: T) -> Self {
        Self::here(DocumentProblem::Other(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid(Expected::Words(expected.to_string()), found_of(found))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Self::invalid(Expected::OneOf(known), FoundValue::Words(format!("{:?}", shortened(word))))
    }

    /// A derived reader says this while it reads the key, which [`Members`] adds. [`ValueReader`] finds unknown fields itself wherever it knows
    /// the struct beforehand.
    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::here(DocumentProblem::Unknown { known: known.to_vec() })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::about(field, DocumentProblem::Missing)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::about(field, DocumentProblem::TwoNames)
    }
}

/// What was found, without its text.
fn found_of(found: Unexpected<'_>) -> FoundValue {
    match found {
        Unexpected::Bool(flag) => FoundValue::Flag(flag),
        Unexpected::Unsigned(number) => FoundValue::Number(number.into()),
        Unexpected::Signed(number) => FoundValue::Number(number.into()),
        Unexpected::Float(number) => Number::from_f64(number).map_or(FoundValue::Null, FoundValue::Number),
        Unexpected::Str(_) | Unexpected::Char(_) | Unexpected::Bytes(_) => FoundValue::Text,
        Unexpected::Unit | Unexpected::Option => FoundValue::Null,
        Unexpected::Seq => FoundValue::List,
        _ => FoundValue::Object,
    }
}

/// A value that is being read.
#[derive(Clone)]
pub(super) struct ValueReader {
    pub value: Value,
    pub comments: Comments,
}

impl ValueReader {
    fn invalid(&self, expected: Expected) -> FormatError {
        FormatError::invalid(expected, FoundValue::of(&self.value))
    }

    fn within(&self, value: Value) -> Self {
        Self { value, comments: self.comments }
    }

    fn object(self) -> Result<Map<String, Value>, FormatError> {
        match self.value {
            Value::Object(fields) => Ok(fields),
            _ => Err(self.invalid(Expected::Object)),
        }
    }

    fn whole(self, max: u64) -> Result<u64, FormatError> {
        let number = self.value.as_u64().filter(|number| *number <= max);
        number.ok_or_else(|| self.invalid(Expected::Whole { max }))
    }

    /// The fields of an object.
    fn members(self) -> Result<Members, FormatError> {
        let comments = self.comments;
        Ok(Members { rest: self.object()?.into_iter(), value: None, comments })
    }

    /// The fields of a struct. What is unknown is told before anything else: it is the likely reason of what is missing.
    fn members_of_struct(self, known: &'static [&'static str]) -> Result<Members, FormatError> {
        let comments = self.comments;
        let mut fields = self.object()?;
        if comments == Comments::Skipped {
            fields.retain(|name, _| known.contains(&name.as_str()) || !is_comment(name));
        }
        if let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(FormatError::about(name, DocumentProblem::Unknown { known: known.to_vec() }));
        }
        fields.retain(|_, value| !value.is_null());
        Ok(Members { rest: fields.into_iter(), value: None, comments })
    }

    /// The items of a list.
    fn items(self) -> Result<Items, FormatError> {
        let comments = self.comments;
        match self.value {
            Value::Array(items) => Ok(Items { rest: items.into_iter().enumerate(), comments }),
            _ => Err(self.invalid(Expected::List)),
        }
    }
}

/// The fields of an object that are still to be read. An error gets the name of its field.
struct Members {
    rest: serde_json::map::IntoIter,
    /// The field whose name was read last.
    value: Option<(String, Value)>,
    comments: Comments,
}

impl<'de> MapAccess<'de> for Members {
    type Error = FormatError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, FormatError> {
        let Some((name, value)) = self.rest.next() else { return Ok(None) };
        let key = seed.deserialize(StrDeserializer::<FormatError>::new(&name));
        let key = key.map_err(|error| error.within(PathStep::Field(name.clone())))?;
        self.value = Some((name, value));
        Ok(Some(key))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, FormatError> {
        let Some((name, value)) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its name"));
        };
        let value = seed.deserialize(ValueReader { value, comments: self.comments });
        value.map_err(|error| error.within(PathStep::Field(name)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The items of a list that are still to be read. An error gets the number of its item.
struct Items {
    rest: Enumerate<std::vec::IntoIter<Value>>,
    comments: Comments,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = FormatError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, FormatError> {
        let Some((index, value)) = self.rest.next() else { return Ok(None) };
        let item = seed.deserialize(ValueReader { value, comments: self.comments });
        item.map(Some).map_err(|error| error.within(PathStep::Item(index)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// Reads whole numbers of each size; what is out of range is told with the bound.
macro_rules! whole_numbers {
    ($($method:ident => $visit:ident: $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
            // The bound is that of the type, so the cast cannot lose anything.
            visitor.$visit(self.whole(<$type>::MAX.into())? as $type)
        }
    )*};
}

impl<'de> Deserializer<'de> for ValueReader {
    type Error = FormatError;

    whole_numbers! {
        deserialize_u8 => visit_u8: u8,
        deserialize_u16 => visit_u16: u16,
        deserialize_u32 => visit_u32: u32,
        deserialize_u64 => visit_u64: u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(flag),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), _, _) => visitor.visit_u64(number),
                (_, Some(number), _) => visitor.visit_i64(number),
                (_, _, number) => visitor.visit_f64(number.unwrap_or_default()),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(_) => visitor.visit_seq(self.items()?),
            Value::Object(_) => visitor.visit_map(self.members()?),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        let flag = self.value.as_bool().ok_or_else(|| self.invalid(Expected::Flag))?;
        visitor.visit_bool(flag)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        let number = self.value.as_f64().ok_or_else(|| self.invalid(Expected::Number))?;
        visitor.visit_f64(number)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        match self.value {
            Value::String(text) => visitor.visit_string(text),
            _ => Err(self.invalid(Expected::Text)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, FormatError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        visitor.visit_seq(self.items()?)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        visitor.visit_map(self.members()?)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FormatError> {
        visitor.visit_map(self.members_of_struct(fields)?)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FormatError> {
        visitor.visit_enum(Choice::new(self, variants))
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// An enum: a word, or an object that names its variant.
struct Choice {
    document: ValueReader,
    variants: &'static [&'static str],
    /// The field that names the variant, when this is an object that has one.
    tag: Option<&'static str>,
    /// The variant that is named, when it is known.
    chosen: Option<&'static str>,
}

/// The scheme of a variant that is only named by an object, whose name is the shortest such object:
/// `{"scheme": "hmac", "header": "NAME"}`.
fn scheme_of(variant: &str) -> Option<&str> {
    variant.strip_prefix("{\"scheme\": \"")?.split('"').next()
}

/// The names of variants, words first.
fn words_and_objects(variants: &[&str]) -> String {
    let (objects, words): (Vec<&str>, Vec<&str>) =
        variants.iter().partition(|known| scheme_of(known).is_some());
    [one_of(&words), objects.join(" or ")].join(" or ")
}

impl Choice {
    fn new(document: ValueReader, variants: &'static [&'static str]) -> Self {
        let tag = TAGS.into_iter().find(|tag| document.value.get(tag).is_some_and(|value| !value.is_null()));
        let word = match tag {
            Some(tag) => &document.value[tag],
            None => &document.value,
        };
        let named = |word: &str| variants.iter().copied().find(|known| *known == word);
        let by_scheme = |word: &str| variants.iter().copied().find(|known| scheme_of(known) == Some(word));
        let chosen = match (tag, word.as_str()) {
            (Some("scheme"), Some(word)) => by_scheme(word).or_else(|| named(word)),
            (_, word) => word.and_then(named),
        };
        Self { document, variants, tag, chosen }
    }

    /// The value is none of the words of an enum.
    fn no_such_word(&self) -> FormatError {
        let expected = match self.variants.iter().any(|known| scheme_of(known).is_some()) {
            true => {
                let words = self.variants.iter().copied().filter(|known| scheme_of(known).is_none());
                Expected::OneOfOr { words: words.collect(), text: words_and_objects(self.variants) }
            }
            false => Expected::OneOf(self.variants),
        };
        match &self.document.value {
            Value::String(word) => {
                FormatError::invalid(expected, FoundValue::Words(format!("{:?}", shortened(word))))
            }
            other => FormatError::invalid(expected, FoundValue::of(other)),
        }
    }

    /// The value names no variant of an enum whose variants have fields; `wanted` is the field that would.
    fn no_such_variant(self, wanted: &str) -> FormatError {
        let Value::Object(fields) = &self.document.value else {
            return match self.document.value {
                Value::String(_) => self.no_such_word(),
                _ => self.document.invalid(Expected::Words("a name or an object".to_owned())),
            };
        };
        match self.tag {
            Some(tag) => {
                let value = fields[tag].clone();
                let choice = Self { document: self.document.within(value), ..self };
                choice.no_such_word().within(PathStep::Field(tag.to_owned()))
            }
            None => FormatError::about(wanted, DocumentProblem::Missing),
        }
    }

    /// The object with the fields of the variant; `preset` and `scheme` are among them.
    fn content(self, wanted: &str) -> Result<ValueReader, FormatError> {
        let Some(chosen) = self.chosen else { return Err(self.no_such_variant(wanted)) };
        let comments = self.document.comments;
        let value = match self.document.value {
            Value::Object(fields) => Value::Object(fields),
            _ => serde_json::json!({ "preset": chosen }),
        };
        Ok(ValueReader { value, comments })
    }
}

impl<'de> de::EnumAccess<'de> for Choice {
    type Error = FormatError;
    type Variant = Self;

    /// When no variant is named, the first one is looked at to learn whether variants have fields: what would be accepted
    /// depends on it.
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), FormatError> {
        let variant = self.chosen.or(self.variants.first().copied()).unwrap_or_default();
        let variant = seed.deserialize(StrDeserializer::<FormatError>::new(variant))?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for Choice {
    type Error = FormatError;

    fn unit_variant(self) -> Result<(), FormatError> {
        match (self.chosen, self.tag) {
            (Some(_), None) => Ok(()),
            _ => Err(self.no_such_word()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, FormatError> {
        seed.deserialize(self.content("preset")?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, FormatError> {
        Err(self.document.invalid(Expected::Object))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FormatError> {
        if !self.document.value.is_object() {
            return Err(self.document.invalid(Expected::Object));
        }
        if self.tag != Some("type") {
            return Err(FormatError::about("type", DocumentProblem::Missing));
        }
        let mut content = self.content("type")?;
        if let Value::Object(fields) = &mut content.value {
            fields.shift_remove("type");
        }
        let members = content.members_of_struct(fields).map_err(|mut error| {
            if let DocumentProblem::Unknown { known } = &mut error.problem {
                known.insert(0, "type");
            }
            error
        })?;
        visitor.visit_map(members)
    }
}
