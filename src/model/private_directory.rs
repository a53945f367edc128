//! Directories that belong to the host alone.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
#[cfg(feature = "cli")]
use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

/// What its owner may do, and nobody else.
const MODE: u32 = 0o700;

/// Makes a directory that only its owner may enter, with those above it. One that is there stays as it is.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(MODE).create(path)
}

/// Takes the rights of others from a directory of this user, when they have any; says whether it did.
#[cfg(feature = "cli")]
pub(crate) fn tighten(path: &Path) -> io::Result<bool> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    if !is_ours || !found.is_dir() || found.mode() & 0o077 == 0 {
        return Ok(false);
    }
    fs::set_permissions(path, Permissions::from_mode(found.mode() & MODE))?;
    Ok(true)
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;
    use crate::test_support::temp_dir::TempDir;

    #[test]
    fn a_directory_is_made_for_its_owner_and_tightened_when_others_may_read_it() {
        let scratch = TempDir::new();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        let path = scratch.join("above/state");
        create(&path).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (MODE, MODE));
        assert!(!tighten(&path).unwrap());
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        assert!(tighten(&path).unwrap());
        assert_eq!(mode(&path), MODE);
        assert!(!tighten(&scratch.join("nothing")).unwrap());
    }
}
