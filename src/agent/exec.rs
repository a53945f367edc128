//! A program that reads messages and writes answers as JSON lines.

use std::collections::HashMap;
use std::io::Write as _;
use std::process::ChildStdin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::inbox::Delivery;
use crate::model::escape::escaped;
use crate::model::human_duration::HumanDuration;

use super::child::{self, Line, Running};
use super::line::{AgentLine, BadLine, id_within, parse_line};
use super::message::{MAX_LINE_BYTES, message_json};
use super::quote::quote;
use super::{Agent, answer};

/// The wait before a program that died is started again; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A program that ran for so long begins again with the first wait.
const GOOD_RUN: Duration = Duration::from_secs(60);

/// The `exec` agent: one long-lived process.
///
/// Two threads: one takes messages and writes them, one starts the process, reads what it says and starts it again when
/// it dies.
pub struct ExecAgent {
    command: String,
    concurrency: usize,
    desk: Mutex<Desk>,
    /// Wakes both threads: a place among the open messages, a process, the end.
    changed: Condvar,
}

/// What both threads share. The lock is held for look-ups only, never while something is written or stored.
#[derive(Default)]
struct Desk {
    /// Messages that the process has and has not answered.
    open: HashMap<u64, Delivery>,
    /// Where messages are written. Taken out while something is written to it.
    input: Option<ChildStdin>,
    /// Counts processes, so that an input that was taken out does not come back to another one.
    process: u64,
    /// Whether the process still writes, and so can answer.
    is_alive: bool,
    is_over: bool,
}

impl ExecAgent {
    /// An agent that runs this command and has at most so many messages open.
    pub fn new(command: String, concurrency: usize) -> Self {
        Self { command, concurrency, desk: Mutex::default(), changed: Condvar::new() }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        // Every change under the lock is one statement, so a poisoned desk is in order.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while<'a>(
        &self,
        desk: MutexGuard<'a, Desk>,
        busy: impl Fn(&Desk) -> bool,
    ) -> MutexGuard<'a, Desk> {
        self.changed.wait_while(desk, |desk| busy(desk)).unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes messages and writes them, until there are no more.
    fn feed(&self, host: &Host) {
        for delivery in host.messages() {
            let line =
                message_json(&delivery, |index| delivery.attachment_data(index).map_err(|e| e.to_string()));
            let mut line = match line {
                Ok(line) => line,
                Err(error) => {
                    log::error!("message {} cannot be given to the agent: {error}", delivery.id());
                    answer::requeue(host, delivery, None);
                    continue;
                }
            };
            line.push('\n');
            answer::begin(host, &delivery);
            self.hand_over(delivery, &line);
        }
        self.stop();
    }

    /// Waits for a process with a free place and writes the message to it.
    fn hand_over(&self, delivery: Delivery, line: &str) {
        let id = delivery.id().0;
        let desk = self.desk();
        let is_again = desk.open.contains_key(&id);
        let mut desk = self.wait_while(desk, |desk| {
            !desk.is_over && (desk.input.is_none() || (!is_again && desk.open.len() >= self.concurrency))
        });
        let Some(mut input) = desk.input.take() else { return };
        let process = desk.process;
        // In the book before it is written: the answer may be quick.
        desk.open.insert(id, delivery);
        drop(desk);
        let written = input.write_all(line.as_bytes()).and_then(|()| input.flush());
        let mut desk = self.desk();
        if desk.process == process && written.is_ok() && !desk.is_over {
            desk.input = Some(input);
        }
        // A process that no longer reads is found dead by whoever reads its output, who gives its messages back.
        self.changed.notify_all();
    }

    /// Runs the process again and again.
    fn supervise(&self, host: &Host) {
        let mut wait = FIRST_WAIT;
        while !self.desk().is_over {
            let since = Instant::now();
            match child::start(&self.command) {
                Ok((running, pipes)) => self.attend(host, running, pipes),
                Err(error) => log::error!("the agent cannot be started: {error}"),
            }
            if since.elapsed() >= GOOD_RUN {
                wait = FIRST_WAIT;
            }
            let desk = self.desk();
            if !desk.is_over {
                log::warn!("the agent is started again in {}", HumanDuration(wait));
                let _ = self.changed.wait_timeout_while(desk, wait, |desk| !desk.is_over);
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// From the start of a process to its end.
    fn attend(&self, host: &Host, running: Running, pipes: child::Pipes) {
        let child::Pipes { input, output, errors } = pipes;
        {
            let mut desk = self.desk();
            desk.process += 1;
            desk.is_alive = true;
            // Otherwise the end of its input, here and now, tells the process to end.
            desk.input = (!desk.is_over).then_some(input);
            self.changed.notify_all();
        }
        thread::scope(|scope| {
            scope.spawn(|| log_errors(child::error_lines(errors)));
            scope.spawn(|| {
                for line in child::output_lines(output) {
                    match line {
                        Line::Whole(line) if line.trim().is_empty() => {}
                        Line::Whole(line) => match parse_line(&line) {
                            Ok(said) => self.act(host, said),
                            Err(bad) => self.refuse(host, bad, &line),
                        },
                        Line::TooLong(line) => self.refuse(host, too_long(&line), &line),
                    }
                }
                // It writes no more, so it cannot answer: no more is written to it either.
                let mut desk = self.desk();
                desk.input = None;
                desk.is_alive = false;
                self.changed.notify_all();
            });
            drop(self.wait_while(self.desk(), |desk| desk.is_alive && !desk.is_over));
            self.part(host, running);
        });
    }

    /// Ends a process and gives back what it has not answered.
    fn part(&self, host: &Host, running: Running) {
        let status = running.end();
        let open = {
            let mut desk = self.desk();
            desk.input = None;
            // An input that is being written to is not put back.
            desk.process += 1;
            std::mem::take(&mut desk.open)
        };
        let is_over = self.desk().is_over;
        if !is_over {
            let status = status.map_or_else(|| "an unknown status".to_owned(), |status| status.to_string());
            let unanswered = open.len();
            log::error!("the agent has ended ({status}); {unanswered} messages without an answer come again");
        }
        for delivery in open.into_values() {
            answer::requeue(host, delivery, Some(Duration::ZERO));
        }
        self.changed.notify_all();
    }

    /// Quotes a line that is not understood. The process will not answer the message again that it thinks it has
    /// answered, so that attempt has failed.
    fn refuse(&self, host: &Host, bad: BadLine, line: &str) {
        let BadLine { error, id, is_final } = bad;
        let about = id.map(|id| format!(" about message {id}")).unwrap_or_default();
        log::warn!("a line of the agent{about} is ignored: {error}: {}", quote(line, &[]));
        if let Some(id) = id.filter(|_| is_final)
            && let Some(delivery) = self.take(id)
        {
            answer::requeue(host, delivery, None);
            self.changed.notify_all();
        }
    }

    /// Does what the process says.
    fn act(&self, host: &Host, said: AgentLine) {
        match said {
            AgentLine::Reply { id, response, done } => {
                let Some(delivery) = self.take(id) else { return };
                let Some(response) = response else {
                    if done {
                        answer::finish(host, delivery);
                    } else {
                        self.desk().open.entry(id).or_insert(delivery);
                    }
                    return self.changed.notify_all();
                };
                if done {
                    answer::reply(host, delivery, response);
                } else if answer::keep(host, &delivery, response) {
                    // It still has its place, so that a later one cannot overtake it.
                    self.desk().open.entry(id).or_insert(delivery);
                } else {
                    answer::requeue(host, delivery, None);
                }
            }
            AgentLine::Done { id } => {
                if let Some(delivery) = self.take(id) {
                    answer::finish(host, delivery);
                }
            }
            AgentLine::Nack { id, delay } => {
                if let Some(delivery) = self.take(id) {
                    answer::requeue(host, delivery, delay);
                }
            }
            AgentLine::Status { id, status, message } => {
                let recipient = self.desk().open.get(&id).map(answer::Recipient::of);
                match recipient {
                    Some(recipient) => recipient.show(host, status, &message),
                    None => {
                        log::warn!("agent referenced message {id}, which is unknown or already acknowledged")
                    }
                }
            }
            AgentLine::Broadcast { channel, user_id, response } => {
                let sent = channel.parse().map_err(|_| format!("there is no channel {channel:?}")).and_then(
                    |name| host.broadcast(&name, &user_id, response).map_err(|error| error.to_string()),
                );
                if let Err(error) = sent {
                    log::error!("a broadcast of the agent was not kept: {error}");
                }
            }
        }
        self.changed.notify_all();
    }

    fn take(&self, id: u64) -> Option<Delivery> {
        let delivery = self.desk().open.remove(&id);
        if delivery.is_none() {
            log::warn!("agent referenced message {id}, which is unknown or already acknowledged");
        }
        delivery
    }
}

impl Agent for ExecAgent {
    fn serve(&self, host: &Host) {
        thread::scope(|scope| {
            scope.spawn(|| self.supervise(host));
            self.feed(host);
        });
    }

    fn stop(&self) {
        let mut desk = self.desk();
        desk.is_over = true;
        // The end of its input tells the process to end.
        desk.input = None;
        self.changed.notify_all();
    }

    fn describe(&self) -> String {
        format!("exec: {}", self.command)
    }

    fn stop_timeout(&self) -> Duration {
        // The process has 2 s after the end of its input, and 2 s after SIGTERM.
        Duration::from_secs(6)
    }
}

/// A line that was not kept as a whole: what it says about its message is in its beginning.
fn too_long(beginning: &str) -> BadLine {
    let error = format!("longer than {MAX_LINE_BYTES} bytes");
    BadLine { error, id: id_within(beginning), is_final: beginning.contains("\"reply\"") }
}

fn log_errors(lines: impl Iterator<Item = Line>) {
    for line in lines {
        let (Line::Whole(line) | Line::TooLong(line)) = line;
        log::info!(target: "agent", "{}", escaped(&line));
    }
}
