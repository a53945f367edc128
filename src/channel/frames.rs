//! Frames of a websocket that wait for `on-poll`, in two files of the channel's workspace.
//!
//! A published guest finds the frames in [`PROCESSING_FILE`], a JSON array of strings, and writes `[]` back when it has worked
//! on them. What arrives while `on-poll` runs waits in [`WAITING_FILE`], so that the two never change the same file. Both
//! are durable: a frame that was acknowledged to its service is in one of them.

/// Frames that arrived and wait for the next `on-poll`.
pub const WAITING_FILE: &str = "state/gateway_event_queue";
/// Frames that `on-poll` is to work on.
pub const PROCESSING_FILE: &str = "state/gateway_event_queue_processing";
/// Frames wait with their link while the waiting file is larger than this, in bytes.
pub const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;

/// An array of frames without any.
pub const NONE: &str = "[]";

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

/// What waits, moved to the end of what is worked on: the guest may have left something there.
#[must_use]
pub fn moved(processing: Option<&str>, waiting: Option<&str>) -> String {
    let waiting = frames(waiting);
    appended(processing, &waiting.iter().map(String::as_str).collect::<Vec<_>>())
}

fn frames(file: Option<&str>) -> Vec<String> {
    file.and_then(|file| serde_json::from_str(file).ok()).unwrap_or_default()
}

fn to_json(frames: &[&str]) -> String {
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
    fn what_waits_comes_after_what_the_guest_has_left() {
        assert_eq!(moved(Some(r#"["a"]"#), Some(r#"["b","c"]"#)), r#"["a","b","c"]"#);
        assert_eq!(moved(None, None), "[]");
    }

    #[test]
    fn a_file_without_frames_is_empty() {
        for file in [None, Some(""), Some("[]"), Some(" [ ] "), Some("{}")] {
            assert!(is_empty(file), "{file:?}");
        }
        assert!(!is_empty(Some(r#"[""]"#)));
    }
}
