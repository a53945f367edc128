//! The fields of an object, read one by one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::wrong::{Expected, Found, Problem, Step, Wrong, shortened};

/// Any JSON, to be read.
///
/// # Errors
/// The text is no JSON.
pub fn json(text: &str) -> Result<Value, Wrong> {
    serde_json::from_str(text)
        .map_err(|error| Wrong { path: Vec::new(), problem: Problem::Other(format!("no JSON: {error}")) })
}

/// Reads an object of which every field must be known.
///
/// # Errors
/// The first thing that is wrong, and where.
pub fn strictly<T>(value: Value, read: impl FnOnce(&mut Fields) -> Option<T>) -> Result<T, Wrong> {
    whole(value, Others::Refused, read)
}

/// Reads an object of which every field must be known but for comments and extensions: `$schema`, and names that begin
/// with `_` or `x-`.
///
/// # Errors
/// The first thing that is wrong, and where.
pub fn with_comments<T>(value: Value, read: impl FnOnce(&mut Fields) -> Option<T>) -> Result<T, Wrong> {
    whole(value, Others::RefusedButComments, read)
}

/// Reads an object that may have other fields too.
///
/// # Errors
/// The first thing that is wrong, and where.
pub fn loosely<T>(value: Value, read: impl FnOnce(&mut Fields) -> Option<T>) -> Result<T, Wrong> {
    whole(value, Others::Left, read)
}

fn whole<T>(value: Value, others: Others, read: impl FnOnce(&mut Fields) -> Option<T>) -> Result<T, Wrong> {
    let mut fields = Fields { values: object(value)?, others, known: Vec::new(), noted: None };
    match read(&mut fields) {
        Some(read) => fields.wrong_at_end().map_or(Ok(read), Err),
        None => Err(fields.given_up()),
    }
}

/// What becomes of fields that nobody asked for, in an object and in those within.
#[derive(Clone, Copy)]
enum Others {
    Refused,
    RefusedButComments,
    Left,
}

/// Whether a field is a comment or an extension.
fn is_comment(name: &str) -> bool {
    name == "$schema" || name.starts_with('_') || name.starts_with("x-")
}

/// An object that is being read. `null` is as good as no field.
pub struct Fields {
    values: Map<String, Value>,
    others: Others,
    /// What was asked for.
    known: Vec<&'static str>,
    /// The first thing that is wrong.
    noted: Option<Wrong>,
}

// What takes a type for a parameter is made anew by the compiler for every type: those methods only call others.
impl Fields {
    /// What is wrong when the reader gave up: what was noted, or that what it asked for last is not there.
    fn given_up(self) -> Wrong {
        let last = self.known.last().copied().unwrap_or_default();
        self.noted_or_misspelt().unwrap_or_else(|| Wrong::at(last, Problem::Missing))
    }

    /// What is wrong when the reader came to its end: what was noted, or a field that it did not ask for.
    fn wrong_at_end(self) -> Option<Wrong> {
        if self.noted.is_none() { self.stranger() } else { self.noted_or_misspelt() }
    }

    /// What was noted. When it is that a field is missing here, the reader went on to ask for every field, and a stranger
    /// is the likely reason.
    fn noted_or_misspelt(mut self) -> Option<Wrong> {
        let noted = self.noted.take()?;
        let is_missing_here = noted.problem == Problem::Missing && noted.path.len() == 1;
        let stranger = if is_missing_here { self.stranger() } else { None };
        stranger.or(Some(noted))
    }

    /// The first field that was not asked for.
    fn stranger(self) -> Option<Wrong> {
        let Self { values, others, known, .. } = self;
        let is_stranger = |name: &String| match others {
            Others::Left => false,
            Others::RefusedButComments if is_comment(name) => false,
            _ => !known.contains(&name.as_str()),
        };
        let name = values.keys().find(|name| is_stranger(name))?;
        Some(Wrong::at(name, Problem::Unknown { known: known.clone() }))
    }

    /// Notes what is wrong with a field that could be read. Gives the value, if there is one.
    pub fn check<T>(&mut self, name: &str, checked: Result<T, String>) -> Option<T> {
        checked.map_err(|what| self.refuse(name, Problem::Other(what))).ok()
    }

    /// Notes what is wrong with a field.
    pub fn refuse(&mut self, name: &str, problem: Problem) {
        self.note(name, Wrong { path: Vec::new(), problem });
    }

    /// Notes that a field of which nothing was read is missing. The reader must then go on and ask for all its fields:
    /// when there is one that it does not ask for, that is told instead, because the name may be misspelt.
    pub fn missing(&mut self, name: &str) {
        self.refuse(name, Problem::Missing);
    }

    fn note(&mut self, name: &str, wrong: Wrong) {
        self.noted.get_or_insert_with(|| wrong.within(Step::Field(name.to_owned())));
    }

    fn read<T>(&mut self, name: &'static str, read: fn(Value) -> Result<T, Wrong>) -> Option<T> {
        let value = self.any(name)?;
        read(value).map_err(|wrong| self.note(name, wrong)).ok()
    }

    /// A field as it is, without reading it: its type may decide how it is read.
    pub fn peek(&self, name: &str) -> Option<&Value> {
        self.values.get(name).filter(|value| !value.is_null())
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

    /// A text that must be there. Without it the reader goes on with an empty one, see [`Fields::missing`].
    pub fn needed_text(&mut self, name: &'static str) -> String {
        let text = self.text(name);
        if text.is_none() {
            self.missing(name);
        }
        text.unwrap_or_default()
    }

    /// A path.
    pub fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// One of a few words: which of them.
    pub fn choice(&mut self, name: &'static str, words: &'static [&'static str]) -> Option<usize> {
        let value = self.any(name)?;
        let chosen = value.as_str().and_then(|word| words.iter().position(|known| *known == word));
        if chosen.is_none() {
            let found = match &value {
                Value::String(word) => Found::Words(format!("{:?}", shortened(word))),
                other => Found::of(other),
            };
            self.note(name, Wrong::invalid(Expected::OneOf(words), found));
        }
        chosen
    }

    /// A list of texts.
    pub fn texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        self.read(name, texts)
    }

    /// Texts by names that are not known beforehand; none when the field is not there.
    pub fn texts_by_name(&mut self, name: &'static str) -> BTreeMap<String, String> {
        self.read(name, |value| each_by_name(value, text)).unwrap_or_default()
    }

    /// True or false.
    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.read(name, |value| value.as_bool().ok_or_else(|| wrong_type(Expected::Flag, &value)))
    }

    /// A number.
    pub fn f64(&mut self, name: &'static str) -> Option<f64> {
        self.read(name, |value| value.as_f64().ok_or_else(|| wrong_type(Expected::Number, &value)))
    }

    /// A whole number of 0 or more.
    pub fn u64(&mut self, name: &'static str) -> Option<u64> {
        self.up_to(u64::MAX, name)
    }

    /// A whole number of 0 or more, as large as counts may be.
    pub fn usize(&mut self, name: &'static str) -> Option<usize> {
        self.up_to(usize::MAX as u64, name).map(|number| number as usize)
    }

    /// A whole number from 0 to [`u32::MAX`].
    pub fn u32(&mut self, name: &'static str) -> Option<u32> {
        self.up_to(u32::MAX.into(), name).map(|number| number as u32)
    }

    /// A whole number from 0 to [`u16::MAX`].
    pub fn u16(&mut self, name: &'static str) -> Option<u16> {
        self.up_to(u16::MAX.into(), name).map(|number| number as u16)
    }

    fn up_to(&mut self, most: u64, name: &'static str) -> Option<u64> {
        let value = self.any(name)?;
        whole_number(&value, most).map_err(|wrong| self.note(name, wrong)).ok()
    }

    /// Whole numbers by names that are not known beforehand; none when the field is not there.
    pub fn numbers_by_name(&mut self, name: &'static str) -> BTreeMap<String, u64> {
        self.read(name, |value| each_by_name(value, |value| whole_number(&value, u64::MAX)))
            .unwrap_or_default()
    }

    /// An object whose fields are not known beforehand, as it is.
    pub fn object(&mut self, name: &'static str) -> Option<Map<String, Value>> {
        self.read(name, object)
    }

    /// An object with fields of its own.
    pub fn inner<T>(&mut self, name: &'static str, read: fn(&mut Fields) -> Option<T>) -> Option<T> {
        let value = self.any(name)?;
        self.inside(name, None, value, read)
    }

    /// A list of objects; none when the field is not there.
    pub fn inner_list<T>(&mut self, name: &'static str, read: fn(&mut Fields) -> Option<T>) -> Vec<T> {
        let mut done = Vec::new();
        for (index, item) in self.read(name, list).unwrap_or_default().into_iter().enumerate() {
            done.extend(self.inside(name, Some(Step::Item(index)), item, read));
        }
        done
    }

    /// Objects by names that are not known beforehand; none when the field is not there.
    pub fn inner_by_name<T>(
        &mut self,
        name: &'static str,
        read: fn(&mut Fields) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let mut done = BTreeMap::new();
        for (key, value) in self.object(name).unwrap_or_default() {
            if let Some(read) = self.inside(name, Some(Step::Field(key.clone())), value, read) {
                done.insert(key, read);
            }
        }
        done
    }

    /// Reads an object within a field, or within a list or an object there. What is noted refuses the whole in the end,
    /// so it does not matter what is given then.
    fn inside<T>(
        &mut self,
        name: &'static str,
        step: Option<Step>,
        value: Value,
        read: fn(&mut Fields) -> Option<T>,
    ) -> Option<T> {
        let mut inner = self.open(value);
        let read = read(&mut inner);
        self.close(name, step, inner, read.is_some());
        read
    }

    fn open(&self, value: Value) -> Fields {
        let (values, noted) = match object(value) {
            Ok(values) => (values, None),
            Err(wrong) => (Map::new(), Some(wrong)),
        };
        Fields { values, others: self.others, known: Vec::new(), noted }
    }

    fn close(&mut self, name: &'static str, step: Option<Step>, inner: Fields, is_at_end: bool) {
        let wrong = if is_at_end { inner.wrong_at_end() } else { Some(inner.given_up()) };
        let Some(wrong) = wrong else { return };
        let wrong = match step {
            Some(step) => wrong.within(step),
            None => wrong,
        };
        self.note(name, wrong);
    }
}

fn text(value: Value) -> Result<String, Wrong> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong_type(Expected::Text, &other)),
    }
}

fn object(value: Value) -> Result<Map<String, Value>, Wrong> {
    match value {
        Value::Object(fields) => Ok(fields),
        other => Err(wrong_type(Expected::Object, &other)),
    }
}

fn list(value: Value) -> Result<Vec<Value>, Wrong> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(wrong_type(Expected::List, &other)),
    }
}

fn texts(value: Value) -> Result<Vec<String>, Wrong> {
    let mut done = Vec::new();
    for (index, item) in list(value)?.into_iter().enumerate() {
        done.push(text(item).map_err(|wrong| wrong.within(Step::Item(index)))?);
    }
    Ok(done)
}

fn whole_number(value: &Value, most: u64) -> Result<u64, Wrong> {
    let number = value.as_u64().filter(|number| *number <= most);
    number.ok_or_else(|| wrong_type(Expected::Whole { most }, value))
}

fn each_by_name<T>(value: Value, read: fn(Value) -> Result<T, Wrong>) -> Result<BTreeMap<String, T>, Wrong> {
    let mut done = BTreeMap::new();
    for (name, value) in object(value)? {
        match read(value) {
            Ok(read) => done.insert(name, read),
            Err(wrong) => return Err(wrong.within(Step::Field(name))),
        };
    }
    Ok(done)
}

fn wrong_type(expected: Expected, found: &Value) -> Wrong {
    Wrong::invalid(expected, Found::of(found))
}
