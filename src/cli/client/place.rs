//! Where the running host is looked for.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::admin::AdminAddress;
use crate::cli::config::Settings;
use crate::net::quotable;

/// Where the system service keeps its state; see `packaging/systemd/tinclaw.service`.
const SERVICE_STATE_DIR: &str = "/var/lib/tinclaw";

/// Where a host may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostAddress {
    /// A Unix socket.
    Unix(PathBuf),
    /// Host and port, for HTTP.
    Tcp(String),
}

/// A host that is named in a way that nobody can connect to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no host: give its state directory, its socket as unix:/PATH, or http://ADDRESS:PORT")]
pub struct HostAddressError(String);

impl HostAddress {
    /// Reads `--host`: `unix:/path`, `http://address:port`, or a path: that of a socket, or of a state directory.
    pub fn parse(text: &str) -> Result<Self, HostAddressError> {
        let wrong = || HostAddressError(quotable(text));
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        if let Some(rest) = text.strip_prefix("http://") {
            let authority = rest.strip_suffix('/').unwrap_or(rest);
            let port = authority
                .rsplit_once(':')
                .and_then(|(host, port)| (!host.is_empty()).then_some(port)?.parse::<u16>().ok());
            let is_plain = !authority.contains(['/', '@', '?']);
            return port.filter(|_| is_plain).map(|_| Self::Tcp(authority.to_owned())).ok_or_else(wrong);
        }
        match text.contains('/') && !text.contains("://") {
            true if Path::new(text).is_dir() => Ok(Self::of_state_dir(Path::new(text))),
            true => Ok(Self::Unix(text.into())),
            false => Err(wrong()),
        }
    }

    fn of_state_dir(path: &Path) -> Self {
        Self::Unix(AdminAddress::socket_path(path))
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(authority) => write!(f, "http://{authority}"),
        }
    }
}

/// Where a host is looked for, in this order: where `--host` says; or else in the state directory, and in that of the system
/// service when the state directory is the default one and has never been used.
pub fn places(settings: &Settings) -> Vec<HostAddress> {
    if let Some(host) = &settings.host {
        return vec![host.clone()];
    }
    let is_unused = !settings.is_state_dir_named && !settings.state_dir.join("tinclaw.db").exists();
    let service = Path::new(SERVICE_STATE_DIR);
    let others = Some(service).filter(|service| is_unused && settings.state_dir != *service);
    std::iter::once(settings.state_dir.as_path()).chain(others).map(HostAddress::of_state_dir).collect()
}

/// Where no host was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PlacesLooked(Vec<(HostAddress, ErrorKind)>);

impl PlacesLooked {
    /// Nobody listens there.
    pub fn add(&mut self, place: HostAddress, error: &io::Error) {
        self.0.push((place, error.kind()));
    }
}

impl fmt::Display for PlacesLooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (place, kind)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "looked at " } else { " and " };
            let why = if *kind == ErrorKind::NotFound { "not there" } else { "nobody listens" };
            write!(f, "{separator}{place} ({why})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_socket_a_directory_or_an_address() {
        let unix = |path: &str| Some(HostAddress::Unix(path.into()));
        let tcp = |authority: &str| Some(HostAddress::Tcp(authority.to_owned()));
        for (text, expected) in [
            ("unix:/run/a.sock", unix("/run/a.sock")),
            ("/no/such/a.sock", unix("/no/such/a.sock")),
            ("/", unix("/admin.sock")),
            ("http://127.0.0.1:9191", tcp("127.0.0.1:9191")),
            ("http://[::1]:9191/", tcp("[::1]:9191")),
            ("http://shelf.local:9191", tcp("shelf.local:9191")),
            ("http://shelf.local", None),
            ("http://user@shelf.local:1", None),
            ("https://shelf.local:9191", None),
            ("http://:9191", None),
            ("shelf", None),
            ("unix:", None),
            ("", None),
        ] {
            assert_eq!(HostAddress::parse(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn places_without_a_host_are_listed() {
        let mut looked = PlacesLooked::default();
        looked.add(HostAddress::Unix("/a/admin.sock".into()), &ErrorKind::NotFound.into());
        looked.add(HostAddress::Tcp("127.0.0.1:1".into()), &ErrorKind::ConnectionRefused.into());
        let text = looked.to_string();
        assert_eq!(text, "looked at /a/admin.sock (not there) and http://127.0.0.1:1 (nobody listens)");
    }
}
