//! The daemon: its commands, its configuration and its log.
//!
//! A program that wants a host of its own uses [`Host`](crate::Host). This is for one that wants to be the daemon under
//! another name.
//!
//! | file | job |
//! |---|---|
//! | `args`, `version`, `reference` | what can be written on the command line; `--version`; completions and manual pages |
//! | `config/` | `tinclaw.toml`, and what it becomes together with the command line |
//! | `run` | `tinclaw run` |
//! | `agent/` | who replies to messages: echo, a program, an HTTP server |
//! | `control/` | the socket through which other commands reach the running host |
//! | `check`, `call`, `channels` | commands about channels |
//! | `new` | `tinclaw new`: the source of a new channel |
//! | `tools` | commands about tools |
//! | `queues`, `pairing`, `health` | commands about what a host keeps |
//! | `secrets`, `prompt` | commands about secrets |
//! | `setup/` | setting channels up; trying an agent before the host runs |
//! | `status` | what works and what is missing |
//! | `start_channel` | a channel that is added to the running host |
//! | `output`, `outcome` | JSON, columns and times; exit codes |
//! | `logging`, `signals`, `memory` | log, signals, heap |

mod args;
mod call;
mod call_input;
mod channels;
mod check;
mod config;
mod control;
mod generate;
mod health;
mod logging;
mod memory;
mod new;
mod output;
mod pairing;
mod prompt;
mod queues;
mod reference;
mod run;
mod secrets;
mod setup;
mod start_channel;
mod status;
mod tools;

use std::process::ExitCode;

use crate::model::escape::{escaped, escaped_lines};
use clap::error::ErrorKind;

use args::{Arguments, CliCommand};

/// Does what the command line says: what the program `tinclaw` is.
///
/// It reads the arguments and the environment of the process, installs a logger, takes over SIGINT, SIGTERM and SIGHUP,
/// and prints to standard output and standard error. `docs/cli.md` describes the commands.
#[must_use]
pub fn main() -> ExitCode {
    no_core_dumps();
    memory::share_one_heap();
    match Arguments::from_environment() {
        Ok(arguments) => run_command(arguments),
        Err(error) => report_usage(&error),
    }
}

/// A core dump would hold every secret. A limit of 1 byte is the one that a dump to a program heeds as well (core(5) and
/// `fs/coredump.c`); where the limit is 0 already it cannot be raised to that.
fn no_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = |bytes| setrlimit(Resource::Core, Rlimit { current: Some(bytes), maximum: Some(bytes) });
    if let Err(error) = limit(1).or_else(|_| limit(0)) {
        eprintln!("tinclaw: core dumps cannot be switched off: {error}");
    }
}

fn run_command(Arguments { common, command }: Arguments) -> ExitCode {
    let outcome = match command {
        CliCommand::Run(options) => run::run(&common, options),
        CliCommand::Check(options) => check::check(&common, &options),
        CliCommand::Call(options) => call::call(&common, &options),
        CliCommand::Channels(command) => channels::channels(&common, &command),
        CliCommand::New { name } => new::new(&name),
        CliCommand::Tools(command) => tools::tools(&common, &command),
        CliCommand::Messages(command) => queues::messages(&common, &command),
        CliCommand::Replies(command) => queues::replies(&common, &command),
        CliCommand::Pairing(command) => pairing::pairing(&common, &command),
        CliCommand::Secrets(command) => secrets::secrets(&common, &command),
        CliCommand::Setup(options) => setup::setup(&common, options),
        CliCommand::Status { channel, output } => status::status(&common, channel.as_deref(), output),
        CliCommand::Health(options) => health::health(&common, &options),
        CliCommand::Completions { shell } => reference::completions(shell),
        CliCommand::Man { directory } => reference::man(&directory),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Prints help, the version, or what is wrong with the command line. An argument that would move the cursor is quoted
/// escaped, and without colour.
fn report_usage(error: &clap::Error) -> ExitCode {
    let is_error = !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let is_plain = |word: std::ffi::OsString| {
        let text = word.to_string_lossy();
        escaped(&text) == text
    };
    if is_error && !std::env::args_os().all(is_plain) {
        eprint!("{}", escaped_lines(&error.render().to_string()));
    } else {
        // A reader that stops early, as `head` does, has seen what it wanted.
        let _ = error.print();
    }
    ExitCode::from(if is_error { 2 } else { 0 })
}
