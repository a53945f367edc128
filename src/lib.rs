//! A host for sandboxed chat channels on small machines, without an async runtime.
#![forbid(unsafe_code)]

pub mod admin;
pub mod channel;
pub mod event;
pub mod host;
pub mod ingress;
pub mod router;
pub mod sandbox;
pub mod services;
pub mod store;
pub mod stream;
