//! How a capability file or an operator names hosts: `api.example.com`, `*.example.com`, each with an optional port.

use std::net::IpAddr;

use url::{Host, Url};

use super::target::HTTPS_PORT;

/// A compiled host pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPattern {
    name: Name,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Exact(String),
    /// Begins with a dot.
    Subdomains(String),
}

impl HostPattern {
    /// Reads a pattern. Names are compared in lower case and in their ASCII form; a trailing dot means nothing.
    pub(super) fn parse(pattern: &str) -> Result<Self, &'static str> {
        let (wildcard, rest) = match pattern.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        if rest.is_empty()
            || rest.contains(['*', '/', '\\', '@', '?', '#', '%', '{', '}'])
            || rest.trim() != rest
        {
            return Err("write a host as 'api.example.com' or '*.example.com', without scheme and path");
        }
        if !rest.is_ascii() {
            return Err("write a name beyond ASCII as it is looked up: xn--bcher-kva.example");
        }
        let url = Url::parse(&format!("https://{rest}/")).map_err(|_| "this is no host name")?;
        let named_port = url.port().or_else(|| rest.ends_with(":443").then_some(HTTPS_PORT));
        let name = match url.host() {
            Some(Host::Domain(name)) => name.trim_end_matches('.').to_owned(),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) if wildcard => return Err("an address has no subdomains"),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err("this is no host name"),
        };
        if name.is_empty() || name.starts_with('.') {
            return Err("this is no host name");
        }
        let name = if wildcard { Name::Subdomains(format!(".{name}")) } else { Name::Exact(name) };
        Ok(Self { name, port: named_port })
    }

    /// The port that the pattern names, if it does.
    pub(super) fn named_port(&self) -> Option<u16> {
        self.port
    }

    /// The port that a request must go to: the named one, or that of https.
    pub(super) fn port(&self) -> u16 {
        self.port.unwrap_or(HTTPS_PORT)
    }

    /// The same pattern with another port.
    pub(super) fn with_port(mut self, port: Option<u16>) -> Self {
        self.port = port;
        self
    }

    /// Whether the host (normalised, without brackets) fits; the port is not looked at.
    pub(super) fn matches_host(&self, host: &str) -> bool {
        match &self.name {
            Name::Exact(name) => name == host,
            // A name that ends in digits like an address is none: addresses have no subdomains.
            Name::Subdomains(suffix) => {
                host.len() > suffix.len()
                    && host.ends_with(suffix.as_str())
                    && host.parse::<IpAddr>().is_err()
            }
        }
    }

    /// Whether host and port fit.
    pub(super) fn matches(&self, host: &str, port: u16) -> bool {
        self.matches_host(host) && self.port() == port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_fit_exactly_or_as_real_subdomains() {
        let rows = [
            ("exact", "api.example.com", "api.example.com", 443, true),
            ("upper case in the file", "API.Example.com", "api.example.com", 443, true),
            ("subdomain of an exact name", "example.com", "api.example.com", 443, false),
            ("suffix of an exact name", "example.com", "notexample.com", 443, false),
            ("real subdomain", "*.example.com", "api.example.com", 443, true),
            ("deep subdomain", "*.example.com", "a.b.example.com", 443, true),
            ("the domain itself", "*.example.com", "example.com", 443, false),
            ("suffix without a dot", "*.example.com", "evilexample.com", 443, false),
            ("continued name", "*.example.com", "api.example.com.evil.example", 443, false),
            ("other port", "api.example.com", "api.example.com", 8443, false),
            ("named port", "api.example.com:8443", "api.example.com", 8443, true),
            ("named port is the only one", "api.example.com:8443", "api.example.com", 443, false),
            ("wildcard with a port", "*.example.com:8443", "a.example.com", 8443, true),
            ("trailing dot in the file", "api.example.com.", "api.example.com", 443, true),
            ("international name", "*.xn--bcher-kva.example", "a.xn--bcher-kva.example", 443, true),
            ("address", "93.184.216.34", "93.184.216.34", 443, true),
            ("IPv6 address", "[2606:2800::1]:444", "2606:2800::1", 444, true),
            ("end of an address", "*.com", "1.2.3.4", 443, false),
            ("nothing before the dot", "*.example.com", ".example.com", 443, false),
            ("the shortest subdomain", "*.example.com", "a.example.com", 443, true),
        ];
        for (what, pattern, host, port, expected) in rows {
            assert_eq!(HostPattern::parse(pattern).unwrap().matches(host, port), expected, "{what}");
        }
    }

    #[test]
    fn an_invalid_host_pattern_is_refused() {
        for pattern in [
            "",
            "*",
            "*.",
            ".",
            "*..",
            ".example.com",
            "*..example.com",
            "**.example.com",
            "a.*.com",
            "*example.com",
            "https://a.example",
            "a.example/x",
            "u@a.example",
            "*.1.2.3.4",
            "a b.example",
            "a.example:99999",
            " a.example",
            "{HOST}",
            "%61.example",
            "bücher.example",
        ] {
            assert!(HostPattern::parse(pattern).is_err(), "{pattern:?}");
        }
    }
}
