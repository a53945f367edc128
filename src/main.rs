//! The tinclaw daemon.
fn main() {}
