//! Parameters held against a tool's JSON Schema, before its guest runs.
//!
//! The common part of JSON Schema (drafts 7 and 2020-12) is checked here, in a few kilobytes: a crate for all of it adds 1.5 MB
//! to the program. What is not checked is listed in `docs/tools.md`; parameters that break such a rule reach the tool, which
//! checks them itself. A schema comes from a guest, so its cost is bounded: depth, steps, and the size of patterns.

mod check;
mod pattern;
mod report;

use serde_json::Value;

pub(crate) use report::ParameterProblem;

/// Why a text is no schema.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    /// It is JSON of another kind.
    #[error("it is JSON, and neither an object nor a boolean")]
    OtherJson,
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    NotJson(serde_json::Error),
}

/// A tool's schema.
#[derive(Clone, Debug)]
pub(crate) struct ParameterSchema(Value);

impl ParameterSchema {
    /// Reads a schema: JSON, an object or a boolean.
    ///
    /// # Errors
    /// What it is instead.
    pub(crate) fn parse(text: &str) -> Result<Self, SchemaError> {
        match serde_json::from_str(text) {
            Ok(schema @ (Value::Object(_) | Value::Bool(_))) => Ok(Self(schema)),
            Ok(_) => Err(SchemaError::OtherJson),
            Err(error) => Err(SchemaError::NotJson(error)),
        }
    }

    /// A schema of the host's own.
    #[cfg(feature = "agent-openai")]
    pub(crate) fn of(schema: Value) -> Self {
        Self(schema)
    }

    /// The schema itself.
    pub(crate) fn as_value(&self) -> &Value {
        &self.0
    }

    /// What is wrong with these parameters, at most [`report::MAX_PROBLEMS`] of it.
    pub(crate) fn problems(&self, params: &Value) -> Vec<ParameterProblem> {
        check::problems(&self.0, params)
    }
}

#[cfg(test)]
mod tests;
