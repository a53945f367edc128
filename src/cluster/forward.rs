//! Webhooks that arrive at a host which does not have their channel: on to the one that has it, and its response back.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use super::placement::HostNumber;
use super::signature::{Forwarded, HEADER, sign};
use super::table::ClusterView;
use crate::model::clock::unix_ms;
use crate::model::deadline::deadline_after;
use crate::secrets::Secret;

/// How long a request waits for a host that has its channel.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long the owner may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(2);
/// How long it may take for its response: longer than its server lets a callback take by default.
const REPLY_TIME: Duration = Duration::from_secs(130);
/// Requests that are forwarded at one time. Each has a thread while it lasts.
const MAX_FORWARDS: usize = 64;
/// Those of them for one path: a channel that nobody has, or whose host does not respond, leaves places for the others.
const MAX_FORWARDS_OF_PATH: usize = 16;
/// The largest response, in bytes.
const MAX_REPLY_BYTES: u64 = 32 << 20;

/// A request on its way to another host.
pub(crate) struct Request {
    /// The path, by which its channel is found.
    pub(crate) path: String,
    /// Method, as it was sent.
    pub(crate) method: String,
    /// Path and query, as they were sent.
    pub(crate) target: String,
    /// The header fields in their order.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// Who sent it.
    pub(crate) client: IpAddr,
}

/// What comes back.
pub(crate) struct ForwardedReply {
    /// The status.
    pub(crate) status: u16,
    /// The header fields.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForwardError {
    /// No host has the channel, or the one that has it cannot be reached.
    NoOwner,
    /// Too many are under way.
    Busy,
    /// The owner got the request, and what became of it is not known.
    Lost,
}

/// Who has which path, and the way there. Clones share it.
#[derive(Clone)]
pub(crate) struct Forwarder {
    /// Replaced after each look at the database, read by every request; held for a look-up only.
    paths: Arc<RwLock<Option<Paths>>>,
    secret: Arc<Secret>,
    client: ureq::Agent,
    /// Requests that are forwarded now: [`Forwarder::forward`] counts one before its thread starts, and whoever ends it, the thread or the
    /// caller that found none, takes it away. Held to count, never during a request.
    under_way: Arc<Mutex<ForwardCounts>>,
}

/// How many requests are under way, in all and for each path: `all` is the sum of `of_path`, which has no zeros.
#[derive(Debug, Default)]
struct ForwardCounts {
    all: usize,
    of_path: BTreeMap<String, usize>,
}

impl ForwardCounts {
    /// Takes a place for a request to this path. False when there is none.
    fn begin(&mut self, path: &str) -> bool {
        let of_path = self.of_path.get(path).copied().unwrap_or_default();
        if self.all >= MAX_FORWARDS || of_path >= MAX_FORWARDS_OF_PATH {
            return false;
        }
        self.all += 1;
        self.of_path.insert(path.to_owned(), of_path + 1);
        true
    }

    /// Releases the place.
    fn end(&mut self, path: &str) {
        self.all -= 1;
        let Some(count) = self.of_path.get_mut(path) else { return };
        *count -= 1;
        if *count == 0 {
            self.of_path.remove(path);
        }
    }
}

/// The paths of all channels, and where those go that are another host's.
#[derive(Debug, Default, PartialEq, Eq)]
struct Paths(BTreeMap<String, Option<String>>);

impl Forwarder {
    /// Knows no path yet.
    pub(crate) fn new(secret: Arc<Secret>) -> Self {
        let client = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIME))
            .timeout_global(Some(REPLY_TIME))
            // Nothing is added to what was signed.
            .user_agent("")
            .accept("")
            .accept_encoding("")
            .allow_non_standard_methods(true)
            .build()
            .into();
        Self { paths: Arc::default(), secret, client, under_way: Arc::default() }
    }

    /// The secret that all hosts have.
    pub(crate) fn secret(&self) -> &[u8] {
        self.secret.expose().as_bytes()
    }

    /// Takes note of who has what.
    pub(crate) fn looked(&self, view: &ClusterView, own: HostNumber) {
        *self.paths.write().unwrap_or_else(PoisonError::into_inner) = Some(paths(view, own));
    }

    /// Whether some host has a channel with this path, or could have it. Before the first look, any path may be one.
    pub(crate) fn knows(&self, path: &str) -> bool {
        let paths = self.paths.read().unwrap_or_else(PoisonError::into_inner);
        paths.as_ref().is_none_or(|paths| paths.0.contains_key(path))
    }

    /// Sends a request to the host that has its channel, on a thread of its own, and gives the response to `done`.
    pub(crate) fn forward(
        &self,
        request: Request,
        done: impl FnOnce(Result<ForwardedReply, ForwardError>) + Send + 'static,
    ) {
        if !self.under_way().begin(&request.path) {
            return done(Err(ForwardError::Busy));
        }
        let (forwarder, path) = (self.clone(), request.path.clone());
        let work = move || {
            let response = forwarder.send(&request);
            forwarder.under_way().end(&request.path);
            done(response);
        };
        if thread::Builder::new().name("tinclaw-forward".to_owned()).spawn(work).is_err() {
            // What was moved into the thread is gone, and whoever waits is told by that.
            self.under_way().end(&path);
        }
    }

    fn under_way(&self) -> MutexGuard<'_, ForwardCounts> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, request: &Request) -> Result<ForwardedReply, ForwardError> {
        let until = deadline_after(Instant::now(), PATIENCE);
        loop {
            if let Some(url) = self.owner_of(&request.path) {
                match self.send_to(&url, request) {
                    Err(ForwardError::NoOwner) => {}
                    other => return other,
                }
            }
            if Instant::now() >= until {
                return Err(ForwardError::NoOwner);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn owner_of(&self, path: &str) -> Option<String> {
        let paths = self.paths.read().unwrap_or_else(PoisonError::into_inner);
        paths.as_ref()?.0.get(path).cloned().flatten()
    }

    fn send_to(&self, url: &str, request: &Request) -> Result<ForwardedReply, ForwardError> {
        let forwarded = Forwarded {
            method: &request.method,
            target: &request.target,
            headers: &request.headers,
            body: &request.body,
        };
        let signature = sign(self.secret(), &forwarded, request.client, unix_ms());
        let mut outgoing = ureq::http::Request::builder()
            .method(request.method.as_str())
            .uri(format!("{url}{}", request.target));
        for (name, value) in &request.headers {
            outgoing = outgoing.header(name, value.as_bytes());
        }
        let outgoing = outgoing.header(HEADER, signature);
        // A request that cannot even be written will not get better.
        let unwritten = |_| ForwardError::Lost;
        let response = match request.body.as_slice() {
            [] => self.client.run(outgoing.body(()).map_err(unwritten)?),
            body => self.client.run(outgoing.body(body).map_err(unwritten)?),
        };
        let mut response = response.map_err(|error| no_reply(&error))?;
        let headers = response.headers().iter();
        let headers = headers
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MAX_REPLY_BYTES).read_to_vec();
        Ok(ForwardedReply { status, headers, body: body.map_err(|_| ForwardError::Lost)? })
    }
}

/// Whether a request may have been taken although it failed.
fn no_reply(error: &ureq::Error) -> ForwardError {
    use ureq::Timeout::{Connect, Resolve};
    match error {
        ureq::Error::Timeout(Connect | Resolve)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed => ForwardError::NoOwner,
        ureq::Error::Io(cause) if cause.kind() == std::io::ErrorKind::ConnectionRefused => {
            ForwardError::NoOwner
        }
        _ => ForwardError::Lost,
    }
}

/// Where requests go: to the owner's address, for channels of other hosts.
fn paths(view: &ClusterView, own: HostNumber) -> Paths {
    let mut paths = BTreeMap::new();
    for channel in &view.channels {
        let owner = view.hosts.iter().find(|host| channel.wanted.host == Some(host.host) && host.is_alive);
        let url = owner.filter(|owner| owner.host != own).map(|owner| owner.announced.url.clone());
        let offers = view.hosts.iter().filter_map(|host| host.announced.offers.get(&channel.wanted.name));
        for path in offers.flat_map(|offer| &offer.paths) {
            paths.insert(path.clone(), url.clone());
        }
    }
    Paths(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::placement::Wanted;
    use crate::cluster::table::{Announcement, ClusterChannel, ClusterHost, Offer};

    /// 64 requests to a channel whose host did not respond took all places for two minutes, and requests to every other channel
    /// of another host got 503.
    #[test]
    fn requests_to_one_path_leave_places_for_the_others() {
        let mut under_way = ForwardCounts::default();
        let taken = (0..MAX_FORWARDS).filter(|_| under_way.begin("/slow")).count();
        assert_eq!(taken, MAX_FORWARDS_OF_PATH);
        let others = (0..MAX_FORWARDS).filter(|number| under_way.begin(&number.to_string())).count();
        assert_eq!(others, MAX_FORWARDS - MAX_FORWARDS_OF_PATH);
        under_way.end("/slow");
        assert!(under_way.begin("/slow") && !under_way.begin("/one-more"));
        (0..MAX_FORWARDS_OF_PATH).for_each(|_| under_way.end("/slow"));
        (0..others).for_each(|number| under_way.end(&number.to_string()));
        assert!(under_way.all == 0 && under_way.of_path.is_empty(), "{under_way:?}");
    }

    #[test]
    fn requests_go_to_the_address_of_the_host_that_has_the_channel() {
        let offer = |path: &str| Offer { digest: [0; 32], paths: vec![path.to_owned()] };
        let host = |number: HostNumber, is_alive| ClusterHost {
            host: number,
            name: format!("h{number}"),
            is_alive,
            announced: Announcement {
                url: format!("http://h{number}"),
                offers: [("a".to_owned(), offer("/a")), ("b".to_owned(), offer("/b"))].into(),
                ..Announcement::default()
            },
        };
        let channel = |name: &str, host| {
            let wanted = Wanted { name: name.to_owned(), host, digest: None };
            ClusterChannel { number: 1, epoch: 1, wanted }
        };
        let view = ClusterView {
            hosts: vec![host(1, true), host(2, true), host(3, false)],
            channels: vec![channel("a", Some(2)), channel("b", Some(1))],
        };
        let url = |path: &str, view: &ClusterView| paths(view, 1).0.get(path).cloned();
        assert_eq!(url("/a", &view), Some(Some("http://h2".to_owned())));
        assert_eq!(url("/b", &view), Some(None), "its own, which has not started yet");
        assert_eq!(url("/c", &view), None);
        let orphaned = ClusterView { channels: vec![channel("a", Some(3)), channel("b", None)], ..view };
        assert_eq!((url("/a", &orphaned), url("/b", &orphaned)), (Some(None), Some(None)));
    }
}
