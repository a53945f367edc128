//! Which channel owns which path.

#[cfg(feature = "cli")]
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::HeadDecision;
#[cfg(feature = "cluster")]
use super::RequestForwarder;
use super::response_counts::ResponseCounts;
use super::responses::refusal_response;
use super::secret_cache::SecretCache;
use super::unrouted::{Mismatch, UnroutedRequests, nearest};
use crate::capability::WebhookCapability;
use crate::channel::{ChannelName, RegisteredEndpoint};
use crate::event::response::WebhookRefusal;
use crate::secrets::SecretStore;
use crate::webhook::{AuthPlan, Requirement, WebhookConfigError};

/// How requests for one channel are authenticated and recognised.
pub struct ChannelAccess {
    /// What a request must prove.
    pub plan: AuthPlan,
    /// Where the secrets for that are.
    pub secrets: Arc<dyn SecretStore>,
    /// The largest body, if the channel wants less than the host allows.
    pub max_body_bytes: Option<u64>,
    /// The media types of bodies; none: any.
    pub content_types: Option<Vec<String>>,
    /// What stands before every path of the channel's guest, which does not see it.
    pub mount: String,
    /// Those secrets as they were last read.
    pub cache: SecretCache,
}

impl ChannelAccess {
    /// What a capability file declares for webhooks; `mount` stands before the paths of the guest.
    ///
    /// # Errors
    /// The declaration says what cannot be.
    pub fn new(
        webhook: &WebhookCapability,
        guest: &str,
        secrets: Arc<dyn SecretStore>,
        mount: String,
    ) -> Result<Self, WebhookConfigError> {
        Ok(Self {
            plan: AuthPlan::from(webhook, guest)?,
            secrets,
            max_body_bytes: webhook.max_body_bytes,
            content_types: webhook.content_types.clone(),
            mount,
            cache: SecretCache::default(),
        })
    }
}

impl fmt::Debug for ChannelAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelAccess").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// What stands at a path.
#[derive(Clone, Debug)]
pub struct Route {
    /// The channel that owns the path.
    pub channel: ChannelName,
    /// How its requests are authenticated.
    pub access: Arc<ChannelAccess>,
    /// What `on-start` registered here; none until it has succeeded.
    pub endpoint: Option<RegisteredEndpoint>,
}

/// The paths of all channels. Cheap to clone; every clone sees the same table.
///
/// A path belongs to the first channel that reserves it, for as long as the table lives.
#[derive(Clone, Default)]
pub struct WasmChannelRouter {
    /// A lock, because the server's threads look up what the router thread registers. It is held for a look-up only.
    table: Arc<RwLock<Table>>,
    /// Whether channels are still being loaded: set by [`set_owner`](Self::set_owner), cleared once by
    /// [`loading_is_over`](Self::loading_is_over), both on the thread that starts the host.
    is_loading: Arc<AtomicBool>,
    unrouted: Arc<UnroutedRequests>,
    responses: Arc<ResponseCounts>,
    /// Set once, before the server starts: the other hosts.
    #[cfg(feature = "cluster")]
    forwarder: Arc<std::sync::OnceLock<Arc<dyn RequestForwarder>>>,
}

#[derive(Default)]
struct Table {
    /// What stands at each path.
    routes: HashMap<String, Arc<Route>>,
    /// Whose a path is, also while nothing stands there: what a channel has reserved and did not register this time must
    /// not fall to another.
    owners: HashMap<String, ChannelName>,
}

impl Table {
    /// Makes the channel the owner of the path, unless another one is.
    fn own(&mut self, channel: &ChannelName, path: &str) -> Result<(), PathTaken> {
        match self.owners.get(path) {
            Some(owner) if owner != channel => Err(PathTaken { path: path.to_owned(), owner: owner.clone() }),
            Some(_) => Ok(()),
            None => {
                self.owners.insert(path.to_owned(), channel.clone());
                Ok(())
            }
        }
    }
}

/// A path has another owner already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path {path} belongs to channel {owner}: change allowed_paths of one of the two")]
pub struct PathTaken {
    /// The path.
    pub path: String,
    /// Its owner.
    pub owner: ChannelName,
}

impl WasmChannelRouter {
    /// A table without paths.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a channel the owner of its paths while its guest is not there yet, so that the order in which channels are
    /// loaded decides nothing. Requests to them get 503 until [`loading_is_over`](Self::loading_is_over).
    pub(crate) fn set_owner(&self, channel: &ChannelName, paths: &[String]) {
        self.is_loading.store(true, Ordering::Relaxed);
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        for path in paths {
            // Whoever comes second hears of it when it reserves its paths.
            let _ = table.own(channel, path);
        }
    }

    /// All channels that are known at the start are there, or have been refused.
    pub(crate) fn loading_is_over(&self) {
        self.is_loading.store(false, Ordering::Relaxed);
    }

    /// Takes out everything of a channel. Its paths may have another owner from now on.
    pub(crate) fn remove(&self, channel: &ChannelName) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.routes.retain(|_, route| route.channel != *channel);
        table.owners.retain(|_, owner| owner != channel);
        self.responses.remove(channel);
    }

    /// Reserves the paths that a channel's capability file allows. Until the channel has started, they respond with 503.
    /// Returns those that another channel owns.
    pub(crate) fn reserve(
        &self,
        channel: &ChannelName,
        paths: &[String],
        access: &Arc<ChannelAccess>,
    ) -> Vec<PathTaken> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        for path in paths {
            match table.own(channel, path) {
                Err(other) => taken.push(other),
                Ok(()) => {
                    let route = Route { channel: channel.clone(), access: access.clone(), endpoint: None };
                    table.routes.insert(path.clone(), Arc::new(route));
                }
            }
        }
        taken
    }

    /// Those of these paths that another channel owns.
    pub(crate) fn taken(&self, channel: &ChannelName, paths: &[String]) -> Vec<PathTaken> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let others = paths.iter().filter_map(|path| Some((path, table.owners.get(path)?)));
        let taken = others.filter(|(_, owner)| *owner != channel);
        taken.map(|(path, owner)| PathTaken { path: path.clone(), owner: owner.clone() }).collect()
    }

    /// A channel owns these paths and no others any more.
    pub(crate) fn own_only(&self, channel: &ChannelName, paths: &[String]) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.owners.retain(|path, owner| owner != channel || paths.contains(path));
        for path in paths {
            // Whoever comes second heard of it when its paths were looked at.
            let _ = table.own(channel, path);
        }
    }

    /// Opens the paths that `on-start` registered, and closes the channel's other reserved paths. Paths that the
    /// channel does not own are left alone; they are returned with their owners.
    pub(crate) fn register(
        &self,
        channel: &ChannelName,
        endpoints: &[RegisteredEndpoint],
        access: &Arc<ChannelAccess>,
    ) -> Vec<PathTaken> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.routes.retain(|_, route| route.channel != *channel);
        let mut taken = Vec::new();
        for endpoint in endpoints {
            match table.own(channel, &endpoint.path) {
                Err(other) => taken.push(other),
                Ok(()) => {
                    let (channel, access) = (channel.clone(), access.clone());
                    let route = Route { channel, access, endpoint: Some(endpoint.clone()) };
                    table.routes.insert(endpoint.path.clone(), Arc::new(route));
                }
            }
        }
        taken
    }

    /// What becomes of a request, by its method and path: `max_body_bytes` holds for a route that does not say
    /// less.
    pub(super) fn decide(&self, method: &str, path: &str, max_body_bytes: u64) -> HeadDecision {
        let refuse = |refusal: &WebhookRefusal| HeadDecision::Respond(refusal_response(refusal));
        let Some(route) = self.lookup(path) else {
            #[cfg(feature = "cluster")]
            if self.forwarder().is_some_and(|forwarder| forwarder.knows(path)) {
                return HeadDecision::Read { max_body_bytes };
            }
            if self.is_about_to_load(path) {
                return refuse(&WebhookRefusal::Starting);
            }
            self.unrouted.note(method, path, Mismatch::NoPath, || self.nearest(path));
            return refuse(&WebhookRefusal::NotFound);
        };
        let Some(endpoint) = &route.endpoint else { return refuse(&WebhookRefusal::Starting) };
        if !endpoint.methods.iter().any(|allowed| allowed == method) {
            self.unrouted.note(method, path, Mismatch::Method(&endpoint.methods), || None);
            return refuse(&WebhookRefusal::MethodNotAllowed { allow: endpoint.methods.clone() });
        }
        let of_route = route.access.max_body_bytes.unwrap_or(max_body_bytes);
        HeadDecision::Read { max_body_bytes: of_route.min(max_body_bytes) }
    }

    /// Other hosts have channels as well.
    #[cfg(feature = "cluster")]
    pub(crate) fn set_forwarder(&self, forwarder: Arc<dyn RequestForwarder>) {
        // There is one manager for a table, and it does this once.
        let _ = self.forwarder.set(forwarder);
    }

    /// The other hosts, if there are any.
    #[cfg(feature = "cluster")]
    pub(super) fn forwarder(&self) -> Option<&Arc<dyn RequestForwarder>> {
        self.forwarder.get()
    }

    /// Somebody claims to be another host. Anybody can, so it is logged as requests to no channel are.
    #[cfg(feature = "cluster")]
    pub(super) fn note_forged(&self, method: &str, path: &str, reason: &'static str) {
        self.unrouted.note(method, path, Mismatch::Forged(reason), || None);
    }

    /// Requests so far that no channel took, because of their path or method.
    #[must_use]
    pub fn unrouted_requests(&self) -> u64 {
        self.unrouted.total()
    }

    /// Responses with 2xx, 3xx, 4xx and 5xx to requests for each channel, since it was added.
    #[cfg(feature = "cli")]
    pub(crate) fn responses(&self) -> BTreeMap<ChannelName, [u64; 4]> {
        self.responses.all()
    }

    /// Where responses to requests for channels are counted.
    pub(super) fn response_counts(&self) -> Arc<ResponseCounts> {
        Arc::clone(&self.responses)
    }

    /// Channels that take requests from anybody, in the order of their names.
    #[must_use]
    pub fn unauthenticated_channels(&self) -> Vec<ChannelName> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let open = table.routes.values().filter(|route| route.access.plan.requirement() == Requirement::Open);
        let mut names: Vec<ChannelName> = open.map(|route| route.channel.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    fn is_about_to_load(&self, path: &str) -> bool {
        self.is_loading.load(Ordering::Relaxed)
            && self.table.read().unwrap_or_else(PoisonError::into_inner).owners.contains_key(path)
    }

    fn nearest(&self, path: &str) -> Option<String> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        nearest(table.routes.keys().map(String::as_str), path)
    }

    /// What stands at a path, which must match exactly.
    #[must_use]
    pub(crate) fn lookup(&self, path: &str) -> Option<Arc<Route>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).routes.get(path).cloned()
    }
}

impl fmt::Debug for WasmChannelRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_map().entries(table.routes.iter().map(|(path, route)| (path, &route.channel))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::document::{Comments, read};
    use crate::secrets::MemorySecrets;

    fn access() -> Arc<ChannelAccess> {
        access_of(&WebhookCapability::default())
    }

    fn access_of(webhook: &WebhookCapability) -> Arc<ChannelAccess> {
        let secrets = Arc::new(MemorySecrets::default());
        Arc::new(ChannelAccess::new(webhook, "echo", secrets, String::new()).unwrap())
    }

    /// Requests to unknown paths used to be read whole before they got a response.
    #[test]
    fn path_and_method_are_decided_before_the_body_is_read() {
        let routes = WasmChannelRouter::new();
        let limited =
            |max_body_bytes| access_of(&WebhookCapability { max_body_bytes, ..WebhookCapability::default() });
        routes.reserve(&name("a"), &["/starting".to_owned()], &access());
        routes.register(&name("b"), &[endpoint("/hook")], &limited(None));
        routes.register(&name("c"), &[endpoint("/small")], &limited(Some(10)));
        routes.register(&name("d"), &[endpoint("/large")], &limited(Some(1000)));
        let decide = |method, path| match routes.decide(method, path, 100) {
            HeadDecision::Read { max_body_bytes } => (200, max_body_bytes),
            HeadDecision::Respond(response) => (response.status, 0),
        };
        for (method, path, decision) in [
            ("POST", "/hook", (200, 100)),
            ("POST", "/small", (200, 10)),
            ("POST", "/large", (200, 100)),
            ("GET", "/hook", (405, 0)),
            ("post", "/hook", (405, 0)),
            ("POST", "/nope", (404, 0)),
            ("POST", "/starting", (503, 0)),
        ] {
            assert_eq!(decide(method, path), decision, "{method} {path}");
        }
        assert_eq!(routes.unrouted_requests(), 3);
    }

    fn name(name: &str) -> ChannelName {
        name.parse().unwrap()
    }

    fn endpoint(path: &str) -> RegisteredEndpoint {
        RegisteredEndpoint { path: path.into(), methods: vec!["POST".into()], require_secret: false }
    }

    #[test]
    fn a_path_belongs_to_the_first_channel_that_reserves_it() {
        let routes = WasmChannelRouter::new();
        let path = ["/hook".to_owned()];
        assert_eq!(routes.reserve(&name("a"), &path, &access()), []);
        let taken = PathTaken { path: "/hook".into(), owner: name("a") };
        assert_eq!(routes.reserve(&name("b"), &path, &access()), std::slice::from_ref(&taken));
        assert_eq!(routes.register(&name("b"), &[endpoint("/hook")], &access()), [taken]);
        assert_eq!(routes.lookup("/hook").unwrap().channel, name("a"));
    }

    #[test]
    fn a_path_that_is_owned_gets_503_until_loading_is_over_and_keeps_its_first_owner() {
        let routes = WasmChannelRouter::new();
        let decide = |path| match routes.decide("POST", path, 100) {
            HeadDecision::Read { .. } => (200, false),
            HeadDecision::Respond(response) => {
                let is_told_when = response.headers.iter().any(|(name, _)| name == "Retry-After");
                (response.status, is_told_when)
            }
        };
        let path = ["/hook".to_owned()];
        routes.set_owner(&name("a"), &path);
        routes.set_owner(&name("b"), &path);
        assert_eq!((decide("/hook"), decide("/other")), ((503, true), (404, false)));
        assert_eq!(
            routes.reserve(&name("b"), &path, &access()).len(),
            1,
            "b was loaded first, a comes first"
        );
        routes.register(&name("a"), &[endpoint("/hook")], &access());
        assert_eq!(decide("/hook"), (200, false));
        routes.remove(&name("a"));
        assert_eq!(decide("/hook"), (404, false), "nobody has it");
        routes.set_owner(&name("c"), &path);
        routes.loading_is_over();
        assert_eq!(decide("/hook"), (404, false), "it was refused");
    }

    #[test]
    fn paths_of_a_removed_channel_may_have_another_owner() {
        let routes = WasmChannelRouter::new();
        routes.reserve(&name("a"), &["/hook".to_owned(), "/unused".to_owned()], &access());
        routes.register(&name("a"), &[endpoint("/hook")], &access());
        routes.register(&name("b"), &[endpoint("/b")], &access());
        routes.remove(&name("a"));
        assert!(routes.lookup("/hook").is_none());
        assert_eq!(routes.reserve(&name("b"), &["/hook".to_owned(), "/unused".to_owned()], &access()), []);
        assert!(routes.lookup("/b").is_some());
    }

    #[test]
    fn a_reserved_path_opens_when_its_channel_has_started() {
        let routes = WasmChannelRouter::new();
        routes.reserve(&name("a"), &["/hook".to_owned(), "/unused".to_owned()], &access());
        assert!(routes.lookup("/hook").unwrap().endpoint.is_none());
        routes.register(&name("a"), &[endpoint("/hook")], &access());
        assert!(routes.lookup("/hook").unwrap().endpoint.is_some());
        assert!(routes.lookup("/unused").is_none());
    }

    #[test]
    fn an_unused_reserved_path_is_not_given_to_another_channel() {
        let routes = WasmChannelRouter::new();
        routes.reserve(&name("a"), &["/hook".to_owned()], &access());
        routes.register(&name("a"), &[], &access());
        assert!(routes.lookup("/hook").is_none());
        let taken = PathTaken { path: "/hook".into(), owner: name("a") };
        assert_eq!(
            routes.reserve(&name("b"), &["/hook".to_owned()], &access()),
            std::slice::from_ref(&taken)
        );
        assert_eq!(routes.register(&name("b"), &[endpoint("/hook")], &access()), [taken]);
        assert!(routes.lookup("/hook").is_none());
        assert_eq!(routes.register(&name("a"), &[endpoint("/hook")], &access()), []);
        assert_eq!(routes.lookup("/hook").unwrap().channel, name("a"));
    }

    /// Listening beyond this machine with such a channel is worth a warning that names it.
    #[test]
    fn channels_without_authentication_are_known_by_name() {
        let routes = WasmChannelRouter::new();
        let open: WebhookCapability = read(serde_json::json!({"auth": "none"}), Comments::Refused).unwrap();
        let open = access_of(&open);
        routes.reserve(&name("b"), &["/b".to_owned(), "/c".to_owned()], &open);
        routes.register(&name("a"), &[endpoint("/a")], &access());
        assert_eq!(routes.unauthenticated_channels(), [name("b")]);
    }

    #[test]
    fn paths_match_exactly() {
        let routes = WasmChannelRouter::new();
        routes.register(&name("a"), &[endpoint("/hook")], &access());
        for path in ["/hook/", "/Hook", "/hook/x", "/hoo", "hook", "//hook"] {
            assert!(routes.lookup(path).is_none(), "{path}");
        }
    }
}
