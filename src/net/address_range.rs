//! Ranges of IP addresses in CIDR notation, and the key under which connections of one sender are counted.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::model::value_error::ValueError;

/// A range of addresses, written as `192.0.2.0/24`, `2001:db8::/32` or as a single address.
///
/// An IPv4 address that arrives in its IPv6-mapped form (`::ffff:192.0.2.1`, what a dual-stack listener reports) is
/// compared as the IPv4 address that it is, and a range that is written so is the IPv4 range that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressRange {
    /// No bits are set behind the prefix.
    network: IpAddr,
    prefix: u32,
}

impl AddressRange {
    /// 127.0.0.0/8, where a tunnel or a reverse proxy on the same machine connects from.
    pub const LOOPBACK_V4: AddressRange =
        AddressRange { network: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix: 8 };

    /// ::1, the same for IPv6.
    pub const LOOPBACK_V6: AddressRange =
        AddressRange { network: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 };

    /// Whether the address lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.network.is_ipv4() == address.is_ipv4() && masked(address, self.prefix) == bits(self.network)
    }

    /// Whether the range is every address of its family.
    pub fn covers_every_address(&self) -> bool {
        self.prefix == 0
    }

    /// `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
    fn canonical(self) -> Self {
        match (self.network, self.network.to_canonical()) {
            (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if self.prefix >= 96 => {
                Self { network: v4, prefix: self.prefix - 96 }
            }
            _ => self,
        }
    }
}

impl FromStr for AddressRange {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || ValueError::AddressRange(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().map_err(|_| malformed())?;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= longest).ok_or_else(malformed)?
            }
            Some(_) => return Err(malformed()),
        };
        let range = Self { network, prefix }.canonical();
        if bits(range.network) != masked(range.network, range.prefix) {
            return Err(ValueError::HostBits(text.to_owned()));
        }
        Ok(range)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.network, self.prefix)
    }
}

/// The address as a number, in the highest bits.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn masked(address: IpAddr, prefix: u32) -> u128 {
    let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
    bits(address) & mask
}

/// What counts as one sender: an IPv4 address, or the /64 network of an IPv6 address, because a single IPv6 host is
/// usually given a whole /64 and could use a new address for every connection.
pub(crate) fn sender_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_contains_its_addresses_and_no_others() {
        let rows = [
            ("192.0.2.64/26", "192.0.2.63", false),
            ("192.0.2.64/26", "192.0.2.64", true),
            ("192.0.2.64/26", "192.0.2.127", true),
            ("192.0.2.64/26", "192.0.2.128", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "10.255.0.1", true),
            ("::ffff:10.0.0.0/104", "11.0.0.0", false),
            ("192.0.2.0/24", "c000:200::", false),
            ("2001:db8::/33", "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db8::1", true),
            ("::1", "::1", true),
            ("::1", "::2", false),
        ];
        for (range, address, expected) in rows {
            let parsed: AddressRange = range.parse().unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), expected, "{address} in {range}");
        }
    }

    #[test]
    fn an_invalid_range_is_refused() {
        for text in
            ["", "/", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "::/129", "10.0.0.0/+8", "10.0.0.0/8/8", "host"]
        {
            assert_eq!(text.parse::<AddressRange>(), Err(ValueError::AddressRange(text.to_owned())));
        }
        for text in ["192.0.2.7/24", "0.0.0.1/0", "2001:db8::1/32", "::ffff:10.0.0.1/104"] {
            assert_eq!(text.parse::<AddressRange>(), Err(ValueError::HostBits(text.to_owned())));
        }
    }

    #[test]
    fn a_range_is_printed_as_it_is_read() {
        for text in ["10.0.0.0/8", "2001:db8::/32"] {
            assert_eq!(text.parse::<AddressRange>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_sender() {
        let key = |text: &str| sender_key(text.parse().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
