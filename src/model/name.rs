//! The name of a channel: checked once, then trusted everywhere.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::model::value_error::ValueError;

/// The longest channel name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// Names that no channel may have, because the host uses them for itself: as a log target, as a name in metrics and
/// status pages, as a folder beside the channels' own, or as a word of its command line.
pub const RESERVED_NAMES: &[&str] =
    &["admin", "channels", "health", "healthz", "host", "metrics", "status", "store", "tinclaw"];

/// The name of a channel: 1 to 64 characters of `a-z`, `0-9` and `_`.
///
/// A name comes from a file's stem, where `-` is common, so `-` is taken as `_`. Upper case is refused and not
/// lowered: two files that differ in case alone would otherwise be one channel on one machine and two on another.
/// Cloning is cheap, and the name may be used in paths, metric labels and log targets as it is.
///
/// ```
/// use tinclaw::channel::ChannelName;
///
/// let name: ChannelName = "my-bot".parse()?;
/// assert_eq!(name.as_str(), "my_bot");
/// assert!("../etc".parse::<ChannelName>().is_err());
/// # Ok::<(), tinclaw::ValueError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelName(Arc<str>);

impl ChannelName {
    /// Checks a name and replaces `-` with `_`.
    ///
    /// # Errors
    /// [`ValueError`] says what is wrong with it: empty, too long, a character that is not allowed, or a name
    /// that the host keeps for itself (`host`, `status`, `metrics` and the like).
    pub fn new(name: &str) -> Result<Self, ValueError> {
        if name.is_empty() {
            return Err(ValueError::EmptyName { max: MAX_NAME_BYTES });
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(ValueError::LongName { bytes: name.len(), max: MAX_NAME_BYTES });
        }
        let normal = name.replace('-', "_");
        if let Some(character) = normal.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '_')) {
            return Err(ValueError::NameCharacter { name: name.to_owned(), character });
        }
        if RESERVED_NAMES.contains(&normal.as_str()) {
            return Err(ValueError::ReservedName { name: normal });
        }
        Ok(Self(normal.into()))
    }

    /// The name that a channel had when this was stored.
    pub(crate) fn of_stored(name: Arc<str>) -> Self {
        Self(name)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as shared text, for those who keep any text as a key. No copy is made.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// Where this channel's files live inside the workspace: `channels/<name>/`.
    pub fn workspace_prefix(&self) -> String {
        format!("channels/{}/", self.0)
    }
}

impl FromStr for ChannelName {
    type Err = ValueError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl TryFrom<&str> for ChannelName {
    type Error = ValueError;

    fn try_from(name: &str) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl AsRef<str> for ChannelName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

// A map keyed by names can be asked with a `&str`: hash and order are those of the text.
impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for ChannelName {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for ChannelName {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for ChannelName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ChannelName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(&name).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_or_refused() {
        let longest = "a".repeat(64);
        let past = "a".repeat(65);
        let table: &[(&str, &str, Result<&str, &str>)] = &[
            ("plain", "telegram", Ok("telegram")),
            ("digits", "0815", Ok("0815")),
            ("underscore", "a_b", Ok("a_b")),
            ("minus becomes underscore", "a-b-c", Ok("a_b_c")),
            ("longest", &longest, Ok(&longest)),
            ("one past the longest", &past, Err("65 bytes")),
            ("empty", "", Err("empty")),
            ("upper case", "Telegram", Err("'T'")),
            ("dot", "a.b", Err("'.'")),
            ("parent", "..", Err("'.'")),
            ("slash", "a/b", Err("'/'")),
            ("backslash", "a\\b", Err("'\\\\'")),
            ("space", "a b", Err("' '")),
            ("NUL", "a\0", Err("'\\0'")),
            ("line break", "a\nb", Err("'\\n'")),
            ("not ASCII", "tölegram", Err("'ö'")),
            ("look-alike", "tеlegram", Err("'е'")),
            ("reserved", "host", Err("by the host")),
            ("reserved", "metrics", Err("by the host")),
            ("begins like a reserved one", "host2", Ok("host2")),
        ];
        for (case, given, expected) in table {
            match (ChannelName::new(given), expected) {
                (Ok(name), Ok(expected)) => assert_eq!(name.as_str(), *expected, "{case}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{case}: {error}"),
                (other, _) => panic!("{case}: {other:?}"),
            }
        }
    }

    #[test]
    fn every_reserved_name_is_otherwise_a_good_one() {
        for name in RESERVED_NAMES {
            assert_eq!(ChannelName::new(name), Err(ValueError::ReservedName { name: (*name).into() }));
        }
    }

    #[test]
    fn serde_checks_the_name_too() {
        assert_eq!(serde_json::from_str::<ChannelName>("\"a-b\"").unwrap(), "a_b");
        assert!(serde_json::from_str::<ChannelName>("\"A\"").is_err());
        assert_eq!(serde_json::to_string(&ChannelName::new("a-b").unwrap()).unwrap(), "\"a_b\"");
    }

    #[test]
    fn a_map_is_asked_with_plain_text() {
        let map = std::collections::HashMap::from([(ChannelName::new("a").unwrap(), 1)]);
        assert_eq!(map.get("a"), Some(&1));
    }
}
