//! A user and a password in the URL of an agent. No I/O.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::secrets::Secret;

/// HTTP's basic authentication (RFC 7617).
pub(super) struct BasicAuth {
    token: Secret,
    password: Secret,
}

impl BasicAuth {
    /// The URL without them, and them.
    pub(super) fn taken_from(text: &str) -> (String, Option<Self>) {
        let Some(mut url) = with_credentials(text) else { return (text.to_owned(), None) };
        let decoded = |part: &str| percent_decode_str(part).collect::<Vec<u8>>();
        let (user, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
        let token = BASE64.encode([&user, b":".as_slice(), &password].concat());
        remove_credentials(&mut url);
        let password = Secret::from(&*String::from_utf8_lossy(&password));
        let auth = Self { token: Secret::from(token.as_str()), password };
        (as_written(&url, text), Some(auth))
    }

    /// What `Authorization` has after `Basic`.
    pub(super) fn token(&self) -> Secret {
        self.token.clone()
    }

    /// The password alone.
    pub(super) fn password(&self) -> Secret {
        self.password.clone()
    }
}

fn with_credentials(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    (!url.username().is_empty() || url.password().is_some()).then_some(url)
}

/// A URL with a host, as all are here, can be without a user.
fn remove_credentials(url: &mut Url) {
    let _ = url.set_username("");
    let _ = url.set_password(None);
}

/// Without the `/` that a URL without a path gets.
fn as_written(url: &Url, text: &str) -> String {
    let url = url.as_str();
    if text.ends_with('/') { url } else { url.strip_suffix('/').unwrap_or(url) }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_and_a_password_are_taken_out_of_a_url() {
        for (text, url, token) in [
            ("http://a/v1", "http://a/v1", None),
            ("http://u:p%40ss@a", "http://a", Some("dTpwQHNz")),
            ("https://token@a/v1?x=1", "https://a/v1?x=1", Some("dG9rZW46")),
            ("http://:p@a/", "http://a/", Some("OnA=")),
        ] {
            let (without, auth) = BasicAuth::taken_from(text);
            assert_eq!(without, url, "{text}");
            assert_eq!(auth.map(|auth| auth.token.expose().to_owned()).as_deref(), token, "{text}");
        }
    }
}
