//! Why a reply was not delivered, as the host understands it.

use std::fmt;

/// Why a reply was not delivered. Its text begins with a word that the host acts on; see `docs/writing-a-channel.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The same request would be refused again: the reply becomes a dead letter at once.
    Permanent(String),
    /// The host did not send the request, or nobody responded to it: the host knows itself whether trying again helps.
    NotSent(String),
    /// The credentials are not accepted: as `Permanent`, and the channel is shown as degraded.
    Unauthorized(String),
    /// It may succeed later: the reply is retried.
    Temporary {
        /// What happened, in the service's words.
        words: String,
        /// How long the service wants to be left alone, in milliseconds.
        retry_after_ms: Option<u64>,
    },
}

impl Failure {
    /// A failure that will not pass.
    pub fn permanent(words: impl Into<String>) -> Self {
        Self::Permanent(words.into())
    }

    /// The credentials are not accepted.
    pub fn unauthorized(words: impl Into<String>) -> Self {
        Self::Unauthorized(words.into())
    }

    /// A failure that may pass.
    pub fn temporary(words: impl Into<String>) -> Self {
        Self::Temporary { words: words.into(), retry_after_ms: None }
    }

    /// Whether trying again does not help.
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Permanent(_) | Self::Unauthorized(_))
    }

    /// A failure whose call has written down how far it came: only a temporary one keeps that.
    pub(crate) fn keeping_progress(self, has_progress: bool) -> Self {
        match self {
            Self::NotSent(words) if has_progress => Self::temporary(words),
            other => other,
        }
    }

    /// What happened, without the word for the host.
    pub fn words(&self) -> &str {
        match self {
            Self::Permanent(words)
            | Self::Unauthorized(words)
            | Self::NotSent(words)
            | Self::Temporary { words, .. } => words,
        }
    }

    /// How long the service wants to be left alone, in milliseconds.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Temporary { retry_after_ms, .. } => *retry_after_ms,
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permanent(words) => write!(f, "permanent: {words}"),
            Self::Unauthorized(words) => write!(f, "unauthorized: {words}"),
            Self::NotSent(words) => f.write_str(words),
            Self::Temporary { words, retry_after_ms: None } => write!(f, "temporary: {words}"),
            Self::Temporary { words, retry_after_ms: Some(wait) } => {
                write!(f, "temporary (retry after {wait} ms): {words}")
            }
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::Failure;

    #[test]
    fn the_text_begins_with_the_word_for_the_host() {
        let wait = Failure::Temporary { words: "slow down".into(), retry_after_ms: Some(1500) };
        for (failure, text) in [
            (Failure::permanent("chat not found"), "permanent: chat not found"),
            (Failure::unauthorized("token revoked"), "unauthorized: token revoked"),
            (Failure::temporary("no response"), "temporary: no response"),
            (Failure::NotSent("too large".into()), "too large"),
            (wait, "temporary (retry after 1500 ms): slow down"),
        ] {
            assert_eq!(failure.to_string(), text);
        }
    }
}
