//! The command line of the daemon.
//!
//! | file | job |
//! |---|---|
//! | `args/` | what can be written on the command line |
//! | `config/` | `tinclaw.toml`, and what it becomes together with the command line |
//! | `run` | `tinclaw run` |
//! | `agent/` | who answers messages: echo, a program, an HTTP server |
//! | `control/` | the socket through which other commands reach the running host |
//! | `check`, `call`, `channels` | commands about channels |
//! | `queues`, `pairing`, `health` | commands about what a host keeps |
//! | `secrets`, `prompt` | commands about secrets |
//! | `object` | objects of JSON, made |
//! | `logging`, `signals`, `memory`, `outcome`, `table` | log, signals, heap, exit codes, columns |

mod agent;
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
mod object;
mod outcome;
mod pairing;
mod prompt;
mod queues;
mod run;
mod secrets;
mod signals;
mod table;

use std::io::Write as _;
use std::process::ExitCode;

use args::{Arguments, Command, Parsed};

/// Does what the command line says.
pub fn main() -> ExitCode {
    no_core_dumps();
    memory::share_one_heap();
    match args::parse(std::env::args_os().skip(1).collect(), &|name| std::env::var_os(name)) {
        Ok(Parsed::Arguments(arguments)) => obey(arguments),
        Ok(Parsed::Help(page)) => show(&page),
        Ok(Parsed::Version) => show(concat!("tinclaw ", env!("CARGO_PKG_VERSION"), "\n")),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
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

fn obey(Arguments { common, command }: Arguments) -> ExitCode {
    let outcome = match command {
        Command::Run(options) => run::run(&common, options),
        Command::Check(options) => check::check(&common, &options),
        Command::Call(options) => call::call(&common, &options),
        Command::Channels(command) => channels::channels(&common, &command),
        Command::Messages(command) => queues::messages(&common, &command),
        Command::Replies(command) => queues::replies(&common, &command),
        Command::Pairing(command) => pairing::pairing(&common, &command),
        Command::Secrets(command) => secrets::secrets(&common, &command),
        Command::Health(options) => health::health(&common, &options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn show(text: &str) -> ExitCode {
    // A reader that stops early, as `head` does, has seen what it wanted.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}
