//! The thread behind tiny_http: takes what it yields, puts it back into order, and calls the handler.
//!
//! Between the front and the handler lie tiny_http's threads, which overtake each other. Guests keep the highest id that
//! they have seen, so a swapped pair of webhooks would lose one of the two although both got 200.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::exchange::{ClientResponse, ResponsePath};
use super::server_state::{ServerState, Yielded, lock};
use super::wire::{self, RequestEnvelope};
use super::{IncomingRequest, Responder, Response, reply};
use crate::model::clock::http_now;

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
                    log::error!("tiny_http no longer accepts private connections and is restarted: {error}");
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
        Some(RequestEnvelope::Request { arrival, peer }) => {
            // What comes back was given up; the front has closed its connection.
            if let Err(given_up) = lock(&shared.sequence).arrive(arrival, Yielded { request, peer }) {
                // Not dropped as it is: tiny_http would respond with a date, and it panics where the clock is before 1970.
                drop(given_up.request.into_writer());
            }
        }
        Some(RequestEnvelope::Probe) => {
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
            path: ResponsePath::Backend(request),
        }),
    })
}

/// Holds back what came early. Numbers start at 0 and leave no gaps: every one arrives or is given up.
#[derive(Debug)]
pub(crate) struct Sequence<T> {
    next: u64,
    early: BTreeMap<u64, T>,
    given_up: BTreeSet<u64>,
}

impl<T> Sequence<T> {
    pub(crate) fn new() -> Self {
        Sequence { next: 0, early: BTreeMap::new(), given_up: BTreeSet::new() }
    }

    /// Takes in what has arrived. Returns it when its number had been given up (or seen) already: then it must not be
    /// handled, because the client was told so.
    pub(crate) fn arrive(&mut self, number: u64, item: T) -> Result<(), T> {
        if number < self.next || self.given_up.contains(&number) || self.early.contains_key(&number) {
            return Err(item);
        }
        self.early.insert(number, item);
        Ok(())
    }

    /// Gives up a number, once, so that its successors need not wait for it. False when it has arrived: it is, or will
    /// be, handled.
    pub(crate) fn give_up(&mut self, number: u64) -> bool {
        let arrived = number < self.next || self.early.contains_key(&number);
        if !arrived {
            self.given_up.insert(number);
        }
        !arrived
    }

    /// The next in order, when it is there.
    pub(crate) fn next(&mut self) -> Option<(u64, T)> {
        while self.given_up.remove(&self.next) {
            self.next += 1;
        }
        let item = self.early.remove(&self.next)?;
        self.next += 1;
        Some((self.next - 1, item))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ready(sequence: &mut Sequence<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| sequence.next().map(|(_, item)| item)).collect()
    }

    #[test]
    fn an_early_one_waits_for_its_predecessors() {
        let mut sequence = Sequence::new();
        assert_eq!(sequence.arrive(2, "c"), Ok(()));
        assert_eq!(sequence.arrive(1, "b"), Ok(()));
        assert_eq!(ready(&mut sequence), Vec::<&str>::new());
        assert_eq!(sequence.arrive(0, "a"), Ok(()));
        assert_eq!(ready(&mut sequence), ["a", "b", "c"]);
    }

    #[test]
    fn a_number_that_was_given_up_holds_nothing_back() {
        let mut sequence = Sequence::new();
        assert_eq!(sequence.arrive(1, "b"), Ok(()));
        assert!(sequence.give_up(0));
        assert_eq!(ready(&mut sequence), ["b"]);
    }

    #[test]
    fn an_abandoned_request_that_arrives_late_is_returned() {
        let mut sequence = Sequence::new();
        assert!(sequence.give_up(0));
        assert_eq!(sequence.arrive(0, "a"), Err("a"));
        assert_eq!(ready(&mut sequence), Vec::<&str>::new());
        assert_eq!(sequence.arrive(0, "a"), Err("a"));
    }

    #[test]
    fn an_arrived_request_cannot_be_given_up() {
        let mut sequence = Sequence::new();
        assert_eq!(sequence.arrive(0, "a"), Ok(()));
        assert!(!sequence.give_up(0));
        assert_eq!(ready(&mut sequence), ["a"]);
        assert!(!sequence.give_up(0));
    }

    proptest! {
        /// Whatever overtakes whatever, and whatever is given up: each number that arrived first is handled exactly
        /// once, in order, and none is left waiting at the end.
        #[test]
        fn nothing_is_swapped_lost_or_stuck(order in Just((0_u64..40).collect::<Vec<_>>()).prop_shuffle(), lost: [bool; 40]) {
            let mut sequence = Sequence::new();
            let mut handled = Vec::new();
            for number in order {
                if lost[number as usize] {
                    prop_assert!(sequence.give_up(number));
                } else {
                    prop_assert_eq!(sequence.arrive(number, ()), Ok(()));
                }
                handled.extend(std::iter::from_fn(|| sequence.next()).map(|(number, ())| number));
            }
            let expected: Vec<u64> = (0..40).filter(|number| !lost[*number as usize]).collect();
            prop_assert_eq!(handled, expected);
        }
    }
}
