//! The front: the only part that meets the network. One thread, non-blocking sockets, `poll(2)`.
//!
//! A client's connection goes through these phases (see [`clients::ClientPhase`]):
//!
//! ```text
//! Reading ──► Queued ──► Waiting ──► Writing ──► closed, Lingering, or Reading again (keep-alive)
//!    │  a request is    handed over     the response
//!    │  complete        to tiny_http    has come
//!    └──► Writing a refusal ──► Lingering ──► closed
//! ```

mod clients;
mod dispatch;
mod links;
mod listener;
mod responding;
mod run;
mod socket;
#[cfg(test)]
mod tests;

pub(crate) use listener::Listener;
pub(crate) use responding::MAX_LINGERING;
pub(crate) use run::Front;
pub(crate) use socket::ListenSocket;
