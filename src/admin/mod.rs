//! Pages of the host's own. They tell nothing that a stranger could use: a tunnel shows them to the world.

use crate::server::Response;

/// The path that says that the process serves requests, for supervisors and load balancers.
pub const HEALTH_PATH: &str = "/healthz";

/// The host's page for a request, if it has one there.
pub(crate) fn page(method: &str, path: &str) -> Option<Response> {
    (path == HEALTH_PATH && matches!(method, "GET" | "HEAD"))
        .then(|| Response::json(200, r#"{"status":"ok"}"#))
}
