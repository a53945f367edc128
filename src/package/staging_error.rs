//! Why a package is not put into a directory, or not whole.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::record::RecordError;
use crate::channel::ChannelName;
use crate::model::io_advice::advice;

/// Why a package is not put into a directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StagingError {
    /// A file or folder.
    #[error("{}: {source}; {}", path.display(), advice(source))]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is approved.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A plan that nobody understands.
    #[error("{} is damaged: {reason}; remove its folder", path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Nothing waits.
    #[error("no package of channel {0} waits")]
    NothingWaits(ChannelName),
    /// Another program has the packages.
    #[error(
        "{} has been locked for {} s by another tinclaw program that installs, approves or removes a channel; \
         let it end or end it (`fuser {}` names it)", path.display(), waited.as_secs(), path.display()
    )]
    Locked {
        /// The file.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// It counts, and not all of its files are in their places.
    #[error(
        "{source}. The change of channel {channel} counts and is not complete: once this is repaired, the next start of the host or the next `tinclaw install`, `upgrade`, `approve` or `remove` completes it"
    )]
    Incomplete {
        /// The channel.
        channel: ChannelName,
        /// What went wrong.
        source: Box<StagingError>,
    },
}
