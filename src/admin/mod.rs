//! Pages of the host's own. They tell nothing that an unauthenticated client could use: a tunnel shows them to the world.

use crate::server::{Response, WasmChannelRouter};

/// The path that says that the process serves requests, for supervisors and load balancers.
pub const HEALTH_PATH: &str = "/healthz";

/// Where the web chat is, when it runs.
const CHAT_PATH: &str = "/chat";

/// What `GET /` shows when no channel has that path. It names no channel.
const FRONT_PAGE: &str = "<!doctype html>\n<meta charset=\"utf-8\">\n<title>tinclaw</title>\n\
    <p>tinclaw runs here. It serves chat channels, each at a path of its own.</p>\n";

/// The host's page for a request, if it has one there.
pub(crate) fn page(method: &str, path: &str, routes: &WasmChannelRouter) -> Option<Response> {
    match path {
        _ if !matches!(method, "GET" | "HEAD") => None,
        HEALTH_PATH => Some(Response::json(200, r#"{"status":"ok"}"#)),
        "/" if routes.lookup("/").is_none() => Some(front_page(routes)),
        _ => None,
    }
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
