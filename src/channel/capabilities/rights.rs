//! `capabilities`: everything that the host grants.

use serde::Deserialize;

use super::{ChannelSection, HttpCapability, WebhookCapability, WebsocketCapability};

/// The `capabilities` of a file. The default grants nothing: it is what a channel without a file gets.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
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

    /// Whether the guest may ask if this secret exists (`secrets.allowed_names`).
    pub fn allows_secret(&self, name: &str) -> bool {
        self.secrets.as_ref().is_some_and(|secrets| secrets.allows(name))
    }

    /// How webhooks are authenticated, when the file says so.
    pub fn webhook(&self) -> Option<&WebhookCapability> {
        self.channel.as_ref().and_then(|section| section.webhook.as_ref())
    }
}

/// The `capabilities.secrets` section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct SecretsCapability {
    /// Names of secrets, exact or with one `*` at the end, compared in lower case.
    pub allowed_names: Vec<String>,
}

impl SecretsCapability {
    /// Whether a pattern matches the name. Both are compared in lower case; `*` anywhere but at the end is an
    /// ordinary character, which no secret's name has, so such a pattern matches nothing.
    pub fn allows(&self, name: &str) -> bool {
        self.allowed_names.iter().any(|pattern| name_matches(pattern, name))
    }
}

fn name_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_lowercase(), name.to_ascii_lowercase());
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

/// The `capabilities.workspace` section, known because files of tools have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct WorkspaceCapability {
    /// Prefixes that a tool may read. Nothing for a channel.
    pub allowed_prefixes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_patterns_match_exactly_or_by_prefix() {
        let table: &[(&str, &str, &str, bool)] = &[
            ("exact", "slack_token", "slack_token", true),
            ("longer", "slack_token", "slack_token_2", false),
            ("shorter", "slack_token", "slack", false),
            ("prefix", "slack_*", "slack_token", true),
            ("prefix alone", "slack_*", "slack_", true),
            ("other prefix", "slack_*", "discord_token", false),
            ("all", "*", "anything", true),
            ("lower case of the name", "slack_token", "SLACK_Token", true),
            ("lower case of the pattern", "SLACK_*", "slack_token", true),
            ("star in the middle is no wildcard", "slack_*_token", "slack_bot_token", false),
            ("star at the start is no wildcard", "*_token", "slack_token", false),
            ("empty pattern", "", "slack_token", false),
        ];
        for (case, pattern, name, expected) in table {
            let secrets = SecretsCapability { allowed_names: vec![(*pattern).into()] };
            assert_eq!(secrets.allows(name), *expected, "{case}");
        }
        assert!(!SecretsCapability::default().allows("anything"), "no pattern matches nothing");
    }

    #[test]
    fn no_file_means_no_rights() {
        let none = ChannelCapabilities::default();
        assert!(none.http.is_none() && none.websocket.is_none());
        assert!(!none.is_path_allowed("/") && !none.allows_polling() && !none.allows_secret("a"));
    }
}
