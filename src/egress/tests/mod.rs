//! Requests of channels over sockets: an upstream server on loopback that does what a test tells it to, and a channel that talks to it.

mod addresses;
mod credentials;
mod hostile_upstreams;
mod logs;
mod refusals;
mod requests;

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::capability::HttpCapability;
use crate::channel::{ChannelCapabilities, ChannelLimits, LimitCaps};
use crate::egress::{
    ChannelHttp, ChannelHttpSettings, NameResolver, OutboundCall, OutboundError, OutboundHttp,
    OutboundHttpSettings, OutboundRequest, OutboundResponse, RequestPurpose,
};
use crate::model::document::{Comments, read};
use crate::secrets::{AllowedNames, MemorySecrets, SecretStore};

/// A secret that needs escaping in most places.
pub const TOKEN: &str = "123456:AAE-very/secret+token=~%&\"";
/// A secret of plain characters.
pub const KEY: &str = "k3y-0123456789abcdef";

/// What an upstream got.
#[derive(Clone, Debug, Default)]
pub struct Received {
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// A server on loopback. It stops taking connections when it is dropped.
pub struct Upstream {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    connections: Arc<Mutex<usize>>,
}

impl Upstream {
    /// Serves each connection on a thread of its own: reads a request, lets `respond` write, and so on until either side
    /// closes. `respond` says whether the connection stays open.
    pub fn start(respond: impl Fn(&Received, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(0));
        let respond = Arc::new(respond);
        let (log, count) = (Arc::clone(&received), Arc::clone(&connections));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                *count.lock().unwrap() += 1;
                let (log, respond) = (Arc::clone(&log), Arc::clone(&respond));
                std::thread::spawn(move || serve(stream, &log, &*respond));
            }
        });
        Self { address, received, connections }
    }

    /// A server that always gives these bytes.
    pub fn fixed(response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        Self::start(move |_, stream| stream.write_all(&response).is_ok())
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The only request that came.
    pub fn only(&self) -> Received {
        let received = self.received();
        assert_eq!(received.len(), 1, "{received:?}");
        received[0].clone()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn serve(
    stream: TcpStream,
    log: &Mutex<Vec<Received>>,
    respond: &(dyn Fn(&Received, &mut TcpStream) -> bool + Send + Sync),
) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        log.lock().unwrap().push(request.clone());
        if !respond(&request, &mut writer) {
            return;
        }
    }
}

pub fn read_request(reader: &mut impl BufRead) -> Option<Received> {
    let mut request = Received::default();
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let text = line.trim_end();
        if text.is_empty() {
            break;
        } else if request.line.is_empty() {
            request.line = text.to_owned();
        } else if let Some((name, value)) = text.split_once(':') {
            request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let length = request.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

/// A complete response.
pub fn response(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status} Whatever\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A resolver that gives its lists one after the other, the last one for ever, and counts.
pub struct FakeResolver {
    addresses: Mutex<Vec<Vec<IpAddr>>>,
    pub asked: Mutex<Vec<String>>,
}

impl FakeResolver {
    pub fn new(addresses: &[&[&str]]) -> Arc<Self> {
        let parse = |list: &&[&str]| list.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Self {
            addresses: Mutex::new(addresses.iter().map(parse).collect()),
            asked: Mutex::default(),
        })
    }

    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl NameResolver for FakeResolver {
    fn resolve(&self, _: &str, host: &str, _: Instant) -> std::io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(host.to_owned());
        let mut addresses = self.addresses.lock().unwrap();
        Ok(if addresses.len() > 1 { addresses.remove(0) } else { addresses[0].clone() })
    }
}

/// A channel under test.
pub struct Setup {
    pub http: serde_json::Value,
    pub operator: OutboundHttpSettings,
    pub resolver: Option<Arc<dyn NameResolver>>,
    pub secrets: Arc<dyn SecretStore>,
    pub allowed: AllowedNames,
    pub given_to_guest: Vec<String>,
    pub inbound_secrets: Vec<String>,
    pub required_secrets: Vec<String>,
}

impl Setup {
    /// A channel with this `capabilities.http` and the two secrets `token` and `key`; it requires a third, `gone`, which is
    /// not stored.
    pub fn new(http: serde_json::Value) -> Self {
        Self {
            http,
            operator: OutboundHttpSettings::default(),
            resolver: None,
            secrets: Arc::new(MemorySecrets::from([("token", TOKEN), ("key", KEY)])),
            allowed: AllowedNames::default(),
            given_to_guest: Vec::new(),
            inbound_secrets: Vec::new(),
            required_secrets: vec!["gone".to_owned()],
        }
    }

    /// Sends the requests for `host` to the upstream.
    pub fn rewrite(mut self, host: &str, upstream: &Upstream) -> Self {
        self.operator.http_rewrite.insert(host.to_owned(), upstream.base());
        self
    }

    pub fn allowed(mut self, names: &[&str]) -> Self {
        self.allowed = AllowedNames::new(names);
        self
    }

    pub fn given_to_guest(mut self, name: &str) -> Self {
        self.given_to_guest.push(name.to_owned());
        self
    }

    pub fn inbound_secret(mut self, name: &str) -> Self {
        self.inbound_secrets.push(name.to_owned());
        self
    }

    pub fn secrets(mut self, secrets: impl SecretStore + 'static) -> Self {
        self.secrets = Arc::new(secrets);
        self
    }

    pub fn resolver(mut self, resolver: Arc<dyn NameResolver>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    pub fn private(mut self, entries: &[&str]) -> Self {
        self.operator.allow_private_hosts = entries.iter().map(|entry| (*entry).to_owned()).collect();
        self
    }

    pub fn outbound(&self) -> OutboundHttp {
        match &self.resolver {
            Some(resolver) => OutboundHttp::with_resolver(&self.operator, Arc::clone(resolver)).unwrap(),
            None => OutboundHttp::new(&self.operator).unwrap(),
        }
    }

    pub fn build(self) -> ChannelHttp {
        let outbound = self.outbound();
        self.build_on(outbound)
    }

    pub fn build_on(self, outbound: OutboundHttp) -> ChannelHttp {
        // What the file asks for is given, also above the usual caps.
        let mut caps = LimitCaps::default();
        for field in ["max_request_bytes", "max_response_bytes", "max_requests_per_callback"] {
            if let Some(asked) = self.http[field].as_u64() {
                caps.set(&format!("http.{field}"), asked).unwrap();
            }
        }
        let capability = read::<HttpCapability>(self.http, Comments::Refused).unwrap();
        let capabilities = ChannelCapabilities { http: Some(capability.clone()), ..Default::default() };
        let (limits, _) = ChannelLimits::resolve(&capabilities, &caps);
        let settings = ChannelHttpSettings {
            caller: "channel test".to_owned(),
            capability,
            limits,
            allowed_secrets: self.allowed,
            secrets: self.secrets,
            given_to_guest: self.given_to_guest,
            inbound_secrets: self.inbound_secrets,
            login_secrets: Vec::new(),
            operator_hosts: Vec::new(),
            required_secrets: self.required_secrets,
        };
        ChannelHttp::new(outbound, settings).unwrap()
    }
}

/// A channel that may go to `api.example.com`, which is the upstream.
pub fn channel(upstream: &Upstream) -> ChannelHttp {
    Setup::new(serde_json::json!({"allowlist": [{"host": "api.example.com"}]}))
        .rewrite("api.example.com", upstream)
        .build()
}

pub fn get(url: &str) -> OutboundRequest {
    request("GET", url, "{}", None)
}

pub fn request(method: &str, url: &str, headers: &str, body: Option<&[u8]>) -> OutboundRequest {
    OutboundRequest {
        method: method.to_owned(),
        url: url.to_owned(),
        headers_json: headers.to_owned(),
        body: body.map(<[u8]>::to_vec),
        timeout: None,
    }
}

/// Makes the request with time enough for a busy machine.
pub fn send(channel: &ChannelHttp, request: OutboundRequest) -> Result<OutboundResponse, OutboundError> {
    channel.request(request, until(Instant::now() + Duration::from_secs(90)), &mut |_| true)
}

/// The first request of a reply with this deadline.
pub fn until(deadline: Instant) -> OutboundCall {
    OutboundCall { deadline, calls_before: 0, purpose: RequestPurpose::Reply }
}

/// No form of either secret stands in the text.
pub fn assert_no_secret(text: &str) {
    let hex = |value: &str| value.bytes().map(|b| format!("{b:02x}")).collect::<String>();
    for value in [TOKEN, KEY] {
        assert!(!text.contains(value), "{text}");
        assert!(!text.to_lowercase().contains(&hex(value)), "{text}");
    }
    assert!(!text.contains("AAE-very"), "{text}");
    assert!(!text.contains("0123456789abcdef"), "{text}");
}
