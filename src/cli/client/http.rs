//! One HTTP/1.1 request to the admin API and its response, over a connection of its own.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::place::HostAddress;
use crate::admin::{ApiCall, VERSION_HEADER};
use crate::model::deadline::deadline_after;

/// The longest head of a response, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// The longest body of a response, in bytes: a thousand rows, or a message with its metadata.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// Header fields of a response.
const MAX_HEADERS: usize = 64;

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// The version of the host, when it says one.
    pub version: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// How long a response may take.
pub struct ResponseWait<F> {
    /// In all.
    pub time: Duration,
    /// What is done when nothing has come back after [`SILENCE`].
    pub is_silent: F,
}

/// After this time whoever waits is told so.
pub const SILENCE: Duration = Duration::from_secs(2);

/// Sends a request and reads the response, all within `time`.
///
/// # Errors
/// Nobody listens there, it takes too long, or what comes back is not HTTP.
pub fn exchange(
    address: &HostAddress,
    token: Option<&str>,
    call: &ApiCall,
    wait: ResponseWait<impl FnOnce()>,
) -> io::Result<HttpResponse> {
    let ResponseWait { time, is_silent } = wait;
    let deadline = deadline_after(Instant::now(), time);
    // Some requests wait on purpose.
    let mut is_silent = Some(is_silent).filter(|_| !call.waits());
    let request = request_text(address, token, call);
    match address {
        HostAddress::Unix(path) => {
            let mut stream = UnixStream::connect(path)?;
            stream.set_write_timeout(Some(time))?;
            stream.write_all(request.as_bytes())?;
            read_response(|buffer| {
                stream.set_read_timeout(Some(time_left(deadline, is_silent.is_some())?))?;
                report_silence(stream.read(buffer), &mut is_silent)
            })
        }
        HostAddress::Tcp(authority) => {
            let mut stream = connect(authority, time)?;
            stream.set_write_timeout(Some(time))?;
            stream.write_all(request.as_bytes())?;
            read_response(|buffer| {
                stream.set_read_timeout(Some(time_left(deadline, is_silent.is_some())?))?;
                report_silence(stream.read(buffer), &mut is_silent)
            })
        }
    }
}

fn connect(authority: &str, time: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::from(ErrorKind::NotFound);
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, time) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// How long the next part may take, before it is all over or before somebody is told.
fn time_left(deadline: Instant, reports_silence: bool) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    match (left.is_zero(), reports_silence) {
        (true, _) => Err(ErrorKind::TimedOut.into()),
        (false, true) => Ok(left.min(SILENCE)),
        (false, false) => Ok(left),
    }
}

/// Reports once that there is no response yet; the deadline says when it is over.
fn report_silence(read: io::Result<usize>, is_silent: &mut Option<impl FnOnce()>) -> io::Result<usize> {
    match (&read, is_silent.take()) {
        (Err(error), Some(report)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            report();
            Err(ErrorKind::Interrupted.into())
        }
        _ => read,
    }
}

fn request_text(address: &HostAddress, token: Option<&str>, call: &ApiCall) -> String {
    let host = match address {
        HostAddress::Unix(_) => "localhost",
        HostAddress::Tcp(authority) => authority,
    };
    let body = call.body.as_ref().map(ToString::to_string).unwrap_or_default();
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let (method, target, length) = (call.method, call.target(), body.len());
    format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{token}{VERSION_HEADER}: {}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}",
        env!("CARGO_PKG_VERSION"),
    )
}

/// Reads up to the end of the connection, which the request asked for.
fn read_response(mut read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<HttpResponse> {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        match read(&mut piece) {
            Ok(0) => return parse(&bytes),
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // What a socket says when its time-out has passed.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
        if bytes.len() > MAX_HEAD_BYTES + MAX_BODY_BYTES {
            return Err(invalid("a response that is too long"));
        }
    }
}

fn parse(bytes: &[u8]) -> io::Result<HttpResponse> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut fields);
    let parsed = head.parse(bytes).map_err(|_| invalid("a response that is not HTTP"))?;
    let httparse::Status::Complete(length) = parsed else {
        return Err(if bytes.is_empty() {
            ErrorKind::UnexpectedEof.into()
        } else {
            invalid("half a response")
        });
    };
    let field = |name: &str| {
        let found = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.and_then(|field| std::str::from_utf8(field.value).ok())
    };
    let body = &bytes[length..];
    if field("content-length").and_then(|text| text.parse().ok()) != Some(body.len()) {
        return Err(invalid("a response that is not complete"));
    }
    Ok(HttpResponse {
        status: head.code.unwrap_or_default(),
        version: field(VERSION_HEADER).map(str::to_owned),
        body: body.to_vec(),
    })
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("{what} came back; is something else listening there?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_read_whole_or_not_at_all() {
        let whole = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nTinclaw-Version: 9.9\r\n\r\n{}";
        let response = parse(whole).expect("it is HTTP");
        assert_eq!((response.status, response.version.as_deref()), (404, Some("9.9")));
        assert_eq!(response.body, b"{}");
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{length} bytes of it");
        }
        assert!(parse(b"{\"ok\":null}\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n{}").is_err(), "nobody knows whether that is all");
    }

    #[test]
    fn a_token_goes_along_and_so_does_the_length_of_the_body() {
        let call = ApiCall::post(&["pairing", "revoke"]).body(serde_json::json!({"id": "\u{fc}"}));
        let text = request_text(&HostAddress::Tcp("host:1".into()), Some("t0k3n"), &call);
        assert!(text.starts_with("POST /api/v1/pairing/revoke HTTP/1.1\r\nHost: host:1\r\n"), "{text}");
        assert!(text.contains("\r\nAuthorization: Bearer t0k3n\r\n"), "{text}");
        assert!(
            text.ends_with("Content-Length: 11\r\nConnection: close\r\n\r\n{\"id\":\"\u{fc}\"}"),
            "{text}"
        );
    }
}
