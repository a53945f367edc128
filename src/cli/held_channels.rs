//! Channels and packages that are held back: those that wait for an approval or a start, that may not be loaded, or that the
//! operator has disabled. Each with its reason and the command that helps.

use serde_json::{Value, json};

use super::config::Settings;
use crate::channel::{ChannelFiles, ChannelName, PlannedChannel};
use crate::model::escape::escaped;
use crate::package::{LoadRefusal, PackagePolicy, Right, check_approval, files_of, waiting_in};

/// Why a channel or a package is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldState {
    /// A package waits for the operator.
    Waiting,
    /// A package was approved, and is tried when the host starts.
    Approved,
    /// Its files ask for something that was not approved.
    NotApproved,
    /// Its signature or its files are not accepted.
    Refused,
    /// The operator has taken it out.
    Disabled,
    /// It may be loaded, and the running host does not have it.
    NotLoaded,
    /// It runs, and its files on the disk are others.
    FilesChanged,
}

impl HeldState {
    /// The word for programs and people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Approved => "approved",
            Self::NotApproved => "not_approved",
            Self::Refused => "refused",
            Self::Disabled => "disabled",
            Self::NotLoaded => "not_loaded",
            Self::FilesChanged => "files_changed",
        }
    }

    /// Whether something is installed that does not run although nobody wants that.
    pub fn is_error(self) -> bool {
        matches!(self, Self::NotApproved | Self::Refused | Self::NotLoaded)
    }
}

/// A channel or a package that is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldChannel {
    /// The channel.
    pub name: ChannelName,
    /// Why, as a word.
    pub state: HeldState,
    /// Why.
    pub text: String,
    /// What to do.
    pub help: String,
}

impl HeldChannel {
    fn new(name: &ChannelName, state: HeldState, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self { name: name.clone(), state, text: text.into(), help: help.into() }
    }

    fn to_json(&self) -> Value {
        json!({"name": self.name, "state": self.state.word(), "message": self.text, "help": self.help})
    }
}

/// As JSON, for the health of the host.
pub fn to_json(held: &[HeldChannel]) -> Value {
    held.iter().map(HeldChannel::to_json).collect()
}

/// Lines for people, of what the health of a host has.
pub fn to_text(held: &Value) -> String {
    let line = |held: &Value| {
        let part = |field: &str| held[field].as_str().unwrap_or_default();
        let line =
            format!("{}: channel {}: {}; {}", part("state"), part("name"), part("message"), part("help"));
        format!("{}\n", escaped(&line))
    };
    held.as_array().into_iter().flatten().map(line).collect()
}

/// Whether the health of a host has something installed that does not run although nobody wants that.
pub fn has_error(held: &Value) -> bool {
    let errors = [HeldState::NotApproved, HeldState::Refused, HeldState::NotLoaded].map(HeldState::word);
    held.as_array().into_iter().flatten().any(|held| errors.iter().any(|word| held["state"] == *word))
}

/// What is held back of the channels of a configuration. `is_running` says of a channel whether the host has it; without a host
/// there is none.
pub fn held(settings: &Settings, is_running: Option<&dyn Fn(&ChannelName) -> bool>) -> Vec<HeldChannel> {
    let mut held: Vec<HeldChannel> = waiting(settings);
    let records = settings.records();
    let policy = PackagePolicy::new(records.clone(), settings.trust.clone());
    let installed = settings.installed().into_iter().map(PlannedChannel::found);
    let accounts = settings.accounts().into_keys().filter_map(|name| settings.planned(&name));
    for planned in installed.chain(accounts) {
        let name = &planned.name;
        if records.get(name).is_ok_and(|record| record.disabled) {
            let help = format!("`tinclaw enable {name}` runs it again");
            held.push(HeldChannel::new(name, HeldState::Disabled, "it is disabled", help));
        } else if !is_running.is_some_and(|is_running| is_running(name)) {
            held.extend(refused(&policy, &planned));
            let is_refused = held.iter().any(|held| held.name == *name && held.state.is_error());
            if is_running.is_some() && !is_refused {
                let help = format!(
                    "`tinclaw reload {name}` loads it, or says why it cannot be loaded, as does the log of the host"
                );
                held.push(HeldChannel::new(
                    name,
                    HeldState::NotLoaded,
                    "the running host does not have it",
                    help,
                ));
            }
        }
    }
    held.sort_by(|one, other| one.name.cmp(&other.name));
    held
}

/// The packages that wait.
fn waiting(settings: &Settings) -> Vec<HeldChannel> {
    let records = settings.records();
    let packages = settings.package_directories().into_iter().flat_map(|directory| waiting_in(&directory));
    let held = packages.map(|package| {
        let name = &package.name;
        if package.approved {
            let help = "start or restart the host with `tinclaw run`";
            return HeldChannel::new(
                name,
                HeldState::Approved,
                "an approved package of it is tried at the next start",
                help,
            );
        }
        let files = ChannelFiles { wasm: Vec::new(), capabilities: Some(package.capabilities.clone()) };
        let approved = records.get(name).ok().and_then(|record| record.approved);
        let why = match check_approval(name, approved.as_ref(), &files) {
            Ok(()) => "it asks for no more than was approved".to_owned(),
            Err(refusal) => reason(&refusal),
        };
        let help = format!(
            "`tinclaw approve {name}` shows it and asks, `tinclaw approve {name} --reject` discards it"
        );
        HeldChannel::new(name, HeldState::Waiting, format!("a package of it waits: {why}"), help)
    });
    held.collect()
}

/// Why the files of a channel may not be loaded.
pub fn refused(policy: &PackagePolicy, planned: &PlannedChannel) -> Option<HeldChannel> {
    let (name, guest) = (&planned.name, &planned.guest);
    let files = files_of(planned.found_files()?).ok()?;
    let refusal = policy.refusal(guest, &files)?;
    let (state, help) = match &refusal {
        LoadRefusal::NotApproved { .. } | LoadRefusal::AsksForMore { .. } => (
            HeldState::NotApproved,
            format!(
                "`tinclaw approve {guest}` shows it and asks, `tinclaw remove {guest}` removes its files"
            ),
        ),
        _ => (HeldState::Refused, format!("`tinclaw upgrade {guest} SOURCE` replaces it")),
    };
    Some(HeldChannel::new(name, state, reason(&refusal), help))
}

fn reason(refusal: &LoadRefusal) -> String {
    let listed = |rights: &[Right]| match rights {
        [] => "nothing beyond the defaults".to_owned(),
        rights => rights.iter().map(Right::to_string).collect::<Vec<_>>().join("; "),
    };
    match refusal {
        LoadRefusal::NotApproved { rights, .. } => {
            format!("it has not been approved; it asks for: {}", listed(rights))
        }
        LoadRefusal::AsksForMore { added, .. } => {
            format!("it asks for more than was approved: {}", listed(added))
        }
        other => other.to_string(),
    }
}
