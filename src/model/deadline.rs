//! Deadlines that always exist: the one place where a duration is added to a moment.
//!
//! `Instant + Duration` panics when the sum cannot be represented, and durations come from capability files,
//! configuration, upstream servers and guests.

use std::time::{Duration, Instant};

/// Further ahead than any process lives: stands for a moment that cannot be represented.
const FAR_AHEAD: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// The moment `wait` after `now`; a far future moment when that cannot be represented.
#[must_use]
pub fn deadline_after(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait.min(FAR_AHEAD)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_deadline_that_cannot_be_represented_is_far_ahead() {
        let now = Instant::now();
        assert_eq!(deadline_after(now, Duration::ZERO), now);
        assert_eq!(deadline_after(now, Duration::from_secs(5)), now + Duration::from_secs(5));
        for wait in [FAR_AHEAD, FAR_AHEAD + Duration::from_nanos(1), Duration::MAX] {
            assert_eq!(deadline_after(now, wait), now + FAR_AHEAD, "{wait:?}");
        }
    }

    /// A capability file with `messages_per_minute: 0` once made `Instant::now() + Duration::MAX` panic on the router's
    /// thread, which ended the host.
    #[test]
    fn nothing_else_adds_to_the_present_moment() {
        let mut found = Vec::new();
        visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        assert!(found.is_empty(), "use deadline_after: {found:?}");
    }

    fn visit(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("the sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                visit(&path, found);
            } else if path.extension().is_some_and(|ext| ext == "rs")
                && !path.to_string_lossy().contains("tests")
            {
                let text = std::fs::read_to_string(&path).expect("text");
                let product = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
                let lines = product.lines().enumerate();
                let adds =
                    lines.filter(|(_, line)| line.contains("Instant::now() + ") || line.contains(" now + "));
                found
                    .extend(adds.map(|(at, line)| format!("{}:{}: {}", path.display(), at + 1, line.trim())));
            }
        }
    }
}
