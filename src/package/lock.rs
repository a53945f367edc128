//! The lock of a directory's packages: one program works on them at a time.

use std::fs::File;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::staging_error::StagingError;

/// How long a command waits until another program has finished with the packages.
pub(super) const LOCK_TIME: Duration = Duration::from_secs(10);
/// How long a host that starts waits for that: it serves without what was cut short.
pub(crate) const LOCK_TIME_AT_START: Duration = Duration::from_secs(2);
/// How often the lock is tried meanwhile.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Takes the lock, which another program may have.
///
/// # Errors
/// It still has it after this time.
pub(super) fn take_lock(lock: &File, path: PathBuf, lock_time: Duration) -> Result<(), StagingError> {
    let mut waited = Duration::ZERO;
    loop {
        match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK | Errno::INTR) if waited < lock_time => {
                thread::sleep(LOCK_PAUSE);
                waited += LOCK_PAUSE;
            }
            Err(Errno::WOULDBLOCK | Errno::INTR) => {
                return Err(StagingError::Locked { path, waited: lock_time });
            }
            Err(error) => return Err(StagingError::File { path, source: error.into() }),
        }
    }
}
