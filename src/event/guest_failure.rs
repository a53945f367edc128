//! What a guest says about its own failure to deliver a reply: the first word of its error.
//!
//! ```text
//! permanent: WORDS                        the same request would be refused again
//! unauthorized: WORDS                     the service does not accept the credentials
//! temporary: WORDS                        it may succeed later
//! temporary (retry after 1500 ms): WORDS  not before this time
//! ```
//!
//! An error without such a word is judged by the responses that the callback got
//! ([`UpstreamOutcome`](super::upstream::UpstreamOutcome)): so guests that know nothing of this work as before, and one that
//! does can speak of a service that responds with 200 and means an error.

use std::time::Duration;

/// The longest wait that is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// What a guest says about its failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestFailure {
    /// Trying again does not help.
    Permanent,
    /// As [`Permanent`](Self::Permanent), because the credentials are refused.
    Unauthorized,
    /// Trying again may help. What the callback wrote to its workspace is kept, so that the next attempt knows how far this
    /// one came.
    Temporary {
        /// Not before this time.
        retry_after: Option<Duration>,
    },
}

impl GuestFailure {
    /// Reads the first word of an error; nothing when it is none of these.
    pub fn read(error: &str) -> Option<Self> {
        let (word, words) = error.split_once(": ")?;
        if words.trim().is_empty() {
            return None;
        }
        match word {
            "permanent" => Some(Self::Permanent),
            "unauthorized" => Some(Self::Unauthorized),
            "temporary" => Some(Self::Temporary { retry_after: None }),
            _ => {
                let wait = word.strip_prefix("temporary (retry after ")?.strip_suffix(" ms)")?;
                let wait = Duration::from_millis(wait.parse().ok()?);
                Some(Self::Temporary { retry_after: Some(wait.min(MAX_RETRY_AFTER)) })
            }
        }
    }

    /// Whether trying again does not help.
    pub fn is_permanent(self) -> bool {
        matches!(self, Self::Permanent | Self::Unauthorized)
    }

    /// Not before this time.
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Temporary { retry_after } => retry_after,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_says_what_follows() {
        let temporary = |ms| Some(GuestFailure::Temporary { retry_after: Some(Duration::from_millis(ms)) });
        for (error, expected) in [
            ("permanent: chat not found", Some(GuestFailure::Permanent)),
            ("unauthorized: token_revoked", Some(GuestFailure::Unauthorized)),
            ("temporary: no response", Some(GuestFailure::Temporary { retry_after: None })),
            ("temporary (retry after 1500 ms): slow down", temporary(1500)),
            ("temporary (retry after 0 ms): slow down", temporary(0)),
            ("temporary (retry after 86400000 ms): slow down", temporary(86_400_000)),
            ("temporary (retry after 86400001 ms): slow down", temporary(86_400_000)),
            ("temporary (retry after -1 ms): slow down", None),
            ("temporary (retry after 1 s): slow down", None),
            ("temporary (retry after 99999999999999999999999 ms): slow down", None),
            ("Permanent: chat not found", None),
            ("permanently: moved", None),
            ("permanent", None),
            ("permanent: ", None),
            ("a permanent: error", None),
            ("", None),
        ] {
            assert_eq!(GuestFailure::read(error), expected, "{error}");
        }
    }
}
