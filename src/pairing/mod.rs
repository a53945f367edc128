//! Pairing: how an unknown sender who writes to a channel becomes somebody that the agent listens to.
//!
//! A guest that meets an unknown sender asks for a code and sends it to them; the sender shows it to the operator, who
//! approves it. `rules` decides, without I/O and without a clock; `service` keeps the pairings and stores their changes;
//! `code` makes the codes.

mod code;
mod rules;
mod service;

pub use rules::{ApprovedPairing, PairingError, PendingPairing};
pub use service::PairingService;
