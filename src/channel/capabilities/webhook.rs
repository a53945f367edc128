//! `capabilities.channel.webhook`: how requests for a channel are authenticated, declared as data.
//!
//! Two generations of fields live side by side. Files that were published with existing channels use `secret_header`,
//! `secret_name`, `signature_key_secret_name`, `hmac_secret_name`, `managed_by_host`, `methods` and
//! `verify_token_param`, and load as they are. New files say `auth`. What follows from both together, and what
//! contradicts, is decided in [`AuthPlan::from`](crate::ingress::webhook::AuthPlan::from); here is only the shape.
//!
//! ```
//! use tinclaw::channel::capabilities::webhook::WebhookCapability;
//!
//! let webhook: WebhookCapability = serde_json::from_str(
//!     r#"{ "auth": "github", "secret_name": "github_hook_key", "dedupe": { "header": "X-GitHub-Delivery" } }"#,
//! )?;
//! assert_eq!(webhook.methods, ["POST"]);
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeSeed, IgnoredAny, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::strict::is_skipped;

/// The `webhook` object of a capability file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct WebhookCapability {
    /// Header that carries a shared secret, default `X-Webhook-Secret`. Case does not matter.
    pub secret_header: Option<String>,
    /// Name of the stored secret (or verify token), default `<channel>_webhook_secret`.
    pub secret_name: Option<String>,
    /// Name of the stored Ed25519 public key, 64 hexadecimal digits (Discord's format).
    pub signature_key_secret_name: Option<String>,
    /// Name of the stored HMAC key. Without `auth` the format is Slack's `v0`, or Meta's where the other fields are
    /// Meta's (`secret_header` is `X-Hub-Signature-256`, or `verify_token_param` starts with `hub.`).
    pub hmac_secret_name: Option<String>,
    /// Whether the host authenticates requests, default true. False without `"auth": "none"` means no route.
    pub managed_by_host: bool,
    /// HTTP methods that the channel's paths take, default `["POST"]`.
    pub methods: Vec<String>,
    /// Query parameter of a GET challenge whose value is compared with the stored `secret_name`.
    pub verify_token_param: Option<String>,
    /// How requests are authenticated: the name of a scheme or preset, or an object with every detail.
    pub auth: Option<WebhookAuth>,
    /// How far a signed timestamp may be from the host's clock, in seconds and both directions; also how long a
    /// signature without a timestamp is remembered to recognise a replay. Default 300, at most 604,800 (7 days).
    pub tolerance_secs: Option<u64>,
    /// Whether the guest finds the secret as `webhook_secret` in its `on-start` configuration, because it must hand
    /// it to its provider. Default: only where `secret_header` is Telegram's `X-Telegram-Bot-Api-Secret-Token`.
    pub give_secret_to_guest: Option<bool>,
    /// Largest request body in bytes. Default, and upper bound, is the host's own limit (1 MiB unless configured).
    pub max_body_bytes: Option<u64>,
    /// Where the provider puts an id to recognise a repeat by. Default: nowhere, repeats run.
    pub dedupe: Option<WebhookDedupe>,
    /// Media types that a request with a body may have: `application/json`, `text/*`. Default: any.
    pub content_types: Option<Vec<String>>,
}

impl Default for WebhookCapability {
    fn default() -> Self {
        Self {
            secret_header: None,
            secret_name: None,
            signature_key_secret_name: None,
            hmac_secret_name: None,
            managed_by_host: true,
            methods: vec!["POST".to_owned()],
            verify_token_param: None,
            auth: None,
            tolerance_secs: None,
            give_secret_to_guest: None,
            max_body_bytes: None,
            dedupe: None,
            content_types: None,
        }
    }
}

/// The value of `auth`.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(untagged))]
pub enum WebhookAuth {
    /// A scheme or a provider's preset by name.
    Named(AuthName),
    /// An object with details; what it leaves out comes from its `preset`, or from the scheme's defaults.
    Detailed(Box<WebhookAuthDetails>),
}

/// Names that `auth` and `preset` take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum AuthName {
    /// No authentication, written out: everybody may call the channel.
    None,
    /// A shared secret in a header.
    Secret,
    /// Slack's `v0` request signatures.
    Slack,
    /// GitHub's `X-Hub-Signature-256`.
    Github,
    /// Meta's `X-Hub-Signature-256` (WhatsApp, Messenger, Instagram).
    Whatsapp,
    /// Stripe's `Stripe-Signature`.
    Stripe,
    /// Standard Webhooks, which Svix uses too.
    StandardWebhooks,
    /// LINE's `X-Line-Signature`.
    Line,
    /// Twilio's `X-Twilio-Signature` over URL and form.
    Twilio,
    /// Discord's Ed25519 interaction signatures.
    Discord,
    /// The GET challenge of Meta-style providers; authenticates GET requests only.
    #[serde(rename = "verify_token")]
    VerifyToken,
}

impl AuthName {
    /// The name as it stands in a capability file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Secret => "secret",
            Self::Slack => "slack",
            Self::Github => "github",
            Self::Whatsapp => "whatsapp",
            Self::Stripe => "stripe",
            Self::StandardWebhooks => "standard-webhooks",
            Self::Line => "line",
            Self::Twilio => "twilio",
            Self::Discord => "discord",
            Self::VerifyToken => "verify_token",
        }
    }
}

/// The object form of `auth`. Either `scheme` or `preset` (or both) is needed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct WebhookAuthDetails {
    /// What kind of check this is; follows from `preset` where that is given.
    pub scheme: Option<AuthScheme>,
    /// A provider whose format is the starting point. Formats with a grammar of their own (`stripe`,
    /// `standard-webhooks`, `twilio`) only take `tolerance_secs` and `secret_name` beside it.
    pub preset: Option<AuthName>,
    /// Digest of an HMAC, default `sha256`. `sha1` only where it is named here.
    pub algorithm: Option<HmacAlgorithm>,
    /// Header with the signature, or with the shared secret (there the default is `X-Webhook-Secret`).
    pub header: Option<String>,
    /// Text before the signature or secret in that header, such as `sha256=` or `Bearer `. Default none.
    pub prefix: Option<String>,
    /// How the signature is written, default `hex`.
    pub encoding: Option<SignatureEncoding>,
    /// What is signed, from `{timestamp}`, `{id}`, `{url}`, `{body}` and text between them. Default `{body}` for
    /// `hmac`, `{timestamp}{body}` for `ed25519`. `{body}` must be part of it.
    pub template: Option<String>,
    /// Header with the Unix time in seconds that `{timestamp}` stands for.
    pub timestamp_header: Option<String>,
    /// Header with the text that `{id}` stands for.
    pub id_header: Option<String>,
    /// As `tolerance_secs` beside `auth`; one of the two places is enough.
    pub tolerance_secs: Option<u64>,
    /// Name of the stored key, default `<channel>_webhook_secret`.
    pub secret_name: Option<String>,
}

/// The kinds of check that the object form of `auth` describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AuthScheme {
    /// A shared secret in a header.
    Secret,
    /// An HMAC over a template.
    Hmac,
    /// An Ed25519 signature over a template.
    Ed25519,
}

/// Digests of an HMAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum HmacAlgorithm {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
    /// SHA-1, for providers that have nothing better.
    Sha1,
}

/// How a signature is written in its header. Only the canonical spelling is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SignatureEncoding {
    /// Hexadecimal, lower case.
    #[default]
    Hex,
    /// Hexadecimal, upper case.
    HexUpper,
    /// Standard base64 with padding (RFC 4648, section 4).
    Base64,
}

/// Where an id to recognise a repeat by stands: `{"header": NAME}` or `{"json_pointer": "/path"}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WebhookDedupe {
    /// The value of this header, such as `X-GitHub-Delivery` or `webhook-id`.
    Header(String),
    /// The string or whole number at this JSON pointer (RFC 6901) into the body, such as `/update_id`.
    JsonPointer(String),
}

impl<'de> Deserialize<'de> for WebhookAuth {
    /// By hand, because serde's untagged enums lose the message that names the unknown field or value.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WebhookAuthVisitor)
    }
}

struct WebhookAuthVisitor;

impl<'de> Visitor<'de> for WebhookAuthVisitor {
    type Value = WebhookAuth;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of an authentication scheme, or an object that describes one")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<WebhookAuth, E> {
        AuthName::deserialize(name.into_deserializer()).map(WebhookAuth::Named)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WebhookAuth, A::Error> {
        WebhookAuthDetails::deserialize(MapAccessDeserializer::new(WithoutComments(map)))
            .map(|details| WebhookAuth::Detailed(Box::new(details)))
    }
}

/// An object without its comments and extensions, which a visitor of anything still gets.
struct WithoutComments<A>(A);

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithoutComments<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(name) = self.0.next_key::<String>()? {
            if !is_skipped(&name) {
                return seed.deserialize(name.into_deserializer()).map(Some);
            }
            self.0.next_value::<IgnoredAny>()?;
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.0.next_value_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::ChannelName;
    use crate::channel::capabilities::ChannelCapabilitiesFile;

    fn parse(json: &str) -> Result<WebhookCapability, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_object_has_the_published_defaults() {
        let webhook = parse("{}").unwrap();
        assert_eq!(webhook, WebhookCapability::default());
        assert!(webhook.managed_by_host);
        assert_eq!(webhook.methods, ["POST"]);
    }

    #[test]
    fn auth_is_a_name_or_an_object() {
        let name = parse(r#"{"auth": "standard-webhooks"}"#).unwrap().auth;
        assert_eq!(name, Some(WebhookAuth::Named(AuthName::StandardWebhooks)));

        let json = r#"{"auth": {"scheme": "hmac", "algorithm": "sha1", "header": "X-Sig", "encoding": "hex-upper"}}"#;
        let Some(WebhookAuth::Detailed(details)) = parse(json).unwrap().auth else { panic!("an object") };
        assert_eq!(details.algorithm, Some(HmacAlgorithm::Sha1));
        assert_eq!(details.encoding, Some(SignatureEncoding::HexUpper));
    }

    #[test]
    fn every_name_reads_and_writes_as_it_is_documented() {
        let names = [
            AuthName::None,
            AuthName::Secret,
            AuthName::Slack,
            AuthName::Github,
            AuthName::Whatsapp,
            AuthName::Stripe,
            AuthName::StandardWebhooks,
            AuthName::Line,
            AuthName::Twilio,
            AuthName::Discord,
            AuthName::VerifyToken,
        ];
        for name in names {
            let json = format!("\"{}\"", name.as_str());
            assert_eq!(serde_json::from_str::<AuthName>(&json).unwrap(), name);
        }
    }

    #[test]
    fn typing_errors_are_refused_and_named() {
        let cases = [
            (r#"{"secret_headr": "X"}"#, "unknown field `secret_headr`"),
            (r#"{"auth": "githup"}"#, "unknown variant `githup`"),
            (r#"{"auth": {"scheme": "hmac", "templat": "x"}}"#, "unknown field `templat`"),
            (r#"{"auth": {"scheme": "hmac", "algorithm": "md5"}}"#, "unknown variant `md5`"),
            (r#"{"auth": 7}"#, "the name of an authentication scheme"),
            (r#"{"auth": ["none"]}"#, "the name of an authentication scheme"),
            (r#"{"auth": "None"}"#, "unknown variant `None`"),
            (r#"{"dedupe": {"headers": "X"}}"#, "unknown variant `headers`"),
            (r#"{"tolerance_secs": -1}"#, "invalid value"),
            (r#"{"methods": "POST"}"#, "expected a sequence"),
        ];
        for (json, part) in cases {
            let error = parse(json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }

    #[test]
    fn in_a_file_comments_are_skipped_and_errors_know_their_place() {
        let file = |auth: &str| {
            let json = format!(r#"{{"capabilities": {{"channel": {{"webhook": {{"auth": {auth}}}}}}}}}"#);
            let channel = ChannelName::new("test").unwrap();
            ChannelCapabilitiesFile::parse("test.capabilities.json", &channel, json.as_bytes())
        };
        let read =
            file(r#"{"preset": "slack", "_why": "rotates", "x-owner": {"a": 1}, "tolerance_secs": 60}"#)
                .unwrap();
        let Some(WebhookAuth::Detailed(details)) = &read.capabilities.webhook().unwrap().auth else {
            panic!("an object")
        };
        assert_eq!(details.tolerance_secs, Some(60));
        let error = file(r#"{"preset": "slack", "tolerance_sec": 60}"#).unwrap_err().to_string();
        assert!(error.contains("capabilities.channel.webhook.auth.tolerance_sec"), "{error}");
        assert!(error.contains("tolerance_secs"), "{error}");
    }
}
