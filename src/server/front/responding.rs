//! Responses as they go out, and how connections end.

use std::io::{self, Read as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::super::intake::{Intake, Refused};
use super::super::rejection::Rejection;
use super::super::stats::count;
use super::super::{Response, reply};
use super::clients::{AfterResponse, Phase};
use super::outgoing::Outgoing;
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
            Some(Phase::Reading { intake, .. }) => intake.refused(refusal),
            Some(Phase::Queued { request, .. }) => Refused { refusal, with_body: !request.is_head_request },
            Some(Phase::Parked(parked)) => Refused { refusal, with_body: !parked.is_head_request },
            Some(Phase::Waiting { link }) => Refused { refusal, with_body: !self.serves_head_request(*link) },
            _ => refusal.into(),
        };
        self.refuse_as(id, refused, now);
    }

    pub(super) fn refuse_as(&mut self, id: usize, refused: Refused, now: Instant) {
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
            return self.refuse(id, Rejection::Handover, now);
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
        let time = self.shared.limits.write_timeout;
        self.change_phase(id, Phase::Writing { outgoing, then, holds }, now, time);
        self.write(id, now);
    }

    pub(super) fn write(&mut self, id: usize, now: Instant) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let Phase::Writing { outgoing, then, .. } = &mut client.phase else { return };
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
                let phase = Phase::Reading { intake: Intake::new(), paused: false };
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
        self.change_phase(id, Phase::Lingering { left: LINGER_BYTES }, now, LINGER_TIME);
        self.drain(id);
        if let Some(oldest) = self.clients.oldest_lingering_beyond(MAX_LINGERING) {
            self.close(oldest);
        }
    }

    /// Throws away what a client sends after its connection has ended for us.
    pub(super) fn drain(&mut self, id: usize) {
        for _ in 0..DRAINS_A_ROUND {
            let Some(client) = self.clients.get_mut(id) else { return };
            let Phase::Lingering { left } = &mut client.phase else { return };
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
            Phase::Reading { intake, .. } if client.kept && intake.is_untouched() => self.close(id),
            Phase::Reading { paused: true, .. } => self.refuse(id, Rejection::OutOfMemory, now),
            Phase::Reading { intake, .. } => {
                count(&counters.timed_out);
                let in_body = intake.is_in_body();
                self.refuse(id, if in_body { Rejection::BodyTimeout } else { Rejection::HeadTimeout }, now);
            }
            Phase::Queued { .. } => {
                count(&counters.handover_failures);
                self.refuse(id, Rejection::Handover, now);
            }
            Phase::Waiting { .. } | Phase::Parked(_) => {
                count(&counters.response_timeouts);
                self.refuse(id, Rejection::ResponseTimeout, now);
            }
            Phase::Writing { .. } => {
                count(&counters.slow_readers);
                self.close(id);
            }
            Phase::Lingering { .. } => self.close(id),
        }
    }

    fn change_phase(&mut self, id: usize, phase: Phase, now: Instant, time: Duration) {
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
    fn leave(&mut self, id: usize, phase: Phase) {
        match phase {
            Phase::Reading { intake, .. } => self.memory.release(intake.charged()),
            Phase::Queued { charged, .. } => {
                self.memory.release(charged);
                self.queue.retain(|queued| *queued != id);
            }
            Phase::Waiting { link } => self.forget_client(link, id),
            Phase::Parked(parked) => {
                if self.parked.remove(&parked.arrival).is_some() {
                    self.shared.parked.abandon(parked.arrival);
                }
                self.memory.release(parked.charged);
            }
            Phase::Writing { holds: Some(arrival), .. } => self.shared.response_memory.release(arrival),
            Phase::Writing { holds: None, .. } | Phase::Lingering { .. } => {}
        }
    }
}
