//! The loop: waits for sockets and deadlines, and passes each on to the part that it concerns.

use std::collections::{HashMap, VecDeque};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::HeadCheck;
use super::super::memory::Memory;
use super::super::reply::Rejection;
use super::super::server_state::ServerState;
use super::clients::{Client, ClientPhase, Clients};
use super::links::BackendConnections;
use super::listener::Listener;
use super::socket::ListenSocket;
use crate::model::log_throttle::LogThrottle;

/// Bytes that are read at a time at most.
const SCRATCH: usize = 64 << 10;

/// Everything that the front owns.
pub(crate) struct Front {
    pub(super) shared: Arc<ServerState>,
    pub(super) head_check: HeadCheck,
    /// Gone when no further connections are wanted.
    pub(super) listener: Option<Listener>,
    pub(super) clients: Clients,
    pub(super) links: BackendConnections,
    /// Clients with a complete request, in the order in which the requests were complete.
    pub(super) queue: VecDeque<usize>,
    /// Clients whose requests are parked, by the number of the request.
    pub(super) parked: HashMap<u64, usize>,
    /// The memory for request bodies.
    pub(super) memory: Memory,
    /// Until when bodies may stand still for lack of memory, when some do.
    pub(super) starves_until: Option<Instant>,
    pub(super) next_arrival: u64,
    pub(super) next_born: u64,
    /// Private connections that have failed to prove themselves, one after the other.
    pub(super) failed_proofs: u32,
    /// No private connection is opened before.
    pub(super) links_paused_until: Option<Instant>,
    /// File descriptors are scarce: nothing is accepted while a private connection proves itself.
    pub(super) accepting_rests_while_proving: bool,
    pub(super) scratch: Vec<u8>,
    /// For lines that clients can cause.
    pub(super) log: LogThrottle<FrontLogKind>,
    ending: bool,
}

/// Kinds of log lines that clients can cause without end; each is written once a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum FrontLogKind {
    NotAccepted,
    NoDescriptor,
    NoThread,
    NotHandedOver,
}

/// What a socket that is waited for belongs to.
enum Waited {
    Waker,
    Listener,
    Link(usize),
    Client(usize),
}

/// What is ready.
#[derive(Default)]
struct ReadySockets {
    waker: bool,
    links: Vec<usize>,
    /// By `born`, which is the best guess at the order in which requests that were found complete together were in fact
    /// complete.
    clients: Vec<(u64, usize)>,
    listener: bool,
}

impl Front {
    pub(crate) fn new(shared: Arc<ServerState>, head_check: HeadCheck, listener: Listener) -> Self {
        Front {
            memory: Memory::new(shared.limits.body_memory),
            shared,
            head_check,
            listener: Some(listener),
            clients: Clients::default(),
            links: BackendConnections::default(),
            queue: VecDeque::new(),
            parked: HashMap::new(),
            starves_until: None,
            next_arrival: 0,
            next_born: 0,
            failed_proofs: 0,
            links_paused_until: None,
            accepting_rests_while_proving: false,
            scratch: vec![0; SCRATCH],
            log: LogThrottle::default(),
            ending: false,
        }
    }

    /// Runs until it is told to end.
    pub(crate) fn run(mut self) {
        while self.turn() {}
        self.end();
    }

    /// One round of the loop; false when it is the last.
    pub(super) fn turn(&mut self) -> bool {
        let now = Instant::now();
        self.obey(now);
        if self.is_over(now) {
            return false;
        }
        self.pass_deadlines(now);
        self.tend_links(now);
        self.give_room(now);
        self.publish();
        let ready = self.wait(now);
        self.serve(ready, Instant::now());
        true
    }

    fn obey(&mut self, now: Instant) {
        if self.shared.closed.load(Acquire) && self.listener.take().is_some() {
            self.close_idle();
        }
        if self.shared.ends_at().is_some() && !self.ending {
            self.ending = true;
            self.close_incomplete_requests(now);
        }
    }

    /// Closes connections that have had a response and say nothing. Those whose next request is there are served.
    fn close_idle(&mut self) {
        let is_idle = |client: &Client| match &client.phase {
            ClientPhase::Reading { intake, .. } => {
                client.kept && intake.is_untouched() && rustix::io::ioctl_fionread(&client.stream) == Ok(0)
            }
            _ => false,
        };
        let idle: Vec<usize> =
            self.clients.iter().filter(|(_, client)| is_idle(client)).map(|(id, _)| id).collect();
        idle.into_iter().for_each(|id| self.close(id));
    }

    /// Nobody will wait any longer for those that have not said what they want.
    fn close_incomplete_requests(&mut self, now: Instant) {
        let reading: Vec<_> = self
            .clients
            .iter()
            .filter_map(|(id, client)| match &client.phase {
                ClientPhase::Reading { intake, .. } => Some((id, intake.is_untouched())),
                _ => None,
            })
            .collect();
        for (id, untouched) in reading {
            if untouched { self.close(id) } else { self.refuse(id, Rejection::ShuttingDown, now) }
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        let Some(latest) = self.shared.ends_at() else { return false };
        let at_work = |phase: &ClientPhase| {
            matches!(
                phase,
                ClientPhase::Queued { .. }
                    | ClientPhase::Waiting { .. }
                    | ClientPhase::Parked(_)
                    | ClientPhase::Writing { .. }
            )
        };
        now >= latest || !self.clients.iter().any(|(_, client)| at_work(&client.phase))
    }

    /// Tells those that are still waiting, and makes the other thread end.
    fn end(mut self) {
        let now = Instant::now();
        let waiting: Vec<_> = self.clients.iter().map(|(id, client)| (id, client.is_waiting())).collect();
        for (id, _) in waiting.into_iter().filter(|(_, waiting)| *waiting) {
            self.refuse(id, Rejection::ShuttingDown, now);
        }
        self.give_up_untaken();
        drop(self.clients);
        drop(self.links);
        self.shared.front_ended.store(true, Release);
        self.shared.backend().unblock();
    }

    /// Waits until something is ready or a deadline passes.
    fn wait(&self, now: Instant) -> ReadySockets {
        let mut waited = vec![Waited::Waker];
        let mut sockets = vec![PollFd::from_borrowed_fd(self.shared.waker.as_fd(), PollFlags::IN)];
        for (id, link) in self.links.iter() {
            let write = if link.outgoing.is_some() { PollFlags::OUT } else { PollFlags::empty() };
            waited.push(Waited::Link(id));
            sockets.push(PollFd::from_borrowed_fd(link.stream.as_fd(), PollFlags::IN | write));
        }
        for (id, client) in self.clients.iter() {
            if let Some(flags) = client.waits_for() {
                waited.push(Waited::Client(id));
                sockets.push(PollFd::from_borrowed_fd(client.stream.as_fd(), flags));
            }
        }
        if let Some(listener) = self.open_listener(now) {
            waited.push(Waited::Listener);
            sockets.push(PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN));
        }
        let timeout = self.next_deadline(now).map(|deadline| deadline.saturating_duration_since(now));
        match poll(&mut sockets, timeout.map(to_timespec).as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return ReadySockets::default(),
            Err(error) => {
                // The system is out of memory. Nothing here can change that; wait before asking again.
                log::error!("waiting for sockets failed: {error}");
                std::thread::sleep(Duration::from_millis(10));
                return ReadySockets::default();
            }
        }
        let mut ready = ReadySockets::default();
        for (waited, _) in waited.iter().zip(&sockets).filter(|(_, socket)| !socket.revents().is_empty()) {
            match *waited {
                Waited::Waker => ready.waker = true,
                Waited::Link(id) => ready.links.push(id),
                Waited::Client(id) => {
                    ready.clients.push((self.clients.get(id).map_or(0, |client| client.born), id));
                }
                Waited::Listener => ready.listener = true,
            }
        }
        ready.clients.sort_unstable();
        ready
    }

    /// The listener, when connections may be accepted.
    fn open_listener(&self, now: Instant) -> Option<&ListenSocket> {
        let rests = self.accepting_rests_while_proving && self.links.is_proving();
        self.listener.as_ref().filter(|_| !rests).and_then(|listener| listener.open_listener(now))
    }

    /// Responses first, because they make room; new connections last.
    fn serve(&mut self, ready: ReadySockets, now: Instant) {
        if ready.waker {
            self.shared.waker.clear();
        }
        for id in ready.links {
            self.serve_link(id, now);
        }
        // After the private connections, over which a request is parked before its response comes.
        self.respond_to_parked(now);
        for (_, id) in ready.clients {
            self.serve_client(id, now);
        }
        if ready.listener {
            self.accept(now);
        }
    }

    fn serve_client(&mut self, id: usize, now: Instant) {
        match self.clients.get(id).map(|client| &client.phase) {
            Some(ClientPhase::Reading { .. }) => self.read(id, now),
            Some(ClientPhase::Writing { .. }) => self.write(id, now),
            Some(ClientPhase::Lingering { .. }) => self.drain(id),
            // It has left: what is waited for is nothing else.
            Some(ClientPhase::Parked(_)) => self.close(id),
            Some(ClientPhase::Queued { .. } | ClientPhase::Waiting { .. }) | None => {}
        }
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let clients = self.clients.iter().map(|(_, client)| client.deadline);
        let listener = self.listener.as_ref().and_then(|listener| listener.wakes_at(now));
        let others = [listener, self.link_deadline(now), self.starves_until, self.shared.ends_at()];
        clients.chain(others.into_iter().flatten()).min()
    }

    fn pass_deadlines(&mut self, now: Instant) {
        let late: Vec<_> =
            self.clients.iter().filter(|(_, client)| client.deadline <= now).map(|(id, _)| id).collect();
        for id in late {
            self.pass_deadline(id, now);
        }
    }

    fn publish(&self) {
        let counters = &self.shared.counters;
        let waiting = self.clients.iter().filter(|(_, client)| client.is_waiting()).count();
        counters.connections.store(self.clients.count() as u64, Relaxed);
        if self.listener.is_none() && self.clients.count() == 0 {
            self.shared.drained.store(true, Release);
        }
        counters.in_flight.store(waiting as u64, Relaxed);
        counters.private_connections.store(self.links.count() as u64, Relaxed);
        counters.body_memory_used.store(self.memory.used(), Relaxed);
    }
}

fn to_timespec(duration: Duration) -> Timespec {
    // Rounded up to the next microsecond, so that a wait does not end just before its deadline and spin.
    let duration = duration + Duration::from_micros(1);
    Timespec { tv_sec: duration.as_secs() as _, tv_nsec: duration.subsec_nanos() as _ }
}
