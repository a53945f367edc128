//! One private connection to tiny_http.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::super::reply::{Frame, LONGEST_REPLY_HEAD, frame};
use super::outgoing::Outgoing;

/// A private connection. It serves one request at a time.
pub(crate) struct Link {
    pub(crate) stream: UnixStream,
    pub(crate) state: LinkState,
    pub(crate) since: Instant,
    /// What is left to send.
    pub(crate) outgoing: Option<Outgoing>,
    inbox: Vec<u8>,
    frame: Option<Frame>,
}

/// What a private connection is doing.
pub(crate) enum LinkState {
    /// It has been asked to prove that a thread of tiny_http serves it.
    Proving,
    /// It waits for a request.
    Idle,
    /// It serves one.
    Busy(Job),
}

/// A request that is with tiny_http.
pub(crate) struct Job {
    pub(crate) arrival: u64,
    /// Who waits for the answer, if anybody still does.
    pub(crate) client: Option<usize>,
    pub(crate) is_head_request: bool,
    pub(crate) wants_close: bool,
    /// Memory for the body, given back with the answer.
    pub(crate) charged: u64,
    /// It is known that the handler has, or will have, the request.
    pub(crate) taken: bool,
}

/// An answer that came back.
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) frame: Frame,
}

impl Link {
    pub(crate) fn new(stream: UnixStream, probe: Outgoing, now: Instant) -> Self {
        Link {
            stream,
            state: LinkState::Proving,
            since: now,
            outgoing: Some(probe),
            inbox: Vec::new(),
            frame: None,
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.state, LinkState::Busy(_))
    }

    /// Starts to send, and says whether the connection still works.
    pub(crate) fn begin(&mut self, state: LinkState, outgoing: Outgoing, now: Instant) -> io::Result<()> {
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

    /// Reads what is there; an answer when it is complete. An error when the connection is of no more use.
    pub(crate) fn receive(&mut self, scratch: &mut [u8], longest_body: u64) -> io::Result<Option<Answer>> {
        loop {
            let count = match (&self.stream).read(scratch) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if let Some(answer) = self.take_in(&scratch[..count], longest_body)? {
                return Ok(Some(answer));
            }
            if count < scratch.len() {
                return Ok(None);
            }
        }
    }

    fn take_in(&mut self, bytes: &[u8], longest_body: u64) -> io::Result<Option<Answer>> {
        let is_head_request = match &self.state {
            LinkState::Idle => return Err(io::ErrorKind::InvalidData.into()),
            LinkState::Proving => false,
            LinkState::Busy(job) => job.is_head_request,
        };
        self.inbox.extend_from_slice(bytes);
        if self.frame.is_none() {
            self.frame = frame(&self.inbox, is_head_request).map_err(|_| io::ErrorKind::InvalidData)?;
        }
        let Some(found) = self.frame else { return Ok(None) };
        if found.head > LONGEST_REPLY_HEAD + 4 || found.body as u64 > longest_body {
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
        Ok(Some(Answer { bytes: std::mem::take(&mut self.inbox), frame: found }))
    }
}
