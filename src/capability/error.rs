//! Why a capability file is refused.

/// Why a capability file is refused. Each error names the file, the place in it, and what would be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CapabilityError {
    /// The file is larger than [`MAX_FILE_BYTES`](super::MAX_FILE_BYTES).
    #[error("{file}: {bytes} bytes are more than the {limit} that a capability file may have")]
    TooLarge {
        /// The file.
        file: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The file is not JSON.
    #[error("{file}: not JSON: {reason}")]
    NotJson {
        /// The file.
        file: String,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// A field is not known. Nothing that is not understood is skipped: it could be a right that was meant to be
    /// narrower.
    #[error("{file}: unknown field `{path}`{}", suggestion(nearest, known))]
    UnknownField {
        /// The file.
        file: String,
        /// Where: `capabilities.chanel`.
        path: String,
        /// The known field whose name is nearest.
        nearest: Option<String>,
        /// Every field that is known there.
        known: Vec<String>,
    },
    /// A field stands twice in one object.
    #[error("{file}: `{path}` is there twice: remove one")]
    Duplicate {
        /// The file.
        file: String,
        /// Where.
        path: String,
    },
    /// A field that must be there is not.
    #[error("{file}: `{path}` is missing")]
    Missing {
        /// The file.
        file: String,
        /// Where.
        path: String,
    },
    /// A value that is not accepted.
    #[error("{file}: `{path}` is {found}: accepted is {accepted}")]
    Invalid {
        /// The file.
        file: String,
        /// Where; `.` is the whole file.
        path: String,
        /// What is there.
        found: String,
        /// What would be accepted.
        accepted: String,
    },
    /// The file says another name than its own.
    #[error(
        "{file}: `name` is {name:?}, but the channel of this file is `{channel}`: rename the file or change `name`"
    )]
    NameDiffers {
        /// The file.
        file: String,
        /// What the file says.
        name: String,
        /// What follows from the file's name.
        channel: String,
    },
}

fn suggestion(nearest: &Option<String>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!(": did you mean `{nearest}`?"),
        None if known.is_empty() => ": no field is known here".to_owned(),
        None => format!(": known here are {}", known.join(", ")),
    }
}
