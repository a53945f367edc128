//! One connection of a link: text frames, pings that keep it alive, and its end.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, Message};

use crate::egress::{LinkSocket, MAX_FRAME_BYTES};
use crate::model::deadline::deadline_after;

/// The silence after which the service is pinged (RFC 6455, section 5.5.2).
const PING_AFTER: Duration = Duration::from_secs(60);
/// The silence after which the connection counts as broken.
const BROKEN_AFTER: Duration = Duration::from_secs(120);

/// Bytes that are read at a time. A message of any number of fragments is put together in one call, which would not return
/// while the service sends.
const BYTES_PER_READ: usize = 64 * 1024;
/// Bytes in which a message must be complete: twice what it may have, so that its fragments may be small, but not without end.
const MAX_UNFINISHED_BYTES: usize = 2 * MAX_FRAME_BYTES;
/// What a ping has beside its payload at most: the head of a short frame (RFC 6455, section 5.2) and a TLS record of its own.
const PING_OVERHEAD_BYTES: usize = 64;

/// An open connection.
pub(super) struct LinkConnection {
    socket: LinkSocket,
    silence: Silence,
    has_unsent: bool,
    /// Bytes that were read since the last whole message, but for those of pings and pongs.
    unfinished: usize,
}

/// How long nothing has arrived. Pure decisions.
#[derive(Debug)]
struct Silence {
    /// When something last arrived.
    heard: Instant,
    is_pinged: bool,
}

/// What a silence asks for.
#[derive(Debug, PartialEq, Eq)]
enum SilenceAction {
    Ping,
    GiveUp,
}

impl Silence {
    fn new(now: Instant) -> Self {
        Self { heard: now, is_pinged: false }
    }

    /// What is to be done now. While nobody reads there is no silence: what the service sends is not heard.
    fn check(&mut self, now: Instant, is_read: bool) -> Option<SilenceAction> {
        if !is_read {
            *self = Self::new(now);
            return None;
        }
        let silence = now.saturating_duration_since(self.heard);
        if silence >= BROKEN_AFTER {
            return Some(SilenceAction::GiveUp);
        }
        if silence < PING_AFTER || self.is_pinged {
            return None;
        }
        self.is_pinged = true;
        Some(SilenceAction::Ping)
    }

    /// When there will be something to do.
    fn next_check(&self) -> Instant {
        deadline_after(self.heard, if self.is_pinged { BROKEN_AFTER } else { PING_AFTER })
    }
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// Nothing more for now.
    Nothing,
    /// A text frame.
    Text(String),
    /// A ping, a pong, or a binary frame, which is no part of any protocol here. A ping gets its pong.
    Other,
    /// The end of the connection.
    Closed {
        /// The service's code, when it gave one.
        code: Option<u16>,
        /// The service's words, or what broke.
        reason: String,
    },
}

impl LinkConnection {
    pub fn new(socket: LinkSocket, now: Instant) -> Self {
        Self { socket, silence: Silence::new(now), has_unsent: false, unfinished: 0 }
    }

    /// The next frame, if one is there.
    pub fn receive(&mut self, now: Instant) -> Incoming {
        self.socket.get_mut().allow_reading(BYTES_PER_READ);
        let message = self.socket.read();
        let left = self.socket.get_mut().reading_left();
        self.unfinished = self.unfinished.saturating_add(BYTES_PER_READ - left);
        let incoming = match message {
            Ok(Message::Close(frame)) => closed(frame),
            Ok(message) => {
                self.silence = Silence::new(now);
                self.take(message)
            }
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => match left {
                // There may be more, which nothing announces once TLS has it.
                0 => Incoming::Other,
                _ => Incoming::Nothing,
            },
            Err(error) => Incoming::Closed { code: None, reason: words(&error).to_owned() },
        };
        if self.unfinished > MAX_UNFINISHED_BYTES {
            let reason = "the service sent a message in too many fragments".to_owned();
            return Incoming::Closed { code: None, reason };
        }
        incoming
    }

    fn take(&mut self, message: Message) -> Incoming {
        match message {
            Message::Ping(payload) | Message::Pong(payload) => {
                self.unfinished = self.unfinished.saturating_sub(payload.len() + PING_OVERHEAD_BYTES);
                Incoming::Other
            }
            Message::Text(text) => {
                self.unfinished = 0;
                Incoming::Text(text.as_str().to_owned())
            }
            _ => {
                self.unfinished = 0;
                Incoming::Other
            }
        }
    }

    /// Sends a text frame, or keeps it until the socket takes more.
    pub fn send(&mut self, frame: &str) -> Result<(), &'static str> {
        let sent = self.socket.send(Message::text(frame));
        self.note(sent)
    }

    /// Sends what an earlier attempt left.
    pub fn flush(&mut self) -> Result<(), &'static str> {
        let flushed = self.socket.flush();
        self.note(flushed)
    }

    /// Pings a service that has been silent, and notices one that is gone. `is_read`: whether what it sends is read now.
    pub fn keep_alive(&mut self, now: Instant, is_read: bool) -> Result<(), &'static str> {
        match self.silence.check(now, is_read) {
            None => Ok(()),
            Some(SilenceAction::GiveUp) => Err("the service has been silent for two minutes"),
            Some(SilenceAction::Ping) => {
                let pinged = self.socket.send(Message::Ping(Default::default()));
                self.note(pinged)
            }
        }
    }

    /// When [`LinkConnection::keep_alive`] has something to do.
    pub fn keep_alive_at(&self) -> Instant {
        self.silence.next_check()
    }

    /// Says that this side closes the connection; it does not wait for the other one.
    pub fn close(&mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: Default::default() };
        // The connection is given up in any case.
        let _ = self.socket.close(Some(frame)).and_then(|()| self.socket.flush());
    }

    /// Whether the socket did not take everything.
    pub fn has_unsent(&self) -> bool {
        self.has_unsent
    }

    fn note(&mut self, written: Result<(), Error>) -> Result<(), &'static str> {
        match written {
            Ok(()) => {
                self.has_unsent = false;
                Ok(())
            }
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                self.has_unsent = true;
                Ok(())
            }
            // The end is read together with its code.
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => Ok(()),
            Err(error) => Err(words(&error)),
        }
    }
}

impl AsFd for LinkConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

fn closed(frame: Option<CloseFrame>) -> Incoming {
    match frame {
        None => Incoming::Closed { code: None, reason: "the service closed the connection".to_owned() },
        // The protocol bounds a reason: 123 bytes (RFC 6455, section 5.5).
        Some(frame) => {
            Incoming::Closed { code: Some(frame.code.into()), reason: frame.reason.as_str().to_owned() }
        }
    }
}

fn words(error: &Error) -> &'static str {
    match error {
        Error::Io(_) => "the connection broke",
        Error::ConnectionClosed | Error::AlreadyClosed => "the service closed the connection",
        Error::Capacity(_) => "the service sent a frame of more than 1 MiB",
        Error::WriteBufferFull(_) => "the service takes no more frames",
        Error::Utf8(_) => "the service sent a text frame that is not UTF-8",
        _ => "the service broke the websocket protocol",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::egress::websocket_on;

    const SECOND: Duration = Duration::from_secs(1);

    /// A connection, and the service's end of it.
    fn connection() -> (LinkConnection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        (LinkConnection::new(websocket_on(near), Instant::now()), far)
    }

    /// What comes next, but for what is no end and no text.
    fn next(connection: &mut LinkConnection) -> Incoming {
        loop {
            match connection.receive(Instant::now()) {
                Incoming::Nothing => std::thread::sleep(Duration::from_millis(1)),
                Incoming::Other => {}
                incoming => return incoming,
            }
        }
    }

    // What happened: a service that sent empty fragments of one message without end kept the link's thread in one call, and
    // neither the host nor the channel could end it.
    #[test]
    fn a_message_of_endless_fragments_ends_the_connection() {
        let (mut connection, mut service) = connection();
        // A text frame that is not final, then continuations of no bytes, with a pong among them (RFC 6455, section 5.4).
        let writer = std::thread::spawn(move || {
            let mut block = [0x00, 0x00].repeat(8 * 1024);
            block.extend([0x8a, 0x00]);
            service.write_all(&[0x01, 0x00])?;
            // Without end as far as the limit is concerned; so that this test ends without it, too.
            (0..4 * MAX_UNFINISHED_BYTES / block.len()).try_for_each(|_| service.write_all(&block))
        });
        let Incoming::Closed { code: None, reason } = next(&mut connection) else { panic!("no end") };
        assert!(reason.contains("too many fragments"), "{reason}");
        drop(connection);
        let _: std::io::Result<()> = writer.join().unwrap();
    }

    #[test]
    fn one_read_takes_so_many_bytes_and_says_that_there_may_be_more() {
        let (mut connection, mut service) = connection();
        service.write_all(&[0x01, 0x00]).unwrap();
        let writer = std::thread::spawn(move || {
            service.write_all(&[0x00, 0x00].repeat(BYTES_PER_READ)).unwrap();
            service
        });
        let mut read = 0;
        while read <= BYTES_PER_READ {
            let before = connection.unfinished;
            let incoming = connection.receive(Instant::now());
            let bytes = connection.unfinished - before;
            assert!(bytes <= BYTES_PER_READ, "{bytes}");
            assert_eq!(incoming == Incoming::Other, bytes == BYTES_PER_READ);
            read += bytes;
        }
        drop(writer.join().unwrap());
    }

    #[test]
    fn a_message_at_the_limit_may_come_in_fragments_and_pings_do_not_count() {
        let (mut connection, mut service) = connection();
        const FRAGMENT: usize = 125;
        let fragments = MAX_FRAME_BYTES / FRAGMENT;
        let writer = std::thread::spawn(move || {
            for _ in 0..2 {
                for at in 0..fragments {
                    let head = [
                        if at == 0 { 0x01 } else { 0x00 } | if at + 1 == fragments { 0x80 } else { 0x00 },
                        125,
                    ];
                    service
                        .write_all(&[&head[..], &[b'x'; FRAGMENT], &[0x8a, 0x7d], &[0; 125]].concat())
                        .unwrap();
                }
            }
            service
        });
        for _ in 0..2 {
            let incoming = next(&mut connection);
            assert!(
                matches!(&incoming, Incoming::Text(text) if text.len() == fragments * FRAGMENT),
                "{incoming:?}"
            );
        }
        drop(writer.join().unwrap());
    }

    // What happened: a link that had no room for frames for two minutes read nothing, and closed its connection because the
    // service had been silent.
    #[test]
    fn silence_is_not_counted_while_reading_is_paused() {
        let start = Instant::now();
        let mut silence = Silence::new(start);
        assert_eq!(silence.check(start + 59 * SECOND, true), None);
        assert_eq!(silence.next_check(), start + PING_AFTER);
        assert_eq!(silence.check(start + PING_AFTER, true), Some(SilenceAction::Ping));
        assert_eq!(silence.check(start + 61 * SECOND, true), None, "once");
        assert_eq!(silence.next_check(), start + BROKEN_AFTER);
        assert_eq!(silence.check(start + 119 * SECOND, true), None);
        assert_eq!(silence.check(start + BROKEN_AFTER, true), Some(SilenceAction::GiveUp));
        for seconds in [0, 130, 300, 1_000] {
            assert_eq!(silence.check(start + seconds * SECOND, false), None);
        }
        assert_eq!(silence.check(start + 1_059 * SECOND, true), None);
        assert_eq!(silence.check(start + 1_060 * SECOND, true), Some(SilenceAction::Ping));
    }
}
