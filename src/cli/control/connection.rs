//! One client of the control socket: a request line in, a response line out. It never blocks.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::model::deadline::deadline_after;
use rustix::event::PollFlags;

use super::wire::MAX_REQUEST_BYTES;

/// What one client may take, from its connection to the last byte of its response.
const CLIENT_TIME: Duration = Duration::from_secs(5);

/// A connected client.
pub struct Connection {
    stream: UnixStream,
    request: Vec<u8>,
    /// What is still to be sent, once there is a response.
    response: Option<Vec<u8>>,
    /// When it is closed at the latest.
    pub deadline: Instant,
}

impl Connection {
    /// A client that has just connected.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            request: Vec::new(),
            response: None,
            deadline: deadline_after(Instant::now(), CLIENT_TIME),
        })
    }

    /// What it waits for.
    pub fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        let flags = if self.response.is_some() { PollFlags::OUT } else { PollFlags::IN };
        (self.stream.as_fd(), flags)
    }

    /// Reads and writes as much as is possible now. True when the response is sent.
    pub fn advance(&mut self, respond: impl FnOnce(&str) -> String) -> io::Result<bool> {
        if self.response.is_none() {
            let Some(line) = self.read_line()? else { return Ok(false) };
            self.response = Some((respond(&line) + "\n").into_bytes());
        }
        self.write()
    }

    fn read_line(&mut self) -> io::Result<Option<String>> {
        let mut piece = [0; 16 * 1024];
        let mut is_ended = false;
        while !is_ended && !self.request.contains(&b'\n') {
            match self.stream.read(&mut piece) {
                Ok(read) => {
                    is_ended = read == 0;
                    self.request.extend_from_slice(&piece[..read]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.request.len() > MAX_REQUEST_BYTES {
                return Err(io::Error::other(format!("a request of more than {MAX_REQUEST_BYTES} bytes")));
            }
        }
        let line = self.request.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if !is_ended && line.len() == self.request.len() {
            return Ok(None);
        }
        String::from_utf8(line.to_vec()).map(Some).map_err(io::Error::other)
    }

    fn write(&mut self) -> io::Result<bool> {
        let rest = self.response.get_or_insert_default();
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(written) => drop(rest.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Connection, UnixStream) {
        let (here, there) = UnixStream::pair().unwrap();
        (Connection::new(here).unwrap(), there)
    }

    #[test]
    fn a_request_in_pieces_gets_its_response_when_its_line_is_complete() {
        let (mut connection, mut client) = pair();
        assert!(!connection.advance(|_| panic!("nothing was sent")).unwrap());
        client.write_all(b"{\"ask\":").unwrap();
        assert!(!connection.advance(|_| panic!("half of it was sent")).unwrap());
        client.write_all(b"1}\nmore").unwrap();
        assert!(connection.advance(|line| line.replace("ask", "ok")).unwrap());
        drop(connection);
        let mut response = String::new();
        client.read_to_string(&mut response).unwrap();
        assert_eq!(response, "{\"ok\":1}\n");
    }

    #[test]
    fn a_client_that_stops_reading_is_left_and_continued_later() {
        let (mut connection, mut client) = pair();
        client.write_all(b"x\n").unwrap();
        let long = "y".repeat(4 << 20);
        assert!(!connection.advance(|_| long.clone()).unwrap());
        assert_eq!(connection.interest().1, PollFlags::OUT);
        let reader = std::thread::spawn(move || {
            let mut response = String::new();
            client.read_to_string(&mut response).map(|_| response.len())
        });
        while !connection.advance(|_| unreachable!("it has responded")).unwrap() {
            std::thread::yield_now();
        }
        drop(connection);
        assert_eq!(reader.join().unwrap().unwrap(), long.len() + 1);
    }

    #[test]
    fn a_request_may_be_as_long_as_the_limit_and_no_longer() {
        for (extra, is_taken) in [(0, true), (1, false)] {
            let (mut connection, mut client) = pair();
            let request = "x".repeat(MAX_REQUEST_BYTES - 1 + extra) + "\n";
            let writer = std::thread::spawn(move || client.write_all(request.as_bytes()).map(|()| client));
            let result = loop {
                match connection.advance(|line| line.len().to_string()) {
                    Ok(false) => std::thread::yield_now(),
                    other => break other,
                }
            };
            assert_eq!(result.is_ok(), is_taken, "{extra}: {result:?}");
            drop(connection);
            let _ = writer.join();
        }
    }
}
