//! Which rows of a list a request asks for.

use serde_json::Value;

use super::{ApiError, ApiRequest};

/// How many rows there are when the request does not say.
const DEFAULT_ROWS: u64 = 50;
/// The most rows of one response.
pub(crate) const MAX_ROWS: u64 = 1000;

/// The parameters that lists have.
pub(super) const ROW_PARAMETERS: &[&str] = &["channel", "state", "before", "limit", "text"];

/// Which rows; `S` is the kind of state that they have.
pub(super) struct PageOfRows<S> {
    /// Only of this channel.
    pub(super) channel: Option<String>,
    /// Only in this state.
    pub(super) state: Option<S>,
    /// Only with a smaller id.
    pub(super) before: Option<u64>,
    /// How many.
    limit: usize,
    /// Only those that have this text, in any case; in lower case already.
    text: Option<String>,
}

/// How many rows are looked through for a text.
const SEARCHED_ROWS: usize = 1_000;

impl<S: Copy> PageOfRows<S> {
    /// How many rows are to be read: more than are wanted when they are searched.
    pub(super) fn read_limit(&self) -> usize {
        if self.text.is_some() { SEARCHED_ROWS } else { self.limit }
    }

    /// The rows that have the text, as far as there is one.
    pub(super) fn found(&self, rows: impl Iterator<Item = Value>) -> Vec<Value> {
        let has_text = |row: &Value| {
            let Some(text) = &self.text else { return true };
            let mut fields = row.as_object().into_iter().flatten().filter_map(|(_, value)| value.as_str());
            fields.any(|value| value.to_lowercase().contains(text))
        };
        rows.filter(has_text).take(self.limit).collect()
    }

    /// Reads the parameters; `name` says how a state is called.
    pub(super) fn read(
        request: &ApiRequest,
        states: &[S],
        name: impl Fn(S) -> &'static str,
    ) -> Result<Self, ApiError> {
        let state = request.parameter("state").map(|text| {
            states.iter().copied().find(|state| name(*state) == text).ok_or_else(|| {
                let names: Vec<&str> = states.iter().map(|state| name(*state)).collect();
                ApiError::Invalid(format!("there is no state `{text}`; there are {}", names.join(", ")))
            })
        });
        let limit = request.number("limit")?.unwrap_or(DEFAULT_ROWS);
        if !(1..=MAX_ROWS).contains(&limit) {
            return Err(ApiError::Invalid(format!("`limit` is {limit}; give 1 to {MAX_ROWS}")));
        }
        Ok(Self {
            channel: request.parameter("channel").map(str::to_owned),
            state: state.transpose()?,
            before: request.number("before")?,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            text: request.parameter("text").filter(|text| !text.is_empty()).map(str::to_lowercase),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page(query: &[(&str, &str)]) -> Result<PageOfRows<()>, ApiError> {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        PageOfRows::read(&ApiRequest { query, ..ApiRequest::default() }, &[()], |()| "waits")
    }

    #[test]
    fn a_page_has_as_many_rows_as_its_limit_and_no_more() {
        let rows = |query: &[(&str, &str)]| {
            page(query).map(|page| page.found((0..2 * MAX_ROWS).map(|id| json!({"id": id}))).len() as u64)
        };
        assert_eq!(rows(&[]), Ok(DEFAULT_ROWS));
        for limit in [1, MAX_ROWS] {
            assert_eq!(rows(&[("limit", &limit.to_string())]), Ok(limit));
        }
        for limit in [0, MAX_ROWS + 1] {
            let expected = ApiError::Invalid(format!("`limit` is {limit}; give 1 to 1000"));
            assert_eq!(rows(&[("limit", &limit.to_string())]), Err(expected));
        }
    }

    #[test]
    fn more_rows_are_read_when_they_are_searched() {
        let read = |query: &[(&str, &str)]| page(query).map(|page| page.read_limit());
        assert_eq!(read(&[("limit", "3")]), Ok(3));
        assert_eq!(read(&[("limit", "3"), ("text", "")]), Ok(3), "nothing is searched for");
        assert_eq!(read(&[("limit", "3"), ("text", "x")]), Ok(SEARCHED_ROWS));
    }
}
