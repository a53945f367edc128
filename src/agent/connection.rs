//! The HTTP client of agents that are servers. It knows which errors came before a request was sent: these say nothing about
//! the message, which waits.

use std::time::Duration;

use ureq::config::Config;
use ureq::http::{Response, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    ConnectionDetails, Connector, NextTimeout, RustlsConnector, TcpConnector, Transport,
};
use ureq::{Agent, Body, Error, Timeout};

use super::quote::quote;
use crate::model::human_duration::HumanDuration;
use crate::secrets::Secret;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that goes through no proxy and follows no redirect. `timeout` is for a whole request.
pub(super) fn client(timeout: Option<Duration>) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_global(timeout)
        .user_agent(concat!("tinclaw/", env!("CARGO_PKG_VERSION")))
        .build();
    let tcp = Marking { what: "no connection", inner: TcpConnector::default() };
    let tls = Marking { what: "no TLS connection", inner: RustlsConnector::default() };
    let resolver = Marking { what: "no connection", inner: DefaultResolver::default() };
    Agent::with_parts(config, ().chain(tcp).chain(tls), resolver)
}

/// Why there was no connection, when that is the error: the host was not found or not reached, or the TLS handshake failed.
pub(super) fn no_connection(error: &Error) -> Option<String> {
    match error {
        Error::Other(cause) => cause.downcast_ref::<NoConnection>().map(ToString::to_string),
        Error::HostNotFound | Error::ConnectionFailed => Some(error.to_string()),
        _ => None,
    }
}

/// Where a response redirects to, for an error.
pub(super) fn redirect_to(response: &Response<Body>, secrets: &[Secret]) -> String {
    let to = response.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or("nowhere");
    format!(": it redirects to {}, and redirects are not followed", quote(to, secrets))
}

/// An error that came before the request was sent.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
struct NoConnection {
    what: &'static str,
    reason: String,
}

/// A step towards a connection whose errors are [`NoConnection`].
#[derive(Debug)]
struct Marking<T> {
    what: &'static str,
    inner: T,
}

impl<T> Marking<T> {
    fn mark(&self, error: &Error) -> Error {
        let reason = match error {
            Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                format!("nothing within {}", HumanDuration(CONNECT_TIMEOUT))
            }
            Error::Timeout(_) => "nothing within the time for the reply".to_owned(),
            // Without the word "io" before it.
            Error::Io(cause) => cause.to_string(),
            other => other.to_string(),
        };
        Error::Other(Box::new(NoConnection { what: self.what, reason }))
    }
}

impl<In: Transport, C: Connector<In>> Connector<In> for Marking<C> {
    type Out = C::Out;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<C::Out>, Error> {
        self.inner.connect(details, chained).map_err(|error| self.mark(&error))
    }
}

impl<R: Resolver> Resolver for Marking<R> {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        self.inner.resolve(uri, config, timeout).map_err(|error| self.mark(&error))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn post(url: &str) -> Option<String> {
        let sent = client(Some(Duration::from_secs(300))).post(url).send("{}");
        no_connection(&sent.expect_err("nobody replies"))
    }

    /// A name that is not found was taken for a response that was cut off: the message became a dead letter within half a
    /// minute.
    #[test]
    fn what_fails_before_the_request_is_sent_is_no_connection() {
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let closed = port(&TcpListener::bind("127.0.0.1:0").expect("a port"));
        let plain = TcpListener::bind("127.0.0.1:0").expect("a port");
        let no_tls = port(&plain);
        thread::spawn(move || {
            for mut stream in plain.incoming().flatten() {
                let _ = stream.read(&mut [0; 16]);
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
            }
        });
        for (url, expected) in [
            ("http://nonexistent.invalid/v1".to_owned(), "no connection: failed to lookup address"),
            (format!("http://127.0.0.1:{closed}/v1"), "no connection: Connection refused"),
            (format!("https://127.0.0.1:{no_tls}/v1"), "no TLS connection: received corrupt message"),
        ] {
            let error = post(&url).unwrap_or_default();
            assert!(error.starts_with(expected), "{url}: {error}");
        }
    }

    #[test]
    fn a_server_that_hangs_up_after_the_request_was_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 1024]);
            }
        });
        assert_eq!(post(&url), None);
    }
}
