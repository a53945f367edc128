//! The whole capability file, and its JSON, in which no name may stand twice in one object.
//!
//! A second `allowlist` further down would replace the first without a word, and whoever reviewed the file would have
//! seen the narrow one.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{AuthSection, CapabilityError, ChannelCapabilities, SetupSection, review};
use crate::channel::ChannelName;
use crate::model::diagnostic::Diagnostic;
use crate::model::document::{Comments, read};
use crate::model::unique_json::{JsonError, parse_json};

/// The most bytes that a capability file may have.
pub(crate) const MAX_FILE_BYTES: usize = 256 * 1024;

/// A capability file, as it was published.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ChannelCapabilitiesFile {
    /// What the file describes: a channel.
    #[serde(rename = "type")]
    pub(crate) kind: FileKind,
    /// The channel's name; when present, it must be what follows from the file's own name.
    pub name: Option<String>,
    /// The version of the channel, as text.
    pub version: Option<String>,
    /// The version of the interface that the guest was built for, as text. The binary alone decides what it is.
    pub wit_version: Option<String>,
    /// What the channel is for.
    pub description: Option<String>,
    /// Texts for the person who sets the channel up.
    pub(crate) auth: Option<AuthSection>,
    /// The secrets that the channel needs.
    pub(crate) setup: Option<SetupSection>,
    /// What the channel may do.
    pub capabilities: ChannelCapabilities,
    /// What `on-start` gets, completed by the host; free-form.
    pub config: Map<String, Value>,
    /// The document as it was read, for overrides.
    #[serde(skip)]
    source: Map<String, Value>,
}

/// What a capability file describes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileKind {
    /// A chat channel.
    #[default]
    Channel,
}

impl ChannelCapabilitiesFile {
    /// Reads the capability file of `channel`. `file` is what errors call it.
    ///
    /// ```
    /// use tinclaw::channel::{ChannelCapabilitiesFile, ChannelName};
    ///
    /// let echo = ChannelName::new("echo")?;
    /// let text = br#"{"capabilities": {"channel": {"allowed_paths": ["/webhook/echo"]}}}"#;
    /// let file = ChannelCapabilitiesFile::parse("echo.capabilities.json", &echo, text)?;
    /// assert!(file.capabilities.is_path_allowed("/webhook/echo"));
    ///
    /// let text = br#"{"capabilities": {"channel": {"allow_paths": []}}}"#;
    /// let error = ChannelCapabilitiesFile::parse("echo.capabilities.json", &echo, text).unwrap_err();
    /// assert!(error.to_string().ends_with("did you mean `allowed_paths`?"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CapabilityError`]: the file is larger than 256 KiB, is not JSON, has a field that is not known or
    /// that stands twice, has a value that is not accepted, or belongs to another channel.
    pub fn parse(file: &str, channel: &ChannelName, bytes: &[u8]) -> Result<Self, CapabilityError> {
        let value = read_json(file, bytes)?;
        let source = value.as_object().cloned().unwrap_or_default();
        let parsed: Self =
            read(value, Comments::Skipped).map_err(|error| CapabilityError::of(file, error))?;
        review::check(file, channel, &parsed)?;
        Ok(parsed.with_source(source))
    }

    pub(super) fn source(&self) -> &Map<String, Value> {
        &self.source
    }

    pub(super) fn with_source(self, source: Map<String, Value>) -> Self {
        Self { source, ..self }
    }

    /// What is worth saying about a file that is accepted: a mapping that is not honoured, a pattern that cannot be
    /// used, a part that is not there yet. The host reports limits that it clamps
    /// when the channel is added.
    pub fn inspect(&self) -> Vec<Diagnostic> {
        review::inspect(self)
    }
}

/// The bytes of a capability file as a value: not too many, JSON, and no name twice in one object.
pub(super) fn read_json(file: &str, bytes: &[u8]) -> Result<Value, CapabilityError> {
    if bytes.len() > MAX_FILE_BYTES {
        let (bytes, limit) = (bytes.len(), MAX_FILE_BYTES);
        return Err(CapabilityError::TooLarge { file: file.into(), bytes, limit });
    }
    parse_json(bytes).map_err(|error| match error {
        JsonError::Syntax(reason) => CapabilityError::NotJson { file: file.into(), reason },
        JsonError::Duplicate(path) => CapabilityError::Duplicate { file: file.into(), path },
    })
}
