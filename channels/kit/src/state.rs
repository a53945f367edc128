//! What a channel keeps between calls: typed values in its workspace.
//!
//! What a call writes is kept when it succeeds. Two calls beside each other that read and write the same value are run one
//! after the other, unless they have made requests: then the later write wins.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host;
use crate::json;

/// The value at `path`, or its default where there is none.
///
/// # Panics
/// When what is there is no such value: the call then fails, keeps nothing, and the log says why.
pub fn get<T: DeserializeOwned + Default>(path: &str) -> T {
    find(path).unwrap_or_default()
}

/// The value at `path`, if there is one.
///
/// # Panics
/// As [`get`].
pub fn find<T: DeserializeOwned>(path: &str) -> Option<T> {
    let text = host::workspace_read(path)?;
    match json::read(text.as_bytes()) {
        Ok(value) => Some(value),
        Err(error) => panic!("{path} in the workspace is not readable: {error}"),
    }
}

/// Keeps a value at `path`.
///
/// # Panics
/// When the host refuses it, because the workspace is full: the call then fails and keeps nothing.
pub fn set(path: &str, value: &impl Serialize) {
    if let Err(error) = host::workspace_write(path, &json::text(value)) {
        panic!("{path} in the workspace is not written: {error}");
    }
}

/// As [`set`], but without a write when the value is there already.
pub fn set_if_changed<T: Serialize + DeserializeOwned + PartialEq>(path: &str, value: &T) {
    if find::<T>(path).as_ref() != Some(value) {
        set(path, value);
    }
}

/// Remembers the last `most` ids at `path`. True when this one is new.
pub fn is_new(path: &str, id: &str, most: usize) -> bool {
    let mut ids: Vec<String> = get(path);
    if ids.iter().any(|known| known == id) {
        return false;
    }
    ids.push(id.to_owned());
    let surplus = ids.len().saturating_sub(most);
    ids.drain(..surplus);
    set(path, &ids);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeHost;

    #[test]
    fn values_are_kept_with_their_types() {
        let _host = FakeHost::new();
        assert_eq!(get::<u64>("cursor"), 0);
        set("cursor", &42u64);
        assert_eq!((get::<u64>("cursor"), find::<u64>("other")), (42, None));
    }

    #[test]
    fn the_last_ids_are_remembered() {
        let _host = FakeHost::new();
        let new = ["a", "b", "a", "c", "a"].map(|id| is_new("seen", id, 2));
        assert_eq!(new, [true, true, false, true, true], "c pushed a out");
    }
}
