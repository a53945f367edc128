//! A request to the API as its handlers read it.

use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ApiError;
use crate::model::document::{Comments, read};
use crate::model::unique_json::parse_json;

/// A request whose path belongs to a resource.
#[derive(Debug, Default)]
pub(crate) struct ApiRequest {
    /// What stands at the places of the resource's path that are in braces, in their order.
    pub(super) places: Vec<String>,
    /// The parameters of the query, in their order.
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl ApiRequest {
    /// What stands at the n-th place of the path that is in braces.
    pub(crate) fn place(&self, index: usize) -> &str {
        self.places.get(index).map(String::as_str).unwrap_or_default()
    }

    /// The number that stands there.
    ///
    /// # Errors
    /// It is no number.
    pub(crate) fn id(&self, index: usize) -> Result<u64, ApiError> {
        let text = self.place(index);
        text.parse().map_err(|_| ApiError::Invalid(format!("`{text}` is not an id; ids are whole numbers")))
    }

    /// A parameter of the query.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter of the query that is a whole number.
    ///
    /// # Errors
    /// It is no number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        self.parameter(name)
            .map(|text| {
                text.parse()
                    .map_err(|_| ApiError::Invalid(format!("`{name}` must be a whole number, not `{text}`")))
            })
            .transpose()
    }

    /// Refuses parameters that the resource does not have, and duplicate ones: they would be left out silently.
    ///
    /// # Errors
    /// The first that is not known.
    pub(crate) fn only_parameters(&self, known: &[&str]) -> Result<(), ApiError> {
        for (index, (name, _)) in self.query.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let known = match known.is_empty() {
                    true => "there are none here".to_owned(),
                    false => format!("known here are {}", known.join(", ")),
                };
                return Err(ApiError::Invalid(format!("unknown parameter `{name}`; {known}")));
            }
            if self.query[..index].iter().any(|(other, _)| other == name) {
                return Err(ApiError::Invalid(format!("duplicate parameter `{name}`; give it once")));
            }
        }
        Ok(())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is not the JSON that the resource takes.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let body = if self.body.is_empty() { b"{}" } else { self.body.as_slice() };
        let invalid = |error: &dyn std::fmt::Display| ApiError::Invalid(format!("the body: {error}"));
        let body = parse_json(body).map_err(|error| invalid(&error))?;
        if !body.is_object() {
            return Err(invalid(&"it is not a JSON object"));
        }
        read(body, Comments::Refused).map_err(|error| invalid(&error))
    }

    /// The body of a call that was made in this process.
    pub(super) fn set_body(&mut self, body: Option<&Value>) {
        self.body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    }
}

/// Splits a query into names and values, decoded.
///
/// # Errors
/// A value is not UTF-8 once it is decoded.
pub(super) fn read_query(query: &str) -> Result<Vec<(String, String)>, ApiError> {
    query.split('&').filter(|pair| !pair.is_empty()).map(read_pair).collect()
}

fn read_pair(pair: &str) -> Result<(String, String), ApiError> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    Ok((decoded(&name.replace('+', " "))?, decoded(&value.replace('+', " "))?))
}

/// Percent-decodes a part of a path or of a query.
pub(super) fn decoded(text: &str) -> Result<String, ApiError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| ApiError::Invalid("the request's target is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(query: &str) -> ApiRequest {
        ApiRequest { query: read_query(query).expect("it is UTF-8"), ..ApiRequest::default() }
    }

    #[test]
    fn parameters_are_decoded_and_unknown_ones_are_refused() {
        let request = request("channel=a%26b&limit=3&q=two+words&empty");
        assert_eq!(request.parameter("channel"), Some("a&b"));
        assert_eq!(request.parameter("q"), Some("two words"));
        assert_eq!(request.parameter("empty"), Some(""));
        assert_eq!(request.number("limit"), Ok(Some(3)));
        assert_eq!(request.number("before"), Ok(None));
        assert!(request.number("channel").is_err());
        let error = request.only_parameters(&["channel", "limit"]).unwrap_err().to_string();
        assert_eq!(error, "unknown parameter `q`; known here are channel, limit");
        assert!(read_query("a=%ff").is_err());
    }

    #[test]
    fn an_empty_body_is_an_empty_object_and_others_are_read_strictly() {
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Body {
            id: u64,
        }
        let of = |body: &str| ApiRequest { body: body.into(), ..ApiRequest::default() }.json::<Body>();
        assert_eq!(of("").expect("it is one").id, 0);
        assert_eq!(of("{\"id\": 4}").expect("it is one").id, 4);
        for body in ["nonsense", "[]", "{\"di\": 4}", "{\"id\": -1}", "{\"id\": 4, \"id\": 5}"] {
            assert!(of(body).is_err(), "{body}");
        }
    }
}
