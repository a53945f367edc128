//! An HTTP request as it stands in a file: a request line, header fields, an empty line, and the body as it was sent.

use crate::model::escape::escaped;

/// Header fields of a request that is read from a file.
const MAX_HEADERS: usize = 128;

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub struct RawRequest {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Why a file is no request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RawRequestError {
    #[error("there is no empty line between the header fields and the body")]
    NoEnd,
    #[error("{0}; the file begins with a line such as `POST /webhook/github HTTP/1.1`")]
    Head(String),
}

impl RawRequest {
    /// Reads a request. The lines of the head may end as those of any text file.
    pub fn parse(bytes: &[u8]) -> Result<Self, RawRequestError> {
        let (head, body) = split(bytes).ok_or(RawRequestError::NoEnd)?;
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut fields);
        request
            .parse(head)
            .map_err(|error| RawRequestError::Head(escaped(&error.to_string()).into_owned()))?;
        let missing = || RawRequestError::Head("it has no request line".to_owned());
        Ok(Self {
            method: request.method.ok_or_else(missing)?.to_owned(),
            target: request.path.ok_or_else(missing)?.to_owned(),
            headers: request
                .headers
                .iter()
                .map(|field| {
                    let value = String::from_utf8_lossy(field.value).trim().to_owned();
                    (field.name.to_ascii_lowercase(), value)
                })
                .collect(),
            body: body.to_vec(),
        })
    }

    /// The query, without its question mark.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// A header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// What `content-length` says, when the body has another length: the file is not what was sent.
    pub fn announced_length(&self) -> Option<usize> {
        let announced = self.header("content-length")?.parse().ok()?;
        (announced != self.body.len()).then_some(announced)
    }
}

/// The head with its empty line, and the body.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let ends: [&[u8]; 2] = [b"\r\n\r\n", b"\n\n"];
    let end_of =
        |end: &[u8]| bytes.windows(end.len()).position(|found| found == end).map(|at| at + end.len());
    let at = ends.into_iter().filter_map(end_of).min()?;
    Some(bytes.split_at(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_with_either_kind_of_line_end_and_its_body_is_left_alone() {
        for end in ["\n", "\r\n"] {
            let text = format!("POST /a?b=c HTTP/1.1{end}Host: x{end}X-A:  1 {end}{end}body\r\n\n");
            let request = RawRequest::parse(text.as_bytes()).unwrap();
            assert_eq!(
                (request.method.as_str(), request.target.as_str(), request.query()),
                ("POST", "/a?b=c", "b=c")
            );
            assert_eq!(request.headers, [("host".into(), "x".into()), ("x-a".into(), "1".into())]);
            assert_eq!(request.body, b"body\r\n\n");
        }
    }

    #[test]
    fn malformed_requests_are_errors() {
        assert_eq!(RawRequest::parse(b"POST / HTTP/1.1\n"), Err(RawRequestError::NoEnd));
        assert!(matches!(RawRequest::parse(b"{\"a\":1}\n\n"), Err(RawRequestError::Head(_))));
        assert!(matches!(RawRequest::parse(b"\n\n"), Err(RawRequestError::Head(_))));
    }

    #[test]
    fn a_body_of_another_length_than_announced_is_noticed() {
        let length = |announced: &str| {
            let text = format!("POST / HTTP/1.1\nContent-Length: {announced}\n\nbody");
            RawRequest::parse(text.as_bytes()).unwrap().announced_length()
        };
        assert_eq!((length("4"), length("5"), length("x")), (None, Some(5), None));
    }
}
