//! The methods that a guest may use.

use std::fmt;

/// A method of RFC 9110 or RFC 5789. CONNECT and TRACE are left out: one opens tunnels, the other echoes credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    const ALL: [Self; 7] =
        [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete, Self::Options];

    /// Reads a method in any case.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text))
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_read_in_any_case_and_nothing_else_is() {
        assert_eq!(Method::parse("post"), Some(Method::Post));
        for text in ["", "CONNECT", "TRACE", "PROPFIND", "GET ", "GET\r\nX: y", "G\u{0}ET"] {
            assert_eq!(Method::parse(text), None, "{text:?}");
        }
    }
}
