//! Connections from clients: what each is about, what is read from them, and which is closed when there are too many.

use std::io::{self, Read as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::super::access_log::LoggedRequest;
use super::super::intake::{Complete, Intake, IntakeRules, Progress};
use super::responding::Outgoing;
use super::run::Front;
use super::socket::ClientStream;
use crate::model::deadline::deadline_after;

/// A writer that has been slow for this long may be given up for a new connection.
const SLOW_WRITER: Duration = Duration::from_secs(5);

/// A client has closed its side, or the connection is broken: the latter is reported whatever is asked for.
#[cfg(target_os = "linux")]
const LEAVES: PollFlags = PollFlags::RDHUP;
#[cfg(not(target_os = "linux"))]
const LEAVES: PollFlags = PollFlags::empty();

/// A connection from a client.
pub(crate) struct Client {
    pub(crate) stream: ClientStream,
    pub(crate) peer: IpAddr,
    /// Under what it is counted; `None` for a trusted proxy.
    pub(crate) sender: Option<IpAddr>,
    /// Grows with every accepted connection.
    pub(crate) born: u64,
    /// Whether it has had a response before.
    pub(crate) kept: bool,
    /// What its present request asks for, where there is an access log.
    pub(crate) asked: Option<Box<LoggedRequest>>,
    pub(crate) phase: ClientPhase,
    /// When the phase began.
    pub(crate) since: Instant,
    /// When the phase ends at the latest.
    pub(crate) deadline: Instant,
}

/// What a connection is about.
pub(crate) enum ClientPhase {
    /// A request comes in. `paused` while there is no memory for its body.
    Reading { intake: Intake, paused: bool },
    /// A request is complete and waits for a private connection.
    Queued { request: Complete, charged: u64 },
    /// The request is with tiny_http, over this private connection.
    Waiting { link: usize },
    /// The request is with somebody who lets it wait; it has this number.
    Parked(ParkedRequest),
    /// A response goes out. `holds` is the number of the request whose response has memory of its own.
    Writing { outgoing: Outgoing, then: AfterResponse, holds: Option<u64> },
    /// Everything is said; what the client still sends is thrown away, up to this many bytes, so that its system does
    /// not throw away our response because of a reset.
    Lingering { left: usize },
}

/// A request that waits without a private connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ParkedRequest {
    pub(crate) arrival: u64,
    pub(crate) is_head_request: bool,
    pub(crate) wants_close: bool,
    /// Memory for the body, released with the response.
    pub(crate) charged: u64,
}

/// What follows a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterResponse {
    /// Another request may come.
    Keep,
    /// The connection ends.
    Close,
    /// The connection ends in the midst of what the client sends.
    Linger,
}

/// Who goes first when room is needed; the smallest goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EvictionPriority {
    /// Kept after a response, without a new request.
    Idle,
    /// Without a complete request.
    Incomplete,
    /// Takes its response too slowly.
    SlowReader,
}

impl Client {
    /// Begins a phase and returns the one before.
    pub(crate) fn enter(&mut self, phase: ClientPhase, now: Instant, time: Duration) -> ClientPhase {
        self.since = now;
        self.deadline = deadline_after(now, time);
        std::mem::replace(&mut self.phase, phase)
    }

    /// Whether its request is complete and has no response yet.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(
            self.phase,
            ClientPhase::Queued { .. } | ClientPhase::Waiting { .. } | ClientPhase::Parked(_)
        )
    }

    /// What its socket has to be ready for. One whose request is being handled is not looked at: that it closes the
    /// connection does not undo the request. One whose request is parked is waited for until it leaves.
    pub(crate) fn waits_for(&self) -> Option<PollFlags> {
        match &self.phase {
            ClientPhase::Reading { paused: false, .. } | ClientPhase::Lingering { .. } => Some(PollFlags::IN),
            ClientPhase::Writing { .. } => Some(PollFlags::OUT),
            ClientPhase::Parked(_) => Some(LEAVES),
            ClientPhase::Reading { paused: true, .. }
            | ClientPhase::Queued { .. }
            | ClientPhase::Waiting { .. } => None,
        }
    }

    /// Whether it counts against the number of connections.
    pub(crate) fn takes_a_place(&self) -> bool {
        !matches!(self.phase, ClientPhase::Lingering { .. })
    }

    /// Whether, and how readily, it may be closed for a new connection.
    pub(crate) fn eviction_priority(&self, now: Instant) -> Option<EvictionPriority> {
        match &self.phase {
            ClientPhase::Reading { intake, .. } if self.kept && intake.is_untouched() => {
                Some(EvictionPriority::Idle)
            }
            ClientPhase::Reading { .. } => Some(EvictionPriority::Incomplete),
            ClientPhase::Writing { .. } if now.saturating_duration_since(self.since) > SLOW_WRITER => {
                Some(EvictionPriority::SlowReader)
            }
            _ => None,
        }
    }
}

/// The connections, each under a number that stays the same while it is open.
#[derive(Default)]
pub(crate) struct Clients {
    slots: Vec<Option<Client>>,
    free: Vec<usize>,
}

/// How many places are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionCounts {
    pub(crate) all: usize,
    pub(crate) by_sender: usize,
}

impl Clients {
    pub(crate) fn insert(&mut self, client: Client) -> usize {
        match self.free.pop() {
            Some(id) => {
                self.slots[id] = Some(client);
                id
            }
            None => {
                self.slots.push(Some(client));
                self.slots.len() - 1
            }
        }
    }

    pub(crate) fn remove(&mut self, id: usize) -> Option<Client> {
        let client = self.slots.get_mut(id)?.take();
        if client.is_some() {
            self.free.push(id);
        }
        client
    }

    pub(crate) fn get(&self, id: usize) -> Option<&Client> {
        self.slots.get(id)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: usize) -> Option<&mut Client> {
        self.slots.get_mut(id)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Client)> {
        self.slots.iter().enumerate().filter_map(|(id, slot)| Some((id, slot.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Client)> {
        self.slots.iter_mut().enumerate().filter_map(|(id, slot)| Some((id, slot.as_mut()?)))
    }

    pub(crate) fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn taken(&self, sender: Option<IpAddr>) -> ConnectionCounts {
        let mut taken = ConnectionCounts { all: 0, by_sender: 0 };
        for (_, client) in self.iter().filter(|(_, client)| client.takes_a_place()) {
            taken.all += 1;
            taken.by_sender += usize::from(sender.is_some() && client.sender == sender);
        }
        taken
    }

    /// Who goes when room is needed, among those of one sender or among all: the oldest idle one, else the oldest
    /// without a complete request, else the slowest reader.
    pub(crate) fn first_to_evict(
        &self,
        sender: Option<IpAddr>,
        now: Instant,
    ) -> Option<(usize, EvictionPriority)> {
        self.iter()
            .filter(|(_, client)| sender.is_none() || client.sender == sender)
            .filter_map(|(id, client)| Some((client.eviction_priority(now)?, client.since, client.born, id)))
            .min()
            .map(|(priority, .., id)| (id, priority))
    }

    /// The oldest of those that linger, when there are more of them than this.
    pub(crate) fn oldest_lingering_beyond(&self, max: usize) -> Option<usize> {
        let lingering =
            || self.iter().filter(|(_, client)| matches!(client.phase, ClientPhase::Lingering { .. }));
        if lingering().count() <= max {
            return None;
        }
        lingering().min_by_key(|(_, client)| (client.since, client.born)).map(|(id, _)| id)
    }

    /// The oldest of those that hold a part of the memory for bodies while their body is still coming.
    pub(crate) fn oldest_body(&self) -> Option<usize> {
        self.iter()
            .filter(|(_, client)| {
                matches!(&client.phase, ClientPhase::Reading { intake, .. } if intake.is_in_body() && intake.charged() > 0)
            })
            .min_by_key(|(_, client)| (client.since, client.born))
            .map(|(id, _)| id)
    }
}

/// Reads from one socket in one round, so that a fast sender does not keep the others waiting.
const READS_A_ROUND: usize = 4;

/// The interim response that a careful client waits for (RFC 9110 section 15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Whether to look for more on a socket.
enum Next {
    Again,
    Later,
}

impl Front {
    pub(super) fn read(&mut self, id: usize, now: Instant) {
        for _ in 0..READS_A_ROUND {
            if let Next::Later = self.read_once(id, now) {
                return;
            }
        }
    }

    fn read_once(&mut self, id: usize, now: Instant) -> Next {
        let Some(client) = self.clients.get_mut(id) else { return Next::Later };
        let ClientPhase::Reading { intake, .. } = &mut client.phase else { return Next::Later };
        let room = intake.room(&mut self.memory).min(self.scratch.len());
        if room == 0 {
            return Next::Later;
        }
        let length = match (&client.stream).read(&mut self.scratch[..room]) {
            Ok(length) if length > 0 => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Next::Later,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Next::Again,
            Ok(_) | Err(_) => {
                self.close(id);
                return Next::Later;
            }
        };
        self.take_in(id, length, now);
        // A socket that gave less than it might have has no more at present.
        if length < room { Next::Later } else { Next::Again }
    }

    /// Feeds what has been read into the scratch buffer.
    fn take_in(&mut self, id: usize, length: usize, now: Instant) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let ClientPhase::Reading { intake, .. } = &mut client.phase else { return };
        let limits = &self.shared.limits;
        let notes_requests = self.shared.access_log.get().is_some();
        let rules = IntakeRules { limits, head_check: &*self.head_check, notes_requests };
        let (untouched, in_body) = (intake.is_untouched(), intake.is_in_body());
        let fed = intake.feed(&self.scratch[..length], &rules);
        if let Some(asked) = intake.take_asked() {
            client.asked = Some(asked);
        }
        match fed {
            Ok(Progress::Head) => {
                if untouched && client.kept {
                    client.since = now;
                    client.deadline = deadline_after(now, limits.header_timeout);
                }
            }
            Ok(Progress::Body { send_continue }) => {
                if !in_body {
                    client.deadline = deadline_after(now, limits.body_timeout);
                }
                // It fits into any socket's buffer, unless the client has never read anything.
                if send_continue
                    && !matches!(Outgoing::whole(CONTINUE.to_vec()).send(&client.stream), Ok(true))
                {
                    self.close(id);
                }
            }
            Ok(Progress::Complete(request)) => {
                let charged = intake.charged();
                self.queue_up(id, request, charged, now);
            }
            Ok(Progress::Respond { response, is_head_request }) => {
                self.respond_at_head(id, &response, is_head_request, now);
            }
            Err(refused) => self.refuse_as(id, refused, now),
        }
    }
}
