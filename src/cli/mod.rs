//! The daemon: its commands, its configuration and its log.
//!
//! A program that wants a host of its own uses [`Host`](crate::Host). This is for one that wants to be the daemon under
//! another name.
//!
//! | file | job |
//! |---|---|
//! | `args`, `reference` | what can be written on the command line; completions and manual pages |
//! | `config/` | `tinclaw.toml`, and what it becomes together with the command line |
//! | `config_command` | `tinclaw config` |
//! | `takeover`, `kept_socket` | the listening socket, which another host may take over, and return |
//! | `run` | `tinclaw run` |
//! | `client/`, `admin_api` | how commands ask the running host; its admin API |
//! | `check`, `call`, `call_input`, `channels` | commands about channels |
//! | `new`, `template/` | `tinclaw new`: the source of a new channel |
//! | `tools` | commands about tools |
//! | `queues`, `pairing`, `health` | commands about what a host keeps |
//! | `held_channels`, `changed_files` | channels and packages that are held back, and why; channels whose files are not those that run |
//! | `agent_check` | settings of the agent that name nothing |
//! | `doctor/` | what does not work around a host, and what to do |
//! | `trace` | what became of a message |
//! | `record`, `replay` | callbacks that are recorded, and run again |
//! | `explain`, `raw_request` | why a request of a channel, or one to it, is refused |
//! | `secrets`, `prompt`, `generate` | commands about secrets, and those that the host makes itself |
//! | `setup/` | setting channels up; trying an agent before the host runs |
//! | `status/` | what works and what is missing |
//! | `change/` | channels that are installed, upgraded, approved, removed and signed; what the running host changes |
//! | `hosts` | commands about the hosts of a cluster |
//! | `service`, `supervisor` | the files by which systemd runs the host, and what it is told |
//! | `start_channel` | what the running host is changed with |
//! | `start_checks` | what a start would refuse of a configuration |
//! | `print` | printing that never panics |
//! | `colours` | colours at a terminal that wants them |
//! | `layout` | tables and lines for a terminal of any width |
//! | `output` | JSON and times; exit codes |
//! | `logging/`, `access_log`, `access_log_queue` | the log, and that of requests |
//! | `memory` | what the heap keeps of the system's memory |

#[macro_use]
mod print;

mod access_log;
mod access_log_queue;
mod admin_api;
mod agent_check;
mod args;
mod call;
mod call_input;
mod change;
mod changed_files;
mod channels;
mod check;
mod client;
mod colours;
mod config;
mod config_command;
mod doctor;
mod explain;
mod generate;
mod health;
mod held_channels;
#[cfg(feature = "cluster")]
mod hosts;
mod kept_socket;
mod layout;
mod logging;
mod memory;
mod new;
mod output;
mod pairing;
mod prompt;
mod queues;
mod raw_request;
mod record;
mod reference;
mod replay;
mod run;
mod secrets;
mod service;
mod setup;
mod start_channel;
mod start_checks;
mod status;
mod supervisor;
mod takeover;
mod tools;
mod trace;

use std::io::ErrorKind;
use std::process::ExitCode;

use args::{Arguments, CliCommand};
use clap::Parser as _;
use clap::error::ErrorKind as UsageKind;
use output::{Failure, print_json_error};

use crate::model::escape::{escaped, escaped_lines};
use crate::net::quotable;

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
        errln!("tinclaw: core dumps cannot be switched off: {error}");
    }
}

fn run_command(Arguments { common, command }: Arguments) -> ExitCode {
    // Also of commands that log nothing.
    if let Err(failure) = logging::check_filters(&common, None, "") {
        return failure.report();
    }
    let outcome = match command {
        CliCommand::Run(options) => run::run(&common, options),
        CliCommand::Check(options) => check::check(&common, &options),
        CliCommand::Call(options) => call::call(&common, &options),
        CliCommand::Channels(command) => channels::channels(&common, &command),
        CliCommand::Config(command) => config_command::config(&common, &command),
        CliCommand::Install(arguments) => change::install(&common, &arguments),
        CliCommand::Upgrade(arguments) => change::upgrade(&common, &arguments),
        CliCommand::Remove(arguments) => change::remove(&common, &arguments),
        CliCommand::Enable(arguments) => change::enable(&common, &arguments),
        CliCommand::Disable(arguments) => change::disable(&common, &arguments),
        CliCommand::Approve(arguments) => change::approve(&common, &arguments),
        CliCommand::Reload(arguments) => change::reload(&common, &arguments),
        #[cfg(feature = "cluster")]
        CliCommand::Hosts(output) => hosts::hosts(&common, &output),
        #[cfg(feature = "cluster")]
        CliCommand::Drain(arguments) => hosts::drain(&common, &arguments),
        CliCommand::Sign(arguments) => change::sign(&common, &arguments),
        CliCommand::Verify(arguments) => change::verify(&common, &arguments),
        CliCommand::New { name, output } => new::new(&name, output),
        CliCommand::Tools(command) => tools::tools(&common, &command),
        CliCommand::Messages(command) => queues::messages(&common, &command),
        CliCommand::Replies(command) => queues::replies(&common, &command),
        CliCommand::Pairing(command) => pairing::pairing(&common, &command),
        CliCommand::Secrets(command) => secrets::secrets(&common, &command),
        CliCommand::Setup(options) => setup::setup(&common, options),
        CliCommand::Status { channel, watch, output } => {
            status::status(&common, channel.as_deref(), watch, output)
        }
        CliCommand::Health(options) => health::health(&common, &options),
        CliCommand::Service(command) => service::service(&command),
        CliCommand::Doctor(output) => doctor::doctor(&common, output),
        CliCommand::Trace(options) => trace::trace(&common, &options),
        CliCommand::Record(options) => record::record(&common, &options),
        CliCommand::Replay(options) => replay::replay(&common, &options),
        CliCommand::Egress(command) => explain::egress(&common, &command),
        CliCommand::VerifyWebhook(options) => explain::verify_webhook(&common, &options),
        CliCommand::Completions { shell } => reference::completions(shell),
        CliCommand::Man { directory } => reference::man(&directory),
    };
    let code = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    };
    printed(code)
}

/// The exit code of a command that has printed everything: 1 when what it printed found no room. A reader that stops early, as
/// `head` does, has seen what it wanted.
fn printed(code: ExitCode) -> ExitCode {
    logging::finish();
    match print::finish() {
        Ok(()) | Err(ErrorKind::BrokenPipe) => code,
        Err(error) => {
            let code_of_failure = Failure::problem(format!("standard output: {error}")).report();
            if code == ExitCode::SUCCESS { code_of_failure } else { code }
        }
    }
}

/// Prints help, the version, or what is wrong with the command line.
fn report_usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), UsageKind::DisplayHelp | UsageKind::DisplayVersion) {
        print::print_with(|_| error.print());
        return printed(ExitCode::SUCCESS);
    }
    let text = match quotable_arguments() {
        None => {
            // There is no other place to say it.
            let _ = error.print();
            error.render().to_string()
        }
        Some(arguments) => {
            // clap drops control characters; of the arguments as they may be shown it says the same with all of them.
            let shown =
                Arguments::try_parse_from(arguments).err().filter(|shown| shown.kind() == error.kind());
            let text = escaped_lines(&shown.as_ref().unwrap_or(error).render().to_string());
            err!("{text}");
            text
        }
    };
    let sentence = text.split("\n\n").next().unwrap_or_default();
    print_json_error(sentence.strip_prefix("error: ").unwrap_or(sentence).trim());
    printed(ExitCode::from(2))
}

/// The arguments as an error may quote them: with what would move the cursor escaped, and without what may be the password of a URL.
/// None when that is how they are.
fn quotable_arguments() -> Option<Vec<String>> {
    let quotable_value = |value: &str| if value.contains("://") { quotable(value) } else { value.to_owned() };
    let shown = |word: &std::ffi::OsString| {
        let word = word.to_string_lossy();
        let text = match word.split_once('=').filter(|_| word.starts_with("--")) {
            Some((option, value)) => format!("{option}={}", quotable_value(value)),
            None => quotable_value(&word),
        };
        escaped(&text).into_owned()
    };
    let words: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let arguments: Vec<String> = words.iter().map(shown).collect();
    let is_same = words.iter().zip(&arguments).all(|(word, shown)| word == shown.as_str());
    (!is_same).then_some(arguments)
}
