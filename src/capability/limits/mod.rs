//! What a channel may take, and how much of it the host gives.
//!
//! [`LIMITS`] has a row for each limit: its field in the capability file, with which a channel asks for another value, its
//! default, the lowest value that makes sense, and a cap that belongs to the host. What a file asks for above the cap is
//! lowered to it and reported, never refused: a published file must load on a small machine too. The operator's `[limits]`
//! sets other caps ([`LimitCaps`]).

mod caps;
mod table;

pub use caps::{ClampedLimit, LimitCaps};
pub use table::ChannelLimits;
#[cfg(all(test, feature = "cli"))]
pub(crate) use table::Limit;
pub(crate) use table::{LIMITS, Sections};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
