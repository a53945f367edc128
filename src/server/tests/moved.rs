//! Requests for a channel that goes to another host while they are looked at.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::{exchange, start};
use crate::capability::webhook::WebhookCapability;
use crate::channel::{ChannelName, RegisteredEndpoint};
use crate::event::queue::event_queue;
use crate::model::document::{Comments, read};
use crate::net::SharedPublicUrl;
use crate::secrets::MemorySecrets;
use crate::server::requests::RequestHandler;
use crate::server::{
    ChannelAccess, IncomingRequest, Origin, RequestForwarder, Response, ServerLimits, WasmChannelRouter,
};
use crate::webhook::TrustedProxies;

/// The other hosts, one of which takes the channel at the worst moment.
struct Taker {
    routes: WasmChannelRouter,
    channel: ChannelName,
    origin: Origin,
}

impl RequestForwarder for Taker {
    fn knows(&self, _path: &str) -> bool {
        true
    }

    fn origin(&self, _request: &mut IncomingRequest) -> Origin {
        self.routes.remove(&self.channel);
        self.origin
    }

    fn forward(&self, request: IncomingRequest, _client: IpAddr) {
        request.responder.respond(Response::error(502, "forwarded"));
    }
}

/// The path was looked up a second time when it was known whose request it is. A channel that had been handed over in between was not found,
/// and a provider that gets 404 does not send again.
#[test]
fn a_channel_that_is_handed_over_meanwhile_is_not_unknown() {
    for origin in [Origin::Client, Origin::Host(Ipv4Addr::LOCALHOST.into())] {
        let (_, response) = requested_from(origin);
        assert!(response.starts_with("HTTP/1.1 503 "), "{origin:?}: {response}");
    }
}

/// Each of them made a line of the log, and anybody could send as many as they liked.
#[test]
fn a_request_that_claims_to_come_from_another_host_is_logged_as_those_to_no_channel_are() {
    let (routes, response) = requested_from(Origin::Forged("its signature is wrong"));
    assert!(response.starts_with("HTTP/1.1 404 "), "{response}");
    assert_eq!(routes.unrouted_requests(), 1);
}

/// The routes of a host, and its response to a request of this origin.
fn requested_from(origin: Origin) -> (WasmChannelRouter, String) {
    let channel: ChannelName = "a".parse().unwrap();
    let open: WebhookCapability = read(serde_json::json!({"auth": "none"}), Comments::Refused).unwrap();
    let routes = WasmChannelRouter::new();
    let secrets = Arc::new(MemorySecrets::default());
    let access = Arc::new(ChannelAccess::new(&open, "a", secrets, String::new()).unwrap());
    let endpoint =
        RegisteredEndpoint { path: "/hook".into(), methods: vec!["POST".into()], require_secret: false };
    routes.register(&channel, &[endpoint], &access);
    routes.set_forwarder(Arc::new(Taker { routes: routes.clone(), channel: channel.clone(), origin }));
    // Nobody takes events: the router has stopped.
    let (events, _) = event_queue(1);
    let mut handler = RequestHandler::new(
        routes.clone(),
        events,
        TrustedProxies::default(),
        SharedPublicUrl::new(None),
        Arc::new(|_, _| None),
    );
    let server = start(ServerLimits::default(), move |request| handler.handle(request));
    let request = b"POST /hook HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    (routes, exchange(server.local_addr(), request))
}
