//! The thread of a link: opens connections, carries out what the protocol says, and waits.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::address::Address;
use super::connection::{Incoming, LinkConnection};
use super::handle::{LinkHandle, News};
use super::login::{LoginSecrets, NoLogin};
use super::protocol::{LinkStep, Protocol, Receipt};
use super::reconnect::Reconnects;
use crate::egress::{ChannelHttp, OutboundError};
use crate::event::link::{LinkEvent, LinkEventKind, LinkState};
use crate::model::deadline::deadline_after;
use crate::model::human_duration::HumanDuration;
use crate::model::random::random;
use crate::net::waker::Waker;
use crate::secrets::SecretStore;

/// For resolving, connecting, TLS and the websocket's handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a link that only an operator can fix looks whether a secret has changed.
const SECRETS_CHECK: Duration = Duration::from_secs(10);
/// The wait after a service has refused the credentials.
const REFUSED_WAIT: Duration = Duration::from_secs(60);
/// Frames that may be in flight to the guest; then the link reads no further until one of them is done with.
pub const MAX_FRAMES_IN_FLIGHT: usize = 64;
/// Their bytes together.
pub const MAX_BYTES_IN_FLIGHT: usize = 4 * 1024 * 1024;
/// Frames of any kind that are read before the link looks at its deadlines again, and whether it is to end.
const FRAMES_PER_TURN: usize = 64;

/// What a link is made of.
pub struct LinkSettings {
    /// The channel, for log lines and the thread's name.
    pub channel: String,
    /// Where connections go.
    pub address: Address,
    /// What is spoken.
    pub protocol: Box<dyn Protocol>,
    /// The channel's way out.
    pub http: Arc<ChannelHttp>,
    /// Where the login's secrets are.
    pub secrets: Arc<dyn SecretStore>,
    /// Their names.
    pub login: LoginSecrets,
    /// Whether the channel works without the link, when a secret of the login is not stored.
    pub is_optional: bool,
    /// Takes what happens, for the guest; it may block. `false`: the host is shutting down.
    pub deliver: Box<dyn Fn(LinkEvent) -> bool + Send>,
}

/// Starts a link.
///
/// # Errors
/// The system has no thread or no socket left.
pub fn start(settings: LinkSettings) -> io::Result<LinkHandle> {
    let (handle, news) = LinkHandle::new(settings.address.host().to_owned(), Waker::new()?);
    let thread = Thread {
        settings,
        link: handle.clone(),
        news,
        reconnects: Reconnects::default(),
        unsent: VecDeque::new(),
        frames_in_flight: 0,
        bytes_in_flight: 0,
        is_ready: false,
        replacement: None,
        close_code: None,
    };
    let name = format!("tinclaw-link-{}", thread.settings.channel);
    // Nobody joins it: it ends soon after it was told to, and holds nothing that others wait for.
    std::thread::Builder::new().name(name).spawn(move || thread.run())?;
    Ok(handle)
}

struct Thread {
    settings: LinkSettings,
    link: LinkHandle,
    news: Receiver<News>,
    reconnects: Reconnects,
    /// Frames of the guest that wait until the socket has taken those before them. They count as queued.
    unsent: VecDeque<String>,
    /// Frames that were sent to the router and not completed, and their bytes: this thread adds them when it sends one and takes them
    /// away when it hears of its end. It reads from the socket only while there is room for more.
    frames_in_flight: usize,
    bytes_in_flight: usize,
    /// The service has accepted the login of the connection that is open.
    is_ready: bool,
    /// Why another connection is to take the place of the one that is open.
    replacement: Option<String>,
    /// The code that the service has closed it with.
    close_code: Option<u16>,
}

/// What is left after a turn.
enum AfterTurn {
    /// Nothing, until something happens.
    Idle,
    /// More to read, perhaps.
    More,
}

/// How a connection ended.
#[derive(Debug)]
enum End {
    /// Connect again, after this wait at least.
    Again { reason: String, wait: Option<Duration> },
    /// Wait for an operator.
    Stopped { reason: String },
    /// There is nothing to log in with, and need not be.
    NotUsed { reason: String },
    /// The host or the channel ends.
    Closing,
}

impl End {
    fn reason(&self) -> &str {
        match self {
            Self::Again { reason, .. } | Self::Stopped { reason } | Self::NotUsed { reason } => reason,
            Self::Closing => "the host stops",
        }
    }
}

impl Thread {
    fn run(mut self) {
        while !self.link.is_closing() {
            match self.one_connection() {
                End::Again { reason, wait } => self.wait_for_next(reason, wait),
                End::Stopped { reason } => self.stopped(reason),
                End::NotUsed { reason } => self.wait_for_operator(LinkState::NotUsed, reason),
                End::Closing => break,
            }
        }
    }

    /// Opens a connection and serves it until it ends.
    fn one_connection(&mut self) -> End {
        self.link.update(|health| health.enter(LinkState::Connecting, health.reason.clone()));
        self.take_news_without_connection();
        let login = match self.settings.login.read(&*self.settings.secrets) {
            Ok(login) => login,
            Err(error @ NoLogin::Missing { .. }) if self.settings.is_optional => {
                return End::NotUsed { reason: error.to_string() };
            }
            Err(error @ NoLogin::Missing { .. }) => return End::Stopped { reason: error.to_string() },
            Err(error @ NoLogin::Unreadable(_)) => return again(error.to_string()),
        };
        let mut connection = match self.connect() {
            Ok(connection) => connection,
            Err(end) => return end,
        };
        self.link.update(|health| health.connections += 1);
        let steps = self.settings.protocol.opened(login, Instant::now());
        let end = self.carry_out(steps, &mut connection).err();
        let end = end.unwrap_or_else(|| self.serve(&mut connection));
        self.replacement = None;
        if !matches!(end, End::Again { .. }) {
            connection.close(self.settings.protocol.closing_code());
        }
        self.tell_of_end(end)
    }

    /// Tells the guest that a connection has ended that was ready.
    fn tell_of_end(&mut self, end: End) -> End {
        let (code, reason) = match &end {
            End::Again { reason, .. } | End::Stopped { reason } => (self.close_code.take(), reason.as_str()),
            End::NotUsed { .. } | End::Closing => return end,
        };
        if !std::mem::take(&mut self.is_ready) {
            return end;
        }
        let kind = LinkEventKind::Closed { code, reason: reason.into() };
        self.tell(kind, Receipt::None, 0).err().unwrap_or(end)
    }

    fn connect(&self) -> Result<LinkConnection, End> {
        let deadline = deadline_after(Instant::now(), CONNECT_TIMEOUT);
        let resume = self.settings.protocol.resume_url();
        let http = &self.settings.http;
        let url = self.settings.address.url(http, resume, deadline).map_err(|(reason, is_refusal)| {
            End::Again { reason, wait: is_refusal.then_some(REFUSED_WAIT) }
        })?;
        match http.open_websocket(&url, deadline) {
            Ok(socket) => Ok(LinkConnection::new(socket, Instant::now())),
            Err(error) => Err(not_opened(&error)),
        }
    }

    /// Serves a connection until it ends.
    fn serve(&mut self, connection: &mut LinkConnection) -> End {
        loop {
            let after = match self.turn(connection) {
                Ok(after) => after,
                Err(end) => return end,
            };
            if let Some(reason) = self.replacement.take() {
                if let Err(end) = self.replace(connection, &reason) {
                    return end;
                }
            } else if matches!(after, AfterTurn::Idle) {
                self.wait_for_something(connection);
            }
        }
    }

    /// Opens another connection and then closes this one, from which is read first what the service has sent meanwhile. Where
    /// none can be opened, this one is served for as long as the service lets it.
    fn replace(&mut self, connection: &mut LinkConnection, reason: &str) -> Result<(), End> {
        let opened =
            self.settings.login.read(&*self.settings.secrets).map_err(|error| again(error.to_string()));
        let opened = opened.and_then(|login| Ok((login, self.connect()?)));
        let (login, next) = match opened {
            Ok(opened) => opened,
            Err(end) => {
                let channel = &self.settings.channel;
                let why = end.reason();
                log::warn!(target: channel, "channel {channel}: {reason}, and none can be opened: {why}");
                return Ok(());
            }
        };
        self.receive_what_is_there(connection)?;
        connection.close(self.settings.protocol.closing_code());
        *connection = next;
        self.link.update(|health| health.connections += 1);
        let steps = self.settings.protocol.opened(login, Instant::now());
        self.replacement = None;
        self.carry_out(steps, connection)
    }

    /// Reads frames as long as there are any, and room for them. Its end counts for nothing: it is about to be closed.
    fn receive_what_is_there(&mut self, connection: &mut LinkConnection) -> Result<(), End> {
        while self.has_room() {
            match connection.receive(Instant::now()) {
                Incoming::Nothing | Incoming::Closed { .. } => break,
                Incoming::Other => {}
                Incoming::Text(frame) => self.received(&frame, connection)?,
            }
        }
        // What cannot be sent any more is acknowledged by the next connection, or is redelivered.
        let _ = connection.flush();
        Ok(())
    }

    /// Does what can be done without waiting.
    fn turn(&mut self, connection: &mut LinkConnection) -> Result<AfterTurn, End> {
        if self.link.is_closing() {
            return Err(End::Closing);
        }
        self.take_news(connection)?;
        let now = Instant::now();
        if self.settings.protocol.deadline().is_some_and(|deadline| deadline <= now) {
            let steps = self.settings.protocol.due(now);
            self.carry_out(steps, connection)?;
        }
        let mut turn = AfterTurn::More;
        for _ in 0..FRAMES_PER_TURN {
            if !self.has_room() {
                turn = AfterTurn::Idle;
                break;
            }
            match connection.receive(Instant::now()) {
                Incoming::Nothing => {
                    turn = AfterTurn::Idle;
                    break;
                }
                Incoming::Other => {}
                Incoming::Text(frame) => self.received(&frame, connection)?,
                Incoming::Closed { code, reason } => return Err(self.closed(code, &reason)),
            }
        }
        let kept = connection.keep_alive(now, self.has_room()).and_then(|()| connection.flush());
        kept.map_err(|reason| self.closed(None, reason))?;
        self.send_queued(connection)?;
        Ok(turn)
    }

    fn received(&mut self, frame: &str, connection: &mut LinkConnection) -> Result<(), End> {
        let steps = self.settings.protocol.received(frame, Instant::now(), random());
        self.carry_out(steps, connection)
    }

    fn closed(&mut self, code: Option<u16>, reason: &str) -> End {
        self.close_code = code;
        match self.settings.protocol.closed(code, reason) {
            LinkStep::Stop { reason } => End::Stopped { reason },
            LinkStep::Reconnect { reason, wait, .. } => End::Again { reason, wait },
            _ => again(reason.to_owned()),
        }
    }

    fn carry_out(&mut self, steps: Vec<LinkStep>, connection: &mut LinkConnection) -> Result<(), End> {
        for step in steps {
            match step {
                LinkStep::Send(frame) => {
                    if let Err(reason) = connection.send(frame.as_str()) {
                        return Err(self.closed(None, reason));
                    }
                }
                LinkStep::Deliver { frame, receipt } => self.deliver(frame, receipt)?,
                LinkStep::Ready => self.ready()?,
                LinkStep::Reconnect { reason, code, wait } => {
                    connection.close(code);
                    self.settings.protocol.closed(None, &reason);
                    return Err(End::Again { reason, wait });
                }
                LinkStep::Replace { reason } => self.replacement = Some(reason),
                LinkStep::Stop { reason } => {
                    self.settings.protocol.closed(None, &reason);
                    return Err(End::Stopped { reason });
                }
            }
        }
        Ok(())
    }

    fn ready(&mut self) -> Result<(), End> {
        self.reconnects.ready(Instant::now());
        let host = self.settings.address.host();
        log::info!(
            target: &self.settings.channel,
            "channel {}: the websocket to {host} is ready",
            self.settings.channel
        );
        self.link.update(|health| health.enter(LinkState::Ready, None));
        // For the guest a connection that took the place of another is the same.
        if std::mem::replace(&mut self.is_ready, true) {
            return Ok(());
        }
        self.tell(LinkEventKind::Opened, Receipt::None, 0)
    }

    fn deliver(&mut self, frame: String, receipt: Receipt) -> Result<(), End> {
        let text = self.settings.http.redacted_frame(frame).map_err(|error| again(error.to_string()))?;
        let bytes = text.len();
        self.link.update(|health| health.frames_received += 1);
        self.tell(LinkEventKind::Frame(text.into()), receipt, bytes)
    }

    /// Hands on what happened; it is in flight until the router is done with it.
    fn tell(&mut self, kind: LinkEventKind, receipt: Receipt, bytes: usize) -> Result<(), End> {
        self.frames_in_flight += 1;
        self.bytes_in_flight += bytes;
        let session = self.settings.protocol.session_after(&receipt);
        let acknowledgement = self.link.acknowledgement(receipt, bytes).with_session(session);
        let is_taken = (self.settings.deliver)(LinkEvent { kind, acknowledgement });
        if is_taken { Ok(()) } else { Err(End::Closing) }
    }

    fn has_room(&self) -> bool {
        has_room_for_more(self.frames_in_flight, self.bytes_in_flight)
    }

    /// Takes what others had to tell.
    fn take_news(&mut self, connection: &mut LinkConnection) -> Result<(), End> {
        while let Ok(news) = self.news.try_recv() {
            let steps = self.note(news);
            self.carry_out(steps, connection)?;
        }
        Ok(())
    }

    /// The same without a connection: what the guest wanted to send is lost with it.
    fn take_news_without_connection(&mut self) {
        while let Ok(news) = self.news.try_recv() {
            self.note(news);
        }
        self.link.0.queued.fetch_sub(self.unsent.len(), Ordering::Relaxed);
        self.unsent.clear();
    }

    fn note(&mut self, news: News) -> Vec<LinkStep> {
        match news {
            News::Send(frame) => {
                self.unsent.push_back(frame);
                Vec::new()
            }
            News::Done(receipt, bytes) => {
                self.frames_in_flight -= 1;
                self.bytes_in_flight -= bytes;
                self.settings.protocol.acknowledged(receipt)
            }
        }
    }

    /// Sends frames of the guest, one when the socket has taken the one before.
    fn send_queued(&mut self, connection: &mut LinkConnection) -> Result<(), End> {
        while !connection.has_unsent() {
            let Some(frame) = self.unsent.pop_front() else { break };
            self.link.0.queued.fetch_sub(1, Ordering::Relaxed);
            self.link.update(|health| health.frames_sent += 1);
            self.carry_out(vec![LinkStep::Send(frame.into())], connection)?;
        }
        Ok(())
    }

    fn wait_for_something(&self, connection: &LinkConnection) {
        let deadline = [self.settings.protocol.deadline(), Some(connection.keep_alive_at())];
        let deadline = deadline.into_iter().flatten().min();
        let flags = waited_for(self.has_room(), connection.has_unsent());
        let socket = flags.map(|flags| PollFd::from_borrowed_fd(connection.as_fd(), flags));
        wait(&self.link.0.waker, socket, deadline);
    }

    /// After a connection that failed.
    fn wait_for_next(&mut self, reason: String, wait: Option<Duration>) {
        let backoff = self.reconnects.wait(wait, Instant::now(), random());
        log::warn!(
            target: &self.settings.channel,
            "channel {}: the websocket to {} is down: {reason}; reconnecting in {}",
            self.settings.channel,
            self.settings.address.host(),
            HumanDuration(backoff)
        );
        self.link.update(|health| health.enter(LinkState::Waiting, Some(reason)));
        let until = deadline_after(Instant::now(), backoff);
        self.sleep_until(until);
    }

    fn stopped(&mut self, reason: String) {
        log::error!(
            target: &self.settings.channel,
            "channel {}: the websocket to {} is closed: {reason}",
            self.settings.channel,
            self.settings.address.host()
        );
        self.wait_for_operator(LinkState::Stopped, reason);
    }

    /// After an end that only an operator can fix: until a secret changes.
    fn wait_for_operator(&mut self, state: LinkState, reason: String) {
        self.link.update(|health| health.enter(state, Some(reason)));
        let revision = self.settings.secrets.revision();
        while !self.link.is_closing() && self.settings.secrets.revision() == revision {
            self.sleep_until(deadline_after(Instant::now(), SECRETS_CHECK));
        }
        self.reconnects.forget();
    }

    fn sleep_until(&mut self, deadline: Instant) {
        while !self.link.is_closing() && Instant::now() < deadline {
            wait(&self.link.0.waker, None, Some(deadline));
            self.take_news_without_connection();
        }
    }
}

fn not_opened(error: &OutboundError) -> End {
    let reason = error.to_string();
    match error {
        OutboundError::Handshake { status: 401 | 403, .. } => End::Again { reason, wait: Some(REFUSED_WAIT) },
        error if error.is_permanent() => End::Stopped { reason },
        _ => again(reason),
    }
}

fn again(reason: String) -> End {
    End::Again { reason, wait: None }
}

/// What the socket is waited for, if at all: the end of a connection is reported whatever is asked for, but it is read only when
/// there is room.
fn waited_for(has_room: bool, has_unsent: bool) -> Option<PollFlags> {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, has_room);
    flags.set(PollFlags::OUT, has_unsent);
    (!flags.is_empty()).then_some(flags)
}

/// Waits for news, for the socket, or for the deadline.
fn wait(waker: &Waker, socket: Option<PollFd<'_>>, deadline: Option<Instant>) {
    let mut waited = vec![PollFd::from_borrowed_fd(waker.as_fd(), PollFlags::IN)];
    waited.extend(socket);
    let timeout = deadline.map(|deadline| {
        // A millisecond more, so that a deadline has passed when the wait for it ends.
        let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        }
    });
    // An interrupted wait ends early, and so does one that the system has no memory for: whoever waits looks again.
    let _ = poll(&mut waited, timeout.as_ref());
    waker.clear();
}

/// Whether another frame is read beside those that are not acknowledged yet.
fn has_room_for_more(frames: usize, bytes: usize) -> bool {
    frames < MAX_FRAMES_IN_FLIGHT && bytes < MAX_BYTES_IN_FLIGHT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_until_as_many_or_as_many_bytes_as_the_limit_are_in_flight() {
        for (frames, bytes, expected) in
            [(0, 0, true), (63, 1, true), (64, 1, false), (1, (4 << 20) - 1, true), (1, 4 << 20, false)]
        {
            assert_eq!(has_room_for_more(frames, bytes), expected, "{frames} frames, {bytes} bytes");
        }
    }

    /// A link without room for frames whose service had reset the connection took a whole processor: the end was reported all
    /// the time, and not read.
    #[test]
    fn a_socket_that_nothing_is_done_with_is_not_waited_for() {
        for (has_room, has_unsent, expected) in [
            (false, false, None),
            (true, false, Some(PollFlags::IN)),
            (false, true, Some(PollFlags::OUT)),
            (true, true, Some(PollFlags::IN | PollFlags::OUT)),
        ] {
            assert_eq!(waited_for(has_room, has_unsent), expected);
        }
    }
}
