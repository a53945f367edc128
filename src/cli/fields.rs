//! Reading what people and programs write: the fields of an object, each with its type. No I/O.
//!
//! [`Fields`] has one method for each type; it gives the field, or none when the field is not there. What is wrong is
//! noted, the first of it only, and told when the whole object was read:
//!
//! ```ignore
//! fn read(fields: &mut Fields) -> Option<Seat> {
//!     Some(Seat { row: fields.text("row")?, number: fields.u32("number").unwrap_or(1) })
//! }
//! let seat = strictly(json!({"row": "c"}), read);
//! ```
//!
//! A reader that gives up with `?` says by it that the field must be there.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use serde_json::{Map, Value};

/// How alike a known field must be to be suggested, from 0 to 1.
const ALIKE: f64 = 0.7;

/// From the outermost object to a value in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The field of this name.
    Field(String),
    /// The item of a list, counted from 0.
    Item(usize),
}

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    /// From the outermost object to the wrong value.
    pub path: Vec<Step>,
    what: What,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Missing,
    Unknown { known: Vec<&'static str> },
    MustBe { expected: String, found: String },
    Other(String),
}

impl Wrong {
    /// The value is not what is expected.
    pub fn must_be(expected: &str, found: impl Display) -> Self {
        let what = What::MustBe { expected: expected.to_owned(), found: found.to_string() };
        Self { path: Vec::new(), what }
    }

    fn at(name: &str, what: What) -> Self {
        Self { path: vec![Step::Field(name.to_owned())], what }
    }

    /// The same, as seen from outside.
    pub fn within(mut self, step: Step) -> Self {
        self.path.insert(0, step);
        self
    }
}

impl Display for Wrong {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut place = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) if place.is_empty() => place.push_str(name),
                Step::Field(name) => place += &format!(".{name}"),
                Step::Item(index) => place += &format!("[{index}]"),
            }
        }
        if place.is_empty() {
            place.push_str("it");
        }
        match &self.what {
            What::Missing => write!(f, "`{place}` is missing"),
            What::Unknown { known } => {
                let name = match self.path.last() {
                    Some(Step::Field(name)) => name,
                    _ => &place,
                };
                write!(f, "unknown field `{place}`; {}", suggestion(name, known))
            }
            What::MustBe { expected, found } => write!(f, "{place} must be {expected}, not {found}"),
            What::Other(what) if self.path.is_empty() => f.write_str(what),
            What::Other(what) => write!(f, "{place}: {what}"),
        }
    }
}

fn suggestion(name: &str, known: &[&str]) -> String {
    let alike = |known: &&str| strsim::jaro_winkler(name, known);
    let nearest = known.iter().copied().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    match nearest.filter(|nearest| alike(nearest) >= ALIKE) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None if known.is_empty() => "there are no fields here".to_owned(),
        None => format!("known here are {}", known.join(", ")),
    }
}

/// Any JSON, to be read.
///
/// # Errors
/// The text is no JSON.
pub fn json(text: &str) -> Result<Value, Wrong> {
    serde_json::from_str(text)
        .map_err(|error| Wrong { path: Vec::new(), what: What::Other(format!("no JSON: {error}")) })
}

/// Reads an object of which every field must be known.
///
/// # Errors
/// The first thing that is wrong, and where.
pub fn strictly<T>(value: Value, read: impl FnOnce(&mut Fields) -> Option<T>) -> Result<T, Wrong> {
    whole(value, true, read)
}

/// Reads an object that may have other fields too.
///
/// # Errors
/// The first thing that is wrong, and where.
pub fn loosely<T>(value: Value, read: impl FnOnce(&mut Fields) -> Option<T>) -> Result<T, Wrong> {
    whole(value, false, read)
}

fn whole<T>(value: Value, is_strict: bool, read: impl FnOnce(&mut Fields) -> Option<T>) -> Result<T, Wrong> {
    let mut fields = Fields::of(value, is_strict)?;
    let Some(read) = read(&mut fields) else { return Err(fields.given_up()) };
    fields.finish()?;
    Ok(read)
}

/// An object that is being read. `null` is as good as no field.
pub struct Fields {
    values: Map<String, Value>,
    /// Whether fields that nobody asked for are wrong, here and in the objects within.
    is_strict: bool,
    /// What was asked for.
    known: Vec<&'static str>,
    /// The first thing that is wrong.
    noted: Option<Wrong>,
}

impl Fields {
    fn of(value: Value, is_strict: bool) -> Result<Self, Wrong> {
        Ok(Self { values: object(value)?, is_strict, known: Vec::new(), noted: None })
    }

    /// What is wrong when the reader gave up: what was noted, or that what it asked for last is not there.
    fn given_up(self) -> Wrong {
        let name = self.known.last().copied().unwrap_or_default();
        self.noted.unwrap_or_else(|| Wrong::at(name, What::Missing))
    }

    /// What is wrong when the reader came to its end: what was noted, or a field that it did not ask for.
    fn finish(self) -> Result<(), Wrong> {
        let Self { values, is_strict, known, noted } = self;
        if let Some(wrong) = noted {
            return Err(wrong);
        }
        let stranger = values.keys().find(|name| is_strict && !known.contains(&name.as_str()));
        stranger.map_or(Ok(()), |name| Err(Wrong::at(name, What::Unknown { known: known.clone() })))
    }

    /// Notes what is wrong with a field that could be read. Gives the value, if there is one.
    pub fn check<T>(&mut self, name: &str, checked: Result<T, String>) -> Option<T> {
        self.note(name, checked.map_err(|what| Wrong { path: Vec::new(), what: What::Other(what) }))
    }

    fn note<T>(&mut self, name: &str, read: Result<T, Wrong>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.refuse(name, wrong);
                None
            }
        }
    }

    fn refuse(&mut self, name: &str, wrong: Wrong) {
        self.noted.get_or_insert_with(|| wrong.within(Step::Field(name.to_owned())));
    }

    fn read<T>(&mut self, name: &'static str, read: fn(Value) -> Result<T, Wrong>) -> Option<T> {
        let value = self.any(name)?;
        self.note(name, read(value))
    }

    /// A field of any type.
    pub fn any(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.values.get_mut(name).map(Value::take).filter(|value| !value.is_null())
    }

    /// A text.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.read(name, text)
    }

    /// A path.
    pub fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// A list of texts.
    pub fn texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        self.read(name, |value| each(value, text))
    }

    /// Texts by names that are not known beforehand; none when the field is not there.
    pub fn texts_by_name(&mut self, name: &'static str) -> BTreeMap<String, String> {
        self.read(name, |value| each_by_name(value, text)).unwrap_or_default()
    }

    /// True or false.
    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.read(name, |value| value.as_bool().ok_or_else(|| wrong_type("true or false", &value)))
    }

    /// A number.
    pub fn f64(&mut self, name: &'static str) -> Option<f64> {
        self.read(name, |value| value.as_f64().ok_or_else(|| wrong_type("a number", &value)))
    }

    /// A whole number of 0 or more.
    pub fn u64(&mut self, name: &'static str) -> Option<u64> {
        self.read(name, |value| whole_number(&value, u64::MAX))
    }

    /// A whole number of 0 or more, as large as counts may be.
    pub fn usize(&mut self, name: &'static str) -> Option<usize> {
        self.read(name, |value| whole_number(&value, usize::MAX as u64)).map(|number| number as usize)
    }

    /// A whole number from 0 to [`u32::MAX`].
    pub fn u32(&mut self, name: &'static str) -> Option<u32> {
        self.read(name, |value| whole_number(&value, u32::MAX.into())).map(|number| number as u32)
    }

    /// Whole numbers by names that are not known beforehand; none when the field is not there.
    pub fn numbers_by_name(&mut self, name: &'static str) -> BTreeMap<String, u64> {
        self.read(name, |value| each_by_name(value, |value| whole_number(&value, u64::MAX)))
            .unwrap_or_default()
    }

    /// Fields that are not known beforehand; none when the field is not there.
    pub fn object(&mut self, name: &'static str) -> Map<String, Value> {
        self.read(name, object).unwrap_or_default()
    }

    /// An object with fields of its own.
    pub fn inner<T>(&mut self, name: &'static str, read: fn(&mut Fields) -> Option<T>) -> Option<T> {
        let value = self.any(name)?;
        let inner = whole(value, self.is_strict, read);
        self.note(name, inner)
    }

    /// A list of objects; none when the field is not there.
    pub fn inner_list<T>(&mut self, name: &'static str, read: fn(&mut Fields) -> Option<T>) -> Vec<T> {
        let Some(value) = self.any(name) else { return Vec::new() };
        let is_strict = self.is_strict;
        let inner = each(value, |value| whole(value, is_strict, read));
        self.note(name, inner).unwrap_or_default()
    }

    /// Objects by names that are not known beforehand; none when the field is not there.
    pub fn inner_by_name<T>(
        &mut self,
        name: &'static str,
        read: fn(&mut Fields) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let Some(value) = self.any(name) else { return BTreeMap::new() };
        let is_strict = self.is_strict;
        let inner = each_by_name(value, |value| whole(value, is_strict, read));
        self.note(name, inner).unwrap_or_default()
    }
}

fn text(value: Value) -> Result<String, Wrong> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong_type("a string", &other)),
    }
}

fn object(value: Value) -> Result<Map<String, Value>, Wrong> {
    match value {
        Value::Object(fields) => Ok(fields),
        other => Err(wrong_type("a set of fields", &other)),
    }
}

fn whole_number(value: &Value, most: u64) -> Result<u64, Wrong> {
    match value.as_u64() {
        Some(number) if number <= most => Ok(number),
        Some(number) => Err(Wrong::must_be(&format!("at most {most}"), number)),
        None if value.is_i64() => Err(wrong_type("0 or more", value)),
        None => Err(wrong_type("a whole number", value)),
    }
}

fn each<T>(value: Value, read: impl Fn(Value) -> Result<T, Wrong>) -> Result<Vec<T>, Wrong> {
    let Value::Array(items) = value else { return Err(wrong_type("a list", &value)) };
    let mut done = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        done.push(read(item).map_err(|wrong| wrong.within(Step::Item(index)))?);
    }
    Ok(done)
}

fn each_by_name<T>(
    value: Value,
    read: impl Fn(Value) -> Result<T, Wrong>,
) -> Result<BTreeMap<String, T>, Wrong> {
    let mut done = BTreeMap::new();
    for (name, value) in object(value)? {
        match read(value) {
            Ok(read) => done.insert(name, read),
            Err(wrong) => return Err(wrong.within(Step::Field(name))),
        };
    }
    Ok(done)
}

fn wrong_type(expected: &str, found: &Value) -> Wrong {
    match found {
        Value::Null | Value::Bool(_) | Value::Number(_) => Wrong::must_be(expected, found),
        // It may be a secret.
        Value::String(_) => Wrong::must_be(expected, "a string"),
        Value::Array(_) => Wrong::must_be(expected, "a list"),
        Value::Object(_) => Wrong::must_be(expected, "a set of fields"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Seat {
        row: String,
        number: u32,
        guests: Vec<Seat>,
    }

    fn seat(fields: &mut Fields) -> Option<Seat> {
        Some(Seat {
            guests: fields.inner_list("guests", seat),
            number: fields.u32("number").unwrap_or(1),
            row: fields.text("row")?,
        })
    }

    #[test]
    fn null_is_no_field_and_others_are_left_when_they_may_be_there() {
        let value = || json!({"row": "c", "number": null, "guests": [{"row": "d", "hat": true}]});
        let guest = Seat { row: "d".into(), number: 1, guests: Vec::new() };
        let expected = Seat { row: "c".into(), number: 1, guests: vec![guest] };
        assert_eq!(loosely(value(), seat), Ok(expected));
        let wrong = strictly(value(), seat).unwrap_err();
        assert_eq!(wrong.to_string(), "unknown field `guests[0].hat`; known here are guests, number, row");
    }

    #[test]
    fn the_first_thing_that_was_read_wrong_is_told() {
        for (value, expected) in [
            (json!({"row": 1, "number": "a"}), "number must be a whole number, not a string"),
            (json!({"row": 1, "colour": "red"}), "row must be a string, not 1"),
            (json!({"colour": "red"}), "`row` is missing"),
            (json!({"row": null}), "`row` is missing"),
            (json!({"row": "c", "guests": [{"row": "d"}, {}]}), "`guests[1].row` is missing"),
            (json!({"row": "c", "guests": [null]}), "guests[0] must be a set of fields, not null"),
        ] {
            assert_eq!(strictly(value.clone(), seat).unwrap_err().to_string(), expected, "{value}");
        }
    }

    #[test]
    fn what_a_text_says_is_not_told() {
        let wrong = strictly(json!({"number": "hunter2", "row": "c"}), seat).unwrap_err();
        assert!(!format!("{wrong} {wrong:?}").contains("hunter2"));
    }
}
