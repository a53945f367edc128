//! What types cannot say about a capability file: values that depend on each other or on the channel's name.

use std::fmt;

use super::setup::MAX_GENERATED_BYTES;
use super::strict::shortened;
use super::{
    CapabilityError, ChannelCapabilities, ChannelCapabilitiesFile, ChannelSection,
    DEFAULT_MIN_POLL_INTERVAL_MS, SetupSection,
};
use crate::channel::ChannelName;
use crate::channel::config::{RefusedMapping, mapping_problem};
use crate::channel::endpoints::path_problem;
use crate::channel::limits::LIMITS;

/// Something worth saying about a file that is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The place in the file.
    pub path: String,
    /// What there is to say.
    pub text: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.path, self.text)
    }
}

/// Refuses a file whose values cannot be meant.
pub(super) fn check(
    file: &str,
    channel: &ChannelName,
    parsed: &ChannelCapabilitiesFile,
) -> Result<(), CapabilityError> {
    check_name(file, channel, parsed.name.as_deref())?;
    let refuse = |(path, found, accepted): Refusal| CapabilityError::Invalid {
        file: file.into(),
        path,
        found,
        accepted,
    };
    if let Some(section) = &parsed.capabilities.channel {
        check_section(channel, section).map_err(refuse)?;
    }
    check_limits(&parsed.capabilities).map_err(refuse)?;
    if let Some(setup) = &parsed.setup {
        check_setup(setup).map_err(refuse)?;
    }
    if let Some(websocket) = &parsed.capabilities.websocket {
        check_websocket_url(&websocket.url).map_err(refuse)?;
    }
    Ok(())
}

/// Path, what was found, what is accepted.
type Refusal = (String, String, String);

fn check_name(file: &str, channel: &ChannelName, name: Option<&str>) -> Result<(), CapabilityError> {
    match name {
        Some(name) if ChannelName::new(name).as_ref() != Ok(channel) => Err(CapabilityError::NameDiffers {
            file: file.into(),
            name: shortened(name),
            channel: channel.to_string(),
        }),
        _ => Ok(()),
    }
}

fn check_section(channel: &ChannelName, section: &ChannelSection) -> Result<(), Refusal> {
    if let Some(prefix) = &section.workspace_prefix
        && *prefix != channel.workspace_prefix()
    {
        let path = "capabilities.channel.workspace_prefix".to_owned();
        return Err((path, quoted(prefix), quoted(&channel.workspace_prefix())));
    }
    for (index, path) in section.allowed_paths.iter().enumerate() {
        if let Some(problem) = path_problem(path) {
            let place = format!("capabilities.channel.allowed_paths[{index}]");
            return Err((place, quoted(path), problem.accepted().to_owned()));
        }
    }
    Ok(())
}

fn check_limits(capabilities: &ChannelCapabilities) -> Result<(), Refusal> {
    for limit in LIMITS {
        if let Some(asked) = (limit.asked)(capabilities).filter(|asked| *asked < limit.least) {
            let place = format!("capabilities.{}", limit.field);
            return Err((place, asked.to_string(), format!("{} or more {}", limit.least, limit.unit)));
        }
    }
    Ok(())
}

fn check_setup(setup: &SetupSection) -> Result<(), Refusal> {
    for (index, secret) in setup.required_secrets.iter().enumerate() {
        if let Some(generate) = secret.auto_generate
            && !(1..=MAX_GENERATED_BYTES).contains(&generate.length)
        {
            let place = format!("setup.required_secrets[{index}].auto_generate.length");
            return Err((place, generate.length.to_string(), format!("1 to {MAX_GENERATED_BYTES} bytes")));
        }
    }
    Ok(())
}

fn check_websocket_url(text: &str) -> Result<(), Refusal> {
    let accepted = "a ws:// or wss:// URL with a host and without user and password";
    let good = url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "ws" | "wss")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    });
    if good {
        Ok(())
    } else {
        Err(("capabilities.websocket.url".into(), "another text".into(), accepted.into()))
    }
}

fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

/// What is worth saying about a file that is accepted.
pub(super) fn remarks(file: &ChannelCapabilitiesFile) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let mut say = |path: String, text: String| remarks.push(Remark { path, text });
    if let Some(setup) = &file.setup {
        for (index, secret) in setup.required_secrets.iter().enumerate() {
            if secret.validation.as_deref().is_some_and(|pattern| regex_lite::Regex::new(pattern).is_err()) {
                let text = "not a regular expression that can be used here: values are not checked with it";
                say(format!("setup.required_secrets[{index}].validation"), text.into());
            }
        }
        for (index, mapping) in setup.secret_config_mappings.iter().enumerate() {
            if let Some(problem) = mapping_problem(setup, mapping) {
                say(format!("setup.secret_config_mappings[{index}]"), problem.to_string());
            }
        }
    }
    if let Some(asked) = file.capabilities.channel.as_ref().and_then(|section| section.min_poll_interval_ms)
        && asked < DEFAULT_MIN_POLL_INTERVAL_MS
    {
        let text = format!(
            "{asked} ms is below {DEFAULT_MIN_POLL_INTERVAL_MS} ms: only a host whose own floor is lower polls so often"
        );
        say("capabilities.channel.min_poll_interval_ms".into(), text);
    }
    if file.capabilities.websocket.is_some() {
        say(
            "capabilities.websocket".into(),
            "sockets are not there yet: the channel runs without one".into(),
        );
    }
    remarks
}

impl fmt::Display for RefusedMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostKey(key) => write!(f, "`{key}` is filled in by the host: the mapping is ignored"),
            Self::UndeclaredSecret(name) => {
                write!(f, "`{}` is not listed in `required_secrets`: the mapping is ignored", shortened(name))
            }
        }
    }
}
