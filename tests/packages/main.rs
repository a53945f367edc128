//! Channels that are installed, upgraded, approved, signed and removed, and a configuration that is reloaded: through the program,
//! with and without a running host.

#[path = "../support/mod.rs"]
mod support;

#[path = "../cli_support/mod.rs"]
mod cli_support;

mod configuration;
mod held;
mod home;
mod install;
mod kills;
mod refused;
mod signing;
mod takeover;
mod untouched;
mod upgrade;
