//! Frames of a websocket that wait for `on-poll`, in two files of the channel's workspace.
//!
//! A published guest finds the frames in [`PROCESSING_FILE`], a JSON array of strings, and writes `[]` back when it has worked
//! on them. What arrives while `on-poll` runs waits in [`WAITING_FILE`], so that the two never change the same file. Both
//! are durable: a frame that was acknowledged to its service is in one of them.

use serde::Serialize;

/// Frames that arrived and wait for the next `on-poll`.
pub const WAITING_FILE: &str = "state/gateway_event_queue";
/// Frames that `on-poll` is to work on.
pub const PROCESSING_FILE: &str = "state/gateway_event_queue_processing";
/// What the link resumes its session with: written by the host, with what the last frame has caused.
pub const SESSION_FILE: &str = "state/link_session";
/// Frames wait with their link while the waiting file is larger than this, in bytes. The whole file is written for each group
/// of frames that arrives, so it is small.
pub const MAX_WAITING_BYTES: usize = 1024 * 1024;
/// As many frames are worked on at a time: fewer than the messages that a callback may emit by default.
const MAX_PROCESSING_FRAMES: usize = 64;
/// Their bytes, unless there is only one. A guest reads all of them into its memory.
const MAX_PROCESSING_BYTES: usize = 512 * 1024;

/// An array of frames without any.
const NONE: &str = "[]";

/// Whether a file holds no frame. What is no array of strings is a guest's mistake and holds none.
#[must_use]
pub fn is_empty(file: Option<&str>) -> bool {
    frames(file).is_empty()
}

/// The file with more frames at its end.
#[must_use]
pub fn appended(file: Option<&str>, more: &[&str]) -> String {
    let frames = frames(file);
    let all: Vec<&str> = frames.iter().map(String::as_str).chain(more.iter().copied()).collect();
    to_json(&all)
}

/// What a move has left.
#[derive(Debug, PartialEq, Eq)]
pub struct Moved {
    /// What is worked on.
    pub processing: String,
    /// What waits.
    pub waiting: String,
}

/// What waits, moved to the end of what is worked on, as far as there is room: the guest may have left something there.
/// Nothing when there is no room.
#[must_use]
pub fn moved(processing: Option<&str>, waiting: Option<&str>) -> Option<Moved> {
    let (mut processing, mut waiting) = (frames(processing), frames(waiting));
    let mut bytes: usize = processing.iter().map(String::len).sum();
    let room = MAX_PROCESSING_FRAMES.saturating_sub(processing.len());
    let fits = |frame: &&String| {
        let is_first = bytes == 0;
        bytes = bytes.saturating_add(frame.len());
        is_first || bytes <= MAX_PROCESSING_BYTES
    };
    let count = waiting.iter().take(room).take_while(fits).count();
    processing.extend(waiting.drain(..count));
    (count > 0).then(|| Moved { processing: to_json(&processing), waiting: to_json(&waiting) })
}

fn frames(file: Option<&str>) -> Vec<String> {
    file.and_then(|file| serde_json::from_str(file).ok()).unwrap_or_default()
}

fn to_json(frames: &[impl Serialize]) -> String {
    // An array of strings can always be written.
    serde_json::to_string(frames).unwrap_or_else(|_| NONE.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_appended_in_their_order() {
        for (file, more, expected) in [
            (None, vec!["a"], r#"["a"]"#),
            (Some("[]"), vec!["a", "\"b\""], r#"["a","\"b\""]"#),
            (Some(r#"["a"]"#), vec!["b"], r#"["a","b"]"#),
            (Some("nonsense"), vec!["b"], r#"["b"]"#),
            (Some("[1]"), vec![], "[]"),
        ] {
            assert_eq!(appended(file, &more), expected, "{file:?}");
        }
    }

    #[test]
    fn queued_frames_are_delivered_after_the_unfinished_one() {
        let moved_all = Moved { processing: r#"["a","b","c"]"#.into(), waiting: "[]".into() };
        assert_eq!(moved(Some(r#"["a"]"#), Some(r#"["b","c"]"#)), Some(moved_all));
        assert_eq!(moved(None, None), None);
    }

    /// Everything that waited was moved. A guest that failed got more frames each time, without a limit, until they were more
    /// than its memory holds; one that emitted a message for each lost those beyond its limit of messages.
    #[test]
    fn no_more_frames_are_worked_on_than_a_guest_can_take_at_once() {
        let many = |count: usize, bytes: usize| to_json(&vec!["x".repeat(bytes); count]);
        let half = MAX_PROCESSING_BYTES / 2;
        for (case, processing, waiting, expected) in [
            ("as many as the limit", many(0, 1), many(64, 1), Some((64, 0))),
            ("one more", many(0, 1), many(65, 1), Some((64, 1))),
            ("some are left", many(60, 1), many(9, 1), Some((64, 5))),
            ("as many are left as the limit", many(64, 1), many(9, 1), None),
            ("as many bytes as the limit", many(1, half), many(1, half), Some((2, 0))),
            ("one more byte", many(1, half), many(1, half + 1), None),
            ("a single large frame", many(0, 1), many(2, 4 * half), Some((1, 1))),
        ] {
            let moved = moved(Some(&processing), Some(&waiting));
            let counts =
                moved.map(|left| (frames(Some(&left.processing)).len(), frames(Some(&left.waiting)).len()));
            assert_eq!(counts, expected, "{case}");
        }
    }

    #[test]
    fn a_file_without_frames_is_empty() {
        for file in [None, Some(""), Some("[]"), Some(" [ ] "), Some("{}")] {
            assert!(is_empty(file), "{file:?}");
        }
        assert!(!is_empty(Some(r#"[""]"#)));
    }
}
