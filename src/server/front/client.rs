//! One connection from a client.

use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::super::intake::{Complete, Intake};
use super::outgoing::Outgoing;

use crate::model::deadline::deadline_after;

/// A writer that has been slow for this long may be given up for a newcomer.
const SLOW_WRITER: Duration = Duration::from_secs(5);

/// A connection from a client.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) peer: IpAddr,
    /// Under what it is counted; `None` for a trusted proxy.
    pub(crate) sender: Option<IpAddr>,
    /// Grows with every accepted connection.
    pub(crate) born: u64,
    /// Whether it has had an answer before.
    pub(crate) kept: bool,
    pub(crate) phase: Phase,
    /// When the phase began.
    pub(crate) since: Instant,
    /// When the phase ends at the latest.
    pub(crate) deadline: Instant,
}

/// What a connection is about.
pub(crate) enum Phase {
    /// A request comes in. `paused` while there is no memory for its body.
    Reading { intake: Intake, paused: bool },
    /// A request is complete and waits for a private connection.
    Queued { request: Complete, charged: u64 },
    /// The request is with tiny_http, over this private connection.
    Waiting { link: usize },
    /// An answer goes out. `holds` is the number of the request whose answer has memory of its own.
    Writing { outgoing: Outgoing, then: Then, holds: Option<u64> },
    /// Everything is said; what the client still sends is thrown away, up to this many bytes, so that its system does
    /// not throw away our answer because of a reset.
    Lingering { left: usize },
}

/// What follows an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
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
    /// Kept after an answer, without a new request.
    Idle,
    /// Without a complete request.
    Incomplete,
    /// Takes its answer too slowly.
    SlowReader,
}

impl Client {
    /// Begins a phase and returns the one before.
    pub(crate) fn enter(&mut self, phase: Phase, now: Instant, time: Duration) -> Phase {
        self.since = now;
        self.deadline = deadline_after(now, time);
        std::mem::replace(&mut self.phase, phase)
    }

    /// Whether its request is complete and not answered.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Queued { .. } | Phase::Waiting { .. })
    }

    /// What its socket has to be ready for. One whose request is being answered is not looked at: that it closes the
    /// connection does not undo the request.
    pub(crate) fn waits_for(&self) -> Option<PollFlags> {
        match &self.phase {
            Phase::Reading { paused: false, .. } | Phase::Lingering { .. } => Some(PollFlags::IN),
            Phase::Writing { .. } => Some(PollFlags::OUT),
            Phase::Reading { paused: true, .. } | Phase::Queued { .. } | Phase::Waiting { .. } => None,
        }
    }

    /// Whether it counts against the number of connections.
    pub(crate) fn takes_a_place(&self) -> bool {
        !matches!(self.phase, Phase::Lingering { .. })
    }

    /// Whether, and how readily, it may be closed for a newcomer.
    pub(crate) fn eviction_priority(&self, now: Instant) -> Option<EvictionPriority> {
        match &self.phase {
            Phase::Reading { intake, .. } if self.kept && intake.is_untouched() => {
                Some(EvictionPriority::Idle)
            }
            Phase::Reading { .. } => Some(EvictionPriority::Incomplete),
            Phase::Writing { .. } if now.saturating_duration_since(self.since) > SLOW_WRITER => {
                Some(EvictionPriority::SlowReader)
            }
            _ => None,
        }
    }
}
