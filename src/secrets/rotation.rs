//! The value that a secret had before, while it is being exchanged.

use super::{Secret, SecretError, SecretStore};

/// What is appended to a secret's name for the value that it had before.
pub const PREVIOUS_SUFFIX: &str = "_previous";

/// The values that are accepted for a secret: the stored one, and while `NAME_previous` is stored that one too. Empty when
/// neither is. It is for what comes in; requests are made with the current value only.
///
/// # Errors
/// When the source cannot be read.
pub fn accepted_values(store: &dyn SecretStore, name: &str) -> Result<Vec<Secret>, SecretError> {
    let current = store.get(name)?;
    let previous = match format!("{name}{PREVIOUS_SUFFIX}") {
        // A name at the limit has no room for the suffix, so nothing can be stored under it.
        longer if super::normalise_name(&longer).is_err() => None,
        longer => store.get(&longer)?,
    };
    Ok(current.into_iter().chain(previous).collect())
}

/// The secret that this name belongs to: `NAME_previous` is used as `NAME` is.
pub(crate) fn current_name(name: &str) -> &str {
    name.strip_suffix(PREVIOUS_SUFFIX).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::MemorySecrets;
    use crate::secrets::name::MAX_NAME_BYTES;

    #[test]
    fn the_previous_value_is_accepted_while_it_is_stored() {
        let store = MemorySecrets::from([("key", "new"), ("key_previous", "old"), ("gone_previous", "old")]);
        let values = |name: &str| -> Vec<String> {
            let values = accepted_values(&store, name).unwrap();
            values.iter().map(|value| value.expose().to_owned()).collect()
        };
        assert_eq!(values("key"), ["new", "old"]);
        assert_eq!(values("KEY"), ["new", "old"]);
        assert_eq!(values("gone"), ["old"]);
        assert_eq!(values("other"), [""; 0]);
        store.remove("key_previous");
        assert_eq!(values("key"), ["new"]);
        let longest = "x".repeat(MAX_NAME_BYTES);
        store.set(&longest, Secret::from("v")).unwrap();
        assert_eq!(values(&longest), ["v"]);
    }
}
