//! What a tool keeps for the person that it is called for.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::host;

/// The value that was kept under this name, when it is there and of this type.
pub fn get<T: DeserializeOwned>(name: &str) -> Option<T> {
    let value: Value = serde_json::from_str(&host::state_read(name)?).ok()?;
    serde_json::from_value(value).ok()
}

/// Keeps a value. It is there after the call, when the call succeeds.
///
/// # Errors
/// The host's words: there is no room for it, or the name is not accepted.
pub fn set(name: &str, value: &impl Serialize) -> Result<(), String> {
    let value = serde_json::to_value(value).map_err(|error| error.to_string())?;
    host::state_write(name, &value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeHost;

    #[test]
    fn values_are_kept_with_their_types() {
        let host = FakeHost::new();
        assert_eq!(get::<u64>("count"), None);
        set("count", &42u64).unwrap();
        assert_eq!((get::<u64>("count"), get::<String>("count")), (Some(42), None));
        assert_eq!(host.file("count").as_deref(), Some("42"));
    }
}
