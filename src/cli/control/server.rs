//! The socket of a running host.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use rustix::event::PollFlags;
use serde_json::Value;
use tinclaw::ChannelManager;

use super::answer::answer;
use super::request::Request;
use super::wire::{MAX_REQUEST_BYTES, Wire, wait};
use crate::cli::object::object;

/// What one client may take, from its connection to the last byte of its answer. Clients are served one at a time.
const CLIENT_TIME: Duration = Duration::from_secs(5);

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
                log::warn!("commands cannot reach this host, because {path} cannot be made: {error}");
                None
            }
        }
    }

    /// Serves clients on a thread of its own.
    pub fn serve<'scope, 'env>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        manager: &'env ChannelManager,
    ) -> Option<Serving<'scope>> {
        let Self { listener, path } = self;
        let (stopped, stop) = UnixStream::pair().ok()?;
        let thread = scope.spawn(move || {
            while wait(&listener, PollFlags::IN, Some(&stopped), None).unwrap_or(false) {
                match listener.accept() {
                    Ok((client, _)) => {
                        if let Err(error) = attend(client, &stopped, manager) {
                            log::debug!("a client of the control socket went away: {error}");
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => {
                        log::warn!("the control socket takes no client: {error}");
                        std::thread::sleep(Duration::from_millis(200));
                    }
                }
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

fn attend(client: UnixStream, stopped: &UnixStream, manager: &ChannelManager) -> io::Result<()> {
    let mut wire = Wire::new(client, Some(stopped), CLIENT_TIME)?;
    let line = wire.read_line(MAX_REQUEST_BYTES)?;
    let result = serde_json::from_str::<Request>(&line)
        .map_err(|error| {
            format!("the request is not understood ({error}); is this another version of tinclaw?")
        })
        .and_then(|request| answer(manager, request));
    wire.write_line(&envelope(result).to_string())
}

/// The answer as it is sent.
fn envelope(result: Result<Value, String>) -> Value {
    match result {
        Ok(value) => object!({"ok": value}),
        Err(error) => object!({"error": error}),
    }
}
