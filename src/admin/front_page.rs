//! Pages of the host's own. They tell nothing that an unauthenticated client could use: a tunnel shows them to the world.

use crate::host::PublicProbe;
use crate::server::{Response, WasmChannelRouter};

/// The path that says that the process serves requests, for supervisors and load balancers.
pub(super) const HEALTH_PATH: &str = "/healthz";

/// Where the web chat is, when it runs.
const CHAT_PATH: &str = "/chat";

/// What `GET /` shows when no channel has that path. It names no channel.
const FRONT_PAGE: &str = "<!doctype html>\n<meta charset=\"utf-8\">\n<title>tinclaw</title>\n\
    <p>tinclaw runs here. It serves chat channels, each at a path of its own.</p>\n";

/// The host's page for a request, if it has one there.
pub(crate) fn page(
    method: &str,
    path: &str,
    routes: &WasmChannelRouter,
    probe: &PublicProbe,
) -> Option<Response> {
    match path {
        _ if !matches!(method, "GET" | "HEAD") => None,
        HEALTH_PATH => Some(Response::json(200, r#"{"status":"ok"}"#)),
        "/" if routes.lookup("/").is_none() => Some(front_page(routes)),
        _ => probe.response_to(path).map(token),
    }
}

/// What the probe of the public address gets.
fn token(token: &str) -> Response {
    let header = ("Content-Type".into(), "text/plain; charset=utf-8".into());
    Response { status: 200, headers: vec![header], body: token.into() }
}

/// Leads to the web chat where there is one.
fn front_page(routes: &WasmChannelRouter) -> Response {
    let chat = routes.lookup(CHAT_PATH).and_then(|route| route.endpoint.clone());
    let (status, header, body) = if chat.is_some_and(|chat| chat.methods.iter().any(|method| method == "GET"))
    {
        (303, ("Location", CHAT_PATH), "")
    } else {
        (200, ("Content-Type", "text/html; charset=utf-8"), FRONT_PAGE)
    };
    Response { status, headers: vec![(header.0.into(), header.1.into())], body: body.into() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::capability::webhook::WebhookCapability;
    use crate::channel::RegisteredEndpoint;
    use crate::secrets::MemorySecrets;
    use crate::server::ChannelAccess;

    /// `GET /` used to be a 404 in JSON, which told somebody with a browser nothing.
    #[test]
    fn the_front_page_leads_to_the_chat_or_names_no_channel() {
        let (routes, probe) = (WasmChannelRouter::new(), PublicProbe::new());
        let register = |channel: &str, path: &str| {
            let (webhook, secrets) = (WebhookCapability::default(), Arc::new(MemorySecrets::default()));
            let access = Arc::new(ChannelAccess::new(&webhook, channel, secrets, String::new()).unwrap());
            let endpoint =
                RegisteredEndpoint { path: path.into(), methods: vec!["GET".into()], require_secret: false };
            routes.register(&channel.parse().unwrap(), &[endpoint], &access);
        };
        register("telegram", "/webhook/telegram");
        let plain = page("GET", "/", &routes, &probe).unwrap();
        let text = String::from_utf8(plain.body).unwrap();
        assert!(plain.status == 200 && text.contains("tinclaw runs here") && !text.contains("telegram"));
        assert_eq!(page("POST", "/", &routes, &probe), None);
        assert_eq!(page("GET", "/webhook/telegram", &routes, &probe), None);
        assert_eq!(page("GET", HEALTH_PATH, &routes, &probe).unwrap().status, 200);

        let probed = page("GET", &probe.path, &routes, &probe).unwrap();
        assert_eq!((probed.status, probed.body), (200, probe.token.clone().into()));

        register("webchat", "/chat");
        let chat = page("GET", "/", &routes, &probe).unwrap();
        assert_eq!((chat.status, chat.headers), (303, vec![("Location".into(), "/chat".into())]));

        register("site", "/");
        assert_eq!(page("GET", "/", &routes, &probe), None, "a channel's own path is the channel's");
    }
}
