//! The outbound requests of one channel, tool or agent: every step, in its order.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::allowlist::Allowlist;
use super::client::Exchange;
use super::credentials::Credentials;
use super::error::OutboundError;
use super::headers::{self, OutboundHeader};
use super::leak::{self, BodySearch, SecretMatcher, Use};
use super::method::Method;
use super::opened::OpenResponse;
use super::operator_host::OperatorHost;
use super::outbound::{OutboundHttp, Upstream};
use super::request::{
    OpenLimits, OutboundCall, OutboundRequest, OutboundResponse, RequestPurpose, ResponseRoom,
};
use super::settings::{ChannelHttpSettings, HttpCapabilityError};
use super::target::OutboundTarget;
use crate::capability::limits::ChannelLimits;
use crate::model::deadline::deadline_after;
use crate::model::rate_limit::{RateLimit, RateLimited, TokenBucket};
use crate::secrets::{AllowedNames, SecretError, SecretStore, accepted_values, current_name};

/// How many attempts to leak a secret are logged in a minute; of the others the number is.
const LEAK_LINES_PER_MINUTE: u32 = 10;
/// How often a request that waits for the rate looks whether its turn came or the host shuts down.
const RATE_CHECK: Duration = Duration::from_millis(50);

/// The right of a channel, a tool or an agent to make requests, compiled from its capability file or from the operator's setting.
/// Several threads may use it at once.
pub struct ChannelHttp {
    pub(super) outbound: OutboundHttp,
    /// As in log lines: `channel telegram`.
    pub(super) caller: String,
    pub(super) allowlist: Allowlist,
    pub(super) operator_hosts: Vec<OperatorHost>,
    pub(super) credentials: Credentials,
    pub(super) secrets: Arc<dyn SecretStore>,
    uses: SecretUses,
    pub(super) limits: ChannelLimits,
    /// A lock, because lanes of one channel run on several workers, and all of them count together; held to count, never during a
    /// request.
    traffic: Mutex<Traffic>,
    /// For what the guest must not have.
    searched: Patterns,
    /// For what the guest was given.
    given: Patterns,
}

/// The patterns of secrets and the revision that they are of. They are built again when the store says that something
/// changed. The lock is held meanwhile, so that only one of several requests builds them.
#[derive(Default)]
struct Patterns(Mutex<Option<(u64, Arc<SecretMatcher>)>>);

impl Patterns {
    fn current(
        &self,
        store: &dyn SecretStore,
        build: impl FnOnce() -> Result<SecretMatcher, SecretError>,
    ) -> Result<Arc<SecretMatcher>, SecretError> {
        // Asked before the values are read: a change in between makes the next request build them again.
        let Some(revision) = store.revision() else { return build().map(Arc::new) };
        let mut built = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, matcher)) = &*built
            && *of == revision
        {
            return Ok(Arc::clone(matcher));
        }
        let matcher = Arc::new(build()?);
        *built = Some((revision, Arc::clone(&matcher)));
        Ok(matcher)
    }
}

struct Traffic {
    rate: RateLimit,
    /// Requests that are under way: [`ChannelHttp::check_limits`] adds one, and dropping its [`RunningRequest`] takes it away. Never more
    /// than the channel's limit.
    under_way: u32,
    leak_lines: TokenBucket,
    /// Attempts since the last line, which sets it to 0.
    unlogged_leaks: u64,
}

/// What this channel's secrets are for. All names are in lower case.
struct SecretUses {
    given_to_guest: Vec<String>,
    inbound: Vec<String>,
    login: Vec<String>,
    allowed: AllowedNames,
}

/// How many quarters of the channel's rate a request leaves for those that matter more: replies use all of it, typing
/// indicators stop at a half.
const fn share_left(purpose: RequestPurpose) -> u32 {
    match purpose {
        RequestPurpose::Reply => 0,
        RequestPurpose::Poll | RequestPurpose::Webhook | RequestPurpose::Other => 1,
        RequestPurpose::Status => 2,
    }
}

/// A request that counts as under way until this is dropped.
pub(super) struct RunningRequest<'a>(&'a ChannelHttp);

impl Drop for RunningRequest<'_> {
    fn drop(&mut self) {
        self.0.traffic().under_way -= 1;
    }
}

impl ChannelHttp {
    /// Compiles a channel's capability.
    ///
    /// # Errors
    /// [`HttpCapabilityError`] names the place in the capability file.
    pub fn new(outbound: OutboundHttp, settings: ChannelHttpSettings) -> Result<Self, HttpCapabilityError> {
        let ChannelHttpSettings {
            caller,
            capability,
            limits,
            operator_hosts,
            allowed_secrets,
            secrets,
            given_to_guest,
            inbound_secrets,
            login_secrets,
            required_secrets,
        } = settings;
        let lower = |names: Vec<String>| names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        Ok(Self {
            outbound,
            caller,
            allowlist: Allowlist::new(&capability.allowlist)?,
            operator_hosts,
            credentials: Credentials::new(
                &capability.credentials,
                allowed_secrets.clone(),
                &required_secrets,
            )?,
            secrets,
            uses: SecretUses {
                given_to_guest: lower(given_to_guest),
                inbound: lower(inbound_secrets),
                login: lower(login_secrets),
                allowed: allowed_secrets,
            },
            limits,
            traffic: Mutex::new(Traffic {
                rate: RateLimit::new(limits.http_requests_per_minute, limits.http_requests_per_hour),
                under_way: 0,
                leak_lines: TokenBucket::new(LEAK_LINES_PER_MINUTE, Duration::from_secs(60)),
                unlogged_leaks: 0,
            }),
            searched: Patterns::default(),
            given: Patterns::default(),
        })
    }

    /// Makes a request for the guest. Blocks until the response is there, at most until the deadline of the
    /// callback. A request over `http.rate_limit` waits for its turn within that time, but for one that only tells a status.
    /// `room` is asked before memory for the response's body is taken.
    ///
    /// # Errors
    /// [`OutboundError`]: what was refused, or what failed. A response of any status is a response, not an error.
    pub fn request(
        &self,
        request: OutboundRequest,
        call: OutboundCall,
        room: ResponseRoom<'_>,
    ) -> Result<OutboundResponse, OutboundError> {
        self.open(request, call, OpenLimits::default())?.read_whole(room)
    }

    /// Makes a request whose response is read while it arrives. `limits` are further ones of this request.
    ///
    /// # Errors
    /// As [`ChannelHttp::request`].
    pub fn open(
        &self,
        mut request: OutboundRequest,
        call: OutboundCall,
        limits: OpenLimits,
    ) -> Result<OpenResponse<'_>, OutboundError> {
        let checked = self.check_destination(&request).and_then(|(method, target)| {
            let guest_headers = headers::parse(&request.headers_json)?;
            Ok((method, target, guest_headers))
        });
        let matcher = self.searched_secrets()?;
        let (method, target, mut guest_headers) =
            checked.map_err(|error| self.without_secrets(error, &matcher, &request))?;
        self.check_head(&matcher, &request.url, &guest_headers)?;
        request.body = request.body.map(|body| self.redact_body(&matcher, body)).transpose()?;
        headers::drop_host_owned(&mut guest_headers);
        let under_way = self.check_limits(&request, target.host(), call)?;
        let deadline = self.deadline(&request, call.deadline);
        let route = self.route(&target, call.purpose, deadline)?;
        let guest_body = request.body.as_deref();
        let injected =
            self.credentials.inject(&self.caller, &target, &guest_headers, guest_body, &*self.secrets)?;
        let url = zeroize::Zeroizing::new(route.url(&injected.path_and_query));
        let exchange = Exchange {
            method,
            url: &url,
            headers: &injected.headers,
            body: injected.body.as_deref().map(Vec::as_slice).or(guest_body),
            dial: &[],
            deadline,
            connect_timeout: limits.connect_timeout,
            max_body: limits.max_body.unwrap_or(u64::MAX).min(self.limits.http_response_bytes),
        };
        let opened = self.outbound.open(&route, target.host(), call.purpose, exchange)?;
        Ok(OpenResponse::new(opened, matcher, under_way))
    }

    /// The secrets that the guest must not have.
    pub(super) fn searched_secrets(&self) -> Result<Arc<SecretMatcher>, SecretError> {
        self.searched.current(&*self.secrets, || self.matcher())
    }

    /// Resolves the target, once, and checks each address.
    pub(super) fn route(
        &self,
        target: &OutboundTarget,
        purpose: RequestPurpose,
        deadline: Instant,
    ) -> Result<Upstream<'_>, OutboundError> {
        let named = self.operator_hosts.iter().find(|host| host.is(target.host(), target.port()));
        self.outbound.route(&self.caller, target, named, purpose, deadline)
    }

    /// Step 1: URL, allow-list, method.
    fn check_destination(
        &self,
        request: &OutboundRequest,
    ) -> Result<(Method, OutboundTarget), OutboundError> {
        let method = Method::parse(&request.method).ok_or(OutboundError::Method)?;
        let target = OutboundTarget::parse_for(&request.url, &self.operator_hosts)?;
        self.allowlist.permit(method, &target)?;
        Ok((method, target))
    }

    /// The errors of steps 1 and 2 quote hosts and names of headers, in which a guest may have written a secret: those do
    /// not come with a quotation.
    fn without_secrets(
        &self,
        error: OutboundError,
        matcher: &SecretMatcher,
        request: &OutboundRequest,
    ) -> OutboundError {
        let texts = [("URL", &request.url), ("headers", &request.headers_json)];
        let found = texts
            .into_iter()
            .find_map(|(place, text)| Some((matcher.find_in_guest_text(text.as_bytes())?, place)));
        let Some((secret, place)) = found else { return error };
        self.log_leak(secret, place, "refused");
        match error {
            OutboundError::NotAllowed(_) => {
                OutboundError::NotAllowed("this URL, which contains a secret".to_owned())
            }
            OutboundError::Headers(_) => OutboundError::Headers("one of them contains a secret".to_owned()),
            other => other,
        }
    }

    /// Logs what was done about a secret that a guest wrote, and counts what is not logged.
    pub(super) fn log_leak(&self, secret: &str, place: &str, action: &str) {
        let mut traffic = self.traffic();
        if traffic.leak_lines.take(1, Instant::now()).is_err() {
            traffic.unlogged_leaks += 1;
            return;
        }
        let unlogged = std::mem::take(&mut traffic.unlogged_leaks);
        drop(traffic);
        let more = if unlogged == 0 { String::new() } else { format!(" ({unlogged} more were not logged)") };
        log::warn!(
            target: "tinclaw::outbound",
            "{}: a request's {place} contains the value of the secret '{secret}': {action}{more}",
            self.caller
        );
    }

    /// Step 3: neither URL nor headers contain a secret.
    fn check_head(
        &self,
        matcher: &SecretMatcher,
        url: &str,
        headers: &[OutboundHeader],
    ) -> Result<(), OutboundError> {
        match leak::find_in_head(matcher, url, headers) {
            None => Ok(()),
            Some((secret, place)) => {
                self.log_leak(secret, place, "refused");
                Err(OutboundError::Leak { secret: secret.to_owned(), place })
            }
        }
    }

    /// Step 3 for the body: a text of people may quote a secret by chance or by mistake, so it is sent without it.
    fn redact_body(&self, matcher: &SecretMatcher, body: Vec<u8>) -> Result<Vec<u8>, OutboundError> {
        match matcher.search_body(body) {
            BodySearch::Clean(body) => Ok(body),
            BodySearch::Redacted(body, secrets) => {
                for secret in secrets {
                    self.log_leak(&secret, "body", "sent without it");
                }
                Ok(body)
            }
            BodySearch::Hidden(secret) => {
                self.log_leak(&secret, "body", "refused");
                Err(OutboundError::Leak { secret, place: "body" })
            }
        }
    }

    /// Step 4: limits. What is refused by one of them does not count for the others.
    fn check_limits(
        &self,
        request: &OutboundRequest,
        host: &str,
        call: OutboundCall,
    ) -> Result<RunningRequest<'_>, OutboundError> {
        let ChannelLimits { http_calls, http_request_bytes, http_concurrent_requests, .. } = self.limits;
        if call.calls_before >= http_calls {
            return Err(OutboundError::TooManyInCallback { limit: http_calls });
        }
        let size = request.body.as_ref().map_or(0, Vec::len);
        if size as u64 > http_request_bytes {
            return Err(OutboundError::RequestTooLarge { size, limit: http_request_bytes });
        }
        loop {
            let now = Instant::now();
            let mut traffic = self.traffic();
            if traffic.under_way >= http_concurrent_requests {
                return Err(OutboundError::TooManyAtOnce { limit: http_concurrent_requests });
            }
            let Err(RateLimited { retry_after }) =
                traffic.rate.take_leaving(1, share_left(call.purpose), now)
            else {
                traffic.under_way += 1;
                return Ok(RunningRequest(self));
            };
            drop(traffic);
            let in_time = retry_after < call.deadline.saturating_duration_since(now);
            if !in_time || call.purpose == RequestPurpose::Status {
                return Err(OutboundError::RateLimited { retry_after });
            }
            if self.outbound.has_ended(call.purpose) {
                return Err(OutboundError::Connection {
                    host: host.to_owned(),
                    reason: "the host is shutting down",
                    is_sent: false,
                });
            }
            std::thread::sleep(retry_after.min(RATE_CHECK));
        }
    }

    fn deadline(&self, request: &OutboundRequest, callback: Instant) -> Instant {
        let time = request.timeout.unwrap_or(self.limits.http_timeout);
        deadline_after(Instant::now(), time).min(callback)
    }

    /// The beginning of a guest's text for a log or an error, at least `limit` bytes, without the secrets that the guest was
    /// given on purpose. The memory that it takes is bounded by `limit`, however long the text is.
    pub fn without_given_secrets<'t>(&self, text: &'t str, limit: usize) -> Cow<'t, str> {
        if self.uses.given_to_guest.is_empty() {
            return Cow::Borrowed(text);
        }
        match self.given.current(&*self.secrets, || self.given_matcher()) {
            Ok(matcher) => matcher.redact_beginning(text, limit),
            Err(_) => "[left out, because the secrets in it cannot be read]".into(),
        }
    }

    /// A text for a file, without any secret of the channel: those that it was given, and those that it must not have.
    #[cfg(feature = "cli")]
    pub fn without_any_secret(&self, text: String) -> String {
        let text = self.without_given_secrets(&text, usize::MAX).into_owned();
        match self.searched_secrets() {
            Ok(matcher) => {
                String::from_utf8_lossy(&matcher.redact_received(text.into_bytes()).0).into_owned()
            }
            Err(_) => "[left out, because the secrets in it cannot be read]".to_owned(),
        }
    }

    fn given_matcher(&self) -> Result<SecretMatcher, SecretError> {
        let mut secrets = Vec::new();
        for name in &self.uses.given_to_guest {
            secrets.extend(
                accepted_values(&*self.secrets, name)?.into_iter().map(|value| (name.clone(), value)),
            );
        }
        Ok(SecretMatcher::new(secrets))
    }

    /// The secrets to look for, out of those that the channel declares and all that the store lists.
    fn matcher(&self) -> Result<SecretMatcher, SecretError> {
        let mut names = BTreeSet::new();
        names.extend(self.credentials.declared().map(str::to_owned));
        names.extend(self.uses.login.iter().cloned());
        names.extend(self.secrets.names()?);
        let mut secrets = Vec::with_capacity(names.len());
        for name in names {
            let used = self.use_of(&name);
            if used == Use::GivenToGuest {
                continue;
            }
            if let Some(secret) = self.secrets.get(&name)?
                && leak::is_guarded(secret.expose(), used)
            {
                secrets.push((name, secret));
            }
        }
        Ok(SecretMatcher::new(secrets))
    }

    fn use_of(&self, name: &str) -> Use {
        let SecretUses { given_to_guest, inbound, login, allowed } = &self.uses;
        let current = current_name(name);
        let is = |names: &[String]| names.iter().any(|other| other == current);
        if is(given_to_guest) {
            Use::GivenToGuest
        } else if self.credentials.has_entry_for(current)
            || is(login)
            || (allowed.allows(name) && !is(inbound))
        {
            Use::InRequests
        } else {
            Use::Other
        }
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
