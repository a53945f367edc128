//! `tinclaw remove`, `enable`, `disable` and `reload`.

use log::LevelFilter;
use serde_json::{Value, json};

use super::place::{accounts_of, directory_of, installed};
use super::request::ask_host;
use crate::admin::HostChange;
use crate::channel::ChannelName;
use crate::cli::args::{ChannelArgs, Common, ReloadArgs};
use crate::cli::config::Settings;
use crate::cli::logging;
use crate::cli::output::{CommandResult, Failure, print_json};
use crate::host::{DaemonOperator as _, StoredState};
use crate::package::{Staging, waiting_in};

/// Takes a channel out, with its files. What is stored of it stays.
pub fn remove(common: &Common, arguments: &ChannelArgs) -> CommandResult {
    let (settings, name) = named(common, arguments)?;
    let was_installed = installed(&settings, &name).is_some();
    let change = HostChange::Remove { channel: name.to_string() };
    let done = match ask_host(&settings, &change)? {
        Some(done) => done,
        None => {
            check_removable(&settings, &name).map_err(Failure::problem)?;
            let records = settings.records();
            let staging =
                Staging::open(&directory_of(&settings, &name), &records).map_err(Failure::problem)?;
            staging.remove(&name).map_err(Failure::problem)?;
            forget_timers(&settings, &name)?;
            json!({"channel": name, "state": "removed", "running": false})
        }
    };
    let text = match was_installed {
        true => format!("removed {name}; its messages, replies and files of its workspace stay stored"),
        false => format!("discarded the package of channel {name} that waited"),
    };
    report(arguments.output.json, &done, &text);
    Ok(())
}

/// A channel of that name that is installed later has none of the timers of this one.
fn forget_timers(settings: &Settings, name: &ChannelName) -> CommandResult {
    if !settings.state_dir.join("tinclaw.db").exists() {
        return Ok(());
    }
    let (state, retention) = settings.stored_state();
    let state = StoredState::open(state, retention).map_err(Failure::problem)?;
    state.forget_timers(name).map_err(Failure::problem)
}

/// Lets a channel run again.
pub fn enable(common: &Common, arguments: &ChannelArgs) -> CommandResult {
    set_disabled(common, arguments, false)
}

/// Takes a channel out and leaves it out, also after a restart.
pub fn disable(common: &Common, arguments: &ChannelArgs) -> CommandResult {
    set_disabled(common, arguments, true)
}

fn set_disabled(common: &Common, arguments: &ChannelArgs, disabled: bool) -> CommandResult {
    let (settings, name) = named(common, arguments)?;
    let channel = name.to_string();
    let change = if disabled { HostChange::Disable { channel } } else { HostChange::Enable { channel } };
    let state = if disabled { "disabled" } else { "enabled" };
    let done = match ask_host(&settings, &change)? {
        Some(done) => done,
        None => {
            check_known(&settings, &name).map_err(Failure::problem)?;
            settings
                .records()
                .change(&name, |record| record.disabled = disabled)
                .map_err(Failure::problem)?;
            json!({"channel": name, "state": state, "running": false})
        }
    };
    report(arguments.output.json, &done, &format!("{state} {name}"));
    Ok(())
}

/// Has the running host reload a channel, or its configuration.
pub fn reload(common: &Common, arguments: &ReloadArgs) -> CommandResult {
    let settings = Settings::load(common)?;
    logging::start(common, None, LevelFilter::Error)?;
    let change = match &arguments.channel {
        Some(channel) => HostChange::Start { channel: channel.clone() },
        None => HostChange::Reload,
    };
    let Some(done) = ask_host(&settings, &change)? else {
        return Err(Failure::problem("no host is running, so there is nothing to reload"));
    };
    if arguments.output.json {
        print_json(&done);
    } else {
        out!("{}", super::reload::as_text(&done));
    }
    if super::reload::is_complete(&done) { Ok(()) } else { Err(Failure::Reported) }
}

fn named(common: &Common, arguments: &ChannelArgs) -> Result<(Settings, ChannelName), Failure> {
    let settings = Settings::load(common)?;
    logging::start(common, None, LevelFilter::Error)?;
    let name = ChannelName::new(&arguments.channel).map_err(Failure::problem)?;
    Ok((settings, name))
}

/// Whether a channel can be removed: it lies in a directory, and no other account needs its guest.
///
/// # Errors
/// Why not.
pub(super) fn check_removable(settings: &Settings, name: &ChannelName) -> Result<(), String> {
    let accounts = accounts_of(settings, name);
    if !accounts.is_empty() {
        let names: Vec<&str> = accounts.iter().map(ChannelName::as_str).collect();
        return Err(format!(
            "channel {name} is the guest of {}; take them out of the configuration first",
            names.join(", ")
        ));
    }
    let waits = waiting_in(&directory_of(settings, name)).iter().any(|waiting| waiting.name == *name);
    match installed(settings, name) {
        Some(_) => Ok(()),
        None if waits => Ok(()),
        None => Err(format!("channel {name} is not installed; `tinclaw channels list` names those that are")),
    }
}

/// Whether there is such a channel.
///
/// # Errors
/// There is none.
pub(super) fn check_known(settings: &Settings, name: &ChannelName) -> Result<(), String> {
    match settings.planned(name) {
        Some(_) => Ok(()),
        None => {
            Err(format!("there is no channel {name}; `tinclaw channels list` names those that are there"))
        }
    }
}

fn report(json: bool, done: &Value, text: &str) {
    if json {
        print_json(done);
    } else {
        outln!("{text}");
    }
}
