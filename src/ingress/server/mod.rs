//! The HTTP server: a bounded front before tiny_http.

mod address_range;
mod error;
mod exchange;
mod limits;

pub use address_range::{AddressRange, AddressRangeError};
pub use error::ServerError;
pub use exchange::{IncomingRequest, Responder, Response};
pub use limits::{DEFAULT_BODY_BYTES, ServerLimits};
