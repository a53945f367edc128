//! `capabilities`: everything that the host grants.

use super::{ChannelSection, HttpCapability, WebhookCapability, WebsocketCapability};
use crate::fields::Fields;

/// The `capabilities` of a file. The default grants nothing: it is what a channel without a file gets.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(default))]
pub struct ChannelCapabilities {
    /// Outbound HTTP. Absent: none.
    pub http: Option<HttpCapability>,
    /// Which secrets the guest may ask about.
    pub secrets: Option<SecretsCapability>,
    /// Workspace rights of tools. A channel has its own workspace always.
    pub workspace: Option<WorkspaceCapability>,
    /// What the channel may do inside the host.
    pub channel: Option<ChannelSection>,
    /// A socket that the host keeps open for the channel.
    pub websocket: Option<WebsocketCapability>,
}

impl ChannelCapabilities {
    /// Reads the `capabilities` of a file, for the functions of [`fields`](crate::fields).
    pub fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            http: fields.inner("http", HttpCapability::read),
            secrets: fields.inner("secrets", SecretsCapability::read),
            workspace: fields.inner("workspace", WorkspaceCapability::read),
            channel: fields.inner("channel", ChannelSection::read),
            websocket: fields.inner("websocket", WebsocketCapability::read),
        })
    }

    /// Whether `path` is one of `channel.allowed_paths`, compared byte by byte.
    pub fn is_path_allowed(&self, path: &str) -> bool {
        self.channel
            .as_ref()
            .is_some_and(|section| section.allowed_paths.iter().any(|allowed| allowed == path))
    }

    /// Whether the channel may poll.
    pub fn allows_polling(&self) -> bool {
        self.channel.as_ref().is_some_and(|section| section.allow_polling)
    }

    /// How webhooks are authenticated, when the file says so.
    pub fn webhook(&self) -> Option<&WebhookCapability> {
        self.channel.as_ref().and_then(|section| section.webhook.as_ref())
    }
}

/// The `capabilities.secrets` section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(default))]
pub struct SecretsCapability {
    /// Names of secrets, exact or with one `*` at the end, compared in lower case
    /// ([`AllowedNames`](crate::secrets::AllowedNames)).
    pub allowed_names: Vec<String>,
}

impl SecretsCapability {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { allowed_names: fields.texts("allowed_names").unwrap_or_default() })
    }
}

/// The `capabilities.workspace` section, known because files of tools have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(default))]
pub struct WorkspaceCapability {
    /// Prefixes that a tool may read. Nothing for a channel.
    pub allowed_prefixes: Vec<String>,
}

impl WorkspaceCapability {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { allowed_prefixes: fields.texts("allowed_prefixes").unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_means_no_rights() {
        let none = ChannelCapabilities::default();
        assert!(none.http.is_none() && none.secrets.is_none() && none.websocket.is_none());
        assert!(!none.is_path_allowed("/") && !none.allows_polling());
    }
}
