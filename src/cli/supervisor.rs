//! What a service manager is told of this process: the protocol of sd_notify(3), datagrams to the socket that `NOTIFY_SOCKET`
//! names. Without that variable nothing is said.
//!
//! The watchdog is fed when the router has responded, so a router that is stuck starves it, and the service manager starts the
//! host again.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use std::{env, io, process};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::ChannelManager;
use crate::host::{ChannelState, Health};

/// How often the status is told when there is no watchdog.
const STATUS_EVERY: Duration = Duration::from_secs(30);

/// The way to the service manager.
pub struct Supervisor {
    socket: UnixDatagram,
    address: SocketAddr,
    /// Within which time the watchdog wants to be fed, if there is one.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The service manager that started this process, if one wants to be told.
    pub fn from_environment() -> Option<Self> {
        let name = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
        let variable = |name: &str| env::var(name).ok();
        let watchdog = watchdog(variable("WATCHDOG_USEC").as_deref(), variable("WATCHDOG_PID").as_deref());
        Self::at(name.as_bytes(), watchdog)
            .map_err(|error| log::warn!("NOTIFY_SOCKET {}: {error}", name.display()))
            .ok()
    }

    fn at(name: &[u8], watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match name.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
        };
        Ok(Self { socket: UnixDatagram::unbound()?, address, watchdog })
    }

    /// The host serves.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// The configuration is being reloaded; [`ready`](Self::ready) says that it was.
    pub fn reloading(&self) {
        self.tell("RELOADING=1");
    }

    /// The host is being stopped.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    fn tell(&self, state: &str) {
        // There is nobody else to tell.
        if let Err(error) = self.socket.send_to_addr(state.as_bytes(), &self.address) {
            log::debug!("the service manager could not be told {state:?}: {error}");
        }
    }

    /// Tells the status, and feeds the watchdog, until `stop` is closed. Each time the router is asked first; while it does not
    /// respond, nothing is told.
    pub fn watch(&self, manager: &ChannelManager, stop: &Receiver<()>) {
        self.watch_with(|| manager.health().ok().map(|health| status(&health)), stop);
    }

    fn watch_with(&self, ask: impl Fn() -> Option<String>, stop: &Receiver<()>) {
        // Half of it, as sd_watchdog_enabled(3) recommends.
        let pause = self.watchdog.map_or(STATUS_EVERY, |watchdog| watchdog / 2).min(STATUS_EVERY);
        loop {
            let Some(status) = ask() else { return };
            let feed = if self.watchdog.is_some() { "WATCHDOG=1\n" } else { "" };
            self.tell(&format!("{feed}STATUS={status}"));
            if stop.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }
}

/// Within which time the watchdog wants to be fed: only by the process that is named.
fn watchdog(micros: Option<&str>, pid: Option<&str>) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(process::id()));
    let micros = micros?.parse().ok().filter(|micros| *micros > 0)?;
    is_ours.then(|| Duration::from_micros(micros))
}

/// How the host is, on one line.
fn status(health: &Health) -> String {
    let all = health.channels.len();
    let ready = health.channels.iter().filter(|channel| channel.state == ChannelState::Ready).count();
    let waiting = health.messages_waiting;
    format!("{ready} of {all} channels ready, {waiting} messages wait, the store is {:?}", health.store.state)
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;
    use crate::test_support::temp_dir::TempDir;

    fn listen(watchdog: Option<Duration>) -> (TempDir, UnixDatagram, Supervisor) {
        let directory = TempDir::new();
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor::at(path.as_os_str().as_bytes(), watchdog).unwrap();
        (directory, socket, supervisor)
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn states_are_told_as_systemd_reads_them() {
        let (_directory, socket, supervisor) = listen(None);
        supervisor.ready();
        supervisor.reloading();
        supervisor.stopping();
        assert_eq!(received(&socket), "READY=1");
        assert_eq!(received(&socket), "RELOADING=1");
        assert_eq!(received(&socket), "STOPPING=1\nSTATUS=stopping");
    }

    #[test]
    fn a_socket_without_a_file_is_reached_by_its_name() {
        let name = format!("tinclaw-test-{}", process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Supervisor::at(format!("@{name}").as_bytes(), None).unwrap().ready();
        assert_eq!(received(&socket), "READY=1");
    }

    #[test]
    fn the_watchdog_is_that_of_this_process() {
        let us = process::id().to_string();
        for (micros, pid, expected) in [
            (None, None, None),
            (Some("2000000"), None, Some(Duration::from_secs(2))),
            (Some("2000000"), Some(us.as_str()), Some(Duration::from_secs(2))),
            (Some("2000000"), Some("1"), None),
            (Some("0"), None, None),
            (Some("x"), None, None),
        ] {
            assert_eq!(watchdog(micros, pid), expected, "{micros:?} {pid:?}");
        }
    }

    /// A timer that feeds the watchdog would feed it for ever, whatever hangs.
    #[test]
    fn the_watchdog_is_not_fed_while_the_router_does_not_respond() {
        let (_directory, socket, supervisor) = listen(Some(Duration::from_millis(2)));
        let (go, router) = bounded::<()>(0);
        let (stop, stopped) = bounded::<()>(0);
        let watch = std::thread::spawn(move || {
            supervisor.watch_with(|| router.recv().ok().map(|()| "well".to_owned()), &stopped);
        });
        go.send(()).unwrap();
        assert_eq!(received(&socket), "WATCHDOG=1\nSTATUS=well");
        // The router is stuck from here on, for many times the pause.
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(socket.recv(&mut [0; 512]).is_err());
        go.send(()).unwrap();
        socket.set_read_timeout(None).unwrap();
        assert_eq!(received(&socket), "WATCHDOG=1\nSTATUS=well");
        drop((go, stop));
        watch.join().unwrap();
    }
}
