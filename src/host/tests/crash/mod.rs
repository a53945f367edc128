//! What the tests of crashes and failing stores stand on: a store that lets the test in at every step.

pub(crate) mod hooked;
#[cfg(feature = "sqlite")]
pub(crate) mod log;
pub(crate) mod moments;
