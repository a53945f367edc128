//! `allow_private_hosts`: the special-purpose addresses that an operator lets guests reach.

use std::net::IpAddr;

use super::addresses::{self, AddressKind};
use super::error::OutboundError;
use super::host_pattern::HostPattern;
use super::settings::OutboundSettingsError;
use crate::model::value_error::ValueError;
use crate::net::address_range::AddressRange;

/// The compiled setting. The default permits nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct PrivateHosts {
    names: Vec<HostPattern>,
    ranges: Vec<AddressRange>,
}

impl PrivateHosts {
    /// Reads the entries: names, addresses, or networks in CIDR notation.
    pub(super) fn new(entries: &[String]) -> Result<Self, OutboundSettingsError> {
        let mut hosts = Self::default();
        for entry in entries {
            let error = |reason: &dyn std::fmt::Display| {
                OutboundSettingsError::new(format!("allow_private_hosts: '{entry}'"), reason.to_string())
            };
            if entry.contains('/') || entry.parse::<IpAddr>().is_ok() {
                hosts.ranges.push(entry.parse().map_err(|reason: ValueError| error(&reason))?);
            } else {
                let pattern = HostPattern::parse(entry).map_err(|reason| error(&reason))?;
                if pattern.named_port().is_some() {
                    return Err(error(&"a port has no meaning here"));
                }
                hosts.names.push(pattern);
            }
        }
        Ok(hosts)
    }

    fn permits(&self, host: &str, address: IpAddr) -> bool {
        if self.names.iter().any(|name| name.matches_host(host)) {
            return true;
        }
        // An address that carries another (NAT64) leads to that one: it must be permitted, or be an ordinary one.
        let inner = match address {
            IpAddr::V6(v6) => addresses::embedded_v4(v6).map(IpAddr::V4),
            IpAddr::V4(_) => None,
        };
        // A range of IPv4 addresses does not speak of those that come dressed as IPv6.
        let within = |address: IpAddr| {
            address == address.to_canonical() && self.ranges.iter().any(|range| range.contains(address))
        };
        let inner_ok = |inner: IpAddr| addresses::special_purpose(inner).is_none() || within(inner);
        within(address) && inner.is_none_or(inner_ok)
    }
}

/// The addresses of a host that a request may go to: public ones, and those that the operator permits.
///
/// # Errors
/// [`OutboundError::Address`] when none is left.
pub(super) fn permitted(
    host: &str,
    resolved: &[IpAddr],
    private: &PrivateHosts,
) -> Result<Vec<IpAddr>, OutboundError> {
    let mut refused: Option<(IpAddr, AddressKind)> = None;
    let mut permitted = Vec::with_capacity(resolved.len());
    for address in resolved {
        match addresses::special_purpose(*address) {
            Some(kind) if !private.permits(host, *address) => refused = refused.or(Some((*address, kind))),
            _ => permitted.push(*address),
        }
    }
    match refused {
        Some((address, kind)) if permitted.is_empty() => {
            Err(OutboundError::Address { host: host.to_owned(), address, kind })
        }
        None if permitted.is_empty() => {
            Err(OutboundError::Resolve { host: host.to_owned(), reason: "it has no address".to_owned() })
        }
        _ => Ok(permitted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(entries: &[&str]) -> PrivateHosts {
        let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        PrivateHosts::new(&entries).unwrap()
    }

    #[test]
    fn addresses_pass_when_public_or_named_by_the_operator() {
        let rows: &[(&str, &[&str], &str, &str, bool)] = &[
            ("public", &[], "a.example", "8.8.8.8", true),
            ("private", &[], "a.example", "10.0.0.1", false),
            ("named host", &["nas.lan"], "nas.lan", "192.168.1.5", true),
            ("named host, loopback", &["nas.lan"], "nas.lan", "127.0.0.1", true),
            ("another host", &["nas.lan"], "evil.example", "192.168.1.5", false),
            ("named subdomains", &["*.lan"], "nas.lan", "10.0.0.1", true),
            ("network", &["192.168.1.0/24"], "any.example", "192.168.1.255", true),
            ("outside the network", &["192.168.1.0/24"], "any.example", "192.168.2.0", false),
            ("single address", &["10.1.2.3"], "any.example", "10.1.2.3", true),
            ("next to it", &["10.1.2.3"], "any.example", "10.1.2.4", false),
            ("everything", &["0.0.0.0/0"], "any.example", "10.0.0.1", true),
            ("IPv6 network", &["fd00::/8"], "any.example", "fd12::1", true),
            ("IPv4 network, mapped address", &["10.0.0.0/8"], "any.example", "::ffff:10.0.0.1", false),
            ("NAT64 of a public address", &["64:ff9b::/96"], "any.example", "64:ff9b::8.8.8.8", true),
            ("NAT64 of a private address", &["64:ff9b::/96"], "any.example", "64:ff9b::10.0.0.1", false),
            (
                "NAT64 of a permitted one",
                &["64:ff9b::/96", "10.0.0.0/8"],
                "any.example",
                "64:ff9b::10.0.0.1",
                true,
            ),
        ];
        for (what, entries, host, address, expected) in rows {
            let result = permitted(host, &[address.parse().unwrap()], &hosts(entries));
            assert_eq!(result.is_ok(), *expected, "{what}");
        }
    }

    #[test]
    fn of_several_addresses_only_the_permitted_are_left() {
        let all: Vec<IpAddr> = ["10.0.0.1", "8.8.8.8", "::1"].map(|a| a.parse().unwrap()).to_vec();
        assert_eq!(permitted("h", &all, &hosts(&[])).unwrap(), ["8.8.8.8".parse::<IpAddr>().unwrap()]);
        assert!(matches!(permitted("h", &[], &hosts(&[])), Err(OutboundError::Resolve { .. })));
    }

    #[test]
    fn entries_that_cannot_be_meant_are_refused() {
        for entry in [
            "192.168.1.0/33",
            "192.168.1.5/24",
            "fd00::/129",
            "192.168.1.0/x",
            "nas.lan/24",
            "",
            "*",
            "nas.lan:80",
            "http://nas",
        ] {
            assert!(PrivateHosts::new(&[entry.to_owned()]).is_err(), "{entry:?}");
        }
    }
}
