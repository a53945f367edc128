//! Which addresses a guest's request must never reach.
//!
//! The tables are IANA's registries of special-purpose addresses (IPv4: RFC 6890 and updates, registry
//! `iana-ipv4-special-registry`; IPv6: `iana-ipv6-special-registry`), with multicast (RFC 5771, RFC 4291), the deprecated
//! site-local range (RFC 3879) and everything of IPv6 that is not global unicast. Ranges inside which IANA lists single
//! globally reachable addresses (such as 192.0.0.9/32) are refused whole: no web server lives there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a special-purpose address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressKind(&'static str);

impl fmt::Display for AddressKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Why an address is special, or `None` when it is an ordinary public one.
pub fn special_purpose(address: IpAddr) -> Option<AddressKind> {
    match address {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    }
}

/// The IPv4 address that an IPv6 address carries, in the forms in which the packet may end up there.
///
/// IPv4-mapped and -compatible (RFC 4291), both NAT64 prefixes (RFC 6052, RFC 8215: the /96 form), 6to4 (RFC 3056) and
/// ISATAP interface identifiers (RFC 5214). Teredo (RFC 4380) carries its client's address inverted.
pub fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let pair = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match s {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] if (high, low) != (0, 0) && (high, low) != (0, 1) => {
            pair(high, low)
        }
        [0, 0, 0, 0, 0xffff, 0, high, low] => pair(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => pair(high, low),
        [0x64, 0xff9b, 1, _, _, _, high, low] => pair(high, low),
        [0x2002, high, low, ..] => pair(high, low),
        [0x2001, 0, _, _, _, _, high, low] => pair(!high, !low),
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => pair(high, low),
        _ => None,
    }
}

type RangeV4 = ([u8; 4], u32, &'static str);

const SPECIAL_V4: &[RangeV4] = &[
    ([0, 0, 0, 0], 8, "\"this network\" (RFC 791)"),
    ([10, 0, 0, 0], 8, "private (RFC 1918)"),
    ([100, 64, 0, 0], 10, "shared address space of carriers (RFC 6598)"),
    ([127, 0, 0, 0], 8, "loopback (RFC 1122)"),
    ([169, 254, 0, 0], 16, "link-local (RFC 3927)"),
    ([172, 16, 0, 0], 12, "private (RFC 1918)"),
    ([192, 0, 0, 0], 24, "for IETF protocols (RFC 6890)"),
    ([192, 0, 2, 0], 24, "for documentation (RFC 5737)"),
    ([192, 31, 196, 0], 24, "AS112 (RFC 7535)"),
    ([192, 52, 193, 0], 24, "AMT (RFC 7450)"),
    ([192, 88, 99, 0], 24, "6to4 relay (RFC 7526)"),
    ([192, 168, 0, 0], 16, "private (RFC 1918)"),
    ([192, 175, 48, 0], 24, "AS112 (RFC 7534)"),
    ([198, 18, 0, 0], 15, "for benchmarks (RFC 2544)"),
    ([198, 51, 100, 0], 24, "for documentation (RFC 5737)"),
    ([203, 0, 113, 0], 24, "for documentation (RFC 5737)"),
    ([224, 0, 0, 0], 4, "multicast (RFC 5771)"),
    ([255, 255, 255, 255], 32, "broadcast (RFC 919)"),
    ([240, 0, 0, 0], 4, "reserved (RFC 1112)"),
];

fn special_v4(address: Ipv4Addr) -> Option<AddressKind> {
    let bits = u32::from(address);
    SPECIAL_V4
        .iter()
        .find(|(network, prefix, _)| same_prefix_v4(bits, u32::from(Ipv4Addr::from(*network)), *prefix))
        .map(|(_, _, kind)| AddressKind(kind))
}

fn same_prefix_v4(a: u32, b: u32, prefix: u32) -> bool {
    prefix == 0 || (a ^ b) >> (32 - prefix) == 0
}

type RangeV6 = ([u16; 8], u32, &'static str);

const SPECIAL_V6: &[RangeV6] = &[
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified (RFC 4291)"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback (RFC 4291)"),
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4-mapped (RFC 4291)"),
    ([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "IPv4-translated (RFC 2765)"),
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, "IPv4-compatible (RFC 4291)"),
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "NAT64 (RFC 6052)"),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "NAT64 (RFC 8215)"),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard-only (RFC 6666)"),
    ([0x100, 0, 0, 1, 0, 0, 0, 0], 64, "a dummy prefix (RFC 9780)"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo (RFC 4380)"),
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, "for benchmarks (RFC 5180)"),
    ([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, "ORCHID (RFC 4843)"),
    ([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, "ORCHIDv2 (RFC 7343)"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "for IETF protocols (RFC 2928)"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "for documentation (RFC 3849)"),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4 (RFC 3056)"),
    ([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, "AS112 (RFC 7534)"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "for documentation (RFC 9637)"),
    ([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing (RFC 9602)"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local (RFC 4193)"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local (RFC 4291)"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local (RFC 3879)"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast (RFC 4291)"),
];

/// All global unicast addresses that IANA allocates (RFC 4291, RFC 3587).
const GLOBAL_UNICAST: ([u16; 8], u32) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

fn special_v6(address: Ipv6Addr) -> Option<AddressKind> {
    let bits = u128::from(address);
    let within =
        |network: [u16; 8], prefix: u32| same_prefix_v6(bits, u128::from(Ipv6Addr::from(network)), prefix);
    if let Some((_, _, kind)) = SPECIAL_V6.iter().find(|(network, prefix, _)| within(*network, *prefix)) {
        return Some(AddressKind(kind));
    }
    if !within(GLOBAL_UNICAST.0, GLOBAL_UNICAST.1) {
        return Some(AddressKind("reserved (RFC 4291)"));
    }
    embedded_v4(address).and_then(special_v4)
}

fn same_prefix_v6(a: u128, b: u128, prefix: u32) -> bool {
    prefix == 0 || (a ^ b) >> (128 - prefix) == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(address: &str) -> Option<String> {
        special_purpose(address.parse().unwrap()).map(|kind| kind.to_string())
    }

    #[test]
    fn every_special_range_is_refused_at_both_its_ends() {
        let rows = [
            ("this network", "0.0.0.0", "0.255.255.255"),
            ("private 10", "10.0.0.0", "10.255.255.255"),
            ("shared", "100.64.0.0", "100.127.255.255"),
            ("loopback", "127.0.0.0", "127.255.255.255"),
            ("link-local", "169.254.0.0", "169.254.255.255"),
            ("cloud metadata", "169.254.169.254", "169.254.170.2"),
            ("private 172", "172.16.0.0", "172.31.255.255"),
            ("IETF", "192.0.0.0", "192.0.0.255"),
            ("documentation 1", "192.0.2.0", "192.0.2.255"),
            ("AS112 v4", "192.31.196.0", "192.31.196.255"),
            ("AMT", "192.52.193.0", "192.52.193.255"),
            ("6to4 relay", "192.88.99.0", "192.88.99.255"),
            ("private 192", "192.168.0.0", "192.168.255.255"),
            ("direct delegation AS112", "192.175.48.0", "192.175.48.255"),
            ("benchmark", "198.18.0.0", "198.19.255.255"),
            ("documentation 2", "198.51.100.0", "198.51.100.255"),
            ("documentation 3", "203.0.113.0", "203.0.113.255"),
            ("multicast", "224.0.0.0", "239.255.255.255"),
            ("reserved", "240.0.0.0", "255.255.255.254"),
            ("broadcast", "255.255.255.255", "255.255.255.255"),
            ("unspecified", "::", "::"),
            ("loopback v6", "::1", "::1"),
            ("compatible", "::2", "::ffff:ffff"),
            ("mapped loopback", "::ffff:127.0.0.1", "::ffff:255.255.255.255"),
            ("mapped public", "::ffff:8.8.8.8", "::ffff:1.1.1.1"),
            ("translated", "::ffff:0:7f00:1", "::ffff:0:808:808"),
            ("NAT64", "64:ff9b::10.0.0.1", "64:ff9b::8.8.8.8"),
            ("local NAT64", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
            ("discard", "100::", "100::ffff:ffff:ffff:ffff"),
            ("dummy", "100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff"),
            ("Teredo", "2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("benchmark v6", "2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff"),
            ("ORCHID", "2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("ORCHIDv2", "2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("IETF v6", "2001:1::1", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("documentation v6", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("6to4", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("6to4 of a public address", "2002:808:808::", "2002:808:808::1"),
            ("AS112 v6", "2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff"),
            ("new documentation", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("segment routing", "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("unique local", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("metadata over IPv6", "fd00:ec2::254", "fd20:ce::254"),
            ("link-local v6", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("site-local", "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("multicast v6", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("not allocated, below", "200::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("not allocated, above", "4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("ISATAP of a private address", "2a00::5efe:10.0.0.1", "2a00::200:5efe:c0a8:1"),
        ];
        for (what, first, last) in rows {
            assert!(kind(first).is_some(), "{what}: {first}");
            assert!(kind(last).is_some(), "{what}: {last}");
        }
    }

    #[test]
    fn the_neighbours_of_special_ranges_are_public() {
        let rows = [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "8.8.8.8",
            "2001:200::",
            "2001:db7::1",
            "2001:db9::",
            "2003::1",
            "2606:4700::1111",
            "2a00:1450:4001::200e",
            "3ffe:ffff::1",
            "2a00::5efe:8.8.8.8",
        ];
        for address in rows {
            assert_eq!(kind(address), None, "{address}");
        }
    }

    #[test]
    fn an_ipv4_address_embedded_in_ipv6_is_found() {
        let rows = [
            ("mapped", "::ffff:10.1.2.3", Some("10.1.2.3")),
            ("compatible", "::10.1.2.3", Some("10.1.2.3")),
            ("translated", "::ffff:0:a01:203", Some("10.1.2.3")),
            ("NAT64", "64:ff9b::10.1.2.3", Some("10.1.2.3")),
            ("local NAT64", "64:ff9b:1::10.1.2.3", Some("10.1.2.3")),
            ("6to4", "2002:a01:203::", Some("10.1.2.3")),
            ("Teredo", "2001::f5fe:fdfc", Some("10.1.2.3")),
            ("ISATAP", "2a00::5efe:10.1.2.3", Some("10.1.2.3")),
            ("loopback is no IPv4 address", "::1", None),
            ("unspecified neither", "::", None),
            ("ordinary", "2a00::1", None),
        ];
        for (what, outer, inner) in rows {
            let found = embedded_v4(outer.parse().unwrap()).map(|v4| v4.to_string());
            assert_eq!(found.as_deref(), inner, "{what}");
        }
    }

    proptest! {
        #[test]
        fn special_addresses_of_the_standard_library_are_refused(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from(bits);
            if v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
                || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified()
            {
                prop_assert!(special_v4(v4).is_some());
            }
            prop_assert!(special_v6(v4.to_ipv6_mapped()).is_some());
            prop_assert!(special_v6(v4.to_ipv6_compatible()).is_some());
        }

        #[test]
        fn only_global_unicast_is_ever_public(bits in any::<u128>()) {
            let v6 = Ipv6Addr::from(bits);
            if special_v6(v6).is_none() {
                prop_assert_eq!(v6.segments()[0] >> 13, 1);
            }
        }
    }
}
