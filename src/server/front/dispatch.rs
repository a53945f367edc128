//! Complete requests on their way to tiny_http, and responses on their way back.

use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::super::backend::Backend;
use super::super::exchange::PARKED;
use super::super::http_server::count;
use super::super::intake::Complete;
use super::super::limits::OWN_BODY_BYTES;
use super::super::reply;
use super::super::reply::Rejection;
use super::super::spare_threads::thread_for_connection;
use super::super::wire::{self, RequestEnvelope};
use super::clients::{AfterResponse, ClientPhase, ParkedRequest};
use super::links::{BackendConnection, BackendState, InFlightRequest, LinkResponse};
use super::listener::{ACCEPTED_A_ROUND, descriptors_left};
use super::responding::Outgoing;
use super::run::{Front, FrontLogKind};
use crate::model::deadline::deadline_after;

/// How long a new private connection may take to prove itself.
const PROOF_TIME: Duration = Duration::from_secs(2);

/// Private connections in a row that do not prove themselves before tiny_http is taken for dead.
const MAX_FAILED_PROOFS: u32 = 2;

/// The pause before another private connection is opened after one could not be.
const LINK_RETRY_DELAY: Duration = Duration::from_millis(200);

/// A private connection takes one file descriptor here and two in tiny_http, which cannot stand the want of one.
const DESCRIPTORS_A_LINK: usize = 3;

/// The longest response that the server itself makes up.
const OWN_RESPONSE: u64 = 1 << 10;

impl Front {
    /// A request is complete.
    pub(super) fn queue_up(&mut self, id: usize, request: Complete, charged: u64, now: Instant) {
        let Some(client) = self.clients.get_mut(id) else { return };
        // What its body has taken stays taken until it has its response, so nothing is released here.
        client.enter(ClientPhase::Queued { request, charged }, now, self.shared.limits.dispatch_timeout);
        self.queue.push_back(id);
        self.hand_over_those_in_turn(now);
    }

    fn hand_over_those_in_turn(&mut self, now: Instant) {
        while !self.queue.is_empty() {
            let Some(link) = self.links.take_idle() else { return };
            if let Some(id) = self.queue.pop_front() {
                self.hand_over(id, link, now);
            }
        }
    }

    fn hand_over(&mut self, id: usize, link_id: usize, now: Instant) {
        let Some(client) = self.clients.get_mut(id) else { return self.links.make_idle(link_id, now) };
        let peer = client.peer;
        let waiting = ClientPhase::Waiting { link: link_id };
        let ClientPhase::Queued { mut request, charged } =
            client.enter(waiting, now, self.shared.limits.response_timeout)
        else {
            unreachable!("only clients with a complete request are in the queue")
        };
        let arrival = self.next_arrival;
        self.next_arrival += 1;
        count(&self.shared.counters.requests);
        let envelope = RequestEnvelope::Request { arrival, peer };
        wire::finish_head(&mut request.wire_head, &self.shared.token, envelope, request.body.len());
        let job = InFlightRequest {
            arrival,
            client: Some(id),
            is_head_request: request.is_head_request,
            wants_close: request.wants_close,
            charged,
            taken: false,
        };
        let Some(link) = self.links.get_mut(link_id) else { return };
        let outgoing = Outgoing::request(request.wire_head, request.body);
        if link.begin(BackendState::Busy(job), outgoing, now).is_err() {
            self.lose_link(link_id, now);
        }
    }

    pub(super) fn serve_link(&mut self, id: usize, now: Instant) {
        let longest = self.shared.limits.max_response_bytes.max(OWN_RESPONSE);
        let Some(link) = self.links.get_mut(id) else { return };
        match link.send().and_then(|()| link.receive(&mut self.scratch, longest)) {
            Ok(None) => {}
            // A response before the end of the request is tiny_http's refusal; it closes the connection.
            Ok(Some(_)) if link.outgoing.is_some() => self.lose_link(id, now),
            Ok(Some(response)) => self.take_response(id, response, now),
            Err(_) => self.lose_link(id, now),
        }
    }

    fn take_response(&mut self, id: usize, response: LinkResponse, now: Instant) {
        let Some(link) = self.links.get_mut(id) else { return };
        let state = std::mem::replace(&mut link.state, BackendState::Idle);
        self.links.make_idle(id, now);
        match state {
            BackendState::Proving => self.failed_proofs = 0,
            BackendState::Busy(job) => self.deliver(job, response, now),
            BackendState::Idle => {}
        }
        self.hand_over_those_in_turn(now);
    }

    fn deliver(&mut self, job: InFlightRequest, response: LinkResponse, now: Instant) {
        if response.bytes == PARKED {
            return self.park(&job, now);
        }
        self.memory.release(job.charged);
        let holds = (response.frame.body > OWN_BODY_BYTES).then_some(job.arrival);
        let Some(id) = job.client else {
            // Whoever asked has gone.
            holds.inspect(|arrival| self.shared.response_memory.release(*arrival));
            return;
        };
        let close = job.wants_close || self.shared.limits.keep_alive.is_zero() || self.listener.is_none();
        let outgoing = Outgoing::response(response.bytes, response.frame, close);
        self.begin_response(
            id,
            outgoing,
            if close { AfterResponse::Close } else { AfterResponse::Keep },
            holds,
            now,
        );
    }

    /// A request waits for its response without its private connection.
    fn park(&mut self, job: &InFlightRequest, now: Instant) {
        let Some(id) = job.client else {
            self.shared.parked.abandon(job.arrival);
            return self.memory.release(job.charged);
        };
        let InFlightRequest { arrival, is_head_request, wants_close, charged, .. } = *job;
        let parked = ParkedRequest { arrival, is_head_request, wants_close, charged };
        let Some(client) = self.clients.get_mut(id) else { return self.memory.release(charged) };
        // Its private connection has let it go already.
        client.enter(ClientPhase::Parked(parked), now, self.shared.limits.response_timeout);
        self.parked.insert(arrival, id);
    }

    /// Sends the responses to parked requests that have come.
    pub(super) fn respond_to_parked(&mut self, now: Instant) {
        let mut early = Vec::new();
        for (arrival, bytes) in self.shared.parked.take() {
            if let Some(id) = self.parked.remove(&arrival) {
                self.respond_to(id, bytes, now);
            } else if self.is_in_flight(arrival) {
                early.push((arrival, bytes));
            } else {
                // Whoever asked has gone.
                self.shared.parked.forget(arrival);
                self.shared.response_memory.release(arrival);
            }
        }
        if !early.is_empty() {
            self.shared.parked.put_back(early);
        }
    }

    fn respond_to(&mut self, id: usize, bytes: Vec<u8>, now: Instant) {
        let Some(ClientPhase::Parked(parked)) = self.clients.get(id).map(|client| &client.phase) else {
            return;
        };
        let ParkedRequest { arrival, is_head_request, wants_close, .. } = *parked;
        let Ok(Some(frame)) = reply::frame(&bytes, is_head_request) else {
            return self.refuse(id, Rejection::NotDispatched, now);
        };
        let holds = (frame.body > OWN_BODY_BYTES).then_some(arrival);
        let close = wants_close || self.shared.limits.keep_alive.is_zero() || self.listener.is_none();
        let then = if close { AfterResponse::Close } else { AfterResponse::Keep };
        self.begin_response(id, Outgoing::response(bytes, frame, close), then, holds, now);
    }

    fn is_in_flight(&self, arrival: u64) -> bool {
        let is_it = |link: &BackendConnection| matches!(&link.state, BackendState::Busy(job) if job.arrival == arrival);
        self.links.iter().any(|(_, link)| is_it(link))
    }

    /// A private connection is of no more use.
    fn lose_link(&mut self, id: usize, now: Instant) {
        match self.links.remove(id).map(|link| link.state) {
            Some(BackendState::Busy(job)) => {
                log::error!("request {} was lost between the front and the handler", job.arrival);
                if !job.taken {
                    self.shared.give_up(job.arrival);
                }
                self.lose_job(job, now);
            }
            Some(BackendState::Proving) => {
                self.failed_proofs += 1;
                self.links_paused_until = Some(deadline_after(now, LINK_RETRY_DELAY));
            }
            Some(BackendState::Idle) | None => {}
        }
    }

    fn lose_job(&mut self, job: InFlightRequest, now: Instant) {
        count(&self.shared.counters.dispatch_failures);
        self.memory.release(job.charged);
        self.shared.response_memory.release(job.arrival);
        if let Some(id) = job.client {
            self.refuse(id, Rejection::NotDispatched, now);
        }
    }

    /// The client of this private connection has gone; its response is read and thrown away.
    pub(super) fn forget_client(&mut self, link: usize, client: usize) {
        if let Some(BackendConnection { state: BackendState::Busy(job), .. }) = self.links.get_mut(link)
            && job.client == Some(client)
        {
            job.client = None;
        }
    }

    pub(super) fn serves_head_request(&self, link: usize) -> bool {
        matches!(self.links.get(link), Some(BackendConnection { state: BackendState::Busy(job), .. }) if job.is_head_request)
    }

    /// Opens, closes and gives up private connections.
    pub(super) fn tend_links(&mut self, now: Instant) {
        self.give_up_stuck_links(now);
        if let Some(Ok(id)) = self.links.surplus(now) {
            self.links.remove(id);
        }
        if self.links_paused_until.is_some_and(|until| now < until) {
            return;
        }
        self.links_paused_until = None;
        if self.shared.backend_failed.load(Acquire) || self.failed_proofs >= MAX_FAILED_PROOFS {
            self.restart_backend(now);
        } else if self.growth_at(now).is_some_and(|at| at <= now) {
            self.open_link(now);
        }
    }

    fn growth_at(&self, now: Instant) -> Option<Instant> {
        let waiting_since =
            self.queue.front().and_then(|id| self.clients.get(*id)).map(|client| client.since);
        self.links.grows_at(self.shared.limits.connections, waiting_since, now)
    }

    fn open_link(&mut self, now: Instant) {
        if !self.find_descriptors(now) || !self.find_thread(now) {
            self.links_paused_until = Some(deadline_after(now, LINK_RETRY_DELAY));
            return;
        }
        let connected = self.shared.backend().connect().and_then(|stream| {
            stream.set_nonblocking(true)?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => {
                let probe = Outgoing::whole(wire::probe(&self.shared.token).into_bytes());
                let id = self.links.insert(BackendConnection::new(stream, probe, now));
                self.serve_link(id, now);
            }
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) => {
                self.links_paused_until = Some(deadline_after(now, LINK_RETRY_DELAY));
            }
            Err(error) => {
                log::error!("tiny_http cannot be reached and is restarted: {error}");
                self.restart_backend(now);
            }
        }
    }

    /// Makes sure that tiny_http will find the file descriptors that a private connection takes: without them its accept
    /// loop ends.
    fn find_descriptors(&mut self, now: Instant) -> bool {
        let plenty = descriptors_left(DESCRIPTORS_A_LINK + ACCEPTED_A_ROUND);
        // Otherwise new connections could take them before tiny_http does.
        self.accepting_rests_while_proving = !plenty;
        let mut enough = plenty || descriptors_left(DESCRIPTORS_A_LINK);
        // A complete request is worth more than connections without one.
        while !enough && !self.queue.is_empty() && self.free_a_descriptor(now) {
            enough = descriptors_left(DESCRIPTORS_A_LINK);
        }
        enough
    }

    /// Makes sure that tiny_http will find the thread that a private connection may take.
    fn find_thread(&mut self, now: Instant) -> bool {
        let Err(error) = thread_for_connection(self.links.iter().count()) else { return true };
        if let Some(suppressed) = self.log.check(&FrontLogKind::NoThread, now) {
            log::warn!("no thread is left for more requests at a time: {error}{suppressed}");
        }
        false
    }

    /// Puts another tiny_http in the place of one that accepts no more connections. What the handler has got from the
    /// old one still gets its responses over the old connections.
    fn restart_backend(&mut self, now: Instant) {
        let backend = match Backend::start() {
            Ok(backend) => backend,
            Err(error) => {
                log::error!("tiny_http could not be restarted; trying again shortly: {error}");
                // The want of file descriptors is the likeliest reason.
                self.free_a_descriptor(now);
                self.links_paused_until = Some(deadline_after(now, LINK_RETRY_DELAY));
                return;
            }
        };
        log::warn!("tiny_http was restarted");
        self.shared.counters.backend_restarts.fetch_add(1, Relaxed);
        self.failed_proofs = 0;
        let unused: Vec<_> =
            self.links.iter().filter(|(_, link)| !link.is_busy()).map(|(id, _)| id).collect();
        for id in unused {
            self.links.remove(id);
        }
        self.give_up_links(now, |_| true);
        self.shared.replace_backend(backend);
    }

    fn give_up_stuck_links(&mut self, now: Instant) {
        let slow: Vec<_> = self
            .links
            .iter()
            .filter(|(_, link)| {
                matches!(link.state, BackendState::Proving) && deadline_after(link.since, PROOF_TIME) <= now
            })
            .map(|(id, _)| id)
            .collect();
        for id in slow {
            // While the handler runs, nobody responds to probes.
            match self.links.get_mut(id) {
                Some(link) if self.shared.in_handler.load(Acquire) => link.since = now,
                _ => self.lose_link(id, now),
            }
        }
        let time = self.shared.limits.dispatch_timeout;
        self.give_up_links(now, |link| deadline_after(link.since, time) <= now);
    }

    /// Gives up what the handler does not have, among those that match; remembers of the others that it has.
    fn give_up_links(&mut self, now: Instant, matches: impl Fn(&BackendConnection) -> bool) {
        let mut lost = Vec::new();
        for (id, link) in self.links.iter_mut().filter(|(_, link)| matches(link)) {
            if let BackendState::Busy(job) = &mut link.state
                && !job.taken
            {
                job.taken = !self.shared.give_up(job.arrival);
                if !job.taken {
                    lost.push(id);
                }
            }
        }
        for id in lost {
            if let Some(BackendConnection { state: BackendState::Busy(job), .. }) = self.links.remove(id) {
                if let Some(suppressed) = self.log.check(&FrontLogKind::NotHandedOver, now) {
                    let arrival = job.arrival;
                    log::error!(
                        "request {arrival} did not reach the handler in time and was given up{suppressed}"
                    );
                }
                self.lose_job(job, now);
            }
        }
    }

    /// At the end: what the handler does not have by now, it shall not get any more.
    pub(super) fn give_up_untaken(&mut self) {
        self.give_up_links(Instant::now(), |_| true);
    }

    pub(super) fn link_deadline(&self, now: Instant) -> Option<Instant> {
        let under_way = self.links.iter().filter_map(|(_, link)| match &link.state {
            BackendState::Proving => Some(deadline_after(link.since, PROOF_TIME)),
            BackendState::Busy(job) if !job.taken => {
                Some(deadline_after(link.since, self.shared.limits.dispatch_timeout))
            }
            BackendState::Busy(_) | BackendState::Idle => None,
        });
        let surplus = self.links.surplus(now).map(|surplus| surplus.err().unwrap_or(now));
        let restart = self.shared.backend_failed.load(Acquire) || self.failed_proofs >= MAX_FAILED_PROOFS;
        let growth = if restart { Some(now) } else { self.growth_at(now) };
        let growth = growth.map(|at| self.links_paused_until.map_or(at, |until| until.max(at)));
        under_way.chain(surplus).chain(growth).min()
    }
}
