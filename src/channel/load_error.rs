//! Why a channel is not found, installed or loaded.

use std::io;
use std::path::PathBuf;

use super::bundled::meant;
use crate::capability::CapabilityError;
use crate::model::io_advice::advice;
use crate::model::name::ChannelName;
use crate::model::value_error::ValueError;
use crate::sandbox::WasmChannelError;

/// Why a channel is not found, installed or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Nothing is there.
    #[error("{} does not exist: name a directory, or a .wasm file", path.display())]
    NotFound {
        /// The path that was named.
        path: PathBuf,
    },
    /// The directory cannot be listed.
    #[error("the directory {} cannot be read: {source}; {}", dir.display(), advice(source))]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be opened or read.
    #[error("{} cannot be read: {source}; {}", path.display(), advice(source))]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A symbolic link, which could lead out of the directory.
    #[error("{} is a symbolic link: put the file itself into the directory", path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// A directory, a pipe, a device.
    #[error("{} is not an ordinary file: put the file itself into the directory", path.display())]
    NotAFile {
        /// What it is not.
        path: PathBuf,
    },
    /// A guest's file is named on purpose, but its name does not end in `.wasm`.
    #[error("{} is not a guest: its name must end in .wasm", path.display())]
    NotAGuest {
        /// The file.
        path: PathBuf,
    },
    /// A file is larger than allowed.
    #[error("{} is larger than the {limit} bytes that are allowed: {advice}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: usize,
        /// What to do.
        advice: String,
    },
    /// The stem of a file's name is not a channel's name.
    #[error("{}: {source}; rename the file", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ValueError,
    },
    /// Several files are one channel, because `-` is taken as `_`.
    #[error("{} all have the name `{name}`, because - is taken as _: keep one", files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" and "))]
    SameName {
        /// The name.
        name: ChannelName,
        /// The files.
        files: Vec<PathBuf>,
    },
    /// The name of a channel that is to be installed is not one.
    #[error(transparent)]
    InstallName(ValueError),
    /// No channel of this name comes with the program.
    #[error("no channel `{name}` comes with the program; {}", meant(name))]
    NotBundled {
        /// The name.
        name: ChannelName,
    },
    /// The channel is known, but this program was built without its files.
    #[error("the channel `{name}` is not in this program: build it with the feature `bundled`")]
    NotBuiltIn {
        /// The name.
        name: ChannelName,
    },
    /// A file is there already, and was not to be replaced.
    #[error("{} is there already: replace it with --force", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("{} cannot be written: {source}; {}", path.display(), advice(source))]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its capability file is wrong.
    #[error("channel {channel}: {source}")]
    Capabilities {
        /// The channel.
        channel: ChannelName,
        /// What is wrong.
        source: CapabilityError,
    },
    /// The host refuses it.
    #[error("channel {channel}: {reason}")]
    Refused {
        /// The channel.
        channel: ChannelName,
        /// Why, and what to do about it.
        reason: String,
    },
    /// Its guest cannot be run here.
    #[error(transparent)]
    Guest(#[from] WasmChannelError),
}

impl LoadError {
    /// An account cannot be loaded whose guest is nowhere.
    pub(crate) fn no_guest(name: &ChannelName, guest: &ChannelName) -> Self {
        let reason =
            format!("there is no guest {guest}: correct `guest` in [channel.{name}], or install {guest}");
        Self::Refused { channel: name.clone(), reason }
    }

    /// Another channel has the name of one at this place.
    pub(crate) fn second_of_name(name: &ChannelName, place: &str) -> Self {
        let reason = format!("{place} has the name of another channel; rename it");
        Self::Refused { channel: name.clone(), reason }
    }
}
