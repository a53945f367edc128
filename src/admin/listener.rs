//! Where the admin API listens.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::Access;
use rustix::net::SocketAddrUnix;

use crate::net::quotable;

/// The name of the socket in the state directory.
const SOCKET_NAME: &str = "admin.sock";

/// An address of the admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdminAddress {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// What is wrong with the text of an address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an address with a port, such as 127.0.0.1:9191, nor a socket, such as unix:/run/tinclaw/admin.sock"
)]
pub(crate) struct AdminAddressError(String);

impl FromStr for AdminAddress {
    type Err = AdminAddressError;

    fn from_str(text: &str) -> Result<Self, AdminAddressError> {
        match text.strip_prefix("unix:") {
            Some("") => Err(AdminAddressError(quotable(text))),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| AdminAddressError(quotable(text))),
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl AdminAddress {
    /// The socket of the host that keeps its state in this directory.
    pub(crate) fn socket_path(state_dir: &Path) -> PathBuf {
        state_dir.join(SOCKET_NAME)
    }

    /// Whether only this machine reaches it.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

/// The admin API is not served at an address.
#[derive(Debug, thiserror::Error)]
#[error(
    "the admin API cannot listen at {address}: {source}; choose another address or stop what listens there"
)]
pub(crate) struct AdminListenError {
    address: AdminAddress,
    source: io::Error,
}

impl AdminListenError {
    /// Somebody else listens there.
    pub(crate) fn is_in_use(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}

/// A socket that listens.
#[derive(Debug)]
pub(crate) enum AdminListener {
    /// At an IP address.
    Tcp(TcpListener),
    /// At a path.
    Unix(UnixListener, SocketFile),
}

/// The name of a listening Unix socket. It is removed with this, unless somebody has put another file there.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl AdminListener {
    /// Listens. A socket that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// The address is in use, or the system refuses it.
    pub(crate) fn bind(address: &AdminAddress) -> Result<Self, AdminListenError> {
        let bound = match address {
            AdminAddress::Tcp(address) => TcpListener::bind(address).map(Self::Tcp),
            AdminAddress::Unix(path) => Self::bind_unix(path),
        };
        bound.map_err(|source| AdminListenError { address: address.clone(), source })
    }

    /// Whether a socket could be made at a path. None is made.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_place(path: &Path) -> io::Result<()> {
        SocketAddrUnix::new(unfinished(path))?;
        match check_replaceable(path) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => return Err(error),
            _ => {}
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(rustix::fs::access(parent, Access::WRITE_OK | Access::EXEC_OK)?)
    }

    /// Where it listens; the port is the real one when 0 was asked for.
    pub(crate) fn address(&self) -> Option<AdminAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(AdminAddress::Tcp),
            Self::Unix(_, file) => Some(AdminAddress::Unix(file.path.clone())),
        }
    }

    /// Listens at a path, in the place of a socket that nobody listens at any more.
    ///
    /// # Errors
    /// Something else is there, or the system refuses it.
    pub(crate) fn bind_unix(path: &Path) -> io::Result<Self> {
        check_replaceable(path)?;
        // Under its own name only when nobody else may open it any more.
        let unfinished = unfinished(path);
        check_replaceable(&unfinished)?;
        let _ = std::fs::remove_file(&unfinished);
        let listener = UnixListener::bind(&unfinished)?;
        let file = SocketFile { inode: std::fs::symlink_metadata(&unfinished)?.ino(), path: path.to_owned() };
        let named = std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o600))
            .and_then(|()| std::fs::rename(&unfinished, path));
        if let Err(error) = named {
            let _ = std::fs::remove_file(&unfinished);
            return Err(error);
        }
        Ok(Self::Unix(listener, file))
    }
}

/// Whether a path is free for a socket: nothing is there, or a stream socket that refuses connections.
///
/// # Errors
/// What is there, or why nobody knows.
pub(crate) fn check_replaceable(path: &Path) -> io::Result<()> {
    let kind = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?.file_type(),
    };
    if !kind.is_socket() {
        let what = match () {
            () if kind.is_symlink() => "a symbolic link",
            () if kind.is_dir() => "a directory",
            () if kind.is_file() => "a file",
            () => "a device or a pipe",
        };
        let error = format!("{what} is there, and no socket; it is left as it is");
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, error));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => {
            let text =
                format!("a socket is there that is not known to be unused ({error}); it is left as it is");
            Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
        }
    }
}

impl SocketFile {
    /// The name of a socket that listens at this path.
    ///
    /// # Errors
    /// It is not there any more.
    pub(crate) fn of(path: PathBuf) -> io::Result<Self> {
        Ok(Self { inode: std::fs::symlink_metadata(&path)?.ino(), path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The name that a socket has until only its user may open it.
fn unfinished(path: &Path) -> PathBuf {
    path.with_extension(format!("{}.new", std::process::id()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = |found: std::fs::Metadata| found.ino() == self.inode;
        if std::fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::temp_dir::TempDir;

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, shown, is_local) in [
            ("127.0.0.1:9191", "http://127.0.0.1:9191", true),
            ("[::1]:9191", "http://[::1]:9191", true),
            ("0.0.0.0:9191", "http://0.0.0.0:9191", false),
            ("unix:/run/a.sock", "unix:/run/a.sock", true),
        ] {
            let address: AdminAddress = text.parse().expect("an address");
            assert_eq!((address.to_string().as_str(), address.is_local()), (shown, is_local));
        }
        for text in ["", "unix:", "9191", "localhost:9191", "127.0.0.1"] {
            assert!(text.parse::<AdminAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_socket_is_for_its_user_and_leaves_with_its_listener() {
        let directory = TempDir::new();
        let path = directory.join("a.sock");
        let address = AdminAddress::Unix(path.clone());
        // What a host that died has left is replaced.
        drop(UnixListener::bind(&path).expect("it listens"));
        let listener = AdminListener::bind(&address).expect("it listens");
        assert_eq!(path.metadata().expect("it is there").permissions().mode() & 0o777, 0o600);
        let taken = AdminListener::bind(&address).expect_err("somebody listens");
        assert_eq!(taken.source.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.exists());
    }

    // A host that has been replaced removed the socket of its successor.
    #[test]
    fn a_socket_that_was_replaced_is_left_to_its_successor() {
        let directory = TempDir::new();
        let path = directory.join("a.sock");
        let old = AdminListener::bind_unix(&path).expect("it listens");
        std::fs::remove_file(&path).expect("it is there");
        let _new = AdminListener::bind_unix(&path).expect("it listens");
        drop(old);
        assert!(UnixStream::connect(&path).is_ok());
        assert_eq!(std::fs::read_dir(directory.path()).expect("it is there").count(), 1);
    }

    // `admin = "unix:PATH"` replaced whatever lay at the path, and removed it at the end: a text file, a guest, a link, or the socket
    // of another program that takes datagrams.
    #[test]
    fn files_other_than_unused_sockets_are_left_alone() {
        use std::os::unix::net::UnixDatagram;
        let directory = TempDir::new();
        let path = |name: &str| directory.join(name);
        std::fs::write(path("file"), "precious").expect("it is written");
        std::fs::create_dir(path("directory")).expect("it is made");
        std::os::unix::fs::symlink("file", path("link")).expect("it is made");
        std::os::unix::fs::symlink("nowhere", path("dangling")).expect("it is made");
        let _datagrams = UnixDatagram::bind(path("datagrams")).expect("a socket");
        let _streams = UnixListener::bind(path("streams")).expect("a socket");
        for (name, expected) in [
            ("file", "a file is there"),
            ("directory", "a directory is there"),
            ("link", "a symbolic link is there"),
            ("dangling", "a symbolic link is there"),
            ("datagrams", "a socket is there"),
            ("streams", "address in use"),
        ] {
            let before = path(name).symlink_metadata().expect("it is there").ino();
            let error = AdminListener::bind(&AdminAddress::Unix(path(name))).expect_err("it is taken");
            assert!(error.source.to_string().contains(expected), "{name}: {error}");
            assert_eq!(path(name).symlink_metadata().expect("it is there").ino(), before, "{name}");
        }
        assert_eq!(std::fs::read_to_string(path("file")).expect("it is there"), "precious");
    }
}
