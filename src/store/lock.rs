//! One host per state directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::model::{private_directory, regular_file};

/// The name of the lock file in the state directory.
const FILE: &str = "tinclaw.lock";

/// How often it is tried again when somebody holds it, and how long after.
const LOOKS: u32 = 5;
const LOOK_TIME: Duration = Duration::from_millis(20);

/// Why a state directory could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LockError {
    /// Another host works there.
    #[error(
        "{directory} is in use by another tinclaw{}: stop it, or give this one a state directory of its own",
        holder.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Held {
        /// The state directory.
        directory: PathBuf,
        /// The other's process id, when it could be read.
        holder: Option<u32>,
    },
    /// The directory or the lock file cannot be made.
    #[error("{path} cannot be used: {cause}; check its owner, its mode and the space that is left")]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// Holds a state directory for this process until it is dropped; the system lets go of it when the process dies.
#[derive(Debug)]
pub struct HostLock {
    /// Open as long as the lock is held. The file stays: removing it would let two hosts lock two files of one name.
    _file: File,
    /// The directory, locked as well: whoever removes the lock file lets no second host in.
    _place: File,
}

impl HostLock {
    /// Takes a state directory, creating it with mode 0700 when it does not exist.
    ///
    /// # Errors
    /// [`LockError::Held`] when another host has it, in this process or another.
    pub fn acquire(directory: &Path) -> Result<Self, LockError> {
        let failed = |path: &Path, cause| LockError::Io { path: path.to_owned(), cause };
        private_directory::create(directory).map_err(|cause| failed(directory, cause))?;
        let path = directory.join(FILE);
        warn_of_other_writers(directory);
        let mut place = hold(directory)?;
        // Somebody who only looks whether it is held holds it for a moment.
        for _ in 0..LOOKS {
            if place.is_some() {
                break;
            }
            std::thread::sleep(LOOK_TIME);
            place = hold(directory)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = regular_file::open(&mut options, OFlags::NOFOLLOW, &path);
        let mut file = file.map_err(|cause| failed(&path, cause))?;
        let Some(place) = place else {
            return Err(LockError::Held { directory: directory.to_owned(), holder: holder(&mut file) });
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(LockError::Held { directory: directory.to_owned(), holder: holder(&mut file) });
            }
            Err(errno) => return Err(failed(&path, errno.into())),
        }
        // Only for the error of whoever comes next: on a full disk the lock is held all the same.
        if let Err(error) = name_holder(&mut file) {
            log::debug!("{} does not name its holder: {error}", path.display());
        }
        Ok(Self { _file: file, _place: place })
    }
}

/// Who has a state directory now. Only a look: it may be another one at the next moment.
#[cfg(any(feature = "cli", test))]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Its process id, when it could be read.
    pub pid: Option<u32>,
}

#[cfg(any(feature = "cli", test))]
impl Holder {
    /// Looks who has a state directory. None when nobody has, or it is not there.
    pub fn of(directory: &Path) -> Option<Self> {
        let place = File::open(directory).ok()?;
        match flock(&place, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => {
                let pid =
                    regular_file::read(&directory.join(FILE)).ok().and_then(|mut file| holder(&mut file));
                Some(Self { pid })
            }
            // It is let go of when the file is closed.
            _ => None,
        }
    }
}

/// Locks the directory itself; none when another host has it.
fn hold(directory: &Path) -> Result<Option<File>, LockError> {
    let failed = |cause| LockError::Io { path: directory.to_owned(), cause };
    let place = File::open(directory).map_err(failed)?;
    match flock(&place, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(place)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        // Some network file systems lock files only; the lock file is locked all the same.
        Err(error) => {
            log::debug!("{} itself cannot be locked: {error}", directory.display());
            Ok(Some(place))
        }
    }
}

/// Says so when others could replace what the host keeps there.
fn warn_of_other_writers(directory: &Path) {
    if let Ok(metadata) = fs::metadata(directory)
        && metadata.permissions().mode() & 0o022 != 0
    {
        log::warn!(
            "{} can be written by other users, who could replace what is stored there: chmod go-w {0}",
            directory.display()
        );
    }
}

fn name_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
