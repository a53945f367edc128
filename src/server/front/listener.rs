//! New connections: the listener, which outlives the want of file descriptors; which connections are accepted, and which
//! are closed to make room for them.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::super::ServerLimits;
use super::super::http_server::count;
use super::super::intake::Intake;
use super::super::reply::Rejection;
use super::clients::{Client, ClientPhase, EvictionPriority};
use super::responding::Outgoing;
use super::run::{Front, FrontLogKind};
use super::socket::{ClientStream, ListenSocket};
use crate::model::deadline::deadline_after;
use crate::net::address_range::sender_key;

/// How long accepting rests after an error that will not pass by itself.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections that the system keeps for us until we accept them.
const BACKLOG: i32 = 1024;

/// The listener and a spare file descriptor.
pub(crate) struct Listener {
    listener: ListenSocket,
    /// Given up when no other is left, so that a waiting connection can still be accepted and told so. Otherwise it
    /// would wait for ever, and the listener would be ready for ever.
    spare: Option<File>,
    paused_until: Option<Instant>,
}

/// What came of an attempt to accept.
pub(crate) enum Accepted {
    Connection(ClientStream, IpAddr),
    Nothing,
    /// The connection was gone already; there may be more.
    Aborted,
    /// No file descriptor is left. Somebody should go, or somebody be turned away.
    NoDescriptor,
    /// Some other want of the system's. Accepting rests.
    Failed(io::Error),
}

impl Listener {
    pub(crate) fn new(listener: ListenSocket) -> io::Result<Self> {
        listener.prepare(BACKLOG)?;
        Ok(Listener { listener, spare: Some(open_spare()?), paused_until: None })
    }

    /// The listener, when connections may be accepted.
    pub(crate) fn open_listener(&self, now: Instant) -> Option<&ListenSocket> {
        let paused = self.paused_until.is_some_and(|until| now < until);
        (!paused).then_some(&self.listener)
    }

    /// When accepting goes on after a rest.
    pub(crate) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        self.paused_until.filter(|until| now < *until)
    }

    /// Accepts one connection, if there is one.
    pub(crate) fn accept(&mut self, now: Instant) -> Accepted {
        self.refill_spare();
        match self.listener.accept() {
            Ok((stream, peer)) => match stream.set_nonblocking() {
                Ok(()) => Accepted::Connection(stream, peer),
                Err(_) => Accepted::Aborted,
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Accepted::Nothing,
            Err(error) => self.after_error(error, now),
        }
    }

    /// Sorts errors into those of one connection (accept(2) passes them on), and those of this process or the system.
    fn after_error(&mut self, error: io::Error, now: Instant) -> Accepted {
        match Errno::from_io_error(&error) {
            // accept(2) asks for a descriptor before it looks whether anybody is there.
            Some(Errno::MFILE | Errno::NFILE) if !self.has_waiting_connection() => Accepted::Nothing,
            Some(Errno::MFILE | Errno::NFILE) => Accepted::NoDescriptor,
            Some(Errno::NOBUFS | Errno::NOMEM | Errno::BADF | Errno::INVAL | Errno::NOTSOCK) | None => {
                self.paused_until = Some(deadline_after(now, PAUSE));
                Accepted::Failed(error)
            }
            Some(_) => Accepted::Aborted,
        }
    }

    /// Accepts one connection by means of the spare file descriptor, to say that there is no room; then rests.
    pub(crate) fn refuse_one(&mut self, now: Instant) {
        self.spare = None;
        if let Ok((stream, _)) = self.listener.accept()
            && stream.set_nonblocking().is_ok()
        {
            // It is a courtesy; whether it arrives is not worth waiting for.
            let _ = Outgoing::whole(Rejection::Busy.response(true)).send(&stream);
        }
        self.refill_spare();
        self.paused_until = Some(deadline_after(now, PAUSE));
    }

    fn has_waiting_connection(&self) -> bool {
        let mut sockets = [PollFd::new(&self.listener, PollFlags::IN)];
        poll(&mut sockets, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
    }

    fn refill_spare(&mut self) {
        if self.spare.is_none() {
            self.spare = open_spare().ok();
        }
    }
}

fn open_spare() -> io::Result<File> {
    File::open("/dev/null")
}

/// Whether this many file descriptors are left now.
pub(crate) fn descriptors_left(count: usize) -> bool {
    (0..count).map(|_| open_spare()).collect::<io::Result<Vec<_>>>().is_ok()
}

/// Connections accepted in one round, so that new connections do not keep the others waiting.
pub(super) const ACCEPTED_A_ROUND: usize = 64;

impl Front {
    pub(super) fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTED_A_ROUND {
            let Some(listener) = &mut self.listener else { return };
            match listener.accept(now) {
                Accepted::Connection(stream, peer) => self.admit(stream, peer, now),
                Accepted::Aborted => count(&self.shared.counters.accept_errors),
                Accepted::Nothing => return,
                Accepted::NoDescriptor => {
                    count(&self.shared.counters.accept_errors);
                    if !self.free_a_descriptor(now) {
                        return self.refuse_one(now);
                    }
                }
                Accepted::Failed(error) => {
                    count(&self.shared.counters.accept_errors);
                    if let Some(suppressed) = self.log.check(&FrontLogKind::NotAccepted, now) {
                        log::warn!(
                            "a connection could not be accepted; trying again shortly: {error}{suppressed}"
                        );
                    }
                    return;
                }
            }
        }
    }

    /// Closes the connection that can best be spared, because the process has no file descriptor left.
    pub(super) fn free_a_descriptor(&mut self, now: Instant) -> bool {
        let lingering = self.clients.oldest_lingering_beyond(0);
        let spared = lingering.or_else(|| self.clients.first_to_evict(None, now).map(|(id, _)| id));
        let Some(id) = spared else { return false };
        count(&self.shared.counters.evicted);
        self.close(id);
        true
    }

    /// Nothing can be spared: tells one that is waiting, and lets accepting rest.
    fn refuse_one(&mut self, now: Instant) {
        if let Some(listener) = &mut self.listener {
            if let Some(suppressed) = self.log.check(&FrontLogKind::NoDescriptor, now) {
                log::warn!(
                    "no file descriptor is left; raise the limit on open files or lower the limit on connections\
                     {suppressed}"
                );
            }
            listener.refuse_one(now);
        }
    }

    fn admit(&mut self, stream: ClientStream, peer: IpAddr, now: Instant) {
        count(&self.shared.counters.accepted);
        let trusted = self.shared.limits.trusted_proxies.iter().any(|range| range.contains(peer));
        let sender = (!trusted).then(|| sender_key(peer));
        let refusal = self.find_place(sender, now);
        let id = self.insert(stream, peer, sender, now);
        match refusal {
            Some(refusal) => self.refuse(id, refusal, now),
            // Most requests are there already.
            None => self.read(id, now),
        }
    }

    /// Makes sure that there is a place, or says why there is none.
    fn find_place(&mut self, sender: Option<IpAddr>, now: Instant) -> Option<Rejection> {
        let limits = &self.shared.limits;
        let (most, most_by_sender) = (limits.connections, limits.connections_per_address);
        let taken = self.clients.taken(sender);
        if taken.by_sender >= most_by_sender && !self.make_room(sender, now) {
            return Some(Rejection::BusyForSender);
        }
        if taken.all >= most && taken.by_sender < most_by_sender && !self.make_room(None, now) {
            return Some(Rejection::Busy);
        }
        None
    }

    fn insert(&mut self, stream: ClientStream, peer: IpAddr, sender: Option<IpAddr>, now: Instant) -> usize {
        self.next_born += 1;
        self.clients.insert(Client {
            stream,
            peer,
            sender,
            born: self.next_born,
            kept: false,
            asked: None,
            phase: ClientPhase::Reading { intake: Intake::new(), paused: false },
            since: now,
            deadline: deadline_after(now, self.shared.limits.header_timeout),
        })
    }

    /// Closes the connection that can best be spared, of one sender or of all.
    fn make_room(&mut self, sender: Option<IpAddr>, now: Instant) -> bool {
        let Some((id, priority)) = self.clients.first_to_evict(sender, now) else { return false };
        count(&self.shared.counters.evicted);
        match priority {
            // It is told why, but its place is free at once: nobody waits for it to take the news.
            EvictionPriority::Incomplete => self.refuse(id, Rejection::Busy, now),
            EvictionPriority::Idle | EvictionPriority::SlowReader => self.close(id),
        }
        true
    }

    /// Finds out for which bodies there is memory, and gives one up when nothing has moved for too long.
    pub(super) fn give_room(&mut self, now: Instant) {
        let mut starved = false;
        for (_, client) in self.clients.iter_mut() {
            if let ClientPhase::Reading { intake, paused } = &mut client.phase {
                *paused = intake.room(&mut self.memory) == 0;
                starved |= *paused;
            }
        }
        if !starved {
            self.starves_until = None;
            return;
        }
        let until =
            *self.starves_until.get_or_insert(deadline_after(now, ServerLimits::BODY_MEMORY_PATIENCE));
        if until <= now {
            // As long as nothing moves, the next goes sooner.
            self.starves_until = Some(deadline_after(now, ServerLimits::BODY_MEMORY_PATIENCE / 4));
            if let Some(id) = self.clients.oldest_body() {
                count(&self.shared.counters.evicted);
                self.refuse(id, Rejection::OutOfMemory, now);
            }
        }
    }
}
