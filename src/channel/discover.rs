//! Finding channels in a directory, and reading their files safely.
//!
//! The directory is trusted as far as the operator named it; what lies in it is not. Every file is opened once,
//! relative to the open directory and without following a link, and what is checked is the open file: there is no
//! moment between a check and a read in which one file could become another.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::load_error::LoadError;
use crate::capability::MAX_FILE_BYTES;
use crate::model::diagnostic::Diagnostic;
use crate::model::name::ChannelName;
use crate::model::value_error::ValueError;
use crate::sandbox::library_advice;

/// The most bytes that a guest may have.
pub(crate) const MAX_WASM_BYTES: usize = crate::sandbox::DEFAULT_MAX_GUEST_BYTES;
/// Environment variable that names the directory of channels.
pub(crate) const CHANNELS_DIR_VARIABLE: &str = "TINCLAW_CHANNELS_DIR";

const WASM: &str = ".wasm";
const CAPABILITIES: &str = ".capabilities.json";

/// A channel that was found, not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveredChannel {
    /// The channel's name, from the file's stem.
    pub name: ChannelName,
    /// `NAME.wasm`.
    pub wasm: PathBuf,
    /// `NAME.capabilities.json`, when there is one. Without it, the channel has no rights.
    pub capabilities: Option<PathBuf>,
}

/// What [`discover_channels`] found.
#[derive(Debug, Default)]
pub struct Discovery {
    /// The channels, in the order of their names.
    pub channels: Vec<DiscoveredChannel>,
    /// Files that look like a channel and cannot be one.
    pub refused: Vec<LoadError>,
    /// What is worth saying: a channel without a capability file, a capability file without a channel.
    pub warnings: Vec<Diagnostic>,
}

/// The bytes of a channel's files.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ChannelFiles {
    /// The guest; at most 16 MiB.
    pub wasm: Vec<u8>,
    /// The capability file, when there is one; at most 256 KiB.
    pub capabilities: Option<Vec<u8>>,
}

impl fmt::Debug for ChannelFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelFiles")
            .field("wasm", &format_args!("{} bytes", self.wasm.len()))
            .field("capabilities", &self.capabilities.as_ref().map(|bytes| format!("{} bytes", bytes.len())))
            .finish()
    }
}

/// The directory that channels are looked for in, when nobody names one.
///
/// In this order: `$TINCLAW_CHANNELS_DIR`; `tinclaw/channels` in `$XDG_DATA_HOME` when that is absolute (the XDG base
/// directory specification ignores a relative one); `~/.local/share/tinclaw/channels`; `channels` in the working
/// directory when there is no home. The directory need not exist.
pub fn default_channels_dir() -> PathBuf {
    data_directory(CHANNELS_DIR_VARIABLE, "channels")
}

/// The directory that `variable` names, or else `folder` where this program's data is.
pub(crate) fn data_directory(variable: &str, folder: &str) -> PathBuf {
    data_directory_from(variable, folder, |variable| {
        std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
    })
}

fn data_directory_from(named: &str, folder: &str, variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    if let Some(dir) = variable(named) {
        return dir;
    }
    let data = variable("XDG_DATA_HOME").filter(|dir| dir.is_absolute());
    let data = data.or_else(|| variable("HOME").map(|home| home.join(".local/share")));
    data.map_or_else(|| PathBuf::from(folder), |data| data.join("tinclaw").join(folder))
}

/// Lists the channels in a directory: every `NAME.wasm`, with `NAME.capabilities.json` beside it. Nothing is read yet.
///
/// Subdirectories and other files are not looked at. Two files whose stems are one name (`a-b.wasm` and `a_b.wasm`)
/// are both refused: which of them was meant cannot be known.
///
/// # Errors
/// [`LoadError::Directory`] when the directory cannot be read. What is wrong with one channel is in
/// [`Discovery::refused`], and the others are found all the same.
pub fn discover_channels(dir: &Path) -> Result<Discovery, LoadError> {
    let cannot_read = |source| LoadError::Directory { dir: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(cannot_read)? {
        let entry = entry.map_err(cannot_read)?;
        files.push((entry.file_name(), entry.file_type().map_err(cannot_read)?.is_symlink()));
    }
    files.sort_unstable();
    Ok(sort_out(dir, &files.iter().map(|(name, is_link)| (name.as_os_str(), *is_link)).collect::<Vec<_>>()))
}

/// Makes channels of a directory's entries, each with whether it is a symbolic link.
fn sort_out(dir: &Path, entries: &[(&OsStr, bool)]) -> Discovery {
    let mut found = Discovery::default();
    let mut by_name: Vec<(ChannelName, Vec<DiscoveredChannel>)> = Vec::new();
    for (file, is_link) in entries {
        let path = dir.join(file);
        let Some(stem) = stem_of(file, WASM) else { continue };
        match stem.ok_or(ValueError::NameNotText).and_then(ChannelName::new) {
            _ if *is_link => found.refused.push(LoadError::Link { path }),
            Err(source) => found.refused.push(LoadError::Name { path, source }),
            Ok(name) => {
                let capabilities = path.with_extension(&CAPABILITIES[1..]);
                let has_file = entries.iter().any(|(other, _)| capabilities.file_name() == Some(other));
                let capabilities = has_file.then_some(capabilities);
                let channel = DiscoveredChannel { name: name.clone(), wasm: path, capabilities };
                match by_name.binary_search_by(|(known, _)| known.cmp(&name)) {
                    Ok(place) => by_name[place].1.push(channel),
                    Err(place) => by_name.insert(place, (name, vec![channel])),
                }
            }
        }
    }
    found.warnings = orphans(entries);
    for (name, mut channels) in by_name {
        match (channels.pop(), channels.is_empty()) {
            (Some(channel), true) => {
                if channel.capabilities.is_none() {
                    let text = format!("{name}: there is no {name}{CAPABILITIES}, so it has no rights");
                    found.warnings.push(Diagnostic::warning("channel-files", text));
                }
                found.channels.push(channel);
            }
            (last, _) => {
                let files = channels.into_iter().chain(last).map(|channel| channel.wasm).collect();
                found.refused.push(LoadError::SameName { name, files });
            }
        }
    }
    found
}

/// The part of a file's name before `ending`; `Some(None)` when that part is not text.
fn stem_of<'a>(file: &'a OsStr, ending: &str) -> Option<Option<&'a str>> {
    match file.to_str() {
        Some(text) => text.strip_suffix(ending).map(Some),
        None => file.as_encoded_bytes().ends_with(ending.as_bytes()).then_some(None),
    }
}

fn orphans(entries: &[(&OsStr, bool)]) -> Vec<Diagnostic> {
    let stems = entries.iter().filter_map(|(file, _)| stem_of(file, CAPABILITIES).flatten());
    let has_guest = |stem: &str| entries.iter().any(|(file, _)| stem_of(file, WASM).flatten() == Some(stem));
    stems
        .filter(|stem| !has_guest(stem))
        .map(|stem| Diagnostic::warning("channel-files", format!("{stem}{CAPABILITIES} has no {stem}{WASM}")))
        .collect()
}

impl DiscoveredChannel {
    /// The channel of one guest's file, which the caller names. The capability file is looked for beside it.
    ///
    /// # Errors
    /// [`LoadError`] when the file's name does not end in `.wasm` or is not that of a channel.
    pub fn at(wasm: &Path) -> Result<Self, LoadError> {
        let file = wasm.file_name().unwrap_or_default();
        let Some(stem) = stem_of(file, WASM) else {
            return Err(LoadError::NotAGuest { path: wasm.to_owned() });
        };
        let name = stem.ok_or(ValueError::NameNotText).and_then(ChannelName::new);
        let name = name.map_err(|source| LoadError::Name { path: wasm.to_owned(), source })?;
        let capabilities = wasm.with_extension(&CAPABILITIES[1..]);
        let capabilities = capabilities.symlink_metadata().is_ok().then_some(capabilities);
        Ok(Self { name, wasm: wasm.to_owned(), capabilities })
    }

    /// What errors call the capability file: its file name without the directory.
    pub fn capabilities_file_name(&self) -> String {
        let file = self.capabilities.as_deref().and_then(Path::file_name);
        file.map_or_else(
            || format!("{}{CAPABILITIES}", self.name),
            |file| file.to_string_lossy().into_owned(),
        )
    }

    /// Reads both files.
    ///
    /// # Errors
    /// [`LoadError`] when a file is a link, is not an ordinary file, is too large, or cannot be read.
    pub(crate) fn read(&self) -> Result<ChannelFiles, LoadError> {
        let wasm = read_file(&self.wasm, MAX_WASM_BYTES, |beginning| {
            library_advice(beginning).unwrap_or_else(|| "build a smaller guest".to_owned())
        })?;
        Ok(ChannelFiles { wasm, capabilities: self.read_capabilities()? })
    }

    /// Reads the capability file alone, when there is one.
    pub(super) fn read_capabilities(&self) -> Result<Option<Vec<u8>>, LoadError> {
        self.capabilities
            .as_deref()
            .map(|path| read_file(path, MAX_FILE_BYTES, |_| "write a shorter file".to_owned()))
            .transpose()
    }
}

/// Reads one file of at most `limit` bytes, by its name in its directory. `advice` says of the beginning of a larger one what to
/// do.
fn read_file(path: &Path, limit: usize, advice: impl FnOnce(&[u8]) -> String) -> Result<Vec<u8>, LoadError> {
    let cannot_read = |source: io::Error| LoadError::File { path: path.to_owned(), source };
    let mut file = open_file(path)?;
    let stat = rustix::fs::fstat(&file).map_err(|error| cannot_read(error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(LoadError::NotAFile { path: path.to_owned() });
    }
    let expected = usize::try_from(stat.st_size).unwrap_or(usize::MAX).min(limit);
    let mut bytes = Vec::with_capacity(expected + 1);
    // One byte more than the limit tells a file that is too large, also when it grew after it was opened.
    (&mut file).take(limit as u64 + 1).read_to_end(&mut bytes).map_err(cannot_read)?;
    if bytes.len() > limit {
        return Err(LoadError::TooLarge { path: path.to_owned(), limit, advice: advice(&bytes) });
    }
    Ok(bytes)
}

/// Opens a file for reading, relative to its directory. A link is refused; a pipe does not block the open.
fn open_file(path: &Path) -> Result<File, LoadError> {
    let cannot_read = |error: Errno| LoadError::File { path: path.to_owned(), source: error.into() };
    let Some(name) = path.file_name() else { return Err(LoadError::NotAFile { path: path.to_owned() }) };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir_flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir: OwnedFd = rustix::fs::open(parent, dir_flags, Mode::empty()).map_err(cannot_read)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    match rustix::fs::openat(&dir, name, flags, Mode::empty()) {
        Ok(file) => Ok(File::from(file)),
        Err(Errno::LOOP) => Err(LoadError::Link { path: path.to_owned() }),
        Err(error) => Err(cannot_read(error)),
    }
}

#[cfg(test)]
#[path = "discover_tests.rs"]
pub(super) mod tests;
