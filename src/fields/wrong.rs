//! What is wrong with a value, and where it stands.

use std::error::Error;
use std::fmt::{self, Display, Formatter};

use serde_json::{Number, Value};

use super::nearest::nearest;

/// From an object to a value in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The field of this name.
    Field(String),
    /// The item of a list, counted from 0.
    Item(usize),
}

/// What is wrong, and where. As text it is one line for the person who wrote the value.
///
/// No text of the value is quoted, but for words that are none of a few choices: it could be a secret that was put in the
/// wrong place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// From the outermost object to the wrong value.
    pub path: Vec<Step>,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The field must be there and is not.
    Missing,
    /// There is no such field.
    Unknown {
        /// Every field that is known there.
        known: Vec<&'static str>,
    },
    /// The value is not of the type.
    Invalid {
        /// What would be accepted.
        expected: Expected,
        /// What is there.
        found: Found,
    },
    /// Something else, in words.
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
        most: u64,
    },
    /// A list.
    List,
    /// An object.
    Object,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Something else, in words.
    Words(&'static str),
}

/// What a value is. Of a string, this does not say which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
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

impl Wrong {
    /// The value is not what is expected.
    pub fn invalid(expected: Expected, found: Found) -> Self {
        Self { path: Vec::new(), problem: Problem::Invalid { expected, found } }
    }

    /// The same, as seen from outside.
    pub fn within(mut self, step: Step) -> Self {
        self.path.insert(0, step);
        self
    }

    pub(super) fn at(name: &str, problem: Problem) -> Self {
        Self { path: vec![Step::Field(name.to_owned())], problem }
    }

    /// The place as text: `capabilities.http.allowlist[2].host`; empty for the outermost value. A name that is more than
    /// letters, digits, `_`, `-` and `$` stands in quotes: `limits["a b"]`.
    pub fn place(&self) -> String {
        path_text(&self.path)
    }

    /// The known field that may have been meant, when this is about an unknown one.
    pub fn nearest(&self) -> Option<&'static str> {
        match (&self.problem, self.path.last()) {
            (Problem::Unknown { known }, Some(Step::Field(name))) => nearest(name, known),
            _ => None,
        }
    }
}

impl Error for Wrong {}

impl Display for Wrong {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut place = self.place();
        if place.is_empty() {
            place.push_str("it");
        }
        match &self.problem {
            Problem::Missing => write!(f, "`{place}` is missing"),
            Problem::Unknown { known } => {
                write!(f, "unknown field `{place}`; ")?;
                match self.nearest() {
                    Some(nearest) => write!(f, "did you mean `{nearest}`?"),
                    None if known.is_empty() => f.write_str("there are no fields here"),
                    None => write!(f, "known here are {}", known.join(", ")),
                }
            }
            Problem::Invalid { expected, found } => {
                write!(f, "{place} must be {}, not {found}", expected.instead_of(found))
            }
            Problem::Other(what) if self.path.is_empty() => f.write_str(what),
            Problem::Other(what) => write!(f, "{place}: {what}"),
        }
    }
}

impl Expected {
    /// In words, after "it must be".
    fn instead_of(&self, found: &Found) -> String {
        let words = match (self, found) {
            (Self::Whole { most }, Found::Number(number)) if number.is_u64() => {
                return format!("at most {most}");
            }
            (Self::Whole { .. }, Found::Number(number)) if number.is_i64() => "0 or more",
            (Self::Whole { .. }, _) => "a whole number",
            (Self::Text, _) => "a string",
            (Self::Flag, _) => "true or false",
            (Self::Number, _) => "a number",
            (Self::List, _) => "a list",
            (Self::Object, _) => "a set of fields",
            (Self::OneOf(words), _) => return one_of(words),
            (Self::Words(words), _) => words,
        };
        words.to_owned()
    }
}

/// `"a" or "b"`.
fn one_of(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
}

impl Found {
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

impl Display for Found {
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
fn path_text(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Item(index) => text.push_str(&format!("[{index}]")),
            Step::Field(name) if !is_plain(name) => text.push_str(&format!("[{:?}]", shortened(name))),
            Step::Field(name) => {
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
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 64;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
