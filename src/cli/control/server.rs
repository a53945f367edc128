//! The socket of a running host.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::ChannelManager;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use super::connection::Connection;
use super::execute::{ControlError, execute};
use super::request::ControlRequest;
use super::wire::wait;
use crate::cli::start_channel::ChannelStarter;

/// Clients that are served at a time. One more closes the connection that has waited longest.
const MAX_CLIENTS: usize = 64;
/// How long nothing is accepted after the system refused to.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A listening control socket.
pub struct ControlServer {
    listener: UnixListener,
    path: PathBuf,
}

/// A control socket that is being served.
pub struct Serving<'scope> {
    stop: UnixStream,
    thread: ScopedJoinHandle<'scope, ()>,
    path: PathBuf,
}

impl ControlServer {
    /// Listens. The state directory is locked, so a socket that is there already is that of a host that died. A host
    /// that gets no socket runs all the same, and says so.
    pub fn open(path: &Path) -> Option<Self> {
        match listen(path) {
            Ok(listener) => Some(Self { listener, path: path.to_owned() }),
            Err(error) => {
                let path = path.display();
                log::warn!(
                    "the control socket {path} could not be created, so no command can reach this host: {error}"
                );
                None
            }
        }
    }

    /// Serves clients on a thread of its own.
    pub fn serve<'scope, 'env>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        manager: &'env ChannelManager,
        starter: &'env ChannelStarter,
    ) -> Option<Serving<'scope>> {
        let Self { listener, path } = self;
        let (stopped, stop) = UnixStream::pair().ok()?;
        let thread = scope.spawn(move || {
            if let Err(error) = serve_clients(&listener, &stopped, &|line| respond(line, manager, starter)) {
                log::error!("the control socket is not served any more: {error}");
            }
        });
        Some(Serving { stop, thread, path })
    }
}

impl Serving<'_> {
    /// Stops serving; a client that is being served is left.
    pub fn stop(mut self) {
        let _ = self.stop.write_all(b"x");
        let _ = self.thread.join();
        let _ = std::fs::remove_file(self.path);
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Until the mode is set, the directory (mode 0700) keeps others away.
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves all clients side by side until `stopped` can be read, so that idle ones keep nobody waiting.
fn serve_clients(
    listener: &UnixListener,
    stopped: &UnixStream,
    respond: &dyn Fn(&str) -> String,
) -> io::Result<()> {
    let mut clients: Vec<Connection> = Vec::new();
    loop {
        let is_stopped = wait_for_any(listener, stopped, &clients)?;
        if is_stopped {
            return Ok(());
        }
        accept_all(listener, stopped, &mut clients)?;
        let now = Instant::now();
        clients.retain_mut(|client| match client.advance(respond) {
            Ok(is_done) => !is_done && client.deadline > now,
            Err(error) => {
                log::debug!("a client of the control socket disconnected: {error}");
                false
            }
        });
    }
}

/// Waits until something can be done. True when it is to stop.
fn wait_for_any(listener: &UnixListener, stopped: &UnixStream, clients: &[Connection]) -> io::Result<bool> {
    let mut fds = vec![PollFd::new(stopped, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
    fds.extend(clients.iter().map(|client| {
        let (fd, flags) = client.interest();
        PollFd::from_borrowed_fd(fd, flags)
    }));
    let first = clients.iter().map(|client| client.deadline).min();
    let left = first.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    // A client's time is a few seconds, which always fits.
    let time = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(&mut fds, time.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(!fds[0].revents().is_empty()),
        Err(error) => Err(error.into()),
    }
}

/// Accepts whoever waits, at most as many as may be served.
fn accept_all(
    listener: &UnixListener,
    stopped: &UnixStream,
    clients: &mut Vec<Connection>,
) -> io::Result<()> {
    for _ in 0..MAX_CLIENTS {
        match listener.accept().and_then(|(stream, _)| Connection::new(stream)) {
            Ok(client) => {
                if clients.len() == MAX_CLIENTS {
                    clients.remove(0);
                }
                clients.push(client);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => {
                log::warn!("the control socket cannot accept a client: {error}");
                wait(stopped, PollFlags::IN, None, Some(ACCEPT_PAUSE))?;
                break;
            }
        }
    }
    Ok(())
}

fn respond(line: &str, manager: &ChannelManager, starter: &ChannelStarter) -> String {
    let result = serde_json::from_str::<ControlRequest>(line)
        .map_err(ControlError::NotUnderstood)
        .and_then(|request| execute(manager, starter, request));
    envelope(result).to_string()
}

/// The response as it is sent.
fn envelope(result: Result<Value, ControlError>) -> Value {
    match result {
        Ok(value) => serde_json::json!({"ok": value}),
        Err(error) => serde_json::json!({"error": error.to_string()}),
    }
}
