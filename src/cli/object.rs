//! Objects of JSON that are shown to people and programs.

use serde::Serialize;
use serde_json::Value;

/// An object, written as with `serde_json::json!`, of which the program has many: this takes a third of the code.
macro_rules! object {
    ({ $($name:literal: $value:expr),* $(,)? }) => {
        $crate::cli::object::of(vec![$(($name, $crate::cli::object::value(&$value))),*])
    };
}
pub(crate) use object;

/// An object with these fields.
pub fn of(fields: Vec<(&str, Value)>) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A value in JSON: null if it has no form there, as texts, numbers and lists of them have.
#[inline(never)]
pub fn value<T: Serialize + ?Sized>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
