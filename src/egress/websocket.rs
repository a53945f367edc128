//! Opens websockets (RFC 6455) for links, with the checks of outbound HTTP: allow-list, addresses, rewrites, proxy,
//! credentials; and searches the frames for secrets, both ways.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tungstenite::client::ClientRequestBuilder;
use tungstenite::handshake::HandshakeError;
use tungstenite::http::Uri;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, WebSocket};
use url::Url;
use zeroize::Zeroizing;

use super::channel::ChannelHttp;
use super::error::OutboundError;
use super::leak::BodySearch;
use super::method::Method;
use super::request::RequestPurpose;
use super::target::OutboundTarget;

/// The longest text frame, in bytes, fragments joined.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;
/// What is read from the socket at once.
const READ_BUFFER_BYTES: usize = 8 * 1024;
/// What may wait for a service that reads nothing: a frame of the guest with what the protocol and pings add. The connection ends
/// when a frame would go past it; a pong then waits.
const MAX_UNSENT_BYTES: usize = 4 * MAX_FRAME_BYTES;
/// The longest response of a proxy to `CONNECT`.
const MAX_PROXY_RESPONSE_BYTES: usize = 8 * 1024;

const NOT_A_WEBSOCKET: OutboundError = OutboundError::Url("a websocket has a wss:// URL");

/// An open websocket, whose socket does not block.
pub type LinkSocket = WebSocket<LinkStream>;

/// Where to connect to, and how, for one connection of a link.
pub(super) struct Endpoint {
    /// Scheme, host and port of the server, as its certificate names it.
    pub url: Zeroizing<String>,
    pub dial: Vec<SocketAddr>,
    /// The proxy's user and password, when the connection goes through a proxy.
    pub tunnel: Option<Tunnel>,
}

/// A tunnel through the operator's proxy.
pub(super) struct Tunnel {
    /// `user:password`.
    pub authorization: Option<Zeroizing<String>>,
}

impl ChannelHttp {
    /// Opens the websocket at a `wss://` URL. Blocks until the handshake is over, at most until the deadline.
    ///
    /// # Errors
    /// As for requests: what was refused, or what failed. [`OutboundError::Handshake`] when the server responds to the handshake
    /// with another status than 101.
    pub fn open_websocket(&self, url: &str, deadline: Instant) -> Result<LinkSocket, OutboundError> {
        let (target, may_be_plain) = self.target_of(url)?;
        self.allowlist.permit(Method::Get, &target)?;
        let route = self.route(&target, RequestPurpose::Other, deadline)?;
        if !may_be_plain && !route.is_rewritten() {
            return Err(OutboundError::Url("only wss:// is allowed, but for hosts that the operator names"));
        }
        let injected = self.credentials.inject(&self.caller, &target, &[], None, &*self.secrets)?;
        let endpoint = self.outbound.endpoint(&route, &injected.path_and_query);
        let failed = |reason| failure(target.host(), reason);
        let stream =
            connect(&endpoint, self.outbound.tls(), deadline).map_err(|error| failed(words(&error)))?;
        let mut websocket = handshake(stream, target.host(), &endpoint.url, &injected.headers)?;
        websocket.get_mut().stop_blocking().map_err(|error| failed(words(&error)))?;
        Ok(websocket)
    }

    /// Whether the allow-list has the place of a `wss://` URL.
    pub fn permits_websocket(&self, url: &str) -> bool {
        self.target_of(url).is_ok_and(|(target, _)| self.allowlist.permit(Method::Get, &target).is_ok())
    }

    /// The URL of a websocket, checked as the URL of its handshake, and whether the connection may be made as it says: a
    /// plain one only to a server that the operator named.
    fn target_of(&self, url: &str) -> Result<(OutboundTarget, bool), OutboundError> {
        let (scheme, rest) = url.split_once("://").ok_or(NOT_A_WEBSOCKET)?;
        if scheme.eq_ignore_ascii_case("wss") {
            return Ok((OutboundTarget::parse(&format!("https://{rest}"))?, true));
        }
        if !scheme.eq_ignore_ascii_case("ws") {
            return Err(NOT_A_WEBSOCKET);
        }
        match OutboundTarget::parse_for(&format!("http://{rest}"), &self.operator_hosts) {
            Ok(named) => Ok((named, true)),
            Err(_) => Ok((OutboundTarget::parse(&format!("https://{rest}"))?, false)),
        }
    }

    /// A frame that the guest wants to send, without the secrets that it must not have.
    ///
    /// # Errors
    /// [`OutboundError::Leak`] when a secret cannot be taken out, [`OutboundError::RequestTooLarge`] past the limit.
    pub fn checked_frame(&self, frame: String) -> Result<String, OutboundError> {
        if frame.len() > MAX_FRAME_BYTES {
            return Err(OutboundError::RequestTooLarge { size: frame.len(), limit: MAX_FRAME_BYTES as u64 });
        }
        let matcher = self.searched_secrets()?;
        match matcher.search_body(frame.into_bytes()) {
            BodySearch::Clean(frame) => Ok(text(frame)),
            BodySearch::Redacted(frame, secrets) => {
                for secret in secrets {
                    self.log_leak(&secret, "frame", "sent without it");
                }
                Ok(text(frame))
            }
            BodySearch::Hidden(secret) => {
                self.log_leak(&secret, "frame", "refused");
                Err(OutboundError::Leak { secret, place: "frame" })
            }
        }
    }

    /// A frame that arrived, as the guest gets it: without secrets.
    ///
    /// # Errors
    /// [`OutboundError::Secrets`] when the secrets cannot be read.
    pub fn redacted_frame(&self, frame: String) -> Result<String, OutboundError> {
        Ok(text(self.searched_secrets()?.redact_received(frame.into_bytes()).0))
    }
}

/// What was UTF-8 and had whole secrets replaced is UTF-8.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn failure(host: &str, reason: &'static str) -> OutboundError {
    OutboundError::Connection { host: host.to_owned(), reason, is_sent: true }
}

fn connect(endpoint: &Endpoint, tls: &Arc<ClientConfig>, deadline: Instant) -> io::Result<LinkStream> {
    let url = Url::parse(&endpoint.url).map_err(|_| io::ErrorKind::InvalidInput)?;
    let host = url.host_str().ok_or(io::ErrorKind::InvalidInput)?;
    let port = url.port_or_known_default().ok_or(io::ErrorKind::InvalidInput)?;
    let mut tcp = DeadlineStream::new(dial(&endpoint.dial, deadline)?, Some(deadline));
    tcp.stream.set_nodelay(true)?;
    if let Some(tunnel) = &endpoint.tunnel {
        open_tunnel(&mut tcp, tunnel, host, port)?;
    }
    if url.scheme() == "http" {
        return Ok(LinkStream::Plain(tcp));
    }
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(name).map_err(|_| io::ErrorKind::InvalidInput)?;
    let connection = ClientConnection::new(tls.clone(), name).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(LinkStream::Tls(Box::new(StreamOwned::new(connection, tcp))))
}

/// Tries one address after the other; each gets half of the time that is left, the last one all of it.
fn dial(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotConnected);
    for (at, address) in addresses.iter().enumerate() {
        let left = time_left(deadline)?;
        let share = if at + 1 == addresses.len() { left } else { left / 2 };
        match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Asks the proxy for a tunnel (`CONNECT`, RFC 9110, section 9.3.6).
fn open_tunnel(tcp: &mut DeadlineStream, tunnel: &Tunnel, host: &str, port: u16) -> io::Result<()> {
    let authorization = tunnel.authorization.as_ref().map(|pair| {
        Zeroizing::new(format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(pair.as_bytes())))
    });
    let authorization = authorization.as_ref().map_or("", |line| line.as_str());
    let head = Zeroizing::new(format!(
        "CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{authorization}\r\n"
    ));
    tcp.write_all(head.as_bytes())?;
    let mut response = Vec::new();
    // Byte by byte: what follows the head belongs to the tunnel.
    while !response.ends_with(b"\r\n\r\n") {
        if response.len() >= MAX_PROXY_RESPONSE_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut byte = [0];
        tcp.read_exact(&mut byte)?;
        response.extend(byte);
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut headers);
    parsed.parse(&response).map_err(|_| io::ErrorKind::InvalidData)?;
    if matches!(parsed.code, Some(200..=299)) { Ok(()) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
}

fn handshake(
    stream: LinkStream,
    host: &str,
    url: &str,
    headers: &[(String, Zeroizing<String>)],
) -> Result<LinkSocket, OutboundError> {
    // tungstenite takes `ws` and `wss` only.
    let uri: Uri = url
        .replacen("http", "ws", 1)
        .parse()
        .map_err(|_| OutboundError::Url("it cannot be written as the target of an HTTP/1.1 request"))?;
    let mut request = ClientRequestBuilder::new(uri);
    for (name, value) in headers {
        request = request.with_header(name.as_str(), value.as_str());
    }
    match tungstenite::client::client_with_config(request, stream, Some(websocket_config())) {
        Ok((websocket, _)) => Ok(websocket),
        Err(HandshakeError::Interrupted(_)) => Err(failure(host, "it timed out")),
        Err(HandshakeError::Failure(error)) => Err(handshake_failure(host, &error)),
    }
}

fn websocket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_UNSENT_BYTES)
        .max_message_size(Some(MAX_FRAME_BYTES))
        .max_frame_size(Some(MAX_FRAME_BYTES))
}

/// An open websocket of a client on this connection, for tests.
#[cfg(test)]
pub fn websocket_on(stream: TcpStream) -> LinkSocket {
    let mut stream = LinkStream::Plain(DeadlineStream::new(stream, None));
    stream.stop_blocking().expect("a socket that does not block");
    WebSocket::from_raw_socket(stream, tungstenite::protocol::Role::Client, Some(websocket_config()))
}

/// The errors of tungstenite can quote what the service sent, so none of their text is passed on.
fn handshake_failure(host: &str, error: &Error) -> OutboundError {
    match error {
        Error::Io(error) => failure(host, words(error)),
        Error::Http(response) => {
            OutboundError::Handshake { host: host.to_owned(), status: response.status().as_u16() }
        }
        _ => failure(host, "the service does not speak the websocket protocol"),
    }
}

/// An error of a socket, in words.
pub(super) fn words(error: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::TimedOut | Kind::WouldBlock => "it timed out",
        Kind::ConnectionRefused => "the connection was refused",
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => "the connection was reset",
        Kind::UnexpectedEof => "the connection was closed before the response was complete",
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => "the network is unreachable",
        Kind::InvalidData => "the server's certificate or TLS is not acceptable",
        _ => "the connection failed",
    }
}

fn time_left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// The bytes of a link's connection.
pub enum LinkStream {
    /// To a server that the operator named, without TLS.
    Plain(DeadlineStream),
    /// To every other server.
    Tls(Box<StreamOwned<ClientConnection, DeadlineStream>>),
}

/// A TCP connection whose reads and writes keep to one deadline while there is one.
pub struct DeadlineStream {
    stream: TcpStream,
    deadline: Option<Instant>,
    /// Bytes that may still be read; then reads say that nothing is there.
    reading_left: usize,
}

impl DeadlineStream {
    fn new(stream: TcpStream, deadline: Option<Instant>) -> Self {
        Self { stream, deadline, reading_left: usize::MAX }
    }
}

impl LinkStream {
    /// Lets so many bytes be read from the socket; then reads fail as if nothing were there.
    pub fn allow_reading(&mut self, bytes: usize) {
        self.tcp_mut().reading_left = bytes;
    }

    /// How many of them are left.
    pub fn reading_left(&mut self) -> usize {
        self.tcp_mut().reading_left
    }

    fn tcp_mut(&mut self) -> &mut DeadlineStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &mut tls.sock,
        }
    }

    fn tcp(&self) -> &DeadlineStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &tls.sock,
        }
    }

    /// From now on reads and writes return at once; whoever uses the stream waits for it with `poll`.
    fn stop_blocking(&mut self) -> io::Result<()> {
        let tcp = self.tcp_mut();
        tcp.deadline = None;
        tcp.stream.set_nonblocking(true)
    }
}

impl AsFd for LinkStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp().stream.as_fd()
    }
}

impl Read for LinkStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for LinkStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(buffer),
            Self::Tls(tls) => tls.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

impl Read for DeadlineStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(deadline) = self.deadline {
            self.stream.set_read_timeout(Some(time_left(deadline)?))?;
        }
        if self.reading_left == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let most = buffer.len().min(self.reading_left);
        let read = self.stream.read(&mut buffer[..most])?;
        self.reading_left -= read;
        Ok(read)
    }
}

impl Write for DeadlineStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if let Some(deadline) = self.deadline {
            self.stream.set_write_timeout(Some(time_left(deadline)?))?;
        }
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
