//! One connection of a link: text frames, pings that keep it alive, and its end.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, Message};

use crate::egress::LinkSocket;
use crate::model::deadline::deadline_after;

/// The silence after which the service is pinged (RFC 6455, section 5.5.2).
const PING_AFTER: Duration = Duration::from_secs(60);
/// The silence after which the connection counts as broken.
const BROKEN_AFTER: Duration = Duration::from_secs(120);

/// An open connection.
pub(super) struct Connection {
    socket: LinkSocket,
    /// When something last arrived.
    heard: Instant,
    is_pinged: bool,
    has_unsent: bool,
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

impl Connection {
    pub fn new(socket: LinkSocket, now: Instant) -> Self {
        Self { socket, heard: now, is_pinged: false, has_unsent: false }
    }

    /// The next frame, if one is there.
    pub fn receive(&mut self, now: Instant) -> Incoming {
        match self.socket.read() {
            Ok(Message::Text(text)) => {
                self.hear(now);
                Incoming::Text(text.as_str().to_owned())
            }
            Ok(Message::Close(frame)) => closed(frame),
            Ok(_) => {
                self.hear(now);
                Incoming::Other
            }
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => Incoming::Nothing,
            Err(error) => Incoming::Closed { code: None, reason: words(&error).to_owned() },
        }
    }

    fn hear(&mut self, now: Instant) {
        (self.heard, self.is_pinged) = (now, false);
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

    /// Pings a service that has been silent, and notices one that is gone.
    pub fn keep_alive(&mut self, now: Instant) -> Result<(), &'static str> {
        let silence = now.saturating_duration_since(self.heard);
        if silence >= BROKEN_AFTER {
            return Err("the service has been silent for two minutes");
        }
        if silence < PING_AFTER || self.is_pinged {
            return Ok(());
        }
        self.is_pinged = true;
        let pinged = self.socket.send(Message::Ping(Default::default()));
        self.note(pinged)
    }

    /// When [`Connection::keep_alive`] has something to do.
    pub fn keep_alive_at(&self) -> Instant {
        deadline_after(self.heard, if self.is_pinged { BROKEN_AFTER } else { PING_AFTER })
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

impl AsFd for Connection {
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
