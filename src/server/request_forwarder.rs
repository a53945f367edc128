//! Requests for channels that another host has: what the server must know of them.

use std::net::IpAddr;

use super::IncomingRequest;

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client, or a proxy that speaks for it.
    Client,
    /// Another host, for this client. It is not sent on once more.
    Host(IpAddr),
    /// Somebody who claims to be another host, and why that is not believed.
    Forged(&'static str),
}

/// The other hosts.
pub(crate) trait RequestForwarder: Send + Sync {
    /// Whether some host has a channel with this path, or could have it.
    fn knows(&self, path: &str) -> bool;
    /// Who sent a request. What other hosts say about it is taken out of its head.
    fn origin(&self, request: &mut IncomingRequest) -> Origin;
    /// Sends a request of a client on, and the response back. Returns at once.
    fn forward(&self, request: IncomingRequest, client: IpAddr);
}
