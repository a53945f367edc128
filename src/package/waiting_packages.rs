//! The packages that wait, for commands that only look.

use std::fs;
use std::path::Path;

use super::staging::{FOLDER, PLAN, Plan};
use crate::channel::ChannelName;
use crate::model::regular_file;

/// A package that waits, as far as anybody can see it who does not work on the packages.
#[derive(Clone, Debug)]
pub(crate) struct WaitingPackage {
    /// The channel.
    pub name: ChannelName,
    /// Whether the operator has approved it: it is tried when the host starts.
    pub approved: bool,
    /// Its capability file.
    pub capabilities: Vec<u8>,
}

/// The packages that wait in a directory. Nothing is locked and nothing made: one that is on its way is left out.
pub(crate) fn waiting_in(directory: &Path) -> Vec<WaitingPackage> {
    let entries = fs::read_dir(directory.join(FOLDER)).into_iter().flatten().flatten();
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().to_str()?.strip_suffix(".pending").map(ChannelName::new)?.ok()?;
        let plan: Plan =
            serde_json::from_slice(&regular_file::contents(&entry.path().join(PLAN)).ok()?).ok()?;
        let capabilities = regular_file::contents(&entry.path().join("capabilities.json")).ok()?;
        Some(WaitingPackage { name, approved: plan.approved, capabilities })
    };
    let mut waiting: Vec<WaitingPackage> = entries.filter_map(read).collect();
    waiting.sort_by(|one, other| one.name.cmp(&other.name));
    waiting
}
