//! Who may use the admin listener. Decisions over the head of a request, without I/O.
//!
//! - A Unix socket: whoever may open the file. Its mode lets only the user of the host.
//! - A loopback address without a token: whoever is on this machine. A page of another site that a browser shows must not be
//!   able to do anything: its requests carry a `Host` that is not loopback (DNS rebinding), or an `Origin` of its own.
//! - With a token, and that is every other address: whoever knows it. Health checks need none, and say nothing.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq as _;

use crate::model::log_throttle::LogThrottle;
use crate::secrets::{Secret, SecretStore};
use crate::server::Response;

/// The shortest token that is taken, in bytes: shorter ones can be guessed over the network.
pub(crate) const MIN_TOKEN_BYTES: usize = 16;

/// What a listener asks of its clients.
#[derive(Clone)]
pub(crate) enum Access {
    /// A Unix socket: the file's permissions have decided.
    Socket,
    /// A loopback address without a token.
    Loopback,
    /// The secret of this name, which is read for each request.
    Token(TokenSource),
}

/// Where the token is.
#[derive(Clone)]
pub(crate) struct TokenSource {
    /// The secrets.
    pub(crate) secrets: Arc<dyn SecretStore>,
    /// The name of the token among them.
    pub(crate) name: String,
    /// Anybody who asks causes a line. Held for the look-up that decides whether it is written.
    pub(crate) log: Arc<Mutex<LogThrottle>>,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessError {
    /// The `Host` is a name that anybody may point to this machine.
    Host,
    /// A page of another site sent it.
    Origin,
    /// There is no token.
    Token,
    /// There is another token.
    WrongToken,
    /// The token cannot be read, or is too short to be one.
    NoToken,
}

/// What is looked at.
pub(crate) struct Presented<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// Names in lower case.
    pub(crate) headers: &'a [(String, String)],
}

impl Access {
    /// Decides about a request.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn check(&self, presented: &Presented<'_>) -> Result<(), AccessError> {
        if is_open(presented) {
            return Ok(());
        }
        match self {
            Self::Socket => {}
            Self::Loopback => {
                if !presented.header("host").is_some_and(is_loopback_authority) {
                    return Err(AccessError::Host);
                }
            }
            Self::Token(source) => source.check(presented.bearer())?,
        }
        check_origin(presented)
    }
}

impl TokenSource {
    /// The token, when it can be used.
    pub(crate) fn read(&self) -> Option<Secret> {
        self.usable().ok()
    }

    /// The token, or why it cannot be used.
    fn usable(&self) -> Result<Secret, String> {
        let name = &self.name;
        match self.secrets.get(name) {
            Ok(Some(token)) if token.expose().trim().len() >= MIN_TOKEN_BYTES => Ok(token),
            Ok(Some(_)) => Err(format!("the secret {name} has less than {MIN_TOKEN_BYTES} bytes")),
            Ok(None) => Err(format!(
                "the secret {name} is not stored; `tinclaw secrets set {name} --generate` makes one"
            )),
            Err(error) => Err(format!("the secret {name} cannot be read: {error}")),
        }
    }

    fn check(&self, bearer: Option<&str>) -> Result<(), AccessError> {
        let bearer = bearer.ok_or(AccessError::Token)?;
        let token = match self.usable() {
            Ok(token) => token,
            Err(reason) => {
                let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(suppressed) = log.check(&(), Instant::now()) {
                    log::error!("requests to the admin API are refused: admin_token: {reason}{suppressed}");
                }
                return Err(AccessError::NoToken);
            }
        };
        // A file that the secret came from may have ended with a line break, which no header can have.
        match is_same(token.expose().trim(), bearer) {
            true => Ok(()),
            false => Err(AccessError::WrongToken),
        }
    }
}

impl<'a> Presented<'a> {
    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The token of `Authorization: Bearer` (RFC 6750 section 2.1).
    fn bearer(&self) -> Option<&'a str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }
}

impl AccessError {
    /// What the client is told.
    pub(crate) fn response(self) -> Response {
        let (status, code, message) = match self {
            Self::Host => (
                403,
                "host",
                "use localhost, 127.0.0.1 or [::1] as the host name; for other names set admin_token",
            ),
            Self::Origin => (403, "origin", "requests of pages of other sites are refused"),
            Self::Token => (401, "token", "give the admin token: Authorization: Bearer TOKEN"),
            Self::WrongToken => (401, "token", "this is not the admin token"),
            Self::NoToken => (503, "no_token", "the host cannot read its admin token; its log says why"),
        };
        let body = serde_json::json!({"error": code, "message": message}).to_string();
        let mut response = Response::json(status, body);
        if status == 401 {
            response.headers.push(("WWW-Authenticate".into(), "Bearer realm=\"tinclaw\"".into()));
        }
        response
    }
}

/// Health checks and the page itself: neither says anything about the host.
fn is_open(presented: &Presented<'_>) -> bool {
    matches!(presented.method, "GET" | "HEAD") && matches!(presented.path, "/healthz" | "/readyz" | "/")
}

/// A browser says where a request comes from. Programs do not, and are not the problem.
fn check_origin(presented: &Presented<'_>) -> Result<(), AccessError> {
    if matches!(presented.method, "GET" | "HEAD") {
        return Ok(());
    }
    let is_foreign_site = presented.header("sec-fetch-site").is_some_and(|site| site != "same-origin");
    let is_foreign_origin = presented.header("origin").is_some_and(|origin| {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_none() || authority != presented.header("host")
    });
    match is_foreign_site || is_foreign_origin {
        true => Err(AccessError::Origin),
        false => Ok(()),
    }
}

/// Whether a `Host` names this machine by a name that nobody else can give an address: `localhost` or a loopback address,
/// with any port, because a tunnel has another one than the host.
fn is_loopback_authority(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => (address, rest.strip_prefix(':').or(rest.is_empty().then_some("0"))),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("0")),
        },
    };
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    port.is_some_and(|port| port.parse::<u16>().is_ok())
        && (host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_loopback))
}

/// Compares hashes, whose length says nothing, in constant time.
fn is_same(token: &str, given: &str) -> bool {
    let hash = |text: &str| digest(&SHA256, text.as_bytes());
    hash(token).as_ref().ct_eq(hash(given).as_ref()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::MemorySecrets;

    const TOKEN: &str = "0123456789abcdef";

    fn check(access: &Access, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<(), AccessError> {
        let headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        access.check(&Presented { method, path, headers: &headers })
    }

    fn token(value: &str) -> Access {
        let secrets = MemorySecrets::default();
        secrets.set("admin_token", Secret::new(value.to_owned())).expect("it is a name");
        Access::Token(TokenSource {
            secrets: Arc::new(secrets),
            name: "admin_token".to_owned(),
            log: Arc::default(),
        })
    }

    #[test]
    fn on_loopback_only_names_of_this_machine_are_taken() {
        for (host, is_taken) in [
            ("localhost", true),
            ("LOCALHOST:9191", true),
            ("127.0.0.1:9191", true),
            ("127.1.2.3", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]", true),
            ("localhost.evil.example:9191", false),
            ("evil.example", false),
            ("192.168.1.2:9191", false),
            ("127.0.0.1:port", false),
            ("[::1]x", false),
            ("[::1", false),
            ("", false),
        ] {
            let result = check(&Access::Loopback, "GET", "/api/v1/health", &[("host", host)]);
            assert_eq!(result.is_ok(), is_taken, "{host}");
        }
        assert_eq!(check(&Access::Loopback, "GET", "/metrics", &[]), Err(AccessError::Host));
        assert_eq!(check(&Access::Loopback, "GET", "/healthz", &[("host", "evil.example")]), Ok(()));
    }

    #[test]
    fn changes_by_a_page_of_another_site_are_refused() {
        let host = ("host", "localhost:9191");
        for access in [Access::Loopback, Access::Socket] {
            for (headers, is_taken) in [
                (&[host][..], true),
                (&[host, ("origin", "http://localhost:9191")], true),
                (&[host, ("origin", "http://localhost:9191"), ("sec-fetch-site", "same-origin")], true),
                (&[host, ("origin", "http://localhost:80")], false),
                (&[host, ("origin", "null")], false),
                (&[host, ("origin", "http://evil.example")], false),
                (&[host, ("sec-fetch-site", "cross-site")], false),
                (&[host, ("sec-fetch-site", "same-site")], false),
            ] {
                let result = check(&access, "POST", "/api/v1/messages/1/drop", headers);
                assert_eq!(result.is_ok(), is_taken, "{headers:?}");
            }
            let read = check(&access, "GET", "/api/v1/health", &[host, ("origin", "http://evil.example")]);
            assert_eq!(read, Ok(()), "a browser does not show it to the page");
        }
    }

    #[test]
    fn with_a_token_nothing_else_opens_the_api() {
        let access = token(TOKEN);
        let ask = |value: &str| check(&access, "GET", "/api/v1/health", &[("authorization", value)]);
        assert_eq!(ask("Bearer 0123456789abcdef"), Ok(()));
        assert_eq!(ask("bearer  0123456789abcdef"), Ok(()));
        for wrong in ["Bearer", "Basic 0123456789abcdef", TOKEN] {
            assert_eq!(ask(wrong), Err(AccessError::Token), "{wrong}");
        }
        // Somebody with an old token was told that none had been given.
        for wrong in ["Bearer 0123456789abcdeg", "Bearer "] {
            assert_eq!(ask(wrong), Err(AccessError::WrongToken), "{wrong}");
        }
        let with_break = token("0123456789abcdef\n");
        let ask =
            check(&with_break, "GET", "/api/v1/health", &[("authorization", "Bearer 0123456789abcdef")]);
        assert_eq!(ask, Ok(()));
        assert_eq!(check(&access, "GET", "/metrics", &[("host", "localhost")]), Err(AccessError::Token));
        for path in ["/healthz", "/readyz", "/"] {
            assert_eq!(check(&access, "GET", path, &[]), Ok(()), "{path}");
        }
        assert_eq!(check(&access, "POST", "/healthz", &[]), Err(AccessError::Token));
    }

    #[test]
    fn a_token_is_as_long_as_the_limit_or_is_none() {
        for (length, is_one) in [(MIN_TOKEN_BYTES, true), (MIN_TOKEN_BYTES - 1, false), (0, false)] {
            let value = "x".repeat(length);
            let result =
                check(&token(&value), "GET", "/metrics", &[("authorization", &format!("Bearer {value}"))]);
            assert_eq!(result.is_ok(), is_one, "{length}: {result:?}");
        }
    }
}
