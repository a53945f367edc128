//! What an operator and a capability file say about outbound HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use log::LevelFilter;
use serde::Deserialize;

use super::operator_host::OperatorHost;
use crate::capability::http::HttpCapability;
use crate::capability::limits::ChannelLimits;
use crate::secrets::{AllowedNames, SecretStore};

/// A part of `capabilities.http` that cannot be meant; the channel does not load.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct HttpCapabilityError {
    /// Where in the capability file, as `http.allowlist[0]`.
    pub place: String,
    /// What is wrong and what would be accepted.
    pub reason: String,
}

/// A setting of the operator for outbound HTTP that cannot be used; the host does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {reason}")]
pub(crate) struct OutboundSettingsError {
    /// The setting, with the entry that is wrong.
    pub setting: String,
    /// What is wrong and what would be accepted.
    pub reason: String,
}

impl OutboundSettingsError {
    pub(super) fn new(setting: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { setting: setting.into(), reason: reason.into() }
    }
}

/// What the operator decides for all channels. The default sends requests straight to public addresses only.
/// Deserialises from fields at the top of `tinclaw.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutboundHttpSettings {
    /// Hosts that may have special-purpose addresses: names (`nas.lan`, `*.corp.example`), addresses or networks
    /// (`192.168.1.0/24`, `fd00::/8`). A named host may have any address, a named network may belong to any host; the
    /// channel's allow-list still applies.
    pub allow_private_hosts: Vec<String>,
    /// Where the requests for a host really go: host (or host and port) to base URL, as `api.telegram.org` to
    /// `http://127.0.0.1:8081`. For self-hosted API servers and for tests. Allow-list and credentials are still those of
    /// the host that the guest named. The base's addresses are not checked, because the operator chose them.
    pub http_rewrite: BTreeMap<String, String>,
    /// A proxy for all requests but rewritten ones, as `http://proxy.lan:3128` (user and password may stand in it).
    /// Names are then resolved by the proxy, so addresses of names are not checked here. Variables such as `HTTPS_PROXY`
    /// are never looked at.
    pub proxy: Option<String>,
    /// Certificates (PEM) of the authorities to trust instead of the compiled-in ones.
    #[serde(skip)]
    pub root_certificates_pem: Option<String>,
}

impl OutboundHttpSettings {
    /// Targets of the `log` crate with the most detailed level that shows no secret. `ureq` and its protocol crate write URLs,
    /// headers and bodies at `trace`, and `tungstenite` requests and frames; at `debug` they leave them out.
    pub const LOG_CAPS: &[(&str, LevelFilter)] = &[
        ("tungstenite", LevelFilter::Debug),
        ("ureq", LevelFilter::Debug),
        ("ureq_proto", LevelFilter::Debug),
    ];
}

/// What the requests of one channel, tool or agent are made with.
pub struct ChannelHttpSettings {
    /// Who makes the requests, as in log lines: `channel telegram`.
    pub caller: String,
    /// `capabilities.http` of its file.
    pub capability: HttpCapability,
    /// What the channel may take, of which the requests' part is used here.
    pub limits: ChannelLimits,
    /// Servers that the operator named in this channel's settings.
    pub operator_hosts: Vec<OperatorHost>,
    /// `capabilities.secrets.allowed_names` of its file.
    pub allowed_secrets: AllowedNames,
    /// Where secrets come from.
    pub secrets: Arc<dyn SecretStore>,
    /// The secrets that this channel's guest is given on purpose (in its configuration: the webhook's secret for
    /// Telegram's `setWebhook`, the declared `secret_config_mappings`). It may write those.
    pub given_to_guest: Vec<String>,
    /// The secrets that only check the channel's inbound requests. When such a value is a short word that a person chose,
    /// it is not searched for in requests and responses.
    pub inbound_secrets: Vec<String>,
    /// The secrets that the channel's websocket logs in with.
    pub login_secrets: Vec<String>,
    /// The secrets without which the channel does not work (`setup.required_secrets`). A credential whose secret is missing
    /// and not one of them is left out of requests.
    pub required_secrets: Vec<String>,
}
