//! Pairing: how a stranger who writes to a channel becomes somebody that the agent listens to.
//!
//! A guest that meets a stranger asks for a code and sends it to them; the stranger shows it to the operator, who approves
//! it. `book` has the rules, without I/O and without a clock; `desk` keeps the book and stores what is written in it;
//! `code` makes the codes.

mod book;
mod code;
mod desk;

pub use book::{ApproveError, ApprovedPairing, PairingLimits, PendingPairing, UpsertError};
pub use desk::{PairingDesk, PairingError};
