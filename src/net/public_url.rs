//! This host's address as providers call it.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Deserialize;
use url::Url;

use super::quotable;
use crate::model::value_error::ValueError;

/// This host's address as providers call it: `http://` or `https://` with a host, without user, query and fragment, and
/// without a slash at the end.
///
/// ```
/// use tinclaw::PublicUrl;
///
/// let url: PublicUrl = "https://bot.example.org/".parse()?;
/// assert_eq!(url.as_str(), "https://bot.example.org");
/// assert!("bot.example.org".parse::<PublicUrl>().is_err());
/// # Ok::<(), tinclaw::ValueError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicUrl(String);

/// The host's public address where several threads look at it and one changes it. Held for a copy only.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedPublicUrl(Arc<RwLock<Option<PublicUrl>>>);

impl SharedPublicUrl {
    /// This address, or none.
    pub(crate) fn new(url: Option<PublicUrl>) -> Self {
        Self(Arc::new(RwLock::new(url)))
    }

    /// The address as it is now.
    pub(crate) fn get(&self) -> Option<PublicUrl> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another address from now on.
    #[cfg(feature = "cli")]
    pub(crate) fn set(&self, url: Option<PublicUrl>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = url;
    }
}

impl PublicUrl {
    /// The address, without a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PublicUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let is_usable = Url::parse(text).is_ok_and(|url| {
            let is_plain = url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none();
            matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain && !text.contains("${")
        });
        match is_usable {
            true => Ok(Self(text.trim_end_matches('/').to_owned())),
            false => Err(ValueError::PublicUrl(quotable(text))),
        }
    }
}

impl TryFrom<String> for PublicUrl {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Only the daemon's configuration was checked: a library's host took `bot.example.org`, gave it to channels as their
    // `tunnel_url`, and their providers called nobody.
    #[test]
    fn an_address_has_a_scheme_and_a_host_and_nothing_behind_its_path() {
        for (text, expected) in [
            ("https://bot.example.org", Some("https://bot.example.org")),
            ("https://bot.example.org/", Some("https://bot.example.org")),
            ("http://192.168.1.4:8080/bot/", Some("http://192.168.1.4:8080/bot")),
            ("http://[::1]:8080", Some("http://[::1]:8080")),
            ("bot.example.org", None),
            ("bot.example.org:8080", None),
            ("ftp://bot.example.org", None),
            ("https://", None),
            ("https://bot.example.org/?a=b", None),
            ("https://bot.example.org/?", None),
            ("https://bot.example.org/#a", None),
            ("https://user@bot.example.org/", None),
            ("https://:secret@bot.example.org/", None),
            ("https://${HOST}/", None),
            ("", None),
        ] {
            let parsed = text.parse::<PublicUrl>();
            assert_eq!(parsed.as_ref().ok().map(PublicUrl::as_str), expected, "{text}");
            if let Err(error) = parsed {
                assert!(error.to_string().ends_with("such as https://bot.example.org"), "{error}");
            }
        }
    }
}
