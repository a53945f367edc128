//! `workspace-read`: files of a directory that the operator chose, which tools may read and nobody writes through here.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

/// The longest path, in bytes.
const MAX_PATH_BYTES: usize = 1024;

/// Why a file is not read, in words for the guest.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("workspace.allowed_prefixes of the capability file does not name this path")]
    NotAllowed,
    #[error("a path has 1 to {MAX_PATH_BYTES} bytes")]
    PathLength,
    #[error("a path is relative, and its steps are separated by `/`")]
    PathForm,
    #[error("a path must not contain `..`")]
    Parent,
    #[error("it cannot be read: {0}")]
    Open(Errno),
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    #[error("it is a symbolic link")]
    Link,
    #[error("it is not an ordinary file")]
    NotAFile,
    #[error("the file has more than {0} bytes (tool.max_file_bytes sets it)")]
    TooLarge(usize),
    #[error("the file is not text in UTF-8")]
    NotUtf8,
}

/// The directory that tools read.
#[derive(Clone, Debug)]
pub(super) struct ToolFiles(PathBuf);

impl ToolFiles {
    pub(super) fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// The text of the file at `path`, when one of `prefixes` names it. No step of the way may be a symbolic link, so nothing
    /// outside of the directory is reached, also not by a link that appears while this runs.
    ///
    /// # Errors
    /// The path is not allowed, or what is there is no text of at most `limit` bytes.
    pub(super) fn read(
        &self,
        path: &str,
        prefixes: &[String],
        limit: usize,
    ) -> Result<Option<String>, FileError> {
        let steps = steps(path)?;
        if !prefixes.iter().any(|prefix| is_within(&steps, prefix)) {
            return Err(FileError::NotAllowed);
        }
        let Some(file) = self.open(&steps)? else { return Ok(None) };
        let mut bytes = Vec::new();
        // One byte more than the limit tells a file that is too large.
        file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(FileError::Read)?;
        if bytes.len() > limit {
            return Err(FileError::TooLarge(limit));
        }
        String::from_utf8(bytes).map(Some).map_err(|_| FileError::NotUtf8)
    }

    fn open(&self, steps: &[&str]) -> Result<Option<File>, FileError> {
        let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let unreadable = |error: Errno| FileError::Open(error);
        let mut at: OwnedFd = rustix::fs::open(&self.0, directory, Mode::empty()).map_err(unreadable)?;
        let Some((name, folders)) = steps.split_last() else { return Ok(None) };
        for folder in folders {
            // A link that must not be followed, and a file, are no directory.
            match rustix::fs::openat(&at, *folder, directory | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(next) => at = next,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                Err(error) => return Err(unreadable(error)),
            }
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match rustix::fs::openat(&at, *name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(FileError::Link),
            Err(error) => return Err(unreadable(error)),
        };
        let stat = rustix::fs::fstat(&file).map_err(unreadable)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Some(File::from(file))),
            FileType::Directory => Ok(None),
            _ => Err(FileError::NotAFile),
        }
    }
}

/// The steps of a relative path.
fn steps(path: &str) -> Result<Vec<&str>, FileError> {
    if path.is_empty() || path.len() > MAX_PATH_BYTES {
        return Err(FileError::PathLength);
    }
    if path.starts_with('/') || path.contains(['\0', '\\']) {
        return Err(FileError::PathForm);
    }
    let steps: Vec<&str> = path.split('/').filter(|step| !step.is_empty() && *step != ".").collect();
    match steps.contains(&"..") {
        true => Err(FileError::Parent),
        false => Ok(steps),
    }
}

/// Whether a prefix names the path: `notes/` and `notes` name everything in `notes`, and an empty prefix everything.
fn is_within(steps: &[&str], prefix: &str) -> bool {
    let mut prefix = prefix.split('/').filter(|step| !step.is_empty() && *step != ".");
    let mut steps = steps.iter();
    prefix.all(|step| step != ".." && steps.next() == Some(&step))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> PathBuf {
        let name = format!("tinclaw-tool-files-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("root/notes/deep")).unwrap();
        path
    }

    #[test]
    fn only_what_a_prefix_names_is_read_and_nothing_outside_of_the_directory() {
        let base = directory();
        let root = base.join("root");
        let write = |path: &str, text: &[u8]| std::fs::write(root.join(path), text).unwrap();
        write("notes/a.md", b"text");
        write("notes/deep/b.md", b"deep");
        write("notes.md", b"beside");
        write("notes/binary", &[0xff]);
        std::fs::write(base.join("secret"), "no").unwrap();
        std::os::unix::fs::symlink(base.join("secret"), root.join("notes/link")).unwrap();
        std::os::unix::fs::symlink(&base, root.join("notes/out")).unwrap();
        let files = ToolFiles::new(&root);
        let prefixes = ["notes/".to_owned()];
        let read = |path: &str| files.read(path, &prefixes, 4);
        let good = [
            ("notes/a.md", Some("text")),
            ("./notes//a.md", Some("text")),
            ("notes/deep/b.md", Some("deep")),
            ("notes/none", None),
            ("notes", None),
            ("notes/deep", None),
            ("notes/a.md/b", None),
            // A link on the way is as if nothing were there.
            ("notes/out/secret", None),
        ];
        for (path, text) in good {
            assert_eq!(read(path).unwrap(), text.map(str::to_owned), "{path}");
        }
        let refused = [
            ("notes/link", "symbolic link"),
            ("notes/../notes.md", "`..`"),
            ("notes/../../secret", "`..`"),
            ("/etc/passwd", "relative"),
            ("notes\\a.md", "relative"),
            ("notes.md", "does not name"),
            ("", "1 to"),
            ("notes/binary", "not text"),
        ];
        for (path, part) in refused {
            let error = read(path).unwrap_err().to_string();
            assert!(error.contains(part), "{path}: {error}");
        }
        assert!(files.read("notes/a.md", &[], 4).is_err(), "nothing is named");
        assert_eq!(files.read("notes.md", &[String::new()], 6).unwrap(), Some("beside".to_owned()));
        assert!(files.read("notes.md", &["notes".to_owned()], 6).is_err());
        // At the limit, and one past it.
        assert!(
            files.read("notes/a.md", &prefixes, 3).unwrap_err().to_string().contains("tool.max_file_bytes")
        );
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_path_has_as_many_bytes_as_it_may_and_not_one_more() {
        assert!(steps(&"a".repeat(MAX_PATH_BYTES)).is_ok());
        assert!(steps(&"a".repeat(MAX_PATH_BYTES + 1)).is_err());
    }
}
