//! `tinclaw approve`: shows what waits, and lets it have what it asks for when somebody agrees.

use serde_json::json;

use super::asked::{ApprovalRequest, confirmed};
use super::install::{finish, load, print_done};
use super::place::{directory_of, installed};
use super::request::ask_host;
use crate::admin::HostChange;
use crate::channel::ChannelName;
use crate::cli::args::{ApproveArgs, Common};
use crate::cli::config::Settings;
use crate::cli::output::{CommandResult, Failure, print_json};
use crate::package::{Approved, Pending, Staging, files_of};

/// Lets a channel have what it asks for. What nobody was shown is not approved.
pub fn approve(common: &Common, arguments: &ApproveArgs) -> CommandResult {
    let settings = load(common)?;
    let name = ChannelName::new(&arguments.channel).map_err(Failure::problem)?;
    if arguments.reject {
        return reject(&settings, &name, arguments.json);
    }
    match pending(&settings, &name)? {
        Some(pending) => approve_pending(&settings, &name, &pending, arguments),
        None => approve_installed(&settings, &name, arguments),
    }
}

fn pending(settings: &Settings, name: &ChannelName) -> Result<Option<Pending>, Failure> {
    let records = settings.records();
    let staging = Staging::open(&directory_of(settings, name), &records).map_err(Failure::problem)?;
    staging.pending(name).map_err(Failure::problem)
}

/// Discards a package that waits.
fn reject(settings: &Settings, name: &ChannelName, json: bool) -> CommandResult {
    let records = settings.records();
    let staging = Staging::open(&directory_of(settings, name), &records).map_err(Failure::problem)?;
    if staging.pending(name).map_err(Failure::problem)?.is_none() {
        return Err(Failure::problem(format!("no package of channel {name} waits")));
    }
    staging.drop_pending(name).map_err(Failure::problem)?;
    let done = json!({"channel": name, "state": "rejected"});
    print_done(json, &done, &format!("discarded the package of channel {name} that waited"));
    Ok(())
}

/// A package that waits.
fn approve_pending(
    settings: &Settings,
    name: &ChannelName,
    pending: &Pending,
    arguments: &ApproveArgs,
) -> CommandResult {
    let records = settings.records();
    let approved = records.get(name).map_err(Failure::problem)?.approved;
    let asked = ApprovalRequest::of(name, approved.as_ref(), &pending.files)?;
    if !is_agreed(&asked, "waits_for_approval", arguments)? {
        return Ok(());
    }
    let record = Approved::of(&pending.files.channel, Vec::new(), false);
    {
        let staging = Staging::open(&directory_of(settings, name), &records).map_err(Failure::problem)?;
        let waits = staging.pending(name).map_err(Failure::problem)?;
        // Meanwhile another command may have put another one there.
        if waits.is_none_or(|waits| waits.files != pending.files) {
            return Err(Failure::problem(format!(
                "the package of channel {name} that was shown does not wait any more; look at it again with `tinclaw approve {name}`"
            )));
        }
        staging.approve(name).map_err(Failure::problem)?;
    }
    let was_installed = installed(settings, name).is_some();
    finish(settings, &asked, &record, &pending.files, was_installed, arguments.json)
}

/// Files that lie in the directory of channels.
fn approve_installed(settings: &Settings, name: &ChannelName, arguments: &ApproveArgs) -> CommandResult {
    let records = settings.records();
    let approved = records.get(name).map_err(Failure::problem)?.approved;
    let found = installed(settings, name)
        .ok_or_else(|| Failure::problem(format!("there is no channel {name}, and no package of it waits")))?;
    let files = files_of(&found).map_err(Failure::problem)?;
    let asked = ApprovalRequest::of(name, approved.as_ref(), &files)?;
    if approved.as_ref().is_some_and(|approved| approved.is_of(&files.channel)) {
        if arguments.show && !arguments.json {
            asked.show_all();
        }
        print_done(
            arguments.json,
            &json!({"channel": name, "state": "unchanged", "rights": asked.texts()}),
            &format!("channel {name} is approved already, and nothing of it waits"),
        );
        return Ok(());
    }
    if !is_agreed(&asked, "not_approved", arguments)? {
        return Ok(());
    }
    let source = approved.map(|approved| approved.source).unwrap_or_default();
    let approved = Approved::of(&files.channel, source, false);
    records.change(name, |record| record.approved = Some(approved)).map_err(Failure::problem)?;
    let started = ask_host(settings, &HostChange::Start { channel: name.to_string() })?;
    let done = json!({
        "channel": name, "state": "approved", "rights": asked.texts(), "running": started.is_some(),
    });
    let when = if started.is_some() { "it runs" } else { "it runs when the host starts" };
    print_done(arguments.json, &done, &format!("approved {name}; {when}"));
    Ok(())
}

/// Shows what is asked for. Whether somebody agrees to it: at the terminal, or with `--yes`.
fn is_agreed(asked: &ApprovalRequest, state: &str, arguments: &ApproveArgs) -> Result<bool, Failure> {
    let ApproveArgs { yes, show, json, .. } = *arguments;
    match asked.needs_approval {
        true => asked.show(json),
        false if !json => outln!("channel {} asks for no more than was approved", asked.name),
        false => {}
    }
    if show {
        if json {
            print_json(&asked.to_json(state));
        }
        return Ok(false);
    }
    if yes || confirmed(json) {
        return Ok(true);
    }
    let name = &asked.name;
    let discard = match state {
        "not_approved" => format!("`tinclaw remove {name}`"),
        _ => format!("`tinclaw approve {name} --reject`"),
    };
    Err(Failure::problem(format!(
        "nothing was approved: agree at a terminal or with `tinclaw approve {name} --yes`; \
         {discard} discards it"
    )))
}
