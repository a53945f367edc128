//! The thread behind tiny_http: takes what it yields, puts it back into order, and calls the handler.

use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::model::clock::http_now;

use super::exchange::{ClientResponse, Way};
use super::server_state::{ServerState, Yielded, lock};
use super::wire::{self, Envelope};
use super::{IncomingRequest, Responder, Response, reply};

/// Called with each request, in the order of arrival.
pub(crate) type Handler = Box<dyn FnMut(IncomingRequest) + Send>;

/// Runs until the front has ended.
pub(crate) fn run(shared: &Arc<ServerState>, mut handler: Handler) {
    let mut backend = shared.backend();
    loop {
        match backend.receive() {
            Ok(request) => take(shared, request),
            Err(error) => {
                // Errors of the system come from the accept loop, which ends with them. All others are wake-ups.
                if error.raw_os_error().is_some() {
                    log::error!(
                        "tiny_http no longer accepts private connections and is started anew: {error}"
                    );
                    shared.backend_failed.store(true, Ordering::Release);
                    shared.waker.wake();
                }
                if shared.front_ended.load(Ordering::Acquire) {
                    return;
                }
                backend = shared.backend();
            }
        }
        handle_those_in_turn(shared, &mut handler);
    }
}

/// Puts a request into the sequence, or responds to it when it is a readiness probe.
fn take(shared: &ServerState, request: tiny_http::Request) {
    match wire::read_envelope(request.headers(), &shared.token) {
        Some(Envelope::Request { arrival, peer }) => {
            // What comes back was given up; the front has closed its connection.
            if let Err(given_up) = lock(&shared.sequence).arrive(arrival, Yielded { request, peer }) {
                // Not dropped as it is: tiny_http would respond with a date, and it panics where the clock is before 1970.
                drop(given_up.request.into_writer());
            }
        }
        Some(Envelope::Probe) => {
            let response =
                reply::print(&Response { status: 204, headers: vec![], body: vec![] }, false, http_now());
            let mut writer = request.into_writer();
            // The front notices by itself when the response does not come.
            let _ = std::io::Write::write_all(&mut writer, &response).and_then(|()| writer.flush());
        }
        None => log::error!("a request over the private socket was not from this server, and was refused"),
    }
}

fn handle_those_in_turn(shared: &Arc<ServerState>, handler: &mut Handler) {
    loop {
        // The lock is released before the handler runs.
        let Some((arrival, yielded)) = lock(&shared.sequence).next() else { return };
        let Some(incoming) = read_request(shared, arrival, yielded) else { continue };
        shared.in_handler.store(true, Ordering::Release);
        if catch_unwind(AssertUnwindSafe(|| handler(incoming))).is_err() {
            log::error!("the handler panicked over request {arrival}; the server goes on");
        }
        shared.in_handler.store(false, Ordering::Release);
    }
}

/// Reads the body and makes the request that the handler gets. `None` when the private connection broke meanwhile.
fn read_request(shared: &Arc<ServerState>, arrival: u64, yielded: Yielded) -> Option<IncomingRequest> {
    let Yielded { mut request, peer } = yielded;
    let length = request.body_length().unwrap_or(0);
    let mut body = Vec::with_capacity(length);
    let read = request.as_reader().take(length as u64 + 1).read_to_end(&mut body);
    if read.is_err() || body.len() != length {
        log::error!("request {arrival} was lost between the front and the handler");
        return None;
    }
    let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
    Some(IncomingRequest {
        arrival,
        peer,
        method: request.method().as_str().to_owned(),
        target: request.url().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: wire::read_fields(request.headers()),
        body,
        responder: Responder::to_client(ClientResponse {
            arrival,
            max_response_bytes: shared.limits.max_response_bytes,
            memory: shared.response_memory.clone(),
            thread: shared.response_thread.clone(),
            parked: shared.parked.clone(),
            is_head_request: *request.method() == tiny_http::Method::Head,
            way: Way::Backend(request),
        }),
    })
}
