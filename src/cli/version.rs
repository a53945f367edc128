//! What `--version` says. The build script provides the values.

/// The version, and the commit when it is known.
pub const SHORT: &str = concat!(env!("CARGO_PKG_VERSION"), env!("TINCLAW_COMMIT"));

/// The same with the target and the features that the program was built with.
pub const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    env!("TINCLAW_COMMIT"),
    "\ntarget: ",
    env!("TINCLAW_TARGET"),
    "\nfeatures: ",
    env!("TINCLAW_FEATURES")
);
