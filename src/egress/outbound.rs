//! What all outbound requests of a host share: connections, the operator's settings, the resolver.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;
use rustls::ClientConfig;
use url::{Host, Url};
use zeroize::Zeroizing;

use super::client::{Exchange, MAX_ADDRESSES, OutboundClient};
use super::error::OutboundError;
use super::host_pattern::HostPattern;
use super::opened::UpstreamResponse;
use super::operator_host::OperatorHost;
use super::private_hosts::{self, PrivateHosts};
use super::request::RequestPurpose;
use super::resolver::{LOOKUP_TIMEOUT, NameResolver, SystemResolver};
use super::settings::{OutboundHttpSettings, OutboundSettingsError};
use super::target::OutboundTarget;
use super::tls;
use super::websocket::{Endpoint, Tunnel};
use crate::model::deadline::deadline_after;

/// How often a poll or a webhook that waits for a lookup looks whether the host is shutting down.
const LOOKUP_CHECK: Duration = Duration::from_millis(100);

/// Outbound HTTP of a host. Cloning it is cheap and shares connections and settings.
#[derive(Clone)]
pub struct OutboundHttp(Arc<Inner>);

struct Inner {
    direct: OutboundClients,
    proxied: Option<Proxy>,
    /// Set once, when the host begins to stop; requests of polls look at it while they wait.
    polls_ended: AtomicBool,
    /// Set once, a moment later; requests of webhooks look at it while they wait.
    webhooks_ended: AtomicBool,
    rewrites: Vec<Rewrite>,
    private: PrivateHosts,
    resolver: Arc<dyn NameResolver>,
    /// The authorities to trust instead of the compiled-in ones.
    root_certificates_pem: Option<String>,
    /// For websockets; made when the first one is opened.
    tls: OnceLock<Arc<ClientConfig>>,
}

/// The proxy that requests go through.
struct Proxy {
    clients: OutboundClients,
    base: Base,
    /// `user:password`.
    authorization: Option<Zeroizing<String>>,
}

/// Polls and webhooks have connections of their own, so that they can be ended before everything else.
struct OutboundClients {
    polls: OutboundClient,
    webhooks: OutboundClient,
    others: OutboundClient,
}

impl OutboundClients {
    fn direct(roots: Option<&[u8]>) -> Result<Self, OutboundSettingsError> {
        Ok(Self {
            polls: OutboundClient::direct(roots)?,
            webhooks: OutboundClient::direct(roots)?,
            others: OutboundClient::direct(roots)?,
        })
    }

    fn through_proxy(proxy: &str, roots: Option<&[u8]>) -> Result<Self, OutboundSettingsError> {
        Ok(Self {
            polls: OutboundClient::through_proxy(proxy, roots)?,
            webhooks: OutboundClient::through_proxy(proxy, roots)?,
            others: OutboundClient::through_proxy(proxy, roots)?,
        })
    }

    fn of(&self, purpose: RequestPurpose) -> &OutboundClient {
        match purpose {
            RequestPurpose::Poll => &self.polls,
            RequestPurpose::Webhook => &self.webhooks,
            RequestPurpose::Reply | RequestPurpose::Status | RequestPurpose::Other => &self.others,
        }
    }
}

/// One entry of `http_rewrite`.
struct Rewrite {
    host: HostPattern,
    base: Base,
}

/// A server that the operator named.
struct Base {
    /// Scheme, host and port, and the path without a slash at its end.
    url: String,
    host: String,
    literal: Option<IpAddr>,
    port: u16,
}

/// Where a request goes: the beginning of its URL, and the addresses to connect to.
pub(super) struct Upstream<'a> {
    base: UpstreamBase<'a>,
    dial: Vec<SocketAddr>,
}

enum UpstreamBase<'a> {
    Direct(String),
    Proxied(String, &'a Proxy),
    Rewritten(&'a str),
}

impl Upstream<'_> {
    /// Whether the operator said where requests to this host really go.
    pub(super) fn is_rewritten(&self) -> bool {
        matches!(self.base, UpstreamBase::Rewritten(_))
    }

    /// The whole URL of a request with this path and query.
    pub(super) fn url(&self, path_and_query: &str) -> String {
        match &self.base {
            UpstreamBase::Direct(origin) | UpstreamBase::Proxied(origin, _) => {
                format!("{origin}{path_and_query}")
            }
            UpstreamBase::Rewritten(base) => format!("{base}{path_and_query}"),
        }
    }
}

/// Where it goes, without what a proxy is asked with.
impl fmt::Display for Upstream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dial: Vec<String> = self.dial.iter().map(ToString::to_string).collect();
        let dial = dial.join(", ");
        match &self.base {
            UpstreamBase::Direct(_) => write!(f, "connects to {dial}"),
            UpstreamBase::Proxied(..) => write!(f, "goes through the proxy at {dial}"),
            UpstreamBase::Rewritten(base) => write!(f, "goes to {base} instead (http_rewrite), at {dial}"),
        }
    }
}

impl OutboundHttp {
    /// Outbound HTTP with the system's resolver.
    ///
    /// # Errors
    /// [`OutboundSettingsError`] names the setting that cannot be used.
    pub fn new(settings: &OutboundHttpSettings) -> Result<Self, OutboundSettingsError> {
        Self::with_resolver(settings, Arc::new(SystemResolver::default()))
    }

    /// Outbound HTTP with another resolver.
    ///
    /// # Errors
    /// As [`OutboundHttp::new`].
    pub fn with_resolver(
        settings: &OutboundHttpSettings,
        resolver: Arc<dyn NameResolver>,
    ) -> Result<Self, OutboundSettingsError> {
        let roots = settings.root_certificates_pem.as_deref().map(str::as_bytes);
        let proxied = match &settings.proxy {
            Some(proxy) => {
                let base =
                    Base::parse(proxy, true).map_err(|reason| OutboundSettingsError::new("proxy", reason))?;
                let clients = OutboundClients::through_proxy(proxy, roots)?;
                Some(Proxy { clients, base, authorization: authorization(proxy) })
            }
            None => None,
        };
        Ok(Self(Arc::new(Inner {
            direct: OutboundClients::direct(roots)?,
            polls_ended: AtomicBool::new(false),
            webhooks_ended: AtomicBool::new(false),
            proxied,
            rewrites: rewrites(&settings.http_rewrite)?,
            private: PrivateHosts::new(&settings.allow_private_hosts)?,
            resolver,
            root_certificates_pem: settings.root_certificates_pem.clone(),
            tls: OnceLock::new(),
        })))
    }

    /// Ends the requests of polls that are under way, which may wait for most of a minute; later ones fail at once. It is
    /// what the host does first when it shuts down: replies go on.
    pub fn end_polls(&self) {
        self.0.polls_ended.store(true, Ordering::Relaxed);
        self.clients().for_each(|clients| clients.polls.shutdown());
    }

    /// The same for requests of webhooks: their providers send them again.
    pub fn end_webhooks(&self) {
        self.0.webhooks_ended.store(true, Ordering::Relaxed);
        self.clients().for_each(|clients| clients.webhooks.shutdown());
    }

    /// Ends every request that is under way, for the end of the host; later ones fail at once.
    pub fn shutdown(&self) {
        self.end_polls();
        self.end_webhooks();
        self.clients().for_each(|clients| clients.others.shutdown());
    }

    /// Whether requests for this purpose fail because the host is shutting down.
    pub(super) fn has_ended(&self, purpose: RequestPurpose) -> bool {
        match purpose {
            RequestPurpose::Poll => self.0.polls_ended.load(Ordering::Relaxed),
            RequestPurpose::Webhook => self.0.webhooks_ended.load(Ordering::Relaxed),
            RequestPurpose::Reply | RequestPurpose::Status | RequestPurpose::Other => false,
        }
    }

    fn clients(&self) -> impl Iterator<Item = &OutboundClients> {
        let proxied = self.0.proxied.as_ref().map(|proxy| &proxy.clients);
        std::iter::once(&self.0.direct).chain(proxied)
    }

    /// Resolves the target, once, and checks each address. `named` is the server of the operator that the target is, if it
    /// is one: its address may be any, and one on the network here is not asked for at a proxy.
    pub(super) fn route(
        &self,
        caller: &str,
        target: &OutboundTarget,
        named: Option<&OperatorHost>,
        purpose: RequestPurpose,
        deadline: Instant,
    ) -> Result<Upstream<'_>, OutboundError> {
        let rewrite =
            self.0.rewrites.iter().find(|rewrite| rewrite.host.matches(target.host(), target.port()));
        if let Some(Rewrite { base, .. }) = rewrite {
            return Ok(Upstream {
                base: UpstreamBase::Rewritten(&base.url),
                dial: self.addresses_of(caller, base, purpose, deadline)?,
            });
        }
        let is_direct = named.is_some_and(|named| !named.is_encrypted() || named.literal().is_some());
        if let Some(proxy) = self.0.proxied.as_ref().filter(|_| !is_direct) {
            if let Some(address) = target.literal().filter(|_| named.is_none()) {
                private_hosts::permitted(target.host(), &[address], &self.0.private)?;
            }
            let dial = self.addresses_of(caller, &proxy.base, purpose, deadline)?;
            return Ok(Upstream { base: UpstreamBase::Proxied(target.origin(), proxy), dial });
        }
        let resolved = self.resolve(caller, target.host(), target.literal(), purpose, deadline)?;
        let permitted = match named {
            Some(_) => resolved,
            None => private_hosts::permitted(target.host(), &resolved, &self.0.private)?,
        };
        let dial = permitted.into_iter().take(MAX_ADDRESSES).map(|ip| SocketAddr::new(ip, target.port()));
        Ok(Upstream { base: UpstreamBase::Direct(target.origin()), dial: dial.collect() })
    }

    /// Where a link's connection on this route goes.
    pub(super) fn endpoint(&self, route: &Upstream<'_>, path_and_query: &str) -> Endpoint {
        let tunnel = match &route.base {
            UpstreamBase::Proxied(_, proxy) => Some(Tunnel { authorization: proxy.authorization.clone() }),
            UpstreamBase::Direct(_) | UpstreamBase::Rewritten(_) => None,
        };
        Endpoint { url: Zeroizing::new(route.url(path_and_query)), dial: route.dial.clone(), tunnel }
    }

    /// What certificates of websocket servers are checked with.
    pub(super) fn tls(&self) -> &Arc<ClientConfig> {
        self.0.tls.get_or_init(|| tls::client_config(self.0.root_certificates_pem.as_deref()))
    }

    fn addresses_of(
        &self,
        caller: &str,
        base: &Base,
        purpose: RequestPurpose,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, OutboundError> {
        let resolved = self.resolve(caller, &base.host, base.literal, purpose, deadline)?;
        Ok(resolved.into_iter().take(MAX_ADDRESSES).map(|ip| SocketAddr::new(ip, base.port)).collect())
    }

    fn resolve(
        &self,
        caller: &str,
        host: &str,
        literal: Option<IpAddr>,
        purpose: RequestPurpose,
        deadline: Instant,
    ) -> Result<Vec<IpAddr>, OutboundError> {
        if let Some(address) = literal {
            return Ok(vec![address]);
        }
        let begun = Instant::now();
        self.look_up(caller, host, purpose, deadline).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => {
                OutboundError::Timeout { host: host.to_owned(), after: begun.elapsed(), is_sent: false }
            }
            _ => OutboundError::Resolve { host: host.to_owned(), reason: error.to_string() },
        })
    }

    /// Asks the resolver. A lookup cannot be interrupted, so that of a poll or a webhook is waited for in short pieces: whoever joins it
    /// again finds it where it was.
    fn look_up(
        &self,
        caller: &str,
        host: &str,
        purpose: RequestPurpose,
        deadline: Instant,
    ) -> io::Result<Vec<IpAddr>> {
        if !matches!(purpose, RequestPurpose::Poll | RequestPurpose::Webhook) {
            return self.0.resolver.resolve(caller, host, deadline);
        }
        let last = deadline.min(deadline_after(Instant::now(), LOOKUP_TIMEOUT));
        loop {
            if self.has_ended(purpose) {
                return Err(io::Error::other("the host is shutting down"));
            }
            let until = last.min(deadline_after(Instant::now(), LOOKUP_CHECK));
            match self.0.resolver.resolve(caller, host, until) {
                Err(_) if until < last && Instant::now() >= until => {}
                outcome => return outcome,
            }
        }
    }

    /// Sends a request on its route and reads the head of the response. `host` is what the caller called the server, for errors.
    pub(super) fn open(
        &self,
        route: &Upstream<'_>,
        host: &str,
        purpose: RequestPurpose,
        exchange: Exchange<'_>,
    ) -> Result<UpstreamResponse, OutboundError> {
        let client = match &route.base {
            UpstreamBase::Proxied(_, proxy) => proxy.clients.of(purpose),
            UpstreamBase::Direct(_) | UpstreamBase::Rewritten(_) => self.0.direct.of(purpose),
        };
        UpstreamResponse::open(client, host, &Exchange { dial: &route.dial, ..exchange })
    }
}

/// User and password of a proxy's URL, decoded.
fn authorization(proxy: &str) -> Option<Zeroizing<String>> {
    let url = Url::parse(proxy).ok().filter(|url| !url.username().is_empty())?;
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pair = format!("{}:{}", decode(url.username()), decode(url.password().unwrap_or_default()));
    Some(Zeroizing::new(pair))
}

fn rewrites(table: &BTreeMap<String, String>) -> Result<Vec<Rewrite>, OutboundSettingsError> {
    let rewrite = |(host, base): (&String, &String)| {
        let error = |reason| OutboundSettingsError::new(format!("http_rewrite: '{host}'"), reason);
        let pattern = HostPattern::parse(host).map_err(error)?;
        let parsed = Base::parse(base, false).map_err(error)?;
        Ok(Rewrite { host: pattern, base: parsed })
    };
    table.iter().map(rewrite).collect()
}

impl Base {
    fn parse(text: &str, user_allowed: bool) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "write the base as http://host:port or https://host/path")?;
        if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
            return Err("the base is http:// or https://, without query and fragment");
        }
        if !user_allowed && (!url.username().is_empty() || url.password().is_some()) {
            return Err("the base must not contain a user or password");
        }
        let (host, literal) = match url.host() {
            Some(Host::Domain(name)) => (name.to_owned(), None),
            Some(Host::Ipv4(address)) => (address.to_string(), Some(IpAddr::V4(address))),
            Some(Host::Ipv6(address)) => (address.to_string(), Some(IpAddr::V6(address))),
            None => return Err("the base has no host"),
        };
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or("port 0 does not exist")?;
        Ok(Self { url: url.as_str().trim_end_matches('/').to_owned(), host, literal, port })
    }
}
