//! What a package asks for, against what was approved: shown, and asked about at the terminal.

use std::io::{self, IsTerminal as _};

use serde_json::{Value, json};

use crate::channel::ChannelName;
use crate::cli::output::Failure;
use crate::cli::prompt;
use crate::model::escape::escaped;
use crate::package::{Approved, LoadRefusal, PackageFiles, Right, check_approval, parsed, rights_of};

/// What a package asks for, against what was approved.
pub struct ApprovalRequest {
    pub name: ChannelName,
    /// Everything that it may do.
    rights: Vec<Right>,
    /// What was not approved yet; none when nothing was approved.
    added: Option<Vec<Right>>,
    pub needs_approval: bool,
}

impl ApprovalRequest {
    /// That of these files.
    ///
    /// # Errors
    /// The capability file is not accepted.
    pub fn of(
        name: &ChannelName,
        approved: Option<&Approved>,
        files: &PackageFiles,
    ) -> Result<Self, Failure> {
        let refused = |refusal: LoadRefusal| Failure::problem(format!("channel {name}: {refusal}"));
        let file = parsed(name, &files.channel).map_err(refused)?;
        let (added, needs_approval) = match check_approval(name, approved, &files.channel) {
            Ok(()) => (Some(Vec::new()), false),
            Err(LoadRefusal::AsksForMore { added, .. }) => (Some(added), true),
            Err(LoadRefusal::NotApproved { .. }) => (None, true),
            Err(refusal) => return Err(refused(refusal)),
        };
        Ok(Self { name: name.clone(), rights: rights_of(name, &file), added, needs_approval })
    }

    /// Every right, in words.
    pub fn texts(&self) -> Vec<String> {
        self.rights.iter().map(Right::to_string).collect()
    }

    /// Prints what is to be decided about; nothing when nothing is, or for programs.
    pub fn show(&self, json: bool) {
        if json || !self.needs_approval {
            return;
        }
        let name = &self.name;
        match &self.added {
            Some(added) => {
                outln!("channel {name} asks for more than was approved:");
                print_rights(added);
            }
            None => self.show_all(),
        }
    }

    /// Prints everything that it may do.
    pub fn show_all(&self) {
        outln!("channel {} asks for this:", self.name);
        print_rights(&self.rights);
    }

    pub(super) fn to_json(&self, state: &str) -> Value {
        // Where nothing is approved yet, everything is new.
        let added = self.added.as_ref().unwrap_or(&self.rights);
        let added: Vec<String> = added.iter().map(Right::to_string).collect();
        json!({"channel": self.name, "state": state, "rights": self.texts(), "added": added, "running": false, "diagnostics": []})
    }
}

fn print_rights(rights: &[Right]) {
    for right in rights {
        outln!("  {}", escaped(&right.to_string()));
    }
    if rights.is_empty() {
        outln!("  nothing: no requests, no paths, the limits of every channel");
    }
}

/// Asks at the terminal; without one nobody has agreed.
pub fn confirmed(json: bool) -> bool {
    let is_asked = !json && io::stdin().is_terminal();
    let reply = is_asked.then(|| prompt::line("approve this? [y/N]").ok()).flatten().unwrap_or_default();
    matches!(reply.trim(), "y" | "Y" | "yes")
}
