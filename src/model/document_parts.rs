//! One object whose fields belong to several types.
//!
//! serde's `flatten` would forget where a value stands, and take unknown fields.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::document::{Comments, DocumentError, DocumentProblem, Expected, FoundValue, PathStep, read};

/// An object that is read in parts: each type takes the fields that it has.
pub struct Parts(Map<String, Value>);

impl Parts {
    /// Of this object.
    ///
    /// # Errors
    /// It is none.
    pub fn of(value: Value) -> Result<Self, DocumentError> {
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            other => Err(DocumentError::invalid(Expected::Object, FoundValue::of(&other))),
        }
    }

    /// Takes a field out.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Puts a field in.
    pub fn put(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// The names of all fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Refuses fields that are not among these.
    ///
    /// # Errors
    /// The first unknown field.
    pub fn refuse_unknown(&self, known: Vec<&'static str>) -> Result<(), DocumentError> {
        let Some(name) = self.names().find(|name| !known.contains(name)) else { return Ok(()) };
        let path = vec![PathStep::Field(name.to_owned())];
        Err(DocumentError { path, problem: DocumentProblem::Unknown { known } })
    }

    /// Reads a type from those of the fields that it has.
    ///
    /// # Errors
    /// As [`read`].
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, DocumentError> {
        let known = fields_of::<T>();
        let fields = self.0.iter().filter(|(name, _)| known.contains(&name.as_str()));
        let fields = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
        read(Value::Object(fields), Comments::Refused)
    }
}

/// The fields of a struct that knows no others: an unknown one is refused with all of them.
pub fn fields_of<T: DeserializeOwned>() -> Vec<&'static str> {
    match read::<T>(json!({ "": true }), Comments::Refused) {
        Err(DocumentError { problem: DocumentProblem::Unknown { known }, .. }) => known,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Size {
        width: u8,
        #[serde(skip)]
        depth: u8,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Label {
        text: String,
    }

    #[test]
    fn each_type_takes_its_fields_and_an_error_has_its_place() {
        let parts = |value| Parts::of(value).unwrap();
        assert_eq!([fields_of::<Size>(), fields_of::<Label>()].concat(), ["width", "text"]);
        let both = parts(json!({"text": "a", "width": 2}));
        assert_eq!(both.read(), Ok(Size { width: 2, depth: 0 }));
        assert_eq!(both.read(), Ok(Label { text: "a".to_owned() }));
        assert_eq!(both.refuse_unknown(vec!["width", "text"]), Ok(()));
        let error = both.refuse_unknown(vec!["width", "texts"]).unwrap_err();
        assert_eq!(error.to_string(), "unknown field `text`; did you mean `texts`?");
        let error = parts(json!({"width": 256})).read::<Size>().unwrap_err();
        assert_eq!(error.to_string(), "width must be at most 255, not 256");
        assert!(Parts::of(json!([])).is_err());
    }

    #[test]
    fn a_field_that_is_taken_is_no_part() {
        let mut parts = Parts::of(json!({"text": null, "width": 2})).unwrap();
        assert_eq!((parts.take("text"), parts.take("width")), (None, Some(json!(2))));
        assert_eq!(parts.names().count(), 0);
    }
}
