//! Bytes on their way out, in up to three pieces, over a socket that takes as many as it likes.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;

use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

use super::super::reply::Frame;

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
