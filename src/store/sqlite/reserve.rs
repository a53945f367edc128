//! Room on the disk that is given up when the disk is full.
//!
//! A queue that has filled the disk can only empty when acknowledgements and replies can be stored. They need little room,
//! but some: the file `tinclaw.db-reserve` holds it until then.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use log::Level;
use rustix::fs::{FallocateFlags, OFlags, fallocate, statvfs};
use rustix::io::Errno;

use crate::model::regular_file;

/// No more than this part of the file system is held.
const PART_OF_FILE_SYSTEM: u64 = 16;

/// Room on the disk beside a database.
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    /// The log says that none can be held: set when it does, never cleared. One thread uses it, so any order will do.
    is_logged: AtomicBool,
}

impl Reserve {
    /// A reserve of `bytes`, or less on a small file system; none with 0. Nothing is done yet.
    pub(super) fn beside(database: &Path, bytes: u64) -> Self {
        let mut name = OsString::from(database);
        name.push("-reserve");
        let directory = database.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        let most = statvfs(directory)
            .map_or(u64::MAX, |system| system.f_blocks.saturating_mul(system.f_frsize) / PART_OF_FILE_SYSTEM);
        Self { path: name.into(), bytes: bytes.min(most), is_logged: AtomicBool::new(false) }
    }

    /// How large it is.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it is there, or none can be: something else has its name, which is left as it is and says nothing about the disk.
    pub(super) fn is_held(&self) -> bool {
        match fs::symlink_metadata(&self.path) {
            _ if self.bytes == 0 => true,
            Ok(found) if !found.is_file() => {
                let told = self.is_logged.swap(true, Ordering::Relaxed);
                let level = if told { Level::Debug } else { Level::Warn };
                log::log!(
                    level,
                    "{} is no regular file, so no room is held back for a full disk: remove it",
                    self.path.display()
                );
                true
            }
            found => found.is_ok_and(|found| found.len() >= self.bytes),
        }
    }

    /// Takes the room, if there is as much again for other work; whether it is there now.
    pub(super) fn take(&self) -> bool {
        if self.is_held() {
            return true;
        }
        if self.is_out_of_reach() {
            return false;
        }
        match self.allocate() {
            Ok(()) => true,
            Err(error) => {
                log::debug!("{}: no room is held back: {error}", self.path.display());
                self.give_up();
                false
            }
        }
    }

    /// Whether there is too little room at a glance.
    fn is_out_of_reach(&self) -> bool {
        let system = self.path.parent().and_then(|directory| statvfs(directory).ok());
        system.is_some_and(|system| system.f_bavail.saturating_mul(system.f_frsize) < self.bytes * 2)
    }

    fn allocate(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = regular_file::open(&mut options, OFlags::NOFOLLOW, &self.path)?;
        // Asking for twice as much is the one way to learn of quotas, too.
        match fallocate(&file, FallocateFlags::empty(), 0, self.bytes * 2) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(&file, self.bytes * 2)?,
            Err(error) => return Err(error.into()),
        }
        file.set_len(self.bytes)
    }

    /// Gives the room up.
    pub(super) fn give_up(&self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| !found.is_file()) {
            return;
        }
        match fs::remove_file(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => log::warn!("{} cannot be given up: {error}", self.path.display()),
        }
    }
}

fn write_zeros(mut file: &File, bytes: u64) -> io::Result<()> {
    let zeros = [0; 64 << 10];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(zeros.len() as u64);
        file.write_all(&zeros[..part as usize])?;
        left -= part;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_and_given_up() {
        let database = std::env::temp_dir().join(format!("tinclaw-reserve-{}", std::process::id()));
        let reserve = Reserve::beside(&database, 100_000);
        assert!(!reserve.is_held());
        assert!(reserve.take() && reserve.is_held());
        assert_eq!(fs::metadata(&reserve.path).unwrap().len(), 100_000);
        assert!(reserve.take(), "it is there already");
        reserve.give_up();
        reserve.give_up();
        assert!(!reserve.is_held());
        assert!(Reserve::beside(&database, 0).is_held(), "nothing is held by nobody");
    }

    #[test]
    fn room_that_is_not_there_is_not_taken_and_leaves_no_file() {
        let database = std::env::temp_dir().join(format!("tinclaw-no-reserve-{}", std::process::id()));
        // More than any disk has, and more than the part of the file system that is held otherwise.
        let reserve = Reserve { bytes: 1 << 60, ..Reserve::beside(&database, 1) };
        assert!(!reserve.take());
        assert!(!reserve.path.exists());
    }
}
