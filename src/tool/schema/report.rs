//! What is wrong with parameters, in words for whoever wrote them: usually a language model.

use std::fmt::{self, Write};

use serde_json::Value;

use crate::model::document::shortened;

/// Problems that are told of one call.
pub(super) const MAX_PROBLEMS: usize = 5;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParameterProblem {
    /// Where, as `items[2].name`; empty for the parameters as a whole.
    pub(crate) path: String,
    /// What is wrong there.
    pub(crate) reason: String,
}

impl fmt::Display for ParameterProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "the parameters {}", self.reason),
            path => write!(f, "`{path}` {}", self.reason),
        }
    }
}

/// A place in the parameters: its parent's, and the last step.
#[derive(Clone, Copy)]
pub(super) enum ParameterPlace<'a> {
    Whole,
    Field(&'a ParameterPlace<'a>, &'a str),
    Item(&'a ParameterPlace<'a>, usize),
}

impl ParameterPlace<'_> {
    pub(super) fn problem(&self, reason: impl Into<String>) -> ParameterProblem {
        let mut path = String::new();
        self.write(&mut path);
        ParameterProblem { path, reason: reason.into() }
    }

    // Writing to a string cannot fail.
    fn write(&self, path: &mut String) {
        match self {
            Self::Whole => {}
            Self::Field(parent, name) => {
                parent.write(path);
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&shortened(name));
            }
            Self::Item(parent, index) => {
                parent.write(path);
                let _ = write!(path, "[{index}]");
            }
        }
    }
}

/// What a value is, as JSON Schema calls it.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A value of a schema, short enough for a message.
pub(super) fn shown(value: &Value) -> String {
    shortened(&value.to_string())
}

/// Values of a schema, one or several.
pub(super) fn one_of(values: &[Value]) -> String {
    const SHOWN: usize = 12;
    let mut text = values.iter().take(SHOWN).map(shown).collect::<Vec<_>>().join(", ");
    if values.len() > SHOWN {
        text.push_str(", …");
    }
    text
}
