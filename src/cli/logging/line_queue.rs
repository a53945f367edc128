//! The way of log lines to the thread that writes them.
//!
//! Any thread logs, also those that the whole host waits for, and standard error may be a pipe that nobody reads. So whoever logs
//! puts its line into a queue, and one thread writes. Lines that find no room are left out and counted.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Lines that may wait.
const MAX_LINES: usize = 4096;
/// Bytes that they may take together: guests write long lines.
const MAX_BYTES: usize = 4 << 20;
/// How long the end of the program waits for lines to be written.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// Makes the line that says how many were left out.
type Notice = Box<dyn Fn(u64) -> String + Send + Sync>;

/// Where lines are put in; cheap to clone. The thread writes what is queued and ends when the last clone is gone.
#[derive(Clone)]
pub struct LineQueue(Arc<Owner>);

/// Closes the queue when it is dropped.
struct Owner(Arc<Shared>);

struct Shared {
    /// Any thread puts lines in, one takes them out; held while a line is moved.
    state: Mutex<State>,
    /// A line was put in, or the queue was closed.
    has_more: Condvar,
    /// A line was written.
    has_written: Condvar,
    notice: Notice,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines that found no room since the last notice.
    left_out: u64,
    /// The thread has taken a line and has not written it yet.
    is_writing: bool,
    /// Set once: no line comes any more.
    is_closed: bool,
}

impl LineQueue {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(out: Box<dyn Write + Send>, notice: Notice) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            has_more: Condvar::new(),
            has_written: Condvar::new(),
            notice,
        });
        let queue = Arc::clone(&shared);
        thread::Builder::new().name("tinclaw-log".to_owned()).spawn(move || queue.write_to(out))?;
        Ok(Self(Arc::new(Owner(shared))))
    }

    /// Queues a line with its end. Never waits for a reader.
    pub fn push(&self, line: &[u8]) {
        let shared = &self.0.0;
        let mut state = shared.lock();
        if !state.has_room(line.len()) {
            state.left_out = state.left_out.saturating_add(1);
            return;
        }
        state.queue_notice(&shared.notice);
        state.queue(line.to_vec());
        drop(state);
        shared.has_more.notify_one();
    }

    /// Waits until everything so far is written, for a second at most.
    pub fn wait_until_written(&self) {
        let shared = &self.0.0;
        let state = shared.lock();
        // Whether it came in time makes no difference to a program that ends.
        let _ = shared.has_written.wait_timeout_while(state, FLUSH_TIME, |state| !state.is_written());
    }
}

impl Write for LineQueue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    /// Nothing: each line would wait for its reader.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.has_more.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes each line in one piece, because a file is changed between two of them.
    fn write_to(&self, mut out: Box<dyn Write + Send>) {
        let mut state = self.lock();
        loop {
            state.is_writing = false;
            if state.lines.is_empty() {
                state.queue_notice(&self.notice);
            }
            let Some(line) = state.take() else {
                self.has_written.notify_all();
                if state.is_closed {
                    return;
                }
                state = self.has_more.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.is_writing = true;
            drop(state);
            // A log that cannot be written has no other place to say so.
            let _ = out.write_all(&line).and_then(|()| out.flush());
            state = self.lock();
        }
    }
}

impl State {
    fn has_room(&self, bytes: usize) -> bool {
        self.lines.len() < MAX_LINES && (self.lines.is_empty() || self.bytes + bytes <= MAX_BYTES)
    }

    fn is_written(&self) -> bool {
        self.lines.is_empty() && !self.is_writing && self.left_out == 0
    }

    fn queue(&mut self, line: Vec<u8>) {
        self.bytes += line.len();
        self.lines.push_back(line);
    }

    /// Queues the line that stands for those that were left out; it may be one more than there is room for.
    fn queue_notice(&mut self, notice: &Notice) {
        match std::mem::take(&mut self.left_out) {
            0 => {}
            count => self.queue(notice(count).into_bytes()),
        }
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let line = self.lines.pop_front()?;
        self.bytes -= line.len();
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

    use super::*;
    use crate::test_support::eventually;

    /// An output that takes a line when it is told to, and each one at once when the sender of that is gone.
    struct Slow {
        go: Receiver<()>,
        written: Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.go.recv();
            let _ = self.written.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow_queue() -> (LineQueue, Sender<()>, Receiver<String>) {
        let ((go, wait), (written, lines)) = (bounded(0), unbounded());
        let notice = |count| format!("{count} left out\n");
        let queue = LineQueue::start(Box::new(Slow { go: wait, written }), Box::new(notice)).unwrap();
        (queue, go, lines)
    }

    /// Puts a line in and waits until the thread is at it.
    fn push_first(queue: &LineQueue) {
        queue.push(b"first\n");
        eventually("the thread has the line", || queue.0.0.lock().is_writing.then_some(()));
    }

    // The thread that logged wrote the line itself, and the host stood when nobody read its standard error.
    #[test]
    fn an_output_that_takes_nothing_holds_up_nobody_and_says_how_much_is_missing() {
        let (queue, go, lines) = slow_queue();
        push_first(&queue);
        for number in 0..MAX_LINES + 10 {
            queue.push(format!("{number}\n").as_bytes());
        }
        drop(go);
        queue.wait_until_written();
        queue.push(b"last\n");
        drop(queue);
        let written: Vec<String> = lines.iter().collect();
        assert_eq!(written.len(), 1 + MAX_LINES + 2);
        let end = &written[MAX_LINES..];
        assert_eq!(end, [format!("{}\n", MAX_LINES - 1), "10 left out\n".into(), "last\n".into()]);
    }

    #[test]
    fn what_is_left_out_is_said_where_it_is_missing() {
        let (queue, go, lines) = slow_queue();
        push_first(&queue);
        (0..=MAX_LINES).for_each(|_| queue.push(b"before\n"));
        // The thread takes another one, so that there is room for what comes now.
        go.send(()).unwrap();
        eventually("there is room", || (queue.0.0.lock().lines.len() < MAX_LINES).then_some(()));
        queue.push(b"after\n");
        drop((go, queue));
        let written: Vec<String> = lines.iter().collect();
        assert_eq!(written[written.len() - 3..], ["before\n", "1 left out\n", "after\n"]);
    }

    #[test]
    fn lines_have_bounded_bytes_and_one_that_is_longer_is_written_all_the_same() {
        let (queue, go, lines) = slow_queue();
        push_first(&queue);
        let long = vec![b'a'; MAX_BYTES + 1];
        queue.push(&long);
        queue.push(b"no room\n");
        drop((go, queue));
        let written: Vec<usize> = lines.iter().map(|line| line.len()).collect();
        assert_eq!(written, [6, MAX_BYTES + 1, "1 left out\n".len()]);
    }
}
