//! Reads what people write as JSON or TOML into types that derive `Deserialize`, with errors that say where and what.
//!
//! [`read`] is a serde format over a [`Value`]. It adds to the types what capability files and the configuration have in
//! common:
//!
//! - `null` stands for an absent field.
//! - A field that a struct does not have is an error with the nearest known name. Comments and extensions (`$schema`,
//!   names that begin with `_` or `x-`) are skipped where [`Comments::Skipped`] says so, except inside free-form values.
//! - An enum whose variants have fields is an object in which `type`, `preset` or `scheme` names the variant; the name
//!   alone stands for an object without further fields.
//!
//! No text of the document is quoted in an error, except a word that is not one of a few choices: it could be a secret in
//! the wrong place.

use std::error::Error;
use std::fmt::{self, Display, Formatter};

use serde::de::DeserializeOwned;
use serde_json::{Number, Value};
use serde_path_to_error::Segment;

use super::document_format::ValueReader;
pub use super::document_format::{Comments, is_comment};

/// From an object or a list to a value in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStep {
    /// The field of this name.
    Field(String),
    /// The item of a list, counted from 0.
    Item(usize),
}

/// What is wrong with a document, and where. As text it is one line for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentError {
    /// From the outermost object to the place.
    pub path: Vec<PathStep>,
    /// What is wrong there.
    pub problem: DocumentProblem,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentProblem {
    /// A required field is absent.
    Missing,
    /// There is no such field.
    Unknown {
        /// Every field that is known there.
        known: Vec<&'static str>,
    },
    /// The field is present under two of its names.
    TwoNames,
    /// The value is not of the type.
    Invalid {
        /// What would be accepted.
        expected: Expected,
        /// What is there.
        found: FoundValue,
    },
    /// What a type says about a value, in words.
    Other(String),
}

/// What a value may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A string.
    Text,
    /// `true` or `false`.
    Flag,
    /// Any number.
    Number,
    /// A whole number that is not negative.
    Whole {
        /// The largest.
        max: u64,
    },
    /// A list.
    List,
    /// An object.
    Object,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words, or something else; `text` has them all.
    OneOfOr {
        /// The words.
        words: Vec<&'static str>,
        /// The words and the rest, as it is shown.
        text: String,
    },
    /// Something else, in words.
    Words(String),
}

/// What a value is. Of a string, this does not say which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundValue {
    /// `null`, where it does not stand for "absent": in a list.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text,
    /// A list.
    List,
    /// An object.
    Object,
    /// Something else, in words.
    Words(String),
}

/// Reads a value.
///
/// # Errors
/// The first thing that is wrong, and where.
pub fn read<T: DeserializeOwned>(value: Value, comments: Comments) -> Result<T, DocumentError> {
    T::deserialize(ValueReader { value, comments }).map_err(|mut error| {
        error.steps.reverse();
        DocumentError { path: error.steps, problem: error.problem }
    })
}

/// A path of the reader as text.
pub(crate) fn place_of(path: &serde_path_to_error::Path) -> String {
    path_text(&path.iter().filter_map(step).collect::<Vec<_>>())
}

/// A variant is no step of the document: its fields are those of the object that names it.
fn step(segment: &Segment) -> Option<PathStep> {
    match segment {
        Segment::Seq { index } => Some(PathStep::Item(*index)),
        Segment::Map { key } => Some(PathStep::Field(key.clone())),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

impl DocumentError {
    /// The place as text: `capabilities.http.allowlist[2].host`; empty for the whole document. A name that has more than
    /// letters, digits, `_`, `-` and `$` is quoted: `limits["a b"]`.
    pub fn place(&self) -> String {
        path_text(&self.path)
    }

    /// The known field that may have been meant by an unknown one.
    pub fn nearest(&self) -> Option<&'static str> {
        match (&self.problem, self.path.last()) {
            (DocumentProblem::Unknown { known }, Some(PathStep::Field(name))) => nearest(name, known),
            _ => None,
        }
    }
}

/// For documents of which parts are read in another way.
#[cfg(feature = "cli")]
impl DocumentError {
    /// A value is not what is expected.
    pub fn invalid(expected: Expected, found: FoundValue) -> Self {
        Self { path: Vec::new(), problem: DocumentProblem::Invalid { expected, found } }
    }

    /// The same, as seen from outside.
    #[must_use]
    pub fn within(mut self, step: PathStep) -> Self {
        self.path.insert(0, step);
        self
    }
}

impl Error for DocumentError {}

impl Display for DocumentError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut place = self.place();
        if place.is_empty() {
            place.push_str("it");
        }
        match &self.problem {
            DocumentProblem::Missing => write!(f, "`{place}` is missing"),
            DocumentProblem::TwoNames => write!(f, "{place} is given under two names; remove one"),
            DocumentProblem::Unknown { known } => {
                write!(f, "unknown field `{place}`; ")?;
                match self.nearest() {
                    Some(nearest) => write!(f, "did you mean `{nearest}`?"),
                    None if known.is_empty() => f.write_str("there are no fields here"),
                    None => write!(f, "known here are {}", known.join(", ")),
                }
            }
            DocumentProblem::Invalid { expected, found } => {
                write!(f, "{place} must be {}, not {found}", expected.instead_of(found))?;
                match expected.nearest(found) {
                    Some(nearest) => write!(f, "; did you mean \"{nearest}\"?"),
                    None => Ok(()),
                }
            }
            DocumentProblem::Other(what) if self.path.is_empty() => f.write_str(what),
            DocumentProblem::Other(what) => write!(f, "{place}: {what}"),
        }
    }
}

impl Expected {
    /// In words, after "it must be".
    fn instead_of(&self, found: &FoundValue) -> String {
        let words = match (self, found) {
            (Self::Whole { max }, FoundValue::Number(number)) if number.is_u64() => {
                return format!("at most {max}");
            }
            (Self::Whole { .. }, FoundValue::Number(number)) if number.is_i64() => "0 or more",
            (Self::Whole { .. }, _) => "a whole number",
            (Self::Text, _) => "a string",
            (Self::Flag, _) => "true or false",
            (Self::Number, _) => "a number",
            (Self::List, _) => "a list",
            (Self::Object, _) => "a set of fields",
            (Self::OneOf(words), _) => return one_of(words),
            (Self::Words(words) | Self::OneOfOr { text: words, .. }, _) => words,
        };
        words.to_owned()
    }

    /// The word that is most like what was written.
    pub(crate) fn nearest(&self, found: &FoundValue) -> Option<&'static str> {
        let FoundValue::Words(written) = found else { return None };
        let words: &[&'static str] = match self {
            Self::OneOf(words) => words,
            Self::OneOfOr { words, .. } => words,
            _ => return None,
        };
        nearest(written.trim_matches('"'), words)
    }
}

/// `"a" or "b"`.
pub(crate) fn one_of(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
}

impl FoundValue {
    /// What this value is.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Flag(*flag),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(_) => Self::Text,
            Value::Array(_) => Self::List,
            Value::Object(_) => Self::Object,
        }
    }
}

impl Display for FoundValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Flag(true) => "true",
            Self::Flag(false) => "false",
            Self::Number(number) => return Display::fmt(number, f),
            Self::Text => "a string",
            Self::List => "a list",
            Self::Object => "a set of fields",
            Self::Words(words) => words,
        })
    }
}

/// Steps as text.
pub(crate) fn path_text(steps: &[PathStep]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            PathStep::Item(index) => text.push_str(&format!("[{index}]")),
            PathStep::Field(name) if !is_plain(name) => text.push_str(&format!("[{:?}]", shortened(name))),
            PathStep::Field(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
        }
    }
    text
}

/// Whether a name needs no quotes in a path.
fn is_plain(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$'))
}

/// A name or value for an error's text: never longer than a line.
pub(crate) fn shortened(text: &str) -> String {
    const MAX_CHARS: usize = 64;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The known word that is most like what was written: at most a third of its letters differ. Case does not count, and
/// `-` is `_`.
pub fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    /// No known name is half as long; the time to compare grows with the length.
    const MAX_BYTES: usize = 128;
    if written.len() > MAX_BYTES {
        return None;
    }
    let plain = |word: &str| word.to_ascii_lowercase().replace('-', "_");
    let written = plain(written);
    let close = known.iter().filter_map(|&word| {
        let candidate = plain(word);
        let distance = strsim::levenshtein(&written, &candidate);
        let longest = written.chars().count().max(candidate.chars().count());
        (distance <= longest.div_ceil(3)).then_some((distance, word))
    });
    close.min().map(|(_, word)| word)
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
