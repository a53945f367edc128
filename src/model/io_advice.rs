//! What to do about an error of the operating system.

use std::io::{Error, ErrorKind};

/// What helps whoever named a path that cannot be used.
pub(crate) fn advice(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "correct the path",
        ErrorKind::PermissionDenied => "check its owner and mode",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room",
        ErrorKind::ReadOnlyFilesystem => "name a place that can be written",
        _ => "check what it is, its owner and its mode",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // For a file that is not there, somebody was to check its owner and mode.
    #[test]
    fn a_path_that_is_not_there_has_no_owner_to_look_at() {
        assert_eq!(advice(&ErrorKind::NotFound.into()), "correct the path");
        assert_eq!(advice(&ErrorKind::PermissionDenied.into()), "check its owner and mode");
    }
}
