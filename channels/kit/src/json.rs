//! Reading and writing JSON. Typed values go through [`Value`]: a reader for each type from bytes would double the size of a
//! guest.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A value from text in JSON.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let value: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// The text of a value.
///
/// # Panics
/// When the value is none that JSON has, such as a map whose keys are no texts.
pub(crate) fn text(value: &impl Serialize) -> String {
    serde_json::to_value(value).expect("the value has a form in JSON").to_string()
}

/// JSON, or null.
pub(crate) fn value(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or_default()
}

/// The fields of an object, or none.
pub(crate) fn fields(text: &str) -> serde_json::Map<String, Value> {
    match value(text.as_bytes()) {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    }
}
