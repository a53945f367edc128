//! The private connections to tiny_http: how many there are, and which one serves next.
//!
//! tiny_http's pool counts a thread as waiting until it has in fact taken up its connection, so that of two connections
//! opened at once one may be left without a thread for ever. Therefore they are opened one at a time, and each has to
//! respond to a probe before it is used and before the next is opened: then its thread is its own until it is closed.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::super::reply::{Frame, MAX_REPLY_HEAD_BYTES, frame};
use super::responding::Outgoing;
use crate::model::deadline::deadline_after;

/// A private connection. It serves one request at a time.
pub(crate) struct BackendConnection {
    pub(crate) stream: UnixStream,
    pub(crate) state: BackendState,
    pub(crate) since: Instant,
    /// What is left to send.
    pub(crate) outgoing: Option<Outgoing>,
    inbox: Vec<u8>,
    frame: Option<Frame>,
}

/// What a private connection is doing.
pub(crate) enum BackendState {
    /// It has been asked to prove that a thread of tiny_http serves it.
    Proving,
    /// It waits for a request.
    Idle,
    /// It serves one.
    Busy(InFlightRequest),
}

/// A request that is with tiny_http.
pub(crate) struct InFlightRequest {
    pub(crate) arrival: u64,
    /// Who waits for the response, if anybody still does.
    pub(crate) client: Option<usize>,
    pub(crate) is_head_request: bool,
    pub(crate) wants_close: bool,
    /// Memory for the body, released with the response.
    pub(crate) charged: u64,
    /// It is known that the handler has, or will have, the request.
    pub(crate) taken: bool,
}

/// A response that came back.
pub(crate) struct LinkResponse {
    pub(crate) bytes: Vec<u8>,
    pub(crate) frame: Frame,
}

impl BackendConnection {
    pub(crate) fn new(stream: UnixStream, probe: Outgoing, now: Instant) -> Self {
        BackendConnection {
            stream,
            state: BackendState::Proving,
            since: now,
            outgoing: Some(probe),
            inbox: Vec::new(),
            frame: None,
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.state, BackendState::Busy(_))
    }

    /// Starts to send, and says whether the connection still works.
    pub(crate) fn begin(&mut self, state: BackendState, outgoing: Outgoing, now: Instant) -> io::Result<()> {
        self.state = state;
        self.since = now;
        self.outgoing = Some(outgoing);
        self.send()
    }

    /// Sends as much as goes.
    pub(crate) fn send(&mut self) -> io::Result<()> {
        if let Some(outgoing) = &mut self.outgoing
            && outgoing.send(&self.stream)?
        {
            // Frees the body as soon as tiny_http has it.
            self.outgoing = None;
        }
        Ok(())
    }

    /// Reads what is there; a response when it is complete. An error when the connection is of no more use.
    pub(crate) fn receive(
        &mut self,
        scratch: &mut [u8],
        max_body_bytes: u64,
    ) -> io::Result<Option<LinkResponse>> {
        loop {
            let count = match (&self.stream).read(scratch) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if let Some(response) = self.take_in(&scratch[..count], max_body_bytes)? {
                return Ok(Some(response));
            }
            if count < scratch.len() {
                return Ok(None);
            }
        }
    }

    fn take_in(&mut self, bytes: &[u8], max_body_bytes: u64) -> io::Result<Option<LinkResponse>> {
        let is_head_request = match &self.state {
            BackendState::Idle => return Err(io::ErrorKind::InvalidData.into()),
            BackendState::Proving => false,
            BackendState::Busy(job) => job.is_head_request,
        };
        self.inbox.extend_from_slice(bytes);
        if self.frame.is_none() {
            self.frame = frame(&self.inbox, is_head_request).map_err(|_| io::ErrorKind::InvalidData)?;
        }
        let Some(found) = self.frame else { return Ok(None) };
        if found.head > MAX_REPLY_HEAD_BYTES + 4 || found.body as u64 > max_body_bytes {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let total = found.head + found.body;
        if self.inbox.len() < total {
            self.inbox.reserve_exact(total - self.inbox.len());
            return Ok(None);
        }
        if self.inbox.len() > total {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.frame = None;
        Ok(Some(LinkResponse { bytes: std::mem::take(&mut self.inbox), frame: found }))
    }
}

/// Private connections that are kept whether they are needed or not. tiny_http always keeps as many threads.
pub(crate) const KEPT: usize = 4;

/// How long one that is not needed is kept beyond that.
const IDLE_TIME: Duration = Duration::from_secs(3);

/// How long a request waits for one of those that there are before another is opened. Short requests are through sooner,
/// and more threads than needed would only get into each other's way.
const PATIENCE: Duration = Duration::from_millis(2);

/// The private connections, each under a number that stays the same while it is open.
#[derive(Default)]
pub(crate) struct BackendConnections {
    slots: Vec<Option<BackendConnection>>,
    /// Those without a request, the last used at the end: its thread is the most likely to be warm.
    idle: Vec<usize>,
}

impl BackendConnections {
    pub(crate) fn insert(&mut self, link: BackendConnection) -> usize {
        let id = self.slots.iter().position(Option::is_none).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[id] = Some(link);
        id
    }

    pub(crate) fn remove(&mut self, id: usize) -> Option<BackendConnection> {
        self.idle.retain(|idle| *idle != id);
        self.slots.get_mut(id)?.take()
    }

    pub(crate) fn get(&self, id: usize) -> Option<&BackendConnection> {
        self.slots.get(id)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: usize) -> Option<&mut BackendConnection> {
        self.slots.get_mut(id)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &BackendConnection)> {
        self.slots.iter().enumerate().filter_map(|(id, slot)| Some((id, slot.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut BackendConnection)> {
        self.slots.iter_mut().enumerate().filter_map(|(id, slot)| Some((id, slot.as_mut()?)))
    }

    pub(crate) fn count(&self) -> usize {
        self.iter().count()
    }

    /// Puts one that has served, or has proved itself, among those that can serve.
    pub(crate) fn make_idle(&mut self, id: usize, now: Instant) {
        if let Some(link) = self.get_mut(id) {
            link.state = BackendState::Idle;
            link.since = now;
            self.idle.push(id);
        }
    }

    /// Takes the one that serves next.
    pub(crate) fn take_idle(&mut self) -> Option<usize> {
        self.idle.pop()
    }

    pub(crate) fn is_proving(&self) -> bool {
        self.iter().any(|(_, link)| matches!(link.state, BackendState::Proving))
    }

    /// When another should be opened, if no more than `most` may be open: at once while fewer are open than are always
    /// kept, else when a request has waited for long enough.
    pub(crate) fn grows_at(
        &self,
        max: usize,
        waiting_since: Option<Instant>,
        now: Instant,
    ) -> Option<Instant> {
        let count = self.count();
        if count >= max || self.is_proving() {
            None
        } else if count < KEPT.min(max) {
            Some(now)
        } else if self.idle.is_empty() {
            waiting_since.map(|since| deadline_after(since, PATIENCE))
        } else {
            None
        }
    }

    /// One that is no longer needed, or when there will be one.
    pub(crate) fn surplus(&self, now: Instant) -> Option<Result<usize, Instant>> {
        if self.count() <= KEPT {
            return None;
        }
        // The one that has not been used for longest lies at the bottom.
        let id = *self.idle.first()?;
        let until = deadline_after(self.slots[id].as_ref()?.since, IDLE_TIME);
        Some(if until <= now { Ok(id) } else { Err(until) })
    }
}
