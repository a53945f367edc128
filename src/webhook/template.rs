//! The string that was signed, as a template of `{timestamp}`, `{id}`, `{url}`, `{body}` and literal text.

use std::fmt;

use super::freshness::{self, Timestamp};
use super::plan::Signed;
use super::request::WebhookRequest;
use super::verify::AuthFailure;

/// Longest `{id}` in bytes; providers use 20 to 64.
const MAX_ID_BYTES: usize = 256;

/// One piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum TextPiece {
    Literal(String),
    Timestamp,
    Id,
    Url,
    Body,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateError {
    #[error("a placeholder stands twice in `{0}`")]
    Twice(String),
    #[error("`{0}` leaves out {{body}}, so anybody could change it")]
    NoBody(String),
    #[error("{{id}} in `{0}` needs text after it, else its end is not signed")]
    OpenId(String),
    #[error("`}}` without `{{` before `{0}`")]
    Unopened(String),
    #[error("`{{` is not closed in `{0}`")]
    Unclosed(String),
    #[error("`{{{0}}}` is unknown; there are {{timestamp}}, {{id}}, {{url}} and {{body}}")]
    UnknownPlaceholder(String),
}

/// A parsed template: `{body}` is in it, and no placeholder twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    pieces: Vec<TextPiece>,
}

impl Template {
    /// Parses a template, or says what is wrong with it.
    ///
    /// `{id}` must be followed by literal text, so that where it ends is signed too. A `{timestamp}` needs no
    /// separator: moving its end by a digit changes the time tenfold, which no tolerance allows.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, after) = next_piece(rest)?;
            if !matches!(piece, TextPiece::Literal(_)) && pieces.contains(&piece) {
                return Err(TemplateError::Twice(text.to_owned()));
            }
            pieces.push(piece);
            rest = after;
        }
        if !pieces.contains(&TextPiece::Body) {
            return Err(TemplateError::NoBody(text.to_owned()));
        }
        let open_id = pieces
            .windows(2)
            .any(|pair| pair[0] == TextPiece::Id && !matches!(pair[1], TextPiece::Literal(_)));
        if open_id {
            return Err(TemplateError::OpenId(text.to_owned()));
        }
        Ok(Self { pieces })
    }

    /// Whether `{timestamp}` is signed.
    pub fn has_timestamp(&self) -> bool {
        self.pieces.contains(&TextPiece::Timestamp)
    }

    /// What is signed beside the body.
    pub fn signed(&self) -> Signed {
        match (self.has_timestamp(), self.has_id()) {
            (true, _) => Signed::Time,
            (false, true) => Signed::Id,
            (false, false) => Signed::BodyOnly,
        }
    }

    /// Whether `{id}` is signed.
    pub fn has_id(&self) -> bool {
        self.pieces.contains(&TextPiece::Id)
    }

    /// What follows `{id}`: its first character must not occur in an id.
    fn after_id(&self) -> Option<char> {
        let at = self.pieces.iter().position(|piece| *piece == TextPiece::Id)?;
        match self.pieces.get(at + 1) {
            Some(TextPiece::Literal(text)) => text.chars().next(),
            _ => None,
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| {
            f.write_str(match piece {
                TextPiece::Literal(text) => text,
                TextPiece::Timestamp => "{timestamp}",
                TextPiece::Id => "{id}",
                TextPiece::Url => "{url}",
                TextPiece::Body => "{body}",
            })
        })
    }
}

/// Splits the first piece off.
fn next_piece(text: &str) -> Result<(TextPiece, &str), TemplateError> {
    let Some(inner) = text.strip_prefix('{') else {
        let end = text.find(['{', '}']).unwrap_or(text.len());
        if text[..end].is_empty() {
            return Err(TemplateError::Unopened(text.to_owned()));
        }
        return Ok((TextPiece::Literal(text[..end].to_owned()), &text[end..]));
    };
    let Some((name, after)) = inner.split_once('}') else {
        return Err(TemplateError::Unclosed(text.to_owned()));
    };
    let piece = match name {
        "timestamp" => TextPiece::Timestamp,
        "id" => TextPiece::Id,
        "url" => TextPiece::Url,
        "body" => TextPiece::Body,
        other => return Err(TemplateError::UnknownPlaceholder(other.to_owned())),
    };
    Ok((piece, after))
}

/// A template with the headers that its placeholders come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SignedText {
    pub template: Template,
    /// There exactly when the template has `{timestamp}`; lower case.
    pub timestamp_header: Option<String>,
    /// There exactly when the template has `{id}`; lower case.
    pub id_header: Option<String>,
}

/// What the placeholders of one request stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignedParts<'a> {
    pub timestamp: Option<Timestamp<'a>>,
    pub id: Option<&'a str>,
}

impl SignedText {
    /// Reads timestamp and id from the headers and checks both.
    pub fn parts<'a>(
        &self,
        request: &WebhookRequest<'a>,
        tolerance_secs: u64,
    ) -> Result<SignedParts<'a>, AuthFailure> {
        let timestamp = match &self.timestamp_header {
            Some(name) => Some(freshness::recent(request.only(name)?, request.now_ms, tolerance_secs)?),
            None => None,
        };
        let id = match &self.id_header {
            Some(name) => Some(checked_id(request.only(name)?, self.template.after_id())?),
            None => None,
        };
        Ok(SignedParts { timestamp, id })
    }

    /// Hands the signed string to `sink` piece by piece, so that a large body is not copied.
    pub fn feed(&self, parts: &SignedParts<'_>, request: &WebhookRequest<'_>, mut sink: impl FnMut(&[u8])) {
        for piece in &self.template.pieces {
            match piece {
                TextPiece::Literal(text) => sink(text.as_bytes()),
                TextPiece::Timestamp => {
                    sink(parts.timestamp.map_or("", |timestamp| timestamp.text).as_bytes())
                }
                TextPiece::Id => sink(parts.id.unwrap_or_default().as_bytes()),
                TextPiece::Url => sink(request.public_url.as_bytes()),
                TextPiece::Body => sink(request.body),
            }
        }
    }
}

/// An id is visible ASCII and free of the character that ends it in the signed string.
pub(super) fn checked_id(id: &str, end: Option<char>) -> Result<&str, AuthFailure> {
    let plain = !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain || end.is_some_and(|end| id.contains(end)) {
        return Err(AuthFailure::IdMalformed);
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_of_the_providers_parse() {
        for text in [
            "{body}",
            "v0:{timestamp}:{body}",
            "{id}.{timestamp}.{body}",
            "{timestamp}{body}",
            "{url}{body}",
            "{body}x",
        ] {
            assert_eq!(Template::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn templates_that_leave_something_unsigned_are_refused() {
        let cases = [
            ("", "leaves out {body}"),
            ("v0", "leaves out {body}"),
            ("{timestamp}", "leaves out {body}"),
            ("{body}{body}", "twice"),
            ("{id}{body}", "needs text after it"),
            ("{id}{timestamp}.{body}", "needs text after it"),
            ("{Body}", "`{Body}` is unknown"),
            ("{body", "not closed"),
            ("body}", "`}` without `{`"),
            ("{body}}", "`}` without `{`"),
            ("{}{body}", "`{}` is unknown"),
            ("{{body}}", "is unknown"),
        ];
        for (text, part) in cases {
            let error = Template::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn an_id_ends_where_the_signed_string_says_so() {
        let cases = [
            ("msg_1", Some('.'), true),
            ("msg.1", Some('.'), false),
            ("msg.1", None, true),
            ("", None, false),
            ("a b", None, false),
            ("é", None, false),
            ("a\u{7f}", None, false),
        ];
        for (id, end, accepted) in cases {
            assert_eq!(checked_id(id, end).is_ok(), accepted, "{id:?} {end:?}");
        }
        assert!(checked_id(&"x".repeat(MAX_ID_BYTES), None).is_ok());
        assert!(checked_id(&"x".repeat(MAX_ID_BYTES + 1), None).is_err());
    }
}
