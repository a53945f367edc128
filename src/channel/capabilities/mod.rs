//! The capability file beside a guest: what its channel may do.

pub mod http;
