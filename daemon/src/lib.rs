//! Nothing but a dependency: `tinclaw` with its feature `cli`. As a default member of the workspace it makes `cargo run` and
//! `cargo test` build the daemon, which the library's default features leave out.
