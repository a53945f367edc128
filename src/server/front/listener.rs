//! The listener: accepts connections, and outlives the want of file descriptors.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::super::rejection::Rejection;
use super::outgoing::Outgoing;

use crate::model::deadline::deadline_after;

/// How long accepting rests after an error that will not pass by itself.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections that the system keeps for us until we accept them.
const BACKLOG: i32 = 1024;

/// The listener and a spare file descriptor.
pub(crate) struct Listener {
    listener: TcpListener,
    /// Given up when no other is left, so that a waiting connection can still be accepted and told so. Otherwise it
    /// would wait for ever, and the listener would be ready for ever.
    spare: Option<File>,
    paused_until: Option<Instant>,
}

/// What came of an attempt to accept.
pub(crate) enum Accepted {
    Connection(TcpStream, SocketAddr),
    Nothing,
    /// The connection was gone already; there may be more.
    Aborted,
    /// No file descriptor is left. Somebody should go, or somebody be turned away.
    NoDescriptor,
    /// Some other want of the system's. Accepting rests.
    Failed(io::Error),
}

impl Listener {
    pub(crate) fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        // Accepted sockets inherit it. A response is written at once, so there is nothing to gather.
        rustix::net::sockopt::set_tcp_nodelay(&listener, true)?;
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(Listener { listener, spare: Some(open_spare()?), paused_until: None })
    }

    /// The listener, when connections may be accepted.
    pub(crate) fn open_listener(&self, now: Instant) -> Option<&TcpListener> {
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
            Ok((stream, address)) => match stream.set_nonblocking(true) {
                Ok(()) => Accepted::Connection(stream, address),
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
            && stream.set_nonblocking(true).is_ok()
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
