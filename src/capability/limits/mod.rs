//! What a channel may take, and how much of it the host gives.
//!
//! A limit has a default, a field of the capability file with which a channel asks for another value, a least value
//! that makes sense, and a ceiling that belongs to the host. What a file asks for above the ceiling is lowered to it
//! and reported, never refused: a published file must load on a small machine too. [`LIMITS`] has a row for each limit
//! that the host's own parts enforce, [`HTTP_LIMITS`] for those of outbound HTTP.

mod ceilings;
mod channel;
mod http;

pub use ceilings::{ClampedLimit, LimitCapError, LimitCaps};
pub use channel::*;
pub use http::{HTTP_LIMITS, HttpLimit};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
