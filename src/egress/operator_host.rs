//! Servers that the operator named in a setting of one channel: a home server, a box on the same network.

use std::net::IpAddr;

use url::{Host, Url};

/// A server that the operator named. For this channel, and for nothing else, its scheme, port and address are allowed, also
/// `http` and a private address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorHost {
    is_encrypted: bool,
    /// As in a URL: an IPv6 address has brackets.
    written: String,
    host: String,
    port: u16,
    literal: Option<IpAddr>,
    /// Begins with a slash and does not end with one; empty for the root.
    path: String,
}

impl OperatorHost {
    /// Reads a base URL, such as `http://192.168.1.5:8123` or `https://matrix.example.org`.
    ///
    /// # Errors
    /// What a base URL looks like.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "write it as http://host:port or https://host")?;
        if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
            return Err("it is http:// or https://, without query and fragment");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it must not contain a user or password");
        }
        let (host, literal) = match url.host() {
            Some(Host::Domain(name)) => (name.to_owned(), None),
            Some(Host::Ipv4(address)) => (address.to_string(), Some(IpAddr::V4(address))),
            Some(Host::Ipv6(address)) => (address.to_string(), Some(IpAddr::V6(address))),
            None => return Err("it has no host"),
        };
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or("port 0 does not exist")?;
        Ok(Self {
            is_encrypted: url.scheme() == "https",
            written: url.host_str().unwrap_or_default().to_owned(),
            host,
            port,
            literal,
            path: url.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Host and port, as an allow-list names them.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.written, self.port)
    }

    /// The path that everything on this server begins with.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether requests to it are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// The address, when the operator wrote one in place of a name.
    pub(super) fn literal(&self) -> Option<IpAddr> {
        self.literal
    }

    /// Whether a request to this host and port goes to it.
    pub(super) fn is(&self, host: &str, port: u16) -> bool {
        self.host == host && self.port == port
    }

    /// The rest of a plain `http://` URL whose authority is this server's.
    pub(super) fn rest_of_plain<'t>(&self, text: &'t str) -> Option<&'t str> {
        let rest =
            text.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://")).map(|_| &text[7..])?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let is_it = authority.eq_ignore_ascii_case(&self.authority())
            || (self.port == 80 && authority.eq_ignore_ascii_case(&self.written));
        (is_it && !self.is_encrypted).then_some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_names_scheme_host_port_and_path() {
        for (text, authority, path, is_encrypted) in [
            ("http://192.168.1.5:8123", "192.168.1.5:8123", "", false),
            ("http://ha.lan/", "ha.lan:80", "", false),
            ("https://matrix.example.org", "matrix.example.org:443", "", true),
            ("https://h.example/base/", "h.example:443", "/base", true),
            ("http://[fd00::1]:8080", "[fd00::1]:8080", "", false),
        ] {
            let host = OperatorHost::parse(text).unwrap();
            assert_eq!(
                (host.authority().as_str(), host.path(), host.is_encrypted),
                (authority, path, is_encrypted)
            );
        }
    }

    #[test]
    fn invalid_base_urls_are_refused() {
        for text in [
            "",
            "ha.lan",
            "ftp://ha.lan",
            "http://",
            "http://u:p@ha.lan",
            "http://ha.lan:0",
            "http://ha.lan/?a",
        ] {
            assert!(OperatorHost::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_plain_url_is_allowed_for_this_server_only() {
        let host = OperatorHost::parse("http://ha.lan:8123").unwrap();
        for (text, rest) in [
            ("http://ha.lan:8123/api", Some("/api")),
            ("HTTP://HA.lan:8123?x", Some("?x")),
            ("http://ha.lan:8123", Some("")),
            ("http://ha.lan/api", None),
            ("http://ha.lan:8123@evil.example/", None),
            ("http://ha.lan:81234/", None),
            ("https://ha.lan:8123/api", None),
        ] {
            assert_eq!(host.rest_of_plain(text), rest, "{text}");
        }
        let encrypted = OperatorHost::parse("https://ha.lan:8123").unwrap();
        assert_eq!(encrypted.rest_of_plain("http://ha.lan:8123/api"), None);
    }
}
