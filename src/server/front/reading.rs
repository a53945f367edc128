//! Requests as they come in.

use std::io::{self, Read as _};
use std::time::Instant;

use super::super::intake::{Progress, Rules};
use super::clients::Phase;
use super::outgoing::Outgoing;
use super::run::Front;

use crate::model::deadline::deadline_after;

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
        let Phase::Reading { intake, .. } = &mut client.phase else { return Next::Later };
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
        let Phase::Reading { intake, .. } = &mut client.phase else { return };
        let limits = &self.shared.limits;
        let rules = Rules { limits, head_check: &*self.head_check };
        let (untouched, in_body) = (intake.is_untouched(), intake.is_in_body());
        match intake.feed(&self.scratch[..length], &rules) {
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
