//! The process of an `exec` agent: started, fed, ended.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::ExecSettings;
use crate::agent::message::MAX_LINE_BYTES;
use crate::agent::text::lossy;
use crate::model::deadline::deadline_after;

/// How long a process has after its input ended, and again after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest line of standard error that goes to the log, in bytes.
const MAX_ERROR_LINE_BYTES: usize = 4096;

/// A running process. It leads a group of its own, so that Ctrl-C at the terminal reaches only the host, and so that
/// what it started ends with it.
pub(super) struct AgentProcess {
    child: Child,
    group: Option<Pid>,
}

/// The three pipes of a process.
pub(super) struct Pipes {
    pub input: ChildStdin,
    pub output: ChildStdout,
    pub errors: ChildStderr,
}

/// Variables that every program needs. Others of the host's environment, secrets among them, are not passed on.
const PASSED_ON: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// Starts a command with the shell, with an environment of its own.
pub(super) fn start(settings: &ExecSettings) -> io::Result<(AgentProcess, Pipes)> {
    let names = PASSED_ON.into_iter().chain(settings.env.iter().map(String::as_str));
    let environment = names.filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(&settings.command)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let (Some(input), Some(output), Some(errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::Error::other("its pipes are missing"));
    };
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    Ok((AgentProcess { child, group }, Pipes { input, output, errors }))
}

impl AgentProcess {
    /// Ends the process, whose input has been closed: waits, then asks, then kills. What it left running in its group is
    /// killed too.
    pub(super) fn end(mut self) -> Option<ExitStatus> {
        let mut status = self.wait(PATIENCE);
        if status.is_none() {
            self.signal(Signal::TERM);
            status = self.wait(PATIENCE);
        }
        self.signal(Signal::KILL);
        status.or_else(|| self.child.wait().ok())
    }

    fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let until = deadline_after(Instant::now(), patience);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // The group is gone when all of its processes are.
            let _ = kill_process_group(group, signal);
        }
    }
}

/// A line of a process, without its line break.
pub(super) enum Line {
    /// All of it.
    Whole(String),
    /// The beginning of one that is too long.
    TooLong(String),
}

/// How much of a line that is too long is kept, in bytes.
const KEPT_BYTES: usize = 4096;

/// Reads lines of at most `limit` bytes; longer ones are skipped as a whole.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    limit: usize,
}

impl<R: Read> Lines<R> {
    fn new(reader: R, limit: usize) -> Self {
        Self { reader: BufReader::new(reader), limit }
    }
}

/// The lines that an agent writes.
pub(super) fn output_lines(output: ChildStdout) -> Lines<ChildStdout> {
    Lines::new(output, MAX_LINE_BYTES)
}

/// The lines that it writes for the log.
pub(super) fn error_lines(errors: ChildStderr) -> Lines<ChildStderr> {
    Lines::new(errors, MAX_ERROR_LINE_BYTES)
}

impl<R: Read> Iterator for Lines<R> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        let mut bytes = Vec::new();
        let limit = self.limit as u64 + 1;
        match (&mut self.reader).take(limit).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        } else if bytes.len() > self.limit {
            self.reader.skip_until(b'\n').ok()?;
            bytes.truncate(KEPT_BYTES);
            return Some(Line::TooLong(lossy(&bytes).into_owned()));
        }
        Some(Line::Whole(lossy(&bytes).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        let read = |bytes: &[u8]| {
            Lines::new(bytes, 4)
                .map(|line| match line {
                    Line::Whole(text) => text,
                    Line::TooLong(text) => format!("{text}…"),
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(read(b"abcd\nab\n\nlast"), ["abcd", "ab", "", "last"]);
        assert_eq!(read(b"abcde\nab\n"), ["abcde…", "ab"]);
        assert_eq!(read(b"abcdefgh"), ["abcde…"]);
    }

    #[test]
    fn bytes_that_are_not_utf8_and_a_byte_order_mark_lose_no_line() {
        let mut lines = Lines::new(b"\xef\xbb\xbfab\ncaf\xe9\n".as_slice(), 10);
        let mut next = || match lines.next() {
            Some(Line::Whole(line)) => line,
            _ => panic!("no whole line"),
        };
        assert_eq!((next(), next()), ("ab".to_owned(), "caf\u{fffd}".to_owned()));
    }
}
