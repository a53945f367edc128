//! Network addresses.

pub(crate) mod address_range;
mod public_url;
pub(crate) mod reachable;
pub(crate) mod waker;

pub use public_url::{PublicUrl, PublicUrlError};
