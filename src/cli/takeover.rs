//! The listening socket of `tinclaw run`: bound, passed on by systemd, or taken from the host that runs.
//!
//! A host waits at `takeover.sock` in its state directory. Who asks there gets the listening socket, and acknowledges it; then the host
//! stops accepting, serves what has connected, stops as it does for SIGTERM, and says when its store is free. Connections that arrive
//! meanwhile wait in the socket's queue, so none is refused. Without the acknowledgement the host goes on.
//!
//! The host keeps the socket until the other one says that it serves. When that ends before, the host starts again. Which of them has
//! the store is decided by its lock alone.

#![expect(unsafe_code, reason = "a descriptor that systemd has passed on is a number")]

use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketType, recvmsg, sendmsg,
};

use super::output::Failure;
use crate::admin::{SocketFile, check_replaceable};
use crate::store::Holder;

/// The socket in the state directory.
const SOCKET: &str = "takeover.sock";
/// What a host says when it has stopped.
const STOPPED: &[u8] = b"stopped\n";
/// What goes along with the listening socket.
const LISTENER: &[u8] = b"L";
/// What a successor says when it has the socket.
const TAKEN: u8 = b'T';
/// What it says when it serves.
const SERVES: u8 = b'S';
/// How long a successor may take to say so.
const TAKEN_TIME: Duration = Duration::from_secs(5);
/// How long the running host may take to stop.
const STOP_TIME: Duration = Duration::from_secs(120);
/// How long an address may be taken when no host has the state: whoever takes over is between the two.
const UNSEEN_TIME: Duration = Duration::from_secs(2);
/// How often a wait looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The first file descriptor that systemd passes on (`sd_listen_fds(3)`).
const FIRST_PASSED: i32 = 3;

/// The listening socket, and where it came from.
pub struct Listening {
    /// The socket.
    pub listener: TcpListener,
    /// Another host has had it: what connects is to wait until this one is ready.
    pub is_taken_over: bool,
    /// That host, while it waits for this one.
    pub predecessor: Option<Predecessor>,
}

impl Listening {
    /// What has connected to it already waits until this host is ready.
    pub fn with_queue(listener: TcpListener) -> Self {
        Self { listener, is_taken_over: true, predecessor: None }
    }

    fn alone(listener: TcpListener) -> Self {
        Self { listener, is_taken_over: false, predecessor: None }
    }
}

/// The host that was taken over from. It starts again when this is dropped before [`Predecessor::end`].
pub struct Predecessor(UnixStream);

impl Predecessor {
    /// This host serves, so the other one ends.
    pub fn end(mut self) {
        // One that has gone does not hear it.
        let _ = self.0.write_all(&[SERVES]);
    }
}

/// Whether no host runs with this state directory.
///
/// # Errors
/// One does.
pub fn check_alone(state_dir: &Path) -> Result<(), Failure> {
    let Some(holder) = Holder::of(state_dir) else { return Ok(()) };
    Err(Failure::problem(format!(
        "{} is in use by another tinclaw{}: a host runs with this state; `tinclaw run --takeover` takes its place, or give \
         this one a state directory of its own with --state-dir",
        state_dir.display(),
        process_of(&holder)
    )))
}

/// Binds an address, unless systemd has passed a socket on.
///
/// # Errors
/// The address is taken, or what was passed on is no TCP socket.
pub fn listen(address: SocketAddr) -> Result<Listening, Failure> {
    bind_or_take_passed(address).map_err(|error| cannot_listen(address, &error))
}

fn process_of(holder: &Holder) -> String {
    holder.pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

fn bind_or_take_passed(address: SocketAddr) -> io::Result<Listening> {
    let passed = passed_on().map_err(|error| io::Error::new(error.kind(), format!("LISTEN_FDS: {error}")))?;
    let listener = passed.map_or_else(|| TcpListener::bind(address), Ok)?;
    Ok(Listening::alone(listener))
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    let port = address.port().checked_add(1).unwrap_or_default();
    Failure::problem(format!(
        "cannot listen on {address}: {error}; choose another address with --listen, such as --listen 127.0.0.1:{port}"
    ))
}

/// Whether an address could be had. One that is in use could: that may be the host that runs.
///
/// # Errors
/// It is none of this machine's, or this user may not have it.
pub fn check(address: SocketAddr) -> Result<(), Failure> {
    // Those of a service are another user's, who passes its socket on.
    if is_passed_on() {
        return Ok(());
    }
    check_address(address).map_err(|error| cannot_listen(address, &error))
}

/// Whether an address could be had, without listening there.
///
/// # Errors
/// It is none of this machine's, or this user may not have it.
pub fn check_address(address: SocketAddr) -> io::Result<()> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let bound = rustix::net::socket(family, SocketType::STREAM, None)
        .and_then(|socket| rustix::net::bind(&socket, &address));
    match bound {
        Ok(()) | Err(Errno::ADDRINUSE) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Takes the socket of the host that runs with this state directory, and waits until it has stopped. One that is stopping already, or
/// that starts, is waited for. Binds the address when none runs. Ends when `is_stopped` says so.
///
/// # Errors
/// The host does not give it, or does not stop in time, or the wait was ended.
pub fn take_over(
    state_dir: &Path,
    address: SocketAddr,
    is_stopped: impl Fn() -> bool,
) -> Result<Listening, Failure> {
    let path = state_dir.join(SOCKET);
    let mut wait = HostWait::new(is_stopped);
    loop {
        if let Some(listening) = ask_for_socket(&path, address, &wait)? {
            return Ok(listening);
        }
        let holder = Holder::of(state_dir);
        if let Some(holder) = &holder {
            wait.saw_host(holder);
        } else {
            match bind_or_take_passed(address) {
                Ok(listening) => {
                    match wait.has_seen_host {
                        true => log::info!("the host that was waited for has stopped"),
                        false => log::info!("no host runs that could be taken over"),
                    }
                    return Ok(listening);
                }
                // Whoever has just taken over has the address before the state.
                Err(error) if error.kind() == ErrorKind::AddrInUse && !wait.is_over() => {}
                Err(error) => return Err(cannot_listen(address, &error)),
            }
        }
        if wait.is_over() {
            let who = holder.map(|holder| process_of(&holder)).unwrap_or_default();
            return Err(Failure::problem(format!(
                "the host with the state in {}{who} has not stopped in time, and gives its socket to nobody: look at its log",
                state_dir.display()
            )));
        }
        wait.pause()?;
    }
}

/// Waiting for a host that stops or starts.
struct HostWait<F> {
    is_stopped: F,
    since: Instant,
    has_seen_host: bool,
}

impl<F: Fn() -> bool> HostWait<F> {
    fn new(is_stopped: F) -> Self {
        Self { is_stopped, since: Instant::now(), has_seen_host: false }
    }

    fn saw_host(&mut self, holder: &Holder) {
        if !std::mem::replace(&mut self.has_seen_host, true) {
            log::info!("waiting for the running host{}, which stops or starts now", process_of(holder));
        }
    }

    fn is_over(&self) -> bool {
        self.since.elapsed() >= if self.has_seen_host { STOP_TIME } else { UNSEEN_TIME }
    }

    fn pause(&self) -> Result<(), Failure> {
        self.check()?;
        std::thread::sleep(LOOK_EVERY);
        self.check()
    }

    fn check(&self) -> Result<(), Failure> {
        match (self.is_stopped)() {
            true => Err(Failure::problem(
                "a signal ended the wait for the running host; this one has not started",
            )),
            false => Ok(()),
        }
    }

    /// Does something with a socket that waits for [`LOOK_EVERY`] at most, again and again until it is done.
    ///
    /// # Errors
    /// Its own error, or that the time is over. In the inner result: a signal has ended it.
    fn until_done<T>(&self, mut read: impl FnMut() -> io::Result<T>) -> Result<io::Result<T>, Failure> {
        let since = Instant::now();
        loop {
            match read() {
                Err(error) if is_pause(&error) => {
                    self.check()?;
                    if since.elapsed() >= STOP_TIME {
                        return Ok(Err(ErrorKind::TimedOut.into()));
                    }
                }
                done => return Ok(done),
            }
        }
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Asks the host that waits at a path for its socket, and waits until it has stopped. None when no host waits there.
fn ask_for_socket(
    path: &Path,
    address: SocketAddr,
    wait: &HostWait<impl Fn() -> bool>,
) -> Result<Option<Listening>, Failure> {
    let failed = |what: &str, error: &io::Error| {
        Failure::problem(format!("the running host at {} {what}: {error}", path.display()))
    };
    let mut stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(failed("cannot be asked", &error)),
    };
    stream.set_read_timeout(Some(LOOK_EVERY)).map_err(|error| failed("cannot be asked", &error))?;
    let listener = match wait.until_done(|| receive(&stream))? {
        Ok(Some(listener)) => listener,
        // It stops, or gives its socket to somebody else.
        Ok(None) => return Ok(None),
        Err(error) => return Err(failed("does not give its socket", &error)),
    };
    // A host that died here has stopped as well, which reading finds.
    let _ = stream.write_all(&[TAKEN]);
    let taken =
        listener.local_addr().map_err(|error| failed("gives a socket that cannot be used", &error))?;
    log::info!("taking over {taken} from the running host, which stops now");
    let is_other = taken.port() != address.port() && address.port() != 0;
    if is_other || (taken.ip() != address.ip() && address.port() != 0) {
        log::warn!(
            "the socket that was taken over listens on {taken}, and not on {address}; a restart changes that"
        );
    }
    let mut said = [0];
    let read_on = || loop {
        match stream.read(&mut said) {
            Ok(1..) if !STOPPED.ends_with(&said) => {}
            // All of it, or the end of a host that has died.
            Ok(_) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    match wait.until_done(read_on)? {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => {
            Err(failed("has not stopped in time", &error))
        }
        // A host that has died has stopped as well.
        _ => {
            Ok(Some(Listening { predecessor: Some(Predecessor(stream)), ..Listening::with_queue(listener) }))
        }
    }
}

/// Whether systemd has passed sockets on to this process.
fn is_passed_on() -> bool {
    std::env::var("LISTEN_PID").is_ok_and(|pid| pid.parse() == Ok(std::process::id()))
}

/// The socket that systemd has passed on to this process, if it has.
fn passed_on() -> io::Result<Option<TcpListener>> {
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u32>().ok());
    if !is_passed_on() {
        return Ok(None);
    }
    match number("LISTEN_FDS") {
        Some(1) => {}
        Some(0) | None => return Ok(None),
        Some(count) => {
            return Err(io::Error::other(format!("{count} sockets were passed on, and one is expected")));
        }
    }
    // SAFETY: the service manager has opened this descriptor for this process (LISTEN_PID says so) and nothing here has used it: this
    // is called once, before any other descriptor is taken from it.
    let socket = unsafe { OwnedFd::from_raw_fd(FIRST_PASSED) };
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    let listener = TcpListener::from(socket);
    listener.local_addr()?;
    Ok(Some(listener))
}

/// Takes the listening socket from the host on the other side; none when that has ended.
fn receive(stream: &UnixStream) -> io::Result<Option<TcpListener>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; LISTENER.len()];
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC);
    match received.map_err(io::Error::from) {
        Ok(message) if message.bytes == 0 => return Ok(None),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
        result => result.map(drop)?,
    }
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let socket = descriptors.flatten().next().ok_or_else(|| io::Error::other("it sent none"))?;
    Ok(Some(TcpListener::from(socket)))
}

fn send(stream: &UnixStream, listener: &TcpListener) -> io::Result<()> {
    let descriptors = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("there is no room for a descriptor"));
    }
    sendmsg(stream, &[IoSlice::new(LISTENER)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Gives the listening socket away, and waits until the other side says that it has it.
fn give(mut stream: &UnixStream, listener: &TcpListener) -> io::Result<()> {
    stream.set_read_timeout(Some(TAKEN_TIME))?;
    send(stream, listener)?;
    let mut said = [0];
    stream.read_exact(&mut said)?;
    if said == [TAKEN] { Ok(()) } else { Err(io::Error::other("it said something else")) }
}

/// Where a running host is asked for its listening socket.
pub struct TakeoverSocket {
    socket: UnixListener,
    file: SocketFile,
}

/// Whoever waits for this host to stop, and the socket that it has as well.
pub struct Successor {
    stream: UnixStream,
    listener: TcpListener,
}

impl TakeoverSocket {
    /// Makes the socket in the state directory, which this process has locked. Without one the host runs all the same.
    pub fn open(state_dir: &Path) -> Option<Self> {
        let path = state_dir.join(SOCKET);
        match Self::bind(&path) {
            Ok(opened) => Some(opened),
            Err(error) => {
                log::warn!("this host cannot be taken over: {}: {error}", path.display());
                None
            }
        }
    }

    fn bind(path: &Path) -> io::Result<Self> {
        check_replaceable(path)?;
        let _ = fs::remove_file(path);
        let socket = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { socket, file: SocketFile::of(path.to_owned())? })
    }

    /// Waits for somebody who takes the socket over, and gives it. None when the host stops for another reason.
    pub fn wait(&self, listener: TcpListener, is_stopping: impl Fn() -> bool) -> Option<Successor> {
        loop {
            let stream = match self.socket.accept() {
                _ if is_stopping() => return None,
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    log::warn!("this host cannot be taken over any more: {error}");
                    return None;
                }
            };
            match give(&stream, &listener) {
                Ok(()) => return Some(Successor { stream, listener }),
                Err(error) => {
                    log::warn!("this host goes on, because another did not take its socket over: {error}")
                }
            }
        }
    }

    /// Ends [`TakeoverSocket::wait`].
    pub fn wake(&self) {
        // Where a socket that listens can be shut down, this ends the wait whatever has become of the path.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        let _ = UnixStream::connect(self.file.path());
    }
}

impl Successor {
    /// This host has stopped, and its store is free. Waits until the other one serves. Returns the socket when that has ended before: this
    /// host is to start again.
    pub fn wait_until_it_serves(mut self, state_dir: &Path) -> Option<TcpListener> {
        // One that has gone is found when it is read from.
        let _ = self.stream.write_all(STOPPED);
        let _ = self.stream.set_read_timeout(Some(LOOK_EVERY));
        let mut idle_since = Instant::now();
        loop {
            let mut said = [0];
            match self.stream.read(&mut said) {
                Ok(1..) if said == [SERVES] => {
                    log::info!("the host that has taken over serves now");
                    return None;
                }
                Ok(1..) => {}
                Err(error) if is_pause(&error) => {
                    if Holder::of(state_dir).is_some() {
                        idle_since = Instant::now();
                    } else if idle_since.elapsed() >= STOP_TIME {
                        log::warn!(
                            "the host that was to take over has not opened the store; this one starts again"
                        );
                        return Some(self.listener);
                    }
                }
                Ok(0) | Err(_) => break,
            }
        }
        log::warn!("the host that was to take over has ended before it served; this one starts again");
        let since = Instant::now();
        // What it had is let go of one after the other.
        while let Some(holder) = Holder::of(state_dir) {
            if since.elapsed() >= STOP_TIME {
                let who = process_of(&holder);
                log::error!("another tinclaw{who} has the state now; this one ends");
                return None;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Some(self.listener)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::temp_dir::TempDir;

    #[test]
    fn a_listening_socket_goes_to_whoever_asks_and_its_queue_with_it() {
        let place = TempDir::new();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let socket = TakeoverSocket::open(place.path()).expect("a socket");
        let taken = std::thread::scope(|scope| {
            let giver = scope.spawn(|| {
                let successor = socket.wait(listener, || false).expect("somebody asks");
                assert!(successor.wait_until_it_serves(place.path()).is_none());
            });
            let taken =
                take_over(place.path(), address, || false).unwrap_or_else(|_| panic!("it is taken over"));
            taken.predecessor.expect("it waits").end();
            giver.join().expect("it is given");
            taken.listener
        });
        let client = std::net::TcpStream::connect(address).expect("nobody refuses it");
        let (_, peer) = taken.accept().expect("it is in the queue");
        assert_eq!(peer, client.local_addr().expect("an address"));
    }

    /// The wait was ended by a connection to the path. A host whose state directory had been deleted never stopped.
    #[test]
    fn a_wait_ends_after_the_directory_of_the_socket_was_deleted() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicBool, Ordering};

        let place = TempDir::new();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let socket = Arc::new(TakeoverSocket::open(place.path()).expect("a socket"));
        let is_stopping = Arc::new(AtomicBool::new(false));
        let (ended, end) = std::sync::mpsc::channel();
        let (waits, stops) = (Arc::clone(&socket), Arc::clone(&is_stopping));
        std::thread::spawn(move || {
            let successor = waits.wait(listener, || stops.load(Ordering::SeqCst));
            let _ = ended.send(successor.is_none());
        });
        fs::remove_dir_all(place.path()).expect("it can be deleted");
        is_stopping.store(true, Ordering::SeqCst);
        socket.wake();
        assert_eq!(end.recv_timeout(std::time::Duration::from_secs(60)), Ok(true));
    }

    /// Somebody who had asked and died had the host stop, with nobody in its place.
    #[test]
    fn a_successor_that_dies_before_it_acknowledges_the_socket_is_none() {
        let place = TempDir::new();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let socket = TakeoverSocket::open(place.path()).expect("a socket");
        std::thread::scope(|scope| {
            let giver = scope.spawn(|| {
                let successor = socket.wait(listener, || false).expect("somebody asks");
                successor.wait_until_it_serves(place.path())
            });
            let ask = || UnixStream::connect(place.path().join(SOCKET)).expect("a host waits");
            drop(ask());
            assert!(receive(&ask()).expect("it says something").is_some());
            let mut odd = ask();
            odd.write_all(b"?").expect("it is there");
            assert!(receive(&odd).expect("it says something").is_some());
            assert!(!giver.is_finished());
            let taken =
                take_over(place.path(), address, || false).unwrap_or_else(|_| panic!("it is taken over"));
            assert!(taken.is_taken_over);
            taken.predecessor.expect("it waits").end();
            assert!(giver.join().expect("it is given").is_none());
        });
    }

    /// One that died after it had acknowledged the socket had left no host until somebody started one.
    #[test]
    fn a_successor_that_dies_before_it_serves_gives_the_socket_back_once_the_store_is_free() {
        let place = TempDir::new();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let socket = TakeoverSocket::open(place.path()).expect("a socket");
        std::thread::scope(|scope| {
            let giver = scope.spawn(|| {
                let successor = socket.wait(listener, || false).expect("somebody asks");
                successor.wait_until_it_serves(place.path())
            });
            let taken =
                take_over(place.path(), address, || false).unwrap_or_else(|_| panic!("it is taken over"));
            let lock = crate::store::HostLock::acquire(place.path()).expect("the store is free");
            drop(taken);
            // Nothing tells when it looks; it looks ten times a second.
            std::thread::sleep(LOOK_EVERY * 5);
            assert!(!giver.is_finished(), "the other one has the store");
            drop(lock);
            let kept = giver.join().expect("it is given").expect("it has the socket still");
            assert_eq!(kept.local_addr().expect("an address"), address);
            let client = std::net::TcpStream::connect(address).expect("nobody refuses it");
            assert_eq!(
                kept.accept().expect("it is in the queue").1,
                client.local_addr().expect("an address")
            );
        });
    }

    /// A host that was killed before it gave its socket had the other one end with an error, and nobody served.
    #[test]
    fn a_host_that_dies_before_it_gives_its_socket_leaves_the_address_to_the_next() {
        let place = TempDir::new();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let dies = UnixListener::bind(place.join(SOCKET)).expect("a socket");
        std::thread::scope(|scope| {
            let next = scope
                .spawn(|| take_over(place.path(), address, || false).ok().map(|bound| bound.is_taken_over));
            drop(dies.accept().expect("it asks"));
            assert_eq!(next.join().expect("it ends"), Some(false));
            let next = scope
                .spawn(|| take_over(place.path(), address, || false).ok().map(|bound| bound.is_taken_over));
            // In the queue of one that never accepted it.
            let mut asks = [rustix::event::PollFd::new(&dies, rustix::event::PollFlags::IN)];
            assert_eq!(rustix::event::poll(&mut asks, None), Ok(1));
            drop(dies);
            assert_eq!(next.join().expect("it ends"), Some(false));
        });
    }

    #[test]
    fn without_a_host_the_address_is_bound() {
        let place = TempDir::new();
        let bound = take_over(place.path(), SocketAddr::from(([127, 0, 0, 1], 0)), || false)
            .unwrap_or_else(|_| panic!("it is bound"));
        assert!(!bound.is_taken_over);
    }

    #[test]
    fn a_wait_ends_when_the_host_stops() {
        let place = TempDir::new();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let socket = TakeoverSocket::open(place.path()).expect("a socket");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| socket.wait(listener, || true).is_none());
            socket.wake();
            assert!(waits.join().expect("it ends"));
        });
        let path = place.join(SOCKET);
        assert!(path.exists());
        drop(socket);
        assert!(!path.exists());
    }
}
