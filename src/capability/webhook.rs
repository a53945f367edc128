//! `capabilities.channel.webhook`: how requests for a channel are authenticated, declared as data.
//!
//! Two generations of fields live side by side. Files that were published with existing channels use `secret_header`,
//! `secret_name`, `signature_key_secret_name`, `hmac_secret_name`, `managed_by_host`, `methods` and
//! `verify_token_param`, and load as they are. New files say `auth`. What follows from both together, and what
//! contradicts, is decided in [`AuthPlan::from`](crate::webhook::AuthPlan::from); here is only the shape.
//!
//! ```
//! use serde_json::json;
//! use tinclaw::capability::webhook::WebhookCapability;
//! use tinclaw::fields::strictly;
//!
//! let webhook =
//!     json!({"auth": "github", "secret_name": "github_hook_key", "dedupe": {"header": "X-GitHub-Delivery"}});
//! let webhook = strictly(webhook, WebhookCapability::read)?;
//! assert_eq!(webhook.methods, ["POST"]);
//! # Ok::<(), tinclaw::fields::Wrong>(())
//! ```

use serde_json::Value;

use crate::fields::{Expected, Fields, Found, Problem};

/// The `webhook` object of a capability file.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(deny_unknown_fields, default))]
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
    /// signature without a timestamp is remembered to recognise a replay. Default 300 where a time or an id is signed,
    /// else 0: two equal bodies may be two messages. At most 604,800 (7 days).
    pub tolerance_secs: Option<u64>,
    /// Whether the guest finds the secret as `webhook_secret` in its `on-start` configuration, because it must hand
    /// it to its provider. Default: only where `secret_header` is Telegram's `X-Telegram-Bot-Api-Secret-Token`.
    pub give_secret_to_guest: Option<bool>,
    /// Largest request body in bytes. Default, and upper bound, is the host's own limit (1 MiB unless configured).
    pub max_body_bytes: Option<u64>,
    /// Where the provider puts an id to recognise a duplicate by. Default: where the provider of the authentication
    /// scheme puts it; for other schemes nowhere, and duplicates run.
    pub dedupe: Option<WebhookDedupe>,
    /// Media types that a request with a body may have: `application/json`, `text/*`. Default: any.
    pub content_types: Option<Vec<String>>,
}

impl WebhookCapability {
    /// Reads the `webhook` object of a capability file, for the functions of [`fields`](crate::fields).
    pub fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            secret_header: fields.text("secret_header"),
            secret_name: fields.text("secret_name"),
            signature_key_secret_name: fields.text("signature_key_secret_name"),
            hmac_secret_name: fields.text("hmac_secret_name"),
            managed_by_host: fields.flag("managed_by_host").unwrap_or(true),
            methods: fields.texts("methods").unwrap_or_else(|| vec!["POST".to_owned()]),
            verify_token_param: fields.text("verify_token_param"),
            auth: WebhookAuth::read(fields),
            tolerance_secs: fields.u64("tolerance_secs"),
            give_secret_to_guest: fields.flag("give_secret_to_guest"),
            max_body_bytes: fields.u64("max_body_bytes"),
            dedupe: fields.inner("dedupe", WebhookDedupe::read),
            content_types: fields.texts("content_types"),
        })
    }
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

impl WebhookAuth {
    fn read(fields: &mut Fields) -> Option<Self> {
        match fields.peek("auth") {
            None | Some(Value::String(_)) => AuthName::read("auth", fields).map(Self::Named),
            Some(Value::Object(_)) => fields
                .inner("auth", WebhookAuthDetails::read)
                .map(|details| Self::Detailed(Box::new(details))),
            Some(other) => {
                let found = Found::of(other);
                let expected =
                    Expected::Words("the name of an authentication scheme, or an object that describes one");
                fields.refuse("auth", Problem::Invalid { expected, found });
                None
            }
        }
    }
}

/// Names that `auth` and `preset` take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename_all = "kebab-case"))]
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
    #[cfg_attr(test, schemars(rename = "verify_token"))]
    VerifyToken,
}

impl AuthName {
    const ALL: [Self; 11] = [
        Self::None,
        Self::Secret,
        Self::Slack,
        Self::Github,
        Self::Whatsapp,
        Self::Stripe,
        Self::StandardWebhooks,
        Self::Line,
        Self::Twilio,
        Self::Discord,
        Self::VerifyToken,
    ];

    const NAMES: [&str; 11] = {
        let mut names = [""; 11];
        let mut at = 0;
        while at < names.len() {
            names[at] = Self::ALL[at].as_str();
            at += 1;
        }
        names
    };

    fn read(field: &'static str, fields: &mut Fields) -> Option<Self> {
        Some(Self::ALL[fields.choice(field, &Self::NAMES)?])
    }

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
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(deny_unknown_fields, default))]
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

impl WebhookAuthDetails {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            scheme: AuthScheme::read(fields),
            preset: AuthName::read("preset", fields),
            algorithm: HmacAlgorithm::read(fields),
            header: fields.text("header"),
            prefix: fields.text("prefix"),
            encoding: SignatureEncoding::read(fields),
            template: fields.text("template"),
            timestamp_header: fields.text("timestamp_header"),
            id_header: fields.text("id_header"),
            tolerance_secs: fields.u64("tolerance_secs"),
            secret_name: fields.text("secret_name"),
        })
    }
}

/// The kinds of check that the object form of `auth` describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename_all = "lowercase"))]
pub enum AuthScheme {
    /// A shared secret in a header.
    Secret,
    /// An HMAC over a template.
    Hmac,
    /// An Ed25519 signature over a template.
    Ed25519,
}

impl AuthScheme {
    fn read(fields: &mut Fields) -> Option<Self> {
        let known = [Self::Secret, Self::Hmac, Self::Ed25519];
        Some(known[fields.choice("scheme", &["secret", "hmac", "ed25519"])?])
    }
}

/// Digests of an HMAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename_all = "lowercase"))]
pub enum HmacAlgorithm {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
    /// SHA-1, for providers that have nothing better.
    Sha1,
}

impl HmacAlgorithm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let known = [Self::Sha256, Self::Sha512, Self::Sha1];
        Some(known[fields.choice("algorithm", &["sha256", "sha512", "sha1"])?])
    }
}

/// How a signature is written in its header. Only the canonical spelling is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename_all = "kebab-case"))]
pub enum SignatureEncoding {
    /// Hexadecimal, lower case.
    #[default]
    Hex,
    /// Hexadecimal, upper case.
    HexUpper,
    /// Standard base64 with padding (RFC 4648, section 4).
    Base64,
}

impl SignatureEncoding {
    fn read(fields: &mut Fields) -> Option<Self> {
        let known = [Self::Hex, Self::HexUpper, Self::Base64];
        Some(known[fields.choice("encoding", &["hex", "hex-upper", "base64"])?])
    }
}

/// Where an id to recognise a repeat by stands: `{"header": NAME}` or `{"json_pointer": "/path"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename_all = "snake_case"))]
pub enum WebhookDedupe {
    /// The value of this header, such as `X-GitHub-Delivery` or `webhook-id`.
    Header(String),
    /// The string or whole number at this JSON pointer (RFC 6901) into the body, such as `/update_id`.
    JsonPointer(String),
}

impl WebhookDedupe {
    fn read(fields: &mut Fields) -> Option<Self> {
        match (fields.text("header"), fields.text("json_pointer")) {
            (Some(name), None) => Some(Self::Header(name)),
            (None, Some(pointer)) => Some(Self::JsonPointer(pointer)),
            (None, None) => {
                fields.missing("header");
                None
            }
            (Some(_), Some(_)) => {
                let found = Found::Words("there beside `json_pointer`".to_owned());
                fields.refuse("header", Problem::Invalid { expected: Expected::Words("one of them"), found });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::ChannelCapabilitiesFile;
    use crate::channel::ChannelName;
    use crate::fields::{json, strictly};

    fn parse(text: &str) -> Result<WebhookCapability, String> {
        let read = json(text).and_then(|value| strictly(value, WebhookCapability::read));
        read.map_err(|wrong| wrong.to_string())
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
        for name in AuthName::ALL {
            let read = parse(&format!(r#"{{"auth": "{}"}}"#, name.as_str())).unwrap().auth;
            assert_eq!(read, Some(WebhookAuth::Named(name)));
        }
    }

    #[test]
    fn typing_errors_are_refused_and_named() {
        let cases = [
            (r#"{"secret_headr": "X"}"#, "unknown field `secret_headr`; did you mean `secret_header`?"),
            (r#"{"auth": "githup"}"#, r#"not "githup""#),
            (
                r#"{"auth": {"scheme": "hmac", "templat": "x"}}"#,
                "unknown field `auth.templat`; did you mean `template`?",
            ),
            (
                r#"{"auth": {"scheme": "hmac", "algorithm": "md5"}}"#,
                r#"auth.algorithm must be "sha256" or "sha512" or "sha1", not "md5""#,
            ),
            (r#"{"auth": 7}"#, "auth must be the name of an authentication scheme"),
            (r#"{"auth": ["none"]}"#, "an object that describes one, not a list"),
            (r#"{"auth": "None"}"#, r#"not "None""#),
            (r#"{"dedupe": {"headers": "X"}}"#, "unknown field `dedupe.headers`; did you mean `header`?"),
            (r#"{"dedupe": {}}"#, "`dedupe.header` is missing"),
            (r#"{"dedupe": {"header": "X", "json_pointer": "/a"}}"#, "dedupe.header must be one of them"),
            (r#"{"dedupe": "header"}"#, "dedupe must be a set of fields, not a string"),
            (r#"{"tolerance_secs": -1}"#, "tolerance_secs must be 0 or more, not -1"),
            (r#"{"methods": "POST"}"#, "methods must be a list, not a string"),
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
