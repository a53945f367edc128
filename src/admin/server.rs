//! The admin API as a server: one HTTP server for each listener, and threads for what requests ask.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::AdminState;
use super::access::{Access, Presented};
use super::api::{self, ApiError, ApiHandler, ApiResult};
use super::front_page::HEALTH_PATH;
use super::listener::{AdminListener, SocketFile};
use super::metrics::{CONTENT_TYPE, metrics_text};
use super::page::page_response;
use super::workers::AdminWorkers;
use crate::server::{
    HeadCheck, HeadDecision, HttpServer, IncomingRequest, Responder, Response, ServerError, ServerLimits,
};

/// Whether the host takes messages.
const READY_PATH: &str = "/readyz";
/// Numbers for Prometheus.
const METRICS_PATH: &str = "/metrics";
/// The page.
const PAGE_PATH: &str = "/";
/// Waits for a change.
const CHANGES_PATH: &str = "/api/v1/changes";
/// The largest body of a request, in bytes.
const MAX_BODY_BYTES: u64 = 64 * 1024;
/// Clients of one listener that are served at a time.
const MAX_CLIENTS: usize = 64;

/// A listener that is served. Dropped, it ends.
pub(crate) struct AdminServer {
    _http: HttpServer,
    /// Removed after the server has ended.
    _file: Option<SocketFile>,
}

impl AdminServer {
    /// Serves the API at a listener.
    ///
    /// # Errors
    /// The server does not start.
    pub(crate) fn start(
        listener: AdminListener,
        access: Access,
        state: Arc<AdminState>,
    ) -> Result<Self, ServerError> {
        let gate = AdminGate { access, state, workers: AdminWorkers::default() };
        let handler = Box::new(move |request| gate.take(request));
        let (http, file) = match listener {
            AdminListener::Tcp(listener) => {
                (HttpServer::start_on(listener, limits(), head_check(), handler)?, None)
            }
            AdminListener::Unix(listener, file) => {
                (HttpServer::start_on(listener, limits(), head_check(), handler)?, Some(file))
            }
        };
        Ok(Self { _http: http, _file: file })
    }
}

/// What a client of the API may take. Half of what clients of channels may: there are fewer of them.
fn limits() -> ServerLimits {
    ServerLimits {
        connections: MAX_CLIENTS,
        connections_per_address: MAX_CLIENTS / 2,
        header_timeout: Duration::from_secs(5),
        body_timeout: Duration::from_secs(10),
        body_memory: 1 << 20,
        max_response_bytes: 8 << 20,
        response_memory: 16 << 20,
        shutdown_timeout: Duration::ZERO,
        ..ServerLimits::default()
    }
}

/// Decides about bodies: what no resource takes is not read.
fn head_check() -> HeadCheck {
    Arc::new(|method, path| match path {
        PAGE_PATH | HEALTH_PATH | READY_PATH | METRICS_PATH | CHANGES_PATH
            if matches!(method, "GET" | "HEAD") =>
        {
            HeadDecision::Read { max_body_bytes: 0 }
        }
        PAGE_PATH | HEALTH_PATH | READY_PATH | METRICS_PATH | CHANGES_PATH => {
            let (method, path) = (method.to_owned(), path.to_owned());
            let allowed = "GET, HEAD".to_owned();
            HeadDecision::Respond(response(Err(ApiError::Method { method, path, allowed })))
        }
        _ => match api::check(method, path) {
            Ok(()) => HeadDecision::Read { max_body_bytes: MAX_BODY_BYTES },
            Err(error) => HeadDecision::Respond(response(Err(error))),
        },
    })
}

/// What stands between a listener and the host.
struct AdminGate {
    access: Access,
    state: Arc<AdminState>,
    workers: AdminWorkers,
}

impl AdminGate {
    /// Responds to a request, or has a thread do so.
    fn take(&self, request: IncomingRequest) {
        let IncomingRequest { method, path, query, headers, body, responder, .. } = request;
        let presented = Presented { method: &method, path: &path, headers: &headers };
        if let Err(refused) = self.access.check(&presented) {
            return responder.respond(refused.response());
        }
        // Also when all threads are busy.
        match path.as_str() {
            HEALTH_PATH => return responder.respond(Response::json(200, r#"{"status":"ok"}"#)),
            PAGE_PATH => return responder.respond(page_response()),
            CHANGES_PATH => return self.wait_for_change(&query, responder),
            _ => {}
        }
        let state = Arc::clone(&self.state);
        let respond = move |responder: Responder| {
            responder.respond(match path.as_str() {
                READY_PATH => readiness(&state),
                METRICS_PATH => metrics(&state),
                _ => response(execute(&state, &method, &path, &query, body)),
            });
        };
        // A request that finds no room is dropped with its responder, which responds with 503.
        let responder = BusyOnDrop(Some(responder));
        self.workers.run(move || respond(responder.take()));
    }
}

impl AdminGate {
    /// The request waits without a thread.
    fn wait_for_change(&self, query: &str, responder: Responder) {
        let after = query.split('&').find_map(|pair| pair.strip_prefix("after="));
        self.state.watchers.wait(after.and_then(|after| after.parse().ok()), responder);
    }
}

/// Responds with 503 when it is dropped.
struct BusyOnDrop(Option<Responder>);

impl BusyOnDrop {
    fn take(mut self) -> Responder {
        self.0.take().expect("it is taken once, because taking consumes it")
    }
}

impl Drop for BusyOnDrop {
    fn drop(&mut self) {
        if let Some(responder) = self.0.take() {
            let mut response = Response::error(503, "busy");
            response.headers.push(("Retry-After".into(), "1".into()));
            responder.respond(response);
        }
    }
}

fn execute(state: &AdminState, method: &str, path: &str, query: &str, body: Vec<u8>) -> ApiResult {
    let (handler, request) = api::find(method, path, query, body)?;
    match handler {
        ApiHandler::Stored(handler) => handler(&*state.manager, &request),
        ApiHandler::Host(handler) => handler(state, &request),
    }
}

fn response(result: ApiResult) -> Response {
    let allowed = result.as_ref().err().and_then(ApiError::allowed).map(str::to_owned);
    let (status, body) = match result {
        Ok(value) => (200, value),
        Err(error) => (error.status().0, error.to_json()),
    };
    let mut response = Response::json(status, body.to_string());
    if let Some(allowed) = allowed {
        response.headers.push(("Allow".into(), allowed));
    }
    response.headers.push(("Cache-Control".into(), "no-store".into()));
    response.headers.push((VERSION_HEADER.into(), env!("CARGO_PKG_VERSION").into()));
    response
}

/// Tells a client of another version with which it speaks.
pub(crate) const VERSION_HEADER: &str = "Tinclaw-Version";

fn metrics(state: &AdminState) -> Response {
    match metrics_text(state) {
        Ok(text) => Response {
            status: 200,
            headers: vec![("Content-Type".into(), CONTENT_TYPE.into())],
            body: text.into_bytes(),
        },
        Err(error) => response(Err(ApiError::Failed(error))),
    }
}

/// Whether the host can take all messages that it is to take. Which channel is concerned is said to those who may use the API.
fn readiness(state: &AdminState) -> Response {
    let Ok(health) = state.manager.health() else {
        return Response::json(503, r#"{"status":"stopping"}"#);
    };
    let reasons = super::records::reasons_not_ready(&health, &state.changes.held(&state.manager));
    match reasons.is_empty() {
        true => Response::json(200, r#"{"status":"ready"}"#),
        false => Response::json(503, json!({"status": "degraded", "reasons": reasons}).to_string()),
    }
}
