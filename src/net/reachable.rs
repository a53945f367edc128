//! The address at which others reach a listener.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The address to tell others: where a listener listens on all interfaces, that of the interface that leads outside, else
/// loopback.
pub(crate) fn reachable(listening: SocketAddr) -> SocketAddr {
    if !listening.ip().is_unspecified() {
        return listening;
    }
    let loopback: IpAddr =
        if listening.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    // A listener on `::` usually serves IPv4 too, and that is what a person can type.
    let outside = if listening.is_ipv4() { outward_v4() } else { outward_v4().or_else(outward_v6) };
    SocketAddr::new(outside.unwrap_or(loopback), listening.port())
}

/// The address that connections to the internet come from. A UDP socket is connected to an address that nobody has (RFC
/// 5737, RFC 3849); that sends nothing.
fn outward_v4() -> Option<IpAddr> {
    outward((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 9).into())
}

fn outward_v6() -> Option<IpAddr> {
    let documentation = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    outward((Ipv6Addr::UNSPECIFIED, 0).into(), (documentation, 9).into())
}

fn outward(from: SocketAddr, to: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_can_use_is_reported() {
        for text in ["127.0.0.1:80", "192.0.2.7:8080", "[::1]:80"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(reachable(address), address);
        }
        for text in ["0.0.0.0:8080", "[::]:8080"] {
            let found = reachable(text.parse().unwrap());
            assert!(!found.ip().is_unspecified() && found.port() == 8080, "{text}: {found}");
        }
    }
}
