//! What the program says of itself: `tinclaw completions` and `tinclaw man`, made from the command line's definition, and
//! `--version`, whose values the build script provides.

use std::io::Write as _;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::args::Arguments;
use super::output::{CommandResult, Failure};
use super::print::print_with;

/// Prints the completion script of a shell.
pub fn completions(shell: Shell) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "tinclaw", &mut script);
    print_with(|out| out.write_all(&script));
    Ok(())
}

/// Writes a manual page for each command.
pub fn man(directory: &Path) -> CommandResult {
    let written = std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), directory));
    written.map_err(|error| {
        Failure::problem(format!("cannot write manual pages into {}: {error}", directory.display()))
    })
}

/// The version, and the commit when it is known.
pub const SHORT_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), env!("TINCLAW_COMMIT"));

/// The same with the target and the features that the program was built with.
pub const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    env!("TINCLAW_COMMIT"),
    "\ntarget: ",
    env!("TINCLAW_TARGET"),
    "\nfeatures: ",
    env!("TINCLAW_FEATURES")
);
