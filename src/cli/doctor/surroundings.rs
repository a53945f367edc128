//! Clock, disk, permissions.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};

use super::Finding;
use crate::cli::config::Settings;
use crate::model::clock::{implausible, unix_ms};

/// Free bytes below which a host will soon accept nothing.
const FEW_BYTES: u64 = 64 << 20;

/// Free bytes below which it is time to look.
const LITTLE_BYTES: u64 = 512 << 20;

pub(super) fn findings(settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![clock(unix_ms())];
    let place = existing(&settings.state_dir);
    findings.push(disk(&place));
    findings.extend(permissions(settings, &place));
    findings
}

fn clock(now_ms: u64) -> Finding {
    match implausible(now_ms) {
        None => Finding::good("clock", "nothing speaks against the time of this host"),
        Some(doubt) => Finding::error(
            "clock",
            doubt,
            "set it (`timedatectl set-ntp true`): signatures that name a time are refused, and certificates too",
        ),
    }
}

/// The directory itself, or the nearest one above it that is there.
fn existing(path: &Path) -> PathBuf {
    let found = path.ancestors().find(|path| path.is_dir());
    found.filter(|path| *path != Path::new("")).unwrap_or(Path::new(".")).to_owned()
}

fn disk(place: &Path) -> Finding {
    let shown = place.display();
    match statvfs(place) {
        Err(error) => Finding::unknown("disk", format!("{shown}: {error}"), "look at the file system"),
        Ok(system) => room(&shown.to_string(), system.f_bavail.saturating_mul(system.f_frsize)),
    }
}

fn room(place: &str, free: u64) -> Finding {
    let text = format!("{} MiB are free for {place}", free >> 20);
    if free < FEW_BYTES {
        return Finding::error("disk", text, "make room: a host on a full disk accepts no messages");
    }
    if free < LITTLE_BYTES {
        return Finding::note("disk", text, "make room, or lower [retention] in tinclaw.toml");
    }
    Finding::good("disk", text)
}

fn permissions(settings: &Settings, place: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let writable = access(place, Access::WRITE_OK | Access::EXEC_OK);
    if let Err(error) = writable {
        findings.push(Finding::error(
            "permissions",
            format!("{} cannot be written: {error}", place.display()),
            "run this as the user that the host runs as, or change the owner of the directory",
        ));
    }
    let private = [
        settings.state_dir.clone(),
        settings.state_dir.join("tinclaw.db"),
        settings.state_dir.join("secrets.enc"),
        settings.state_dir.join("secrets.key"),
    ];
    findings.extend(private.iter().filter_map(|path| readable_by_others(path, 0o077)));
    // What it says is run: commands of agents, hosts that may be called.
    findings.extend(settings.path.iter().filter_map(|path| readable_by_others(path, 0o022)));
    if findings.is_empty() {
        findings.push(Finding::good("permissions", "the state is the host's alone"));
    }
    findings
}

/// A file that others may read or write, by the bits that they must not have.
fn readable_by_others(path: &Path, bits: u32) -> Option<Finding> {
    let mode = fs::metadata(path).ok()?.mode() & 0o777;
    (mode & bits != 0).then(|| {
        let path = path.display();
        let what = if bits == 0o022 { "written" } else { "read" };
        let right = mode & !bits;
        Finding::error(
            "permissions",
            format!("{path} can be {what} by others: mode {mode:o}"),
            format!("chmod {right:o} {path}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::CheckState;
    use super::*;
    use crate::test_support::temp_dir::TempDir;

    #[test]
    fn a_clock_of_1970_is_an_error_and_has_something_to_be_done() {
        assert_eq!(clock(0).health, CheckState::Error);
        assert!(clock(0).help.is_some());
        assert_eq!(clock(1_800_000_000_000).health, CheckState::Good);
    }

    #[test]
    fn little_room_is_a_note_and_hardly_any_is_an_error() {
        for (free, health) in [
            (LITTLE_BYTES, CheckState::Good),
            (LITTLE_BYTES - 1, CheckState::Note),
            (FEW_BYTES, CheckState::Note),
            (FEW_BYTES - 1, CheckState::Error),
        ] {
            assert_eq!(room("/", free).health, health, "{free}");
        }
    }

    #[test]
    fn files_that_others_may_read_are_found_with_the_command_that_closes_them() {
        let directory = TempDir::new();
        let path = directory.write("secrets.key", "x");
        for (mode, bits, expected) in [
            (0o600, 0o077, None),
            (0o640, 0o077, Some("chmod 600 ")),
            (0o604, 0o077, Some("chmod 600 ")),
            (0o644, 0o022, None),
            (0o664, 0o022, Some("chmod 644 ")),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let found = readable_by_others(&path, bits);
            let help = found.and_then(|found| found.help);
            assert_eq!(help.is_some(), expected.is_some(), "{mode:o}");
            assert!(expected.is_none_or(|start| help.unwrap().starts_with(start)), "{mode:o}");
        }
        assert_eq!(readable_by_others(&directory.join("nothing"), 0o077), None);
    }

    #[test]
    fn a_state_directory_that_is_not_there_yet_is_looked_at_where_it_would_be() {
        let directory = TempDir::new();
        assert_eq!(existing(&directory.join("a/b")), directory.path());
        assert_eq!(existing(Path::new("nothing-of-this-name/b")), Path::new("."));
    }
}
