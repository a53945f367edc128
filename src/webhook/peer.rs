//! Whose request is it: the client's address behind trusted proxies.

use std::net::IpAddr;

use crate::model::value_error::ValueError;
use crate::net::address_range::AddressRange;

/// Addresses whose `X-Forwarded-For` is believed. Empty by default: nobody's is. Deserialises from a list of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct TrustedProxies {
    ranges: Vec<AddressRange>,
}

impl TryFrom<Vec<String>> for TrustedProxies {
    type Error = ValueError;

    fn try_from(entries: Vec<String>) -> Result<Self, ValueError> {
        Self::parse(&entries)
    }
}

impl TrustedProxies {
    /// Reads addresses and networks: `10.0.0.1`, `10.0.0.0/8`, `2001:db8::/32`.
    ///
    /// # Errors
    /// The first entry that is not one, has bits behind its prefix, or covers every address.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self, ValueError> {
        let range = |entry: &S| {
            let text = entry.as_ref().trim();
            let range: AddressRange = text.parse()?;
            if range.covers_every_address() {
                Err(ValueError::EveryAddress(text.to_owned()))
            } else {
                Ok(range)
            }
        };
        Ok(Self { ranges: entries.iter().map(range).collect::<Result<_, _>>()? })
    }

    /// What they were read from.
    #[cfg(any(feature = "cli", test))]
    pub fn ranges(&self) -> &[AddressRange] {
        &self.ranges
    }

    /// Whether this address is one of the trusted proxies.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }

    /// The client's address: `peer` itself unless it is a trusted proxy; then the rightmost entry of
    /// `X-Forwarded-For` that is not one. Entries further left are whatever the client wrote, and never looked at.
    ///
    /// `forwarded_for` are the values of all `X-Forwarded-For` lines in order. An entry that is no address ends the
    /// search, and the hop that reported it counts as the client.
    pub fn client<'a>(
        &self,
        peer: IpAddr,
        forwarded_for: impl DoubleEndedIterator<Item = &'a str>,
    ) -> IpAddr {
        let mut client = peer.to_canonical();
        let mut hops = forwarded_for.rev().flat_map(|line| line.rsplit(','));
        while self.contains(client) {
            match hops.next().and_then(hop_address) {
                Some(hop) => client = hop,
                None => break,
            }
        }
        client
    }
}

/// One entry of the header: an address, perhaps with a port, IPv6 perhaps in brackets.
fn hop_address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim_matches([' ', '\t']);
    let address = match entry.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']')?;
            let port_ok = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            port_ok.then(|| address.parse().ok().map(IpAddr::V6))?
        }
        None => entry.parse().ok().or_else(|| {
            let (address, port) = entry.split_once(':')?;
            is_port(port).then(|| address.parse().ok().map(IpAddr::V4))?
        }),
    };
    address.map(|address| address.to_canonical())
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spoofed_entries_never_become_the_client() {
        let trusted = TrustedProxies::parse(&["10.0.0.0/8", "127.0.0.1", "2001:db8:ffff::/48"]).unwrap();
        let cases: [(&str, &str, &[&str], &str); 20] = [
            ("no proxy", "203.0.113.9", &[], "203.0.113.9"),
            ("a header of an untrusted peer is ignored", "203.0.113.9", &["10.0.0.1"], "203.0.113.9"),
            (
                "an untrusted peer claims a loopback address",
                "203.0.113.9",
                &["127.0.0.1, 127.0.0.1"],
                "203.0.113.9",
            ),
            ("one proxy", "127.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("a proxy that reports nothing", "127.0.0.1", &[], "127.0.0.1"),
            (
                "the client put an address in front",
                "127.0.0.1",
                &["198.51.100.7, 203.0.113.9"],
                "203.0.113.9",
            ),
            ("the client named a trusted proxy", "127.0.0.1", &["10.1.1.1, 203.0.113.9"], "203.0.113.9"),
            ("two proxies", "127.0.0.1", &["203.0.113.9, 10.2.3.4"], "203.0.113.9"),
            ("two lines count in order", "127.0.0.1", &["198.51.100.7", "203.0.113.9"], "203.0.113.9"),
            (
                "the client's own line comes first",
                "127.0.0.1",
                &["1.1.1.1, 2.2.2.2", "203.0.113.9, 10.0.0.9"],
                "203.0.113.9",
            ),
            ("all are proxies: the leftmost", "127.0.0.1", &["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
            ("a port", "127.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("IPv6", "127.0.0.1", &["2001:db8::5"], "2001:db8::5"),
            ("IPv6 with port", "127.0.0.1", &["[2001:db8::5]:443"], "2001:db8::5"),
            ("mapped peer", "::ffff:127.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("mapped entry", "127.0.0.1", &["203.0.113.9, ::ffff:10.9.9.9"], "203.0.113.9"),
            ("IPv6 proxy", "2001:db8:ffff::1", &["203.0.113.9"], "203.0.113.9"),
            ("garbage ends the search", "127.0.0.1", &["203.0.113.9, unknown"], "127.0.0.1"),
            (
                "garbage behind a proxy counts as that proxy",
                "127.0.0.1",
                &["203.0.113.9, <script>, 10.0.0.3"],
                "10.0.0.3",
            ),
            ("empty entries are garbage", "127.0.0.1", &["203.0.113.9,"], "127.0.0.1"),
        ];
        for (name, peer, lines, client) in cases {
            let found = trusted.client(peer.parse().unwrap(), lines.iter().copied());
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{name}");
        }
    }

    #[test]
    fn no_proxy_is_trusted_by_default() {
        let peer = "127.0.0.1".parse().unwrap();
        assert_eq!(TrustedProxies::default().client(peer, ["203.0.113.9"].into_iter()), peer);
    }

    #[test]
    fn any_of_the_ranges_is_trusted_and_nothing_beside_them() {
        let trusted = TrustedProxies::parse(&["192.0.2.64/26", " 2001:db8::/33 "]).unwrap();
        for (address, inside) in
            [("192.0.2.63", false), ("192.0.2.64", true), ("2001:db8::1", true), ("2001:db8:8000::", false)]
        {
            assert_eq!(trusted.contains(address.parse().unwrap()), inside, "{address}");
        }
        assert_eq!(trusted.ranges().len(), 2);
    }

    #[test]
    fn entries_that_cannot_be_meant_are_refused() {
        let parse = |text: &str| TrustedProxies::parse(&["10.0.0.1", text]).unwrap_err();
        for text in ["", "proxy.local", "10.0.0.0/33", "10.0.0.1/8"] {
            assert!(matches!(parse(text), ValueError::AddressRange(_) | ValueError::HostBits(_)), "{text:?}");
        }
        for text in ["0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96"] {
            assert_eq!(parse(text), ValueError::EveryAddress(text.to_owned()));
        }
    }
}
