//! Outbound HTTP: what a guest may ask for through `http-request`, and how the host does it.
//!
//! Every request passes the same steps in the same order: the URL is parsed and matched with the allow-list, the headers
//! are checked, everything that the guest wrote is searched for secrets, limits are applied, the name is resolved and
//! each address checked, credentials are put in, the request is made without following redirects, and secrets are taken
//! out of the answer.

mod addresses;
mod error;
mod request;

pub use addresses::{AddressKind, special_purpose};
pub use error::OutboundError;
pub use request::{OutboundAnswer, OutboundRequest};
