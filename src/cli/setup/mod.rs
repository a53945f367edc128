//! `tinclaw setup`: what a channel needs is asked for, tried, stored and started.
//!
//! What is asked stands in the channel's capability file (`auth`, `setup`); nothing here knows a service.
//!
//! | file | job |
//! |---|---|
//! | `target` | which channel, and what is known of it |
//! | `needs` | what it needs, and what of that is there |
//! | `inputs` | what the command line and standard input give |
//! | `dialogue` | what is asked at the terminal |
//! | `check` | asks the service whether it is right |
//! | `steps` | what is to be done at the service, with the addresses and names filled in |
//! | `apply` | stores, installs, and starts the channel in the running host |
//! | `report` | what came of it, for people and as JSON |
//! | `list` | the channels that can be set up |
//! | `agent` | tries the server of a language model |

mod agent;
mod apply;
mod check;
mod dialogue;
mod inputs;
mod list;
mod needs;
mod report;
mod steps;
mod target;

use std::io::{self, IsTerminal as _};

use check::AccountCheck;
use inputs::Given;
use log::LevelFilter;

use super::args::{Common, RunArgs, SetupArgs, SetupChannelArgs, SetupCommand};
use super::config::Settings;
use super::output::{CommandResult, Failure};
use crate::host::ServiceVerdict;

pub use agent::RunningAgent;
pub use apply::until_started;
pub use check::questions_of;
pub use needs::Needs;
pub use target::{SetupTarget, receives};

/// Does what `tinclaw setup …` says.
pub fn setup(common: &Common, arguments: SetupArgs) -> CommandResult {
    match (arguments.command, arguments.channel.channel.clone()) {
        (Some(SetupCommand::Agent { agent, model, output }), _) => {
            agent::try_agent(common, agent, model, output)
        }
        (None, Some(channel)) => channel_setup(common, &channel, arguments.channel),
        (None, None) => {
            let settings = Settings::load(common)?;
            super::logging::start(common, None, LevelFilter::Error)?;
            list::list(&settings, arguments.channel.json)
        }
    }
}

/// Sets up one channel. Nothing is stored before everything is known and the service has been asked.
fn channel_setup(common: &Common, channel: &str, arguments: SetupChannelArgs) -> CommandResult {
    let run = RunArgs { public_url: arguments.public_url.clone(), ..RunArgs::default() };
    let mut settings = Settings::load_for_run(common, run.clone())?;
    super::logging::start(common, None, LevelFilter::Error)?;
    let target = SetupTarget::find(&settings, channel, arguments.name.as_deref())?;
    let mut given = Given::from_arguments(&target, &arguments)?;
    let at_terminal = io::stdin().is_terminal() && !arguments.json;
    if at_terminal {
        dialogue::introduce(&target);
        dialogue::show_rights(&target);
        if target.setup().needs_public_url && settings.public_url().is_none() {
            given.public_url = dialogue::public_url()?;
            settings.set_public_url(given.public_url.clone());
        }
        dialogue::show_steps(&steps::before(&settings, &target));
    }
    if !at_terminal && !arguments.json {
        dialogue::show_rights(&target);
    }
    let needs = Needs::of(&settings, &target)?;
    let checked = if at_terminal {
        ask_until_accepted(&settings, &target, &needs, &mut given, arguments.no_check)?
    } else {
        if !io::stdin().is_terminal() {
            given.complete_from_stdin(&target, &needs)?;
        }
        needs.refuse_missing(&target, &given)?;
        accepted(&settings, &target, &given, arguments.no_check)?
    };
    let applied = apply::apply(&settings, &target, &needs, given)?;
    let settings = Settings::load_for_run(common, run)?;
    let report = report::SetupReport::new(&settings, &target, &checked, applied);
    if arguments.json {
        report.print_json();
    } else {
        report.print();
    }
    Ok(())
}

/// Asks at the terminal, and again while the service refuses what it was told.
fn ask_until_accepted(
    settings: &Settings,
    target: &SetupTarget,
    needs: &Needs,
    given: &mut Given,
    no_check: bool,
) -> Result<AccountCheck, Failure> {
    let mut keeps_stored = true;
    loop {
        dialogue::ask(target, needs, given, keeps_stored)?;
        let checked = check::check(settings, target, given, no_check)?;
        let AccountCheck::Asked(ServiceVerdict::Refused(words)) = &checked else { return Ok(checked) };
        dialogue::refused(target, words);
        given.forget_asked();
        keeps_stored = false;
    }
}

/// Asks the service without a terminal: what it refuses is not stored.
fn accepted(
    settings: &Settings,
    target: &SetupTarget,
    given: &Given,
    no_check: bool,
) -> Result<AccountCheck, Failure> {
    match check::check(settings, target, given, no_check)? {
        AccountCheck::Asked(ServiceVerdict::Refused(words)) => {
            Err(Failure::problem(format!("{} refuses this: {words}; nothing was stored", target.service())))
        }
        checked => Ok(checked),
    }
}
