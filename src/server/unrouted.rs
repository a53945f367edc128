//! Requests that no channel takes: counted, and logged with the path that their senders may have meant.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::escape::escaped;

/// How long nothing more is logged about a path.
const QUIET: Duration = Duration::from_secs(60);

/// Paths that are logged a minute; requests to more of them are only counted.
const MAX_PATHS: usize = 32;

/// How much of a path is logged, in characters.
const MAX_LOGGED_CHARS: usize = 200;

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mismatch<'a> {
    /// No channel has the path.
    NoPath,
    /// The path exists, and takes only these methods.
    Method(&'a [String]),
    /// Its sender claims to be another host, which is not believed for this reason.
    #[cfg(feature = "cluster")]
    Forged(&'static str),
}

/// Counts requests that no channel takes, and decides which of them are logged.
#[derive(Debug, Default)]
pub(super) struct UnroutedRequests {
    /// Only ever counted up, by the thread that has the request.
    total: AtomicU64,
    /// Behind a lock because any clone of the routes may be asked; held for a look into a map.
    logged: Mutex<Logged>,
}

#[derive(Debug, Default)]
struct Logged {
    at: HashMap<String, Instant>,
    /// Requests since the last line.
    omitted: u64,
}

impl UnroutedRequests {
    /// How many there were.
    pub fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    /// Counts a request and logs it, at most once a minute for each path. `near` is asked only when it is logged.
    pub fn note(
        &self,
        method: &str,
        path: &str,
        mismatch: Mismatch<'_>,
        near: impl FnOnce() -> Option<String>,
    ) {
        self.total.fetch_add(1, Relaxed);
        let due = self.logged.lock().unwrap_or_else(PoisonError::into_inner).due(path, Instant::now());
        let Some(omitted) = due else { return };
        let shown: String = path.chars().take(MAX_LOGGED_CHARS).collect();
        let shown = escaped(&shown);
        let reason = match mismatch {
            Mismatch::NoPath => {
                let near = near().map(|near| format!("; {near}")).unwrap_or_default();
                format!("no channel has this path{near}")
            }
            Mismatch::Method(allowed) => format!("this path takes {}", allowed.join(", ")),
            #[cfg(feature = "cluster")]
            Mismatch::Forged(reason) => format!("it claims to come from another host, and {reason}"),
        };
        let omitted = match omitted {
            0 => String::new(),
            count => format!(" ({count} more such requests were not logged)"),
        };
        log::info!("refused {} {shown}: {reason}{omitted}", escaped(method));
    }
}

impl Logged {
    /// Whether a request to this path is logged now; then how many were left out since the last line.
    fn due(&mut self, path: &str, now: Instant) -> Option<u64> {
        self.at.retain(|_, at| now.saturating_duration_since(*at) < QUIET);
        if self.at.contains_key(path) || self.at.len() >= MAX_PATHS {
            self.omitted += 1;
            return None;
        }
        self.at.insert(path.to_owned(), now);
        Some(std::mem::take(&mut self.omitted))
    }
}

/// The path among `known` that the sender of `path` may have meant, and how the two differ.
pub(super) fn nearest<'a>(known: impl Iterator<Item = &'a str>, path: &str) -> Option<String> {
    known
        .filter_map(|known| Some((difference(known, path)?, known)))
        .min_by_key(|((rank, _), known)| (*rank, std::cmp::Reverse(known.len()), known.to_owned()))
        .map(|((_, how), known)| format!("{known} {how}"))
}

/// How a path differs from a known one, if they are near: with a rank, the nearest first.
fn difference(known: &str, path: &str) -> Option<(u8, &'static str)> {
    let trimmed = |path: &str| path.trim_end_matches('/').to_owned();
    let collapsed = |path: &str| {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        format!("/{}", segments.join("/"))
    };
    let is_whole = |rest: &str| !rest.trim_matches('/').is_empty();
    if trimmed(known) == trimmed(path) {
        Some((0, "differs by a trailing slash"))
    } else if collapsed(known) == collapsed(path) {
        Some((1, "differs by a doubled slash"))
    } else if collapsed(known).eq_ignore_ascii_case(&collapsed(path)) {
        Some((2, "differs in upper and lower case"))
    } else if is_whole(path) && known.ends_with(path) {
        Some((3, "begins with more: a proxy in front may strip it"))
    } else if is_whole(known) && path.ends_with(known) {
        Some((4, "is the end of it: a proxy in front may add the beginning"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similar_path_is_suggested_with_the_difference() {
        let known = ["/webhook/telegram", "/webhook/slack", "/chat/"];
        let rows = [
            ("/webhook/telegram/", Some("/webhook/telegram differs by a trailing slash")),
            ("/chat", Some("/chat/ differs by a trailing slash")),
            ("//webhook/telegram", Some("/webhook/telegram differs by a doubled slash")),
            ("/webhook//slack/", Some("/webhook/slack differs by a doubled slash")),
            ("/Webhook/Telegram", Some("/webhook/telegram differs in upper and lower case")),
            ("/slack", Some("/webhook/slack begins with more: a proxy in front may strip it")),
            (
                "/bot/webhook/slack",
                Some("/webhook/slack is the end of it: a proxy in front may add the beginning"),
            ),
            ("/", None),
            ("//", None),
            ("/webhook/discord", None),
            ("/.env", None),
        ];
        for (path, near) in rows {
            assert_eq!(nearest(known.into_iter(), path).as_deref(), near, "{path}");
        }
    }

    #[test]
    fn a_path_is_logged_once_a_minute_and_at_most_32_paths() {
        let mut logged = Logged::default();
        let start = Instant::now();
        let after = |secs| start + Duration::from_secs(secs);
        assert_eq!(logged.due("/a", start), Some(0));
        assert_eq!(logged.due("/a", after(59)), None);
        assert_eq!(logged.due("/a", after(60)), Some(1));
        for number in 1..MAX_PATHS {
            assert_eq!(logged.due(&format!("/{number}"), after(60)), Some(0), "{number}");
        }
        assert_eq!(logged.due("/one-more", after(60)), None);
        assert_eq!(logged.due("/one-more", after(120)), Some(1));
        assert_eq!(logged.at.len(), 1, "what is older than a minute is forgotten");
    }
}
