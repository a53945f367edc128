//! tiny_http behind its private socket.
//!
//! tiny_http accepts from a listener and nothing else, so there has to be one, but nobody else shall find it. It is made in a
//! directory that only this user may enter. On Linux its name is then removed at once: the front holds the socket's inode open
//! and connects through `/proc/self/fd`. Elsewhere, or without `/proc`, the name stays until the server ends.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use super::ServerError;
use super::spare_threads::{THREADS_OF_A_BACKEND, threads_left};
use super::wire::random_hex;

/// A running tiny_http server and the way to it. When its accept loop dies, another is made.
pub(crate) struct Backend {
    /// Always there, but for the end of `drop`.
    server: Option<tiny_http::Server>,
    socket: PrivateSocket,
}

impl Backend {
    pub(crate) fn start() -> Result<Self, ServerError> {
        let (socket, listener) = PrivateSocket::create()?;
        Self::on(socket, listener)
    }

    /// Starts tiny_http on a listener that `socket` connects to.
    pub(crate) fn on(socket: PrivateSocket, listener: UnixListener) -> Result<Self, ServerError> {
        // It panics when the system gives no thread, and a panic here would end the front.
        let no_thread =
            |reason: String| ServerError::Backend(format!("the system gives no thread for it{reason}"));
        threads_left(THREADS_OF_A_BACKEND).map_err(|error| no_thread(format!(": {error}")))?;
        let server = catch_unwind(|| tiny_http::Server::from_listener(listener, None))
            .map_err(|_| no_thread(String::new()))?
            .map_err(|error| ServerError::Backend(error.to_string()))?;
        Ok(Backend { server: Some(server), socket })
    }

    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        self.socket.connect()
    }

    /// The next request; an error when the accept loop has died, or after [`unblock`](Self::unblock).
    pub(crate) fn receive(&self) -> io::Result<tiny_http::Request> {
        match &self.server {
            Some(server) => server.recv(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Makes [`receive`](Self::receive) return once, without a request.
    pub(crate) fn unblock(&self) {
        if let Some(server) = &self.server {
            server.unblock();
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // Tells the accept loop to end; but its own way to wake that loop needs a name that the socket no longer has.
        drop(self.server.take());
        let _ = self.socket.connect();
    }
}

/// Where connections to the private listener are made.
#[derive(Debug)]
pub(crate) struct PrivateSocket {
    place: SocketPlace,
}

#[derive(Debug)]
enum SocketPlace {
    /// The socket has no name any more; this is its inode.
    #[cfg(target_os = "linux")]
    Nameless(std::os::fd::OwnedFd),
    /// The directory that holds the socket and nothing else.
    Directory(PathBuf),
}

impl PrivateSocket {
    /// Makes the socket in the first directory that allows it.
    pub(crate) fn create() -> Result<(Self, UnixListener), ServerError> {
        let candidates = candidate_directories();
        let mut last_error = io::Error::from(io::ErrorKind::NotFound);
        for parent in &candidates {
            match create_in(parent) {
                Ok(created) => return Ok(created),
                Err(error) => last_error = error,
            }
        }
        let tried: Vec<_> = candidates.iter().map(|path| path.display().to_string()).collect();
        Err(ServerError::PrivateSocket { tried: tried.join(", "), source: last_error })
    }

    /// Connects to the private listener.
    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        match &self.place {
            #[cfg(target_os = "linux")]
            SocketPlace::Nameless(inode) => UnixStream::connect(descriptor_path(inode)),
            SocketPlace::Directory(directory) => UnixStream::connect(socket_path(directory)),
        }
    }
}

impl Drop for PrivateSocket {
    fn drop(&mut self) {
        #[cfg_attr(
            not(target_os = "linux"),
            expect(irrefutable_let_patterns, reason = "the only place there")
        )]
        if let SocketPlace::Directory(directory) = &self.place {
            // Whoever cleans temporary directories may have been here first.
            let _ = fs::remove_dir_all(directory);
        }
    }
}

/// The user's own runtime directory, the usual temporary one, and what is writable even on a read-only image.
fn candidate_directories() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let mut candidates: Vec<_> = runtime.into_iter().chain([std::env::temp_dir()]).collect();
    candidates.extend(["/tmp", "/dev/shm", "/run"].map(PathBuf::from));
    candidates.dedup();
    candidates
}

fn create_in(parent: &Path) -> io::Result<(PrivateSocket, UnixListener)> {
    let name = random_hex().map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let directory = parent.join(format!("tinclaw-{name}"));
    DirBuilder::new().mode(0o700).create(&directory)?;
    // From here on, dropping the socket removes the directory.
    let socket = PrivateSocket { place: SocketPlace::Directory(directory.clone()) };
    let listener = UnixListener::bind(socket_path(&directory))?;
    match without_name(&directory, &listener) {
        Some(nameless) => Ok((nameless, listener)),
        None if socket_path(&directory).exists() => Ok((socket, listener)),
        None => Ok((socket, UnixListener::bind(socket_path(&directory))?)),
    }
}

fn socket_path(directory: &Path) -> PathBuf {
    directory.join("http")
}

#[cfg(target_os = "linux")]
fn descriptor_path(inode: &std::os::fd::OwnedFd) -> String {
    use std::os::fd::AsRawFd as _;
    format!("/proc/self/fd/{}", inode.as_raw_fd())
}

/// Takes the socket's name away, and proves that it can be reached without.
#[cfg(target_os = "linux")]
fn without_name(directory: &Path, listener: &UnixListener) -> Option<PrivateSocket> {
    use rustix::fs::{Mode, OFlags};

    let path = socket_path(directory);
    let inode = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    UnixStream::connect(descriptor_path(&inode)).and_then(|_| listener.accept()).ok()?;
    fs::remove_file(&path).ok()?;
    let socket = PrivateSocket { place: SocketPlace::Nameless(inode) };
    socket.connect().and_then(|_| listener.accept()).ok()?;
    fs::remove_dir(directory).ok()?;
    Some(socket)
}

#[cfg(not(target_os = "linux"))]
fn without_name(_directory: &Path, _listener: &UnixListener) -> Option<PrivateSocket> {
    None
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn a_connection_reaches_the_listener() {
        let (socket, listener) = PrivateSocket::create().unwrap();
        let mut near = socket.connect().unwrap();
        let (mut far, _) = listener.accept().unwrap();
        near.write_all(b"hello").unwrap();
        let mut bytes = [0; 5];
        far.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
    }

    #[test]
    fn nothing_stays_in_the_directory() {
        let parent = std::env::temp_dir().join(format!("private-socket-test-{}", random_hex().unwrap()));
        fs::create_dir(&parent).unwrap();
        let (socket, listener) = create_in(&parent).unwrap();
        #[cfg(target_os = "linux")]
        assert_eq!(fs::read_dir(&parent).unwrap().count(), 0, "the name is gone while the socket works");
        drop((socket, listener));
        assert_eq!(fs::read_dir(&parent).unwrap().count(), 0);
        fs::remove_dir(&parent).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_an_error() {
        assert!(create_in(Path::new("/nonexistent-directory")).is_err());
    }
}
