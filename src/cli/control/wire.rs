//! Lines over a socket, within time and size.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::model::deadline::deadline_after;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The longest request, in bytes.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// The longest response, in bytes: a thousand rows, or a message with its metadata.
pub const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;

/// A connection whose other end may be slow or gone, and which is given up when `stop` can be read.
pub struct Wire<'a> {
    stream: UnixStream,
    stop: Option<&'a UnixStream>,
    until: Instant,
}

impl<'a> Wire<'a> {
    /// A connection that has this long in all.
    pub fn new(stream: UnixStream, stop: Option<&'a UnixStream>, time: Duration) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, stop, until: deadline_after(Instant::now(), time) })
    }

    /// Reads up to a line break, or up to the end.
    pub fn read_line(&mut self, limit: usize) -> io::Result<String> {
        let mut bytes = Vec::new();
        let mut piece = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => bytes.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(PollFlags::IN)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
                bytes.truncate(end);
                break;
            }
            if bytes.len() > limit {
                return Err(io::Error::other(format!("a line of more than {limit} bytes")));
            }
        }
        String::from_utf8(bytes).map_err(io::Error::other)
    }

    /// Writes a line.
    pub fn write_line(&mut self, line: &str) -> io::Result<()> {
        let bytes = [line.as_bytes(), b"\n"].concat();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(PollFlags::OUT)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn wait(&self, flags: PollFlags) -> io::Result<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        if wait(self.stream.as_fd(), flags, self.stop, Some(left))? {
            return Ok(());
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// Waits until `fd` is ready (true), or `stop` can be read or the time is over (false).
pub fn wait(
    fd: impl AsFd,
    flags: PollFlags,
    stop: Option<&UnixStream>,
    time: Option<Duration>,
) -> io::Result<bool> {
    let time = time.map(|time| Timespec::try_from(time).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 }));
    let mut fds = vec![PollFd::from_borrowed_fd(fd.as_fd(), flags)];
    fds.extend(stop.map(|stop| PollFd::new(stop, PollFlags::IN)));
    match poll(&mut fds, time.as_ref()) {
        // Whoever asked tries again and comes back.
        Err(rustix::io::Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(fds.get(1).is_none_or(|stop| stop.revents().is_empty()) && !fds[0].revents().is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_within_the_limit_arrives_and_one_past_it_does_not() {
        for (length, arrives) in [(10, true), (11, false)] {
            let (here, there) = UnixStream::pair().unwrap();
            let time = Duration::from_secs(10);
            let line = "x".repeat(length);
            Wire::new(there, None, time).unwrap().write_line(&line).unwrap();
            let read = Wire::new(here, None, time).unwrap().read_line(10);
            // The line break may have come along with the line: then it is as good as one within the limit.
            assert!(read.as_ref().is_ok_and(|read| *read == line) || !arrives, "{length}: {read:?}");
        }
    }

    #[test]
    fn waiting_ends_with_the_time_and_with_the_stop() {
        let (here, _there) = UnixStream::pair().unwrap();
        let slow =
            Wire::new(here.try_clone().unwrap(), None, Duration::from_millis(10)).unwrap().read_line(10);
        assert_eq!(slow.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (stop, mut stopper) = UnixStream::pair().unwrap();
        stopper.write_all(b"x").unwrap();
        assert!(Wire::new(here, Some(&stop), Duration::from_secs(3600)).unwrap().read_line(10).is_err());
    }
}
