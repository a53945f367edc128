//! What the tests of crashes and failing stores stand on: a store that lets the test in at every step.

pub(crate) mod hooked;
pub(crate) mod kill_points;
#[cfg(feature = "sqlite")]
pub(crate) mod log;
