//! Responses as they go out, in up to three pieces over a socket that takes as many bytes as it likes, and how connections
//! end.

use std::io::{self, IoSlice, Read as _};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

use super::super::http_server::count;
use super::super::intake::{Intake, RefusedRequest};
use super::super::reply::{Frame, Rejection};
use super::super::{Response, reply};
use super::clients::{AfterResponse, ClientPhase};
use super::run::Front;
use crate::model::clock::http_now;

/// How long a connection that was refused is kept open for its client to read why.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// How much of what such a client still sends is thrown away.
const LINGER_BYTES: usize = 1 << 20;

/// How many such connections there are at most, beyond the limit on connections.
pub(crate) const MAX_LINGERING: usize = 32;

/// Reads of what is thrown away, in one round.
const DRAINS_A_ROUND: usize = 4;

impl Front {
    pub(super) fn refuse(&mut self, id: usize, refusal: Rejection, now: Instant) {
        let refused = match self.clients.get(id).map(|client| &client.phase) {
            Some(ClientPhase::Reading { intake, .. }) => intake.refused(refusal),
            Some(ClientPhase::Queued { request, .. }) => {
                RefusedRequest { refusal, with_body: !request.is_head_request }
            }
            Some(ClientPhase::Parked(parked)) => {
                RefusedRequest { refusal, with_body: !parked.is_head_request }
            }
            Some(ClientPhase::Waiting { link }) => {
                RefusedRequest { refusal, with_body: !self.serves_head_request(*link) }
            }
            _ => refusal.into(),
        };
        self.refuse_as(id, refused, now);
    }

    pub(super) fn refuse_as(&mut self, id: usize, refused: RefusedRequest, now: Instant) {
        count(&self.shared.counters.refused);
        let outgoing = Outgoing::whole(refused.refusal.response(refused.with_body));
        self.begin_response(id, outgoing, AfterResponse::Linger, None, now);
    }

    /// Responds to a request by its head. Its body may be on its way, so the connection ends.
    pub(super) fn respond_at_head(
        &mut self,
        id: usize,
        response: &Response,
        is_head_request: bool,
        now: Instant,
    ) {
        let bytes = reply::print(response, is_head_request, http_now());
        let Ok(Some(frame)) = reply::frame(&bytes, is_head_request) else {
            return self.refuse(id, Rejection::NotDispatched, now);
        };
        count(&self.shared.counters.responses_at_head);
        self.begin_response(id, Outgoing::response(bytes, frame, true), AfterResponse::Linger, None, now);
    }

    /// Starts to send a response. `holds` is the number of the request whose response has memory of its own.
    pub(super) fn begin_response(
        &mut self,
        id: usize,
        outgoing: Outgoing,
        then: AfterResponse,
        holds: Option<u64>,
        now: Instant,
    ) {
        if let Some(client) = self.clients.get_mut(id) {
            let asked = client.asked.take().map(|asked| *asked);
            self.shared.note_access(client.peer, asked, outgoing.as_printed());
        }
        let time = self.shared.limits.write_timeout;
        self.change_phase(id, ClientPhase::Writing { outgoing, then, holds }, now, time);
        self.write(id, now);
    }

    pub(super) fn write(&mut self, id: usize, now: Instant) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let ClientPhase::Writing { outgoing, then, .. } = &mut client.phase else { return };
        match outgoing.send(&client.stream) {
            Ok(false) => {}
            Ok(true) => {
                let then = *then;
                self.after_response(id, then, now);
            }
            Err(_) => self.close(id),
        }
    }

    fn after_response(&mut self, id: usize, then: AfterResponse, now: Instant) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if then != AfterResponse::Linger {
            count(&self.shared.counters.responses_sent);
        }
        match then {
            AfterResponse::Keep => {
                client.kept = true;
                let phase = ClientPhase::Reading { intake: Intake::new(), paused: false };
                self.change_phase(id, phase, now, self.shared.limits.keep_alive);
            }
            // Closing with bytes unread would reset the connection, and the client might lose the response.
            AfterResponse::Close if rustix::io::ioctl_fionread(&client.stream) == Ok(0) => self.close(id),
            AfterResponse::Close | AfterResponse::Linger => self.linger(id, now),
        }
    }

    fn linger(&mut self, id: usize, now: Instant) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.stream.shutdown(Shutdown::Write).is_err() {
            return self.close(id);
        }
        self.change_phase(id, ClientPhase::Lingering { left: LINGER_BYTES }, now, LINGER_TIME);
        self.drain(id);
        if let Some(oldest) = self.clients.oldest_lingering_beyond(MAX_LINGERING) {
            self.close(oldest);
        }
    }

    /// Throws away what a client sends after its connection has ended for us.
    pub(super) fn drain(&mut self, id: usize) {
        for _ in 0..DRAINS_A_ROUND {
            let Some(client) = self.clients.get_mut(id) else { return };
            let ClientPhase::Lingering { left } = &mut client.phase else { return };
            match (&client.stream).read(&mut self.scratch) {
                Ok(length) if length > 0 && length < *left => *left -= length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return self.close(id),
            }
        }
    }

    pub(super) fn pass_deadline(&mut self, id: usize, now: Instant) {
        let Some(client) = self.clients.get(id) else { return };
        let counters = &self.shared.counters;
        match &client.phase {
            ClientPhase::Reading { intake, .. } if client.kept && intake.is_untouched() => self.close(id),
            ClientPhase::Reading { paused: true, .. } => self.refuse(id, Rejection::OutOfMemory, now),
            ClientPhase::Reading { intake, .. } => {
                count(&counters.timed_out);
                let in_body = intake.is_in_body();
                self.refuse(id, if in_body { Rejection::BodyTimeout } else { Rejection::HeaderTimeout }, now);
            }
            ClientPhase::Queued { .. } => {
                count(&counters.dispatch_failures);
                self.refuse(id, Rejection::NotDispatched, now);
            }
            ClientPhase::Waiting { .. } | ClientPhase::Parked(_) => {
                count(&counters.response_timeouts);
                self.refuse(id, Rejection::ResponseTimeout, now);
            }
            ClientPhase::Writing { .. } => {
                count(&counters.slow_readers);
                self.close(id);
            }
            ClientPhase::Lingering { .. } => self.close(id),
        }
    }

    fn change_phase(&mut self, id: usize, phase: ClientPhase, now: Instant, time: Duration) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let left = client.enter(phase, now, time);
        self.leave(id, left);
    }

    /// Ends a connection.
    pub(super) fn close(&mut self, id: usize) {
        if let Some(client) = self.clients.remove(id) {
            self.leave(id, client.phase);
        }
    }

    /// Releases what a phase held.
    fn leave(&mut self, id: usize, phase: ClientPhase) {
        match phase {
            ClientPhase::Reading { intake, .. } => self.memory.release(intake.charged()),
            ClientPhase::Queued { charged, .. } => {
                self.memory.release(charged);
                self.queue.retain(|queued| *queued != id);
            }
            ClientPhase::Waiting { link } => self.forget_client(link, id),
            ClientPhase::Parked(parked) => {
                if self.parked.remove(&parked.arrival).is_some() {
                    self.shared.parked.abandon(parked.arrival);
                }
                self.memory.release(parked.charged);
            }
            ClientPhase::Writing { holds: Some(arrival), .. } => self.shared.response_memory.release(arrival),
            ClientPhase::Writing { holds: None, .. } | ClientPhase::Lingering { .. } => {}
        }
    }
}

const CLOSE: &[u8] = b"Connection: close\r\n";

/// Bytes on their way out. The pieces are sent one after the other without being copied together.
#[derive(Debug)]
pub(crate) struct Outgoing {
    first: Vec<u8>,
    /// The part of `first` that goes before `middle`; the rest follows it.
    split: usize,
    middle: &'static [u8],
    last: Vec<u8>,
    sent: usize,
    flags: SendFlags,
}

/// The end of a response may wait for the end of the connection, which follows at once: then both leave in one segment.
#[cfg(target_os = "linux")]
const BEFORE_CLOSE: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::MORE);
#[cfg(not(target_os = "linux"))]
const BEFORE_CLOSE: SendFlags = SendFlags::NOSIGNAL;

impl Outgoing {
    /// A request for tiny_http.
    pub(crate) fn request(head: String, body: Vec<u8>) -> Self {
        let first = head.into_bytes();
        Outgoing { split: first.len(), first, middle: b"", last: body, sent: 0, flags: SendFlags::NOSIGNAL }
    }

    /// A response as the handler gave it. With `close`, the connection must be closed or shut down when it is sent.
    pub(crate) fn response(bytes: Vec<u8>, frame: Frame, close: bool) -> Self {
        // Before the empty line that ends the head.
        let split = frame.head - 2;
        let (middle, flags) = if close { (CLOSE, BEFORE_CLOSE) } else { (&b""[..], SendFlags::NOSIGNAL) };
        Outgoing { first: bytes, split, middle, last: Vec::new(), sent: 0, flags }
    }

    /// A response of the front's own.
    pub(crate) fn whole(bytes: Vec<u8>) -> Self {
        Outgoing {
            split: bytes.len(),
            first: bytes,
            middle: b"",
            last: Vec::new(),
            sent: 0,
            flags: SendFlags::NOSIGNAL,
        }
    }

    /// A response as it was printed.
    fn as_printed(&self) -> &[u8] {
        &self.first
    }

    /// Sends as much as the socket takes. True when everything is sent.
    pub(crate) fn send(&mut self, socket: impl AsFd) -> io::Result<bool> {
        while self.sent < self.length() {
            // Not `writev`, which would raise SIGPIPE in a program that is not written in Rust.
            match sendmsg(&socket, &self.rest(), &mut SendAncillaryBuffer::default(), self.flags) {
                Ok(count) => self.sent += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    fn length(&self) -> usize {
        self.first.len() + self.middle.len() + self.last.len()
    }

    fn rest(&self) -> [IoSlice<'_>; 4] {
        let mut skip = self.sent;
        [&self.first[..self.split], self.middle, &self.first[self.split..], &self.last].map(|piece| {
            let skipped = skip.min(piece.len());
            skip -= skipped;
            IoSlice::new(&piece[skipped..])
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn received(mut outgoing: Outgoing) -> Vec<u8> {
        let (near, mut far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        far.set_nonblocking(true).unwrap();
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 70_001];
        loop {
            let done = outgoing.send(&near).unwrap();
            while let Ok(count) = far.read(&mut buffer) {
                bytes.extend_from_slice(&buffer[..count]);
            }
            if done {
                return bytes;
            }
        }
    }

    #[test]
    fn pieces_arrive_in_order_however_little_the_socket_takes() {
        let body: Vec<u8> = (0..2_000_000_u32).map(|index| index as u8).collect();
        let request = received(Outgoing::request("head\r\n\r\n".into(), body.clone()));
        assert!(request.starts_with(b"head\r\n\r\n") && request[8..] == body);

        let head = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
        let bytes = [head.as_slice(), &body].concat();
        let frame = Frame { head: head.len(), body: body.len() };
        let closed = received(Outgoing::response(bytes.clone(), frame, true));
        assert!(closed.starts_with(b"HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\n"));
        assert_eq!(closed.len(), bytes.len() + CLOSE.len());
        assert!(received(Outgoing::response(bytes.clone(), frame, false)) == bytes);
    }

    #[test]
    fn a_peer_that_has_gone_is_an_error() {
        let (near, far) = UnixStream::pair().unwrap();
        drop(far);
        assert!(Outgoing::whole(b"text".to_vec()).send(&near).is_err());
    }
}
