//! The one file that knows `ureq`'s transport; its interface may change with any of its minor versions.
//!
//! `ureq` speaks HTTP/1.1 and TLS and keeps connections. Resolving and connecting are ours: the addresses were found and
//! checked before, are handed over for the one call that follows on the same thread, and only they are connected to. Each
//! read and write gets what is left of the call's time, not that time again.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::{self, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout,
    RustlsConnector, ShutdownHandle, Transport,
};
use ureq::{Agent, BodyReader, Error, Proxy};
use zeroize::Zeroizing;

use super::method::Method;
use super::request::ResponseRoom;
use super::settings::OutboundSettingsError;
use crate::model::deadline::deadline_after;

/// The largest response head that is read, in bytes: four times what common servers are able to send.
pub const MAX_RESPONSE_HEAD_BYTES: usize = 32 * 1024;
/// How many addresses of a host are tried at most; `ureq` keeps no more.
pub(super) const MAX_ADDRESSES: usize = 16;

/// What `ureq` collects before it writes; a request line or a header must fit, and ours are at most 16 KiB.
const OUTPUT_BUFFER_BYTES: usize = 20 * 1024;
/// `ureq` reads a response's head into a buffer that does not grow: it must hold the largest one, and a byte more to see
/// that it is larger.
const INPUT_BUFFER_BYTES: usize = MAX_RESPONSE_HEAD_BYTES + 1024;
/// The buffers below TLS hold records (RFC 8446, section 5.2: a little more than 16 KiB), not heads.
const TLS_BUFFER_BYTES: usize = 17 * 1024;
const BODY_CHUNK_BYTES: usize = 16 * 1024;
/// Each holds up to 150 KB.
const MAX_IDLE_CONNECTIONS: usize = 6;
const MAX_IDLE_CONNECTIONS_PER_HOST: usize = 2;
/// Common servers close idle connections after 60 s and more.
const MAX_IDLE_AGE: Duration = Duration::from_secs(30);
/// The least time that one of several addresses gets.
const MIN_CONNECT_TIME: Duration = Duration::from_millis(250);
const USER_AGENT: &str = concat!("tinclaw/", env!("CARGO_PKG_VERSION"));

/// Makes requests to addresses that are given to it.
pub(super) struct OutboundClient {
    agent: Agent,
}

/// One request, ready to be sent.
pub(super) struct Exchange<'a> {
    pub(super) method: Method,
    pub(super) url: &'a str,
    pub(super) headers: &'a [(String, Zeroizing<String>)],
    pub(super) body: Option<&'a [u8]>,
    /// Where to connect to: the server's addresses, or the proxy's.
    pub(super) dial: &'a [SocketAddr],
    pub(super) deadline: Instant,
    /// How long a connection may take to be made, when that is less than the whole time.
    pub(super) connect_timeout: Option<Duration>,
    /// The longest response body, in bytes.
    pub(super) max_body: u64,
}

/// What came back, nothing of it looked at.
pub(super) struct RawResponse {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

/// A response whose body is still to be read.
pub(super) struct RawStream {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    body: BodyReader<'static>,
    deadline: Instant,
    /// How much more of the body may come, in bytes.
    room: u64,
}

/// Why nothing came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClientError {
    /// There was no connection, so nothing was sent.
    NoConnection(&'static str),
    /// There was none in time.
    ConnectTimeout,
    Timeout,
    HeadTooLarge,
    BodyTooLarge,
    NoRoom,
    Failed(&'static str),
}

impl OutboundClient {
    /// A client that connects directly.
    pub(super) fn direct(roots: Option<&[u8]>) -> Result<Self, OutboundSettingsError> {
        let config = config(roots)?.proxy(None).build();
        let connector = ().chain(Dialer).chain(Tls(RustlsConnector::default()));
        Ok(Self { agent: Agent::with_parts(config, connector, FixedAddresses) })
    }

    /// A client that asks a proxy for a tunnel (`CONNECT`, RFC 9110, section 9.3.6).
    pub(super) fn through_proxy(proxy: &str, roots: Option<&[u8]>) -> Result<Self, OutboundSettingsError> {
        let proxy = Proxy::new(proxy).map_err(|_| {
            OutboundSettingsError::new("proxy", "write it as http://host:port or http://user:pw@host:port")
        })?;
        let config = config(roots)?.proxy(Some(proxy)).build();
        let connector =
            ().chain(ConnectProxyConnector::default()).chain(Dialer).chain(Tls(RustlsConnector::default()));
        Ok(Self { agent: Agent::with_parts(config, connector, FixedAddresses) })
    }

    /// Makes the request, without following redirects, and reads the head of the response.
    pub(super) fn open(&self, exchange: &Exchange<'_>) -> Result<RawStream, ClientError> {
        let _handed_over = dial_only(exchange.dial);
        let response =
            self.send(exchange).map_err(|error| match (failed_to_connect(), client_error(error)) {
                (true, ClientError::Timeout) => ClientError::ConnectTimeout,
                (true, ClientError::Failed(reason)) => ClientError::NoConnection(reason),
                (_, error) => error,
            })?;
        let (parts, body) = response.into_parts();
        let headers = parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect();
        Ok(RawStream {
            status: parts.status.as_u16(),
            headers,
            body: body.into_reader(),
            deadline: exchange.deadline,
            room: exchange.max_body,
        })
    }

    fn send(&self, exchange: &Exchange<'_>) -> Result<http::Response<ureq::Body>, Error> {
        let time = exchange.deadline.saturating_duration_since(Instant::now());
        let mut request = http::Request::builder().method(exchange.method.as_str()).uri(exchange.url);
        for (name, value) in exchange.headers {
            request = request.header(name.as_str(), value.as_str());
        }
        let request = request.body(exchange.body.unwrap_or_default())?;
        let request = self.agent.configure_request(request).timeout_global(Some(time));
        let request = request.timeout_connect(exchange.connect_timeout).build();
        // To methods that have a body, an empty one is one.
        let has_body = matches!(exchange.method, Method::Post | Method::Put | Method::Patch);
        if has_body || !request.body().is_empty() {
            self.agent.run(request)
        } else {
            self.agent.run(request.map(|_| ()))
        }
    }

    /// Ends every request that is under way and refuses further ones.
    pub(super) fn shutdown(&self) {
        self.agent.clone().shutdown();
    }
}

fn config(
    roots: Option<&[u8]>,
) -> Result<ureq::config::ConfigBuilder<ureq::typestate::AgentScope>, OutboundSettingsError> {
    let mut tls = TlsConfig::builder();
    if let Some(pem) = roots {
        tls = tls.root_certs(RootCerts::from(certificates(pem)?));
    }
    Ok(Agent::config_builder()
        .tls_config(tls.build())
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(USER_AGENT)
        .accept_encoding("identity")
        .max_response_header_size(MAX_RESPONSE_HEAD_BYTES)
        .input_buffer_size(INPUT_BUFFER_BYTES)
        .output_buffer_size(OUTPUT_BUFFER_BYTES)
        .max_idle_connections(MAX_IDLE_CONNECTIONS)
        .max_idle_connections_per_host(MAX_IDLE_CONNECTIONS_PER_HOST)
        .max_idle_age(MAX_IDLE_AGE))
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>, OutboundSettingsError> {
    let wrong =
        || OutboundSettingsError::new("root_certificates_pem", "it contains no readable PEM certificate");
    let mut certificates = Vec::new();
    for item in parse_pem(pem) {
        if let ureq::tls::PemItem::Certificate(certificate) = item.map_err(|_| wrong())? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() { Err(wrong()) } else { Ok(certificates) }
}

impl RawStream {
    /// Reads some of the body, up to its limit and not one byte more than is needed to know that it is passed; 0 at its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ClientError> {
        // One byte past the limit tells a body of exactly the limit from a longer one.
        let want = usize::try_from(self.room).unwrap_or(usize::MAX).saturating_add(1).min(buffer.len());
        if Instant::now() >= self.deadline {
            return Err(ClientError::Timeout);
        }
        let got = self.body.read(&mut buffer[..want]).map_err(|error| client_error(error.into()))?;
        self.room = self.room.checked_sub(got as u64).ok_or(ClientError::BodyTooLarge)?;
        Ok(got)
    }

    /// Reads the whole body. `room_for` is asked before memory for it is taken.
    pub(super) fn read_whole(&mut self, room_for: ResponseRoom<'_>) -> Result<Vec<u8>, ClientError> {
        let limit = self.room;
        let mut body = Vec::new();
        let mut chunk = vec![0; BODY_CHUNK_BYTES];
        loop {
            let got = self.read(&mut chunk)?;
            if got == 0 {
                return Ok(body);
            }
            let more = growth(body.len(), body.capacity(), got, limit);
            if more > 0 {
                if !room_for(more as u64) {
                    return Err(ClientError::NoRoom);
                }
                body.reserve_exact(body.capacity() - body.len() + more);
            }
            body.extend_from_slice(&chunk[..got]);
        }
    }
}

/// By how many bytes a buffer grows for `got` more: to twice its size, so that it is not moved often, but not beyond the limit.
fn growth(len: usize, capacity: usize, got: usize, limit: u64) -> usize {
    let needed = len + got;
    if needed <= capacity {
        return 0;
    }
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    needed.max(capacity.saturating_mul(2).min(most)) - capacity
}

/// `ureq`'s errors can quote URLs and hence secrets, so none of their text is passed on.
fn client_error(error: Error) -> ClientError {
    use io::ErrorKind as Kind;
    ClientError::Failed(match error {
        Error::Timeout(_) => return ClientError::Timeout,
        Error::LargeResponseHeader(..) => return ClientError::HeadTooLarge,
        Error::Io(error) => match error.kind() {
            Kind::TimedOut | Kind::WouldBlock => return ClientError::Timeout,
            Kind::ConnectionRefused => "the connection was refused",
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => "the connection was reset",
            Kind::UnexpectedEof => "the connection was closed before the response was complete",
            Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => {
                "the network is unreachable"
            }
            Kind::InvalidData => "the server's certificate or TLS is not acceptable",
            Kind::NotConnected => "the host is shutting down",
            _ => "the connection failed",
        },
        Error::Rustls(_) | Error::Tls(_) | Error::TlsRequired => {
            "the server's certificate or TLS is not acceptable"
        }
        Error::Protocol(_) => "the server's response is not HTTP/1.1",
        Error::ConnectProxyFailed(_) => "the proxy refused the tunnel",
        Error::HostNotFound | Error::ConnectionFailed => "no connection could be made",
        Error::Http(_) | Error::BadUri(_) => "the request cannot be written as HTTP/1.1",
        _ => "the request failed",
    })
}

thread_local! {
    /// The addresses that the call which is now made on this thread may connect to. `ureq` asks its resolver in the
    /// middle of a call and gives it nothing that could carry them; it does so on the calling thread.
    static DIAL: RefCell<Vec<SocketAddr>> = const { RefCell::new(Vec::new()) };
    /// Whether the call which is now made on this thread failed before it had a connection, hence before anything was sent.
    static FAILED_TO_CONNECT: Cell<bool> = const { Cell::new(false) };
}

fn failed_to_connect() -> bool {
    FAILED_TO_CONNECT.get()
}

fn note_connect_error(error: Error) -> Error {
    FAILED_TO_CONNECT.set(true);
    error
}

/// Takes the addresses away again when a call is over.
struct DialGuard;

fn dial_only(addresses: &[SocketAddr]) -> DialGuard {
    DIAL.with_borrow_mut(|dial| {
        dial.clear();
        dial.extend_from_slice(addresses);
    });
    FAILED_TO_CONNECT.set(false);
    DialGuard
}

impl Drop for DialGuard {
    fn drop(&mut self) {
        DIAL.with_borrow_mut(Vec::clear);
    }
}

/// "Resolves" every name to the addresses that the call may connect to.
#[derive(Debug)]
struct FixedAddresses;

impl Resolver for FixedAddresses {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut resolved = self.empty();
        DIAL.with_borrow(|dial| {
            for address in dial.iter().take(MAX_ADDRESSES) {
                resolved.push(*address);
            }
        });
        if resolved.is_empty() { Err(Error::HostNotFound) } else { Ok(resolved) }
    }
}

/// Opens TCP connections to the addresses that were handed over and to no others.
#[derive(Debug)]
struct Dialer;

impl<In: Transport> Connector<In> for Dialer {
    type Out = Either<In, DeadlineTcp>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        // A tunnel through a proxy is there already.
        if let Some(tunnel) = chained {
            return Ok(Some(Either::A(tunnel)));
        }
        let stream = Arc::new(dial(&details.addrs, remaining(details.timeout)).map_err(note_connect_error)?);
        stream.set_nodelay(true)?;
        let handle: Weak<dyn ShutdownHandle> = Arc::downgrade(&stream) as Weak<dyn ShutdownHandle>;
        (details.register_shutdown)(handle)?;
        let buffers = if details.needs_tls() {
            LazyBuffers::new(TLS_BUFFER_BYTES, TLS_BUFFER_BYTES)
        } else {
            LazyBuffers::new(INPUT_BUFFER_BYTES, OUTPUT_BUFFER_BYTES)
        };
        Ok(Some(Either::B(DeadlineTcp { stream, buffers })))
    }
}

/// Tries one address after the other; each gets half of the time that is left, the last one all of it.
fn dial(addresses: &[SocketAddr], time: Option<Duration>) -> Result<TcpStream, Error> {
    let deadline = time.map(|time| deadline_after(Instant::now(), time));
    let mut last = Error::ConnectionFailed;
    for (at, address) in addresses.iter().enumerate() {
        let is_last = at + 1 == addresses.len();
        let share = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            if is_last { left } else { (left / 2).max(MIN_CONNECT_TIME).min(left) }
        });
        let result = match share {
            Some(Duration::ZERO) => return Err(Error::Timeout(ureq::Timeout::Connect)),
            Some(share) => TcpStream::connect_timeout(address, share),
            None => TcpStream::connect(address),
        };
        match result {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// The time that an operation may take; none when it has no limit.
fn remaining(timeout: NextTimeout) -> Option<Duration> {
    if timeout.after.is_not_happening() { None } else { Some(*timeout.after) }
}

/// A TCP connection whose every read and write keeps to one deadline, however slowly the other side moves.
struct DeadlineTcp {
    stream: Arc<TcpStream>,
    buffers: LazyBuffers,
}

impl DeadlineTcp {
    /// What is left of the time, or the error that it is over.
    fn left(started: Instant, timeout: NextTimeout) -> Result<Option<Duration>, Error> {
        match remaining(timeout).map(|time| time.saturating_sub(started.elapsed())) {
            Some(Duration::ZERO) => Err(Error::Timeout(timeout.reason)),
            left => Ok(left),
        }
    }
}

/// Whether the operation is to be tried again, because a signal came or less time passed than the system thought.
fn is_interruption(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl Transport for DeadlineTcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let started = Instant::now();
        let mut written = 0;
        while written < amount {
            self.stream.set_write_timeout(Self::left(started, timeout)?)?;
            match (&*self.stream).write(&self.buffers.output()[written..amount]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(count) => written += count,
                Err(error) if is_interruption(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let started = Instant::now();
        loop {
            self.stream.set_read_timeout(Self::left(started, timeout)?)?;
            match (&*self.stream).read(self.buffers.input_append_buf()) {
                Ok(count) => {
                    self.buffers.input_appended(count);
                    return Ok(count > 0);
                }
                Err(error) if is_interruption(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A connection that waits for reuse has nothing to say: bytes or an end mean that it is of no use any more.
    fn is_open(&mut self) -> bool {
        let silent = || -> io::Result<bool> {
            self.stream.set_nonblocking(true)?;
            let result = (&*self.stream).read(&mut [0]);
            self.stream.set_nonblocking(false)?;
            Ok(matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock))
        };
        silent().unwrap_or(false)
    }
}

impl fmt::Debug for DeadlineTcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadlineTcp").field("peer", &self.stream.peer_addr().ok()).finish()
    }
}

/// TLS for `https`, with one configuration for the whole client.
///
/// Our calls carry a time limit each, and for calls with settings of their own `ureq` would build a configuration per
/// connection, without the memory that TLS sessions are resumed from. What our calls set does not concern TLS.
struct Tls(RustlsConnector);

impl<In: Transport> Connector<In> for Tls {
    type Out = <RustlsConnector as Connector<In>>::Out;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let mut addrs = FixedAddresses.empty();
        for address in details.addrs.iter() {
            addrs.push(*address);
        }
        let shared = ConnectionDetails {
            uri: details.uri,
            addrs,
            config: details.config,
            request_level: false,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: Arc::clone(&details.current_time),
            run_connector: Arc::clone(&details.run_connector),
            register_shutdown: Arc::clone(&details.register_shutdown),
        };
        self.0.connect(&shared, chained).map_err(note_connect_error)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
