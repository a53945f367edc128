//! Opening a file that somebody else may have put there: opening a named pipe, or reading from it, waits for ever.

use std::fs::{File, OpenOptions};
use std::io;
#[cfg(any(test, feature = "cli"))]
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Opens a regular file, with `flags` beside those of `options`. Never waits.
///
/// # Errors
/// What the system says, or that something else has this name.
pub fn open(options: &mut OpenOptions, flags: OFlags, path: &Path) -> io::Result<File> {
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = options.custom_flags(flags.bits().cast_signed()).open(path).map_err(explained)?;
    if !file.metadata()?.is_file() {
        return Err(not_regular());
    }
    Ok(file)
}

/// Opens one for reading; a link is followed.
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path) -> io::Result<File> {
    open(OpenOptions::new().read(true), OFlags::empty(), path)
}

/// What one holds; for files of the program's own directories, which have no bounds but those of what was put there.
///
/// # Errors
/// As [`read`].
#[cfg(any(test, feature = "cli"))]
pub fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens for reading what somebody has named. In `/dev` it is anything: `/dev/stdin`, or the `/dev/fd/63` by which a shell names the
/// output of a command, is named on purpose.
///
/// # Errors
/// As [`read`].
#[cfg(any(test, feature = "cli"))]
pub fn read_named(path: &Path) -> io::Result<File> {
    if path.starts_with("/dev") { File::open(path) } else { read(path) }
}

/// The system has its own words for a link that is not followed, and for a named pipe that nobody reads.
fn explained(cause: io::Error) -> io::Error {
    match Errno::from_io_error(&cause) {
        Some(Errno::LOOP) => io::Error::other("it is a symbolic link, which is not followed: remove it"),
        Some(Errno::NXIO) => not_regular(),
        _ => cause,
    }
}

fn not_regular() -> io::Error {
    io::Error::other("it is not a regular file")
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;
    use crate::test_support::temp_dir::TempDir;

    // A named pipe in place of the database or of the secrets: the host waited in open(2), and SIGTERM did not end it.
    #[test]
    fn only_regular_files_are_opened_and_opening_never_blocks() {
        let scratch = TempDir::new();
        let pipe = scratch.join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let write = |path: &Path| open(OpenOptions::new().write(true), OFlags::empty(), path);
        for path in [pipe.as_path(), Path::new("/dev/null"), scratch.path()] {
            assert!(read(path).unwrap_err().to_string().contains("not a regular file"), "{}", path.display());
        }
        assert!(write(&pipe).unwrap_err().to_string().contains("not a regular file"));
        let file = scratch.write("file", "text");
        assert!(read(&file).is_ok() && write(&file).is_ok());
        assert_eq!(contents(&file).unwrap(), b"text");
        assert!(contents(&pipe).is_err());
    }

    #[test]
    fn what_is_in_dev_is_named_on_purpose() {
        let scratch = TempDir::new();
        let pipe = scratch.join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(read_named(&pipe).unwrap_err().to_string().contains("not a regular file"));
        assert!(read_named(Path::new("/dev/null")).is_ok());
        assert!(read_named(&scratch.write("file", "text")).is_ok());
    }
}
