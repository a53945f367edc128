//! From an HTTP request to an event for the router: routed, authenticated, recognised.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use wit_abi::types::IncomingHttpRequest;

#[cfg(feature = "cluster")]
use super::Origin;
use super::authentication::AuthenticationGate;
use super::response_counts::ResponseCounts;
use super::responses::response_for;
use super::routes::{ChannelAccess, Route, WasmChannelRouter};
use super::{HeadCheck, HeadDecision, IncomingRequest, Responder};
use crate::channel::{ChannelName, RegisteredEndpoint};
use crate::event::Event;
use crate::event::arrival::{RequestIdentity, Webhook};
use crate::event::queue::{EventSender, NotQueued};
use crate::event::response::{Respond, ResponseSender, WebhookRefusal, WebhookResponse};
use crate::model::clock::{steady_ms, unix_ms};
use crate::net::SharedPublicUrl;
use crate::webhook::{
    Authenticated, DedupeMemory, TrustedProxies, WebhookRequest, media_type_allowed, visible_headers,
    visible_query,
};

/// The largest body that is taken when a route does not say less, in bytes: 1 MiB.
pub const DEFAULT_MAX_BODY_BYTES: u64 = 1024 * 1024;

/// The host's own page for a method and a path, if it has one there; asked before the channels' paths.
pub type OwnPages = Arc<dyn Fn(&str, &str) -> Option<super::Response> + Send + Sync>;

/// Bytes of a body that a request for a page of the host's own may have.
const OWN_PAGE_BODY_BYTES: u64 = 1024;

/// Decides about requests by their heads: what no page and no channel takes is refused before its body is read.
pub fn head_check(routes: WasmChannelRouter, own_pages: OwnPages, max_body_bytes: u64) -> HeadCheck {
    Arc::new(move |method, path| match own_pages(method, path) {
        Some(_) => HeadDecision::Read { max_body_bytes: OWN_PAGE_BODY_BYTES },
        None => routes.decide(method, path, max_body_bytes),
    })
}

/// What requests are judged by.
pub struct RequestHandler {
    routes: WasmChannelRouter,
    responses: Arc<ResponseCounts>,
    router: EventSender,
    gate: AuthenticationGate,
    proxies: TrustedProxies,
    public_url: SharedPublicUrl,
    own_pages: OwnPages,
}

/// A request that may be handed to a guest.
struct Admitted {
    request: IncomingHttpRequest,
    identities: Vec<RequestIdentity>,
}

impl RequestHandler {
    /// A handler that sends what it admits to `router`. `public_url` is this host's address as providers call it.
    pub fn new(
        routes: WasmChannelRouter,
        router: EventSender,
        proxies: TrustedProxies,
        public_url: SharedPublicUrl,
        own_pages: OwnPages,
    ) -> Self {
        let responses = routes.response_counts();
        Self {
            routes,
            responses,
            router,
            gate: AuthenticationGate::default(),
            proxies,
            public_url,
            own_pages,
        }
    }

    /// Responds to a request, or hands it to the router. Waits for nobody but where the router does.
    pub fn handle(&mut self, request: IncomingRequest) {
        if let Some(page) = (self.own_pages)(&request.method, &request.path) {
            return request.responder.respond(page);
        }
        // Once: a channel that is handed over meanwhile is here, or is not, for all of the request.
        let route = self.routes.lookup(&request.path);
        #[cfg(feature = "cluster")]
        let Some(request) = self.sort_out(request, route.is_some()) else { return };
        let Some(route) = route else {
            return refuse(request.responder, WebhookRefusal::NotFound);
        };
        let received = Instant::now();
        match self.admit(&request, &route) {
            Ok(admitted) => {
                let client = self.client_of(&request);
                self.send(route.channel.clone(), admitted, client, received, request.responder);
            }
            Err(refusal) => {
                self.responses.note(&route.channel, refusal.status());
                refuse(request.responder, refusal);
            }
        }
    }

    /// Sends a request on whose channel another host has, and believes the other hosts; returns what is to be handled here.
    #[cfg(feature = "cluster")]
    fn sort_out(&self, mut request: IncomingRequest, is_here: bool) -> Option<IncomingRequest> {
        let Some(forwarder) = self.routes.forwarder() else { return Some(request) };
        match forwarder.origin(&mut request) {
            Origin::Forged(reason) => {
                self.routes.note_forged(&request.method, &request.path, reason);
                refuse(request.responder, WebhookRefusal::NotFound);
            }
            Origin::Host(client) if is_here => {
                request.peer = client;
                return Some(request);
            }
            // One hop and not more: the channel has just moved, and the sender retries.
            Origin::Host(_) => refuse(request.responder, WebhookRefusal::Starting),
            Origin::Client if !is_here && forwarder.knows(&request.path) => {
                let client = self.client_of(&request);
                forwarder.forward(request, client);
            }
            Origin::Client => return Some(request),
        }
        None
    }

    fn admit(&mut self, request: &IncomingRequest, route: &Route) -> Result<Admitted, WebhookRefusal> {
        let Some(endpoint) = &route.endpoint else { return Err(WebhookRefusal::Starting) };
        check_shape(request, route, endpoint)?;
        let now_ms = unix_ms();
        let authenticated = self.authenticate(request, route, endpoint, now_ms)?;
        let access = &route.access;
        let clocks = Clocks { wall_ms: now_ms, steady_ms: steady_ms() };
        let identities = identities_of(request, access, &authenticated, clocks);
        Ok(Admitted { request: guest_request(request, &access.mount, &authenticated), identities })
    }

    fn authenticate(
        &mut self,
        request: &IncomingRequest,
        route: &Route,
        endpoint: &RegisteredEndpoint,
        now_ms: u64,
    ) -> Result<Authenticated, WebhookRefusal> {
        if endpoint.require_secret && !route.access.plan.validates_secret() {
            return Err(WebhookRefusal::NotConfigured);
        }
        let client = self.client_of(request);
        let public_url = self.public_url_of(request);
        let presented = WebhookRequest {
            method: &request.method,
            query: &request.query,
            public_url: &public_url,
            headers: &request.headers,
            body: &request.body,
            now_ms,
        };
        self.gate.admit(&route.channel, &route.access, &presented, client)
    }

    fn client_of(&self, request: &IncomingRequest) -> IpAddr {
        let forwarded = request.headers.iter().filter(|(name, _)| name == "x-forwarded-for");
        self.proxies.client(request.peer, forwarded.map(|(_, value)| value.as_str()))
    }

    /// The URL as the sender wrote it. Without a configured public address the `Host` header is believed: whoever
    /// forges it has to sign the forged URL.
    fn public_url_of(&self, request: &IncomingRequest) -> String {
        let base = match self.public_url.get() {
            Some(url) => url.as_str().to_owned(),
            None => {
                let host = request.headers.iter().find(|(name, _)| name == "host");
                format!("https://{}", host.map_or("localhost", |(_, value)| value.as_str()))
            }
        };
        format!("{base}{}", request.target)
    }

    fn send(
        &self,
        channel: ChannelName,
        admitted: Admitted,
        client: IpAddr,
        received: Instant,
        responder: Responder,
    ) {
        let responses = Arc::clone(&self.responses);
        let responder = ResponseSender::new(ToClient {
            responder,
            channel: channel.clone(),
            responses,
            #[cfg(feature = "cluster")]
            is_one_of_several: self.routes.forwarder().is_some(),
        });
        let Admitted { request, identities } = admitted;
        let (request, client) = (Arc::new(request), Some(client));
        let webhook = Webhook { channel, request, identities, client, received, responder };
        match self.router.offer(Event::Webhook(Box::new(webhook))) {
            Err(NotQueued::Full(Event::Webhook(webhook))) => webhook.responder.refuse(WebhookRefusal::Busy),
            Err(NotQueued::Closed(Event::Webhook(webhook))) => {
                webhook.responder.refuse(WebhookRefusal::Stopping)
            }
            _ => {}
        }
    }
}

/// What can be said without looking at who sends it.
fn check_shape(
    request: &IncomingRequest,
    route: &Route,
    endpoint: &RegisteredEndpoint,
) -> Result<(), WebhookRefusal> {
    if !endpoint.methods.contains(&request.method) {
        return Err(WebhookRefusal::MethodNotAllowed { allow: endpoint.methods.clone() });
    }
    if request.body.len() as u64 > route.access.max_body_bytes.unwrap_or(u64::MAX) {
        return Err(WebhookRefusal::BodyTooLarge);
    }
    let content_type = request.headers.iter().find(|(name, _)| name == "content-type");
    let content_type = content_type.map(|(_, value)| value.as_str());
    if !media_type_allowed(route.access.content_types.as_deref(), content_type, request.body.is_empty()) {
        return Err(WebhookRefusal::UnsupportedMediaType);
    }
    Ok(())
}

/// One moment by both clocks: signatures name moments of the wall clock, and what is remembered is remembered for a time.
#[derive(Clone, Copy)]
struct Clocks {
    wall_ms: u64,
    steady_ms: u64,
}

impl Clocks {
    /// When it will be over what lasts this long from now on, by the clock that nobody sets.
    fn end_of(self, lasts_ms: u64) -> u64 {
        self.steady_ms.saturating_add(lasts_ms)
    }

    /// When the wall clock will say this, by the clock that nobody sets.
    fn when_wall_clock_says(self, wall_ms: u64) -> u64 {
        self.end_of(wall_ms.saturating_sub(self.wall_ms))
    }
}

/// By what a duplicate is recognised: the provider's id, whose first response is kept, and what was signed. Both count, because
/// an id in a header is rarely signed: whoever captured a request could send it again under another id.
fn identities_of(
    request: &IncomingRequest,
    access: &ChannelAccess,
    authenticated: &Authenticated,
    now: Clocks,
) -> Vec<RequestIdentity> {
    let deduped = access.plan.dedupe().key(&request.headers, authenticated.body().unwrap_or(&request.body));
    let by_id = deduped.map(|key| RequestIdentity {
        key,
        expires_ms: now.end_of(DedupeMemory::<()>::DEDUPE_MS),
        keep_response: true,
    });
    let by_signature = authenticated.replay_key().map(|replay| RequestIdentity {
        key: replay.key,
        expires_ms: now.when_wall_clock_says(replay.expires_ms),
        keep_response: false,
    });
    by_id.into_iter().chain(by_signature).collect()
}

fn guest_request(
    request: &IncomingRequest,
    mount: &str,
    authenticated: &Authenticated,
) -> IncomingHttpRequest {
    IncomingHttpRequest {
        method: request.method.clone(),
        path: request.path.strip_prefix(mount).unwrap_or(&request.path).to_owned(),
        headers_json: visible_headers(&request.headers, authenticated.hidden()),
        query_json: visible_query(&request.query, authenticated.hidden()),
        body: authenticated.body().unwrap_or(&request.body).to_vec(),
        secret_validated: authenticated.secret_validated(),
    }
}

/// The way back to the client of one request.
struct ToClient {
    responder: Responder,
    channel: ChannelName,
    responses: Arc<ResponseCounts>,
    /// Whether other hosts have channels as well.
    #[cfg(feature = "cluster")]
    is_one_of_several: bool,
}

impl Respond for ToClient {
    fn respond(self: Box<Self>, response: WebhookResponse) {
        // The router says so of a channel that has just been handed over to another host.
        #[cfg(feature = "cluster")]
        let response = match response {
            WebhookResponse::Refused(WebhookRefusal::NotFound) if self.is_one_of_several => {
                WebhookResponse::Refused(WebhookRefusal::Starting)
            }
            other => other,
        };
        let response = response_for(response);
        self.responses.note(&self.channel, response.status);
        self.responder.respond(response);
    }

    fn park(mut self: Box<Self>) -> Box<dyn Respond> {
        self.responder = self.responder.park();
        self
    }

    fn is_abandoned(&self) -> bool {
        self.responder.is_abandoned()
    }
}

fn refuse(responder: Responder, refusal: WebhookRefusal) {
    responder.respond(response_for(WebhookResponse::Refused(refusal)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wall clock is 50 years ahead of the other one when the network has told a board the year.
    #[test]
    fn remembered_requests_expire_independently_of_the_wall_clock() {
        let now = Clocks { wall_ms: 1_800_000_000_000, steady_ms: 5_000 };
        assert_eq!(now.end_of(300_000), 305_000);
        assert_eq!(now.when_wall_clock_says(1_800_000_300_000), 305_000);
        assert_eq!(now.when_wall_clock_says(1_799_999_999_999), 5_000, "it has said that already");
    }
}
