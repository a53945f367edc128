//! Network addresses, and what is said over HTTP.

pub(crate) mod address_range;
pub(crate) mod channel_response;
pub(crate) mod header_field;
mod public_url;
pub(crate) mod reachable;
mod shown_url;
pub(crate) mod waker;

pub use public_url::PublicUrl;
pub(crate) use public_url::SharedPublicUrl;
pub(crate) use shown_url::{quotable, without_credentials};
