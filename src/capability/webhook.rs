//! `capabilities.channel.webhook`: how requests for a channel are authenticated, declared as data.
//!
//! Two generations of fields live side by side. Files that were published with existing channels use `secret_header`,
//! `secret_name`, `signature_key_secret_name`, `hmac_secret_name`, `managed_by_host`, `methods` and
//! `verify_token_param`, and load as they are. New files say `auth`. What follows from both together, and what
//! contradicts, is decided in [`AuthPlan::from`](crate::webhook::AuthPlan::from); here is only the shape.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

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
    pub(crate) auth: Option<WebhookAuth>,
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
    pub(crate) dedupe: Option<WebhookDedupe>,
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

/// The value of `auth`: one struct for each kind of check, so that a field without meaning for it is unknown there.
///
/// In a file it is the name of a preset, or an object with `preset` or `scheme` and details.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WebhookAuth {
    /// No check.
    None(NoAuth),
    /// A shared secret in a header.
    Secret(SharedSecretAuth),
    /// An HMAC over a template.
    #[serde(
        rename = "{\"scheme\": \"hmac\", \"header\": NAME}",
        alias = "slack",
        alias = "github",
        alias = "whatsapp",
        alias = "line"
    )]
    Hmac(HmacAuth),
    /// An Ed25519 signature over a template.
    #[serde(
        rename = "{\"scheme\": \"ed25519\", \"header\": NAME, \"timestamp_header\": NAME}",
        alias = "discord"
    )]
    Ed25519(Ed25519Auth),
    /// A provider's format that has a grammar of its own.
    #[serde(rename = "stripe", alias = "standard-webhooks", alias = "twilio", alias = "feishu")]
    Fixed(FixedAuth),
    /// The GET challenge of Meta-style providers.
    #[serde(rename = "verify_token")]
    VerifyToken(VerifyTokenAuth),
}

impl WebhookAuth {
    /// The preset, when one is named.
    pub fn preset(&self) -> Option<AuthName> {
        match self {
            Self::None(auth) => auth.preset,
            Self::Secret(auth) => auth.preset,
            Self::Hmac(auth) => auth.preset,
            Self::Ed25519(auth) => auth.preset,
            Self::Fixed(auth) => auth.preset,
            Self::VerifyToken(auth) => auth.preset,
        }
    }

    /// The scheme, when one is named.
    pub(crate) fn scheme(&self) -> Option<AuthScheme> {
        match self {
            Self::None(_) | Self::VerifyToken(_) => None,
            Self::Secret(auth) => auth.scheme,
            Self::Hmac(auth) => auth.scheme,
            Self::Ed25519(auth) => auth.scheme,
            Self::Fixed(auth) => auth.scheme,
        }
    }

    /// The name of the stored secret, key or token, when one is given here.
    pub(crate) fn secret_name(&self) -> Option<&str> {
        let name = match self {
            Self::None(_) => &None,
            Self::Secret(auth) => &auth.secret_name,
            Self::Hmac(auth) => &auth.secret_name,
            Self::Ed25519(auth) => &auth.secret_name,
            Self::Fixed(auth) => &auth.secret_name,
            Self::VerifyToken(auth) => &auth.secret_name,
        };
        name.as_deref()
    }

    /// How far a signed time may be off, when that is given here.
    pub(crate) fn tolerance_secs(&self) -> Option<u64> {
        match self {
            Self::None(_) | Self::Secret(_) | Self::VerifyToken(_) => None,
            Self::Hmac(auth) => auth.tolerance_secs,
            Self::Ed25519(auth) => auth.tolerance_secs,
            Self::Fixed(auth) => auth.tolerance_secs,
        }
    }
}

/// `"none"`: everybody may call the channel.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NoAuth {
    /// `none`.
    pub preset: Option<AuthName>,
}

/// A shared secret in a header.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SharedSecretAuth {
    /// `secret`.
    pub preset: Option<AuthName>,
    /// `secret`.
    #[serde(deserialize_with = "only_secret")]
    pub scheme: Option<AuthScheme>,
    /// Header with the secret. Default `X-Webhook-Secret`.
    pub header: Option<String>,
    /// Text before the secret in that header, such as `Bearer `. Default none.
    pub prefix: Option<String>,
    /// Name of the stored secret, default `<channel>_webhook_secret`.
    pub secret_name: Option<String>,
}

/// An HMAC over a template.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HmacAuth {
    /// A provider whose format is the starting point.
    pub preset: Option<AuthName>,
    /// `hmac`; follows from `preset` where that is given.
    #[serde(deserialize_with = "only_hmac")]
    pub scheme: Option<AuthScheme>,
    /// Digest, default `sha256`. `sha1` only where it is named here.
    pub algorithm: Option<HmacAlgorithm>,
    /// Header with the signature.
    pub header: Option<String>,
    /// Text before the signature in that header, such as `sha256=`. Default none.
    pub prefix: Option<String>,
    /// How the signature is written, default `hex`.
    pub encoding: Option<SignatureEncoding>,
    /// What is signed, from `{timestamp}`, `{id}`, `{url}`, `{body}` and text between them. Default `{body}`, which must
    /// be part of it.
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

/// An Ed25519 signature in hexadecimal over a template.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Ed25519Auth {
    /// A provider whose format is the starting point.
    pub preset: Option<AuthName>,
    /// `ed25519`; follows from `preset` where that is given.
    #[serde(deserialize_with = "only_ed25519")]
    pub scheme: Option<AuthScheme>,
    /// Header with the signature.
    pub header: Option<String>,
    /// What is signed, from `{timestamp}`, `{id}`, `{url}`, `{body}` and text between them. Default `{timestamp}{body}`;
    /// `{body}` must be part of it.
    pub template: Option<String>,
    /// Header with the Unix time in seconds that `{timestamp}` stands for.
    pub timestamp_header: Option<String>,
    /// Header with the text that `{id}` stands for.
    pub id_header: Option<String>,
    /// As `tolerance_secs` beside `auth`; one of the two places is enough.
    pub tolerance_secs: Option<u64>,
    /// Name of the stored public key, default `<channel>_webhook_secret`.
    pub secret_name: Option<String>,
}

/// A provider's format with a grammar of its own (`stripe`, `standard-webhooks`, `twilio`, `feishu`).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FixedAuth {
    /// The provider.
    pub preset: Option<AuthName>,
    /// `hmac`; follows from `preset`.
    #[serde(deserialize_with = "only_hmac")]
    pub scheme: Option<AuthScheme>,
    /// As `tolerance_secs` beside `auth`; one of the two places is enough.
    pub tolerance_secs: Option<u64>,
    /// Name of the stored key, default `<channel>_webhook_secret`.
    pub secret_name: Option<String>,
}

/// The GET challenge of Meta-style providers; authenticates GET requests only.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct VerifyTokenAuth {
    /// `verify_token`.
    pub preset: Option<AuthName>,
    /// Name of the stored token, default `<channel>_webhook_secret`.
    pub secret_name: Option<String>,
}

/// Names that `auth` and `preset` take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AuthName {
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
    /// Feishu's and Lark's `X-Lark-Signature`, with the Encrypt Key as its key; the guest gets the decrypted body.
    Feishu,
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
            Self::Feishu => "feishu",
            Self::Discord => "discord",
            Self::VerifyToken => "verify_token",
        }
    }
}

/// The kinds of check that the object form of `auth` describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum AuthScheme {
    /// A shared secret in a header.
    Secret,
    /// An HMAC over a template.
    Hmac,
    /// An Ed25519 signature over a template.
    Ed25519,
}

/// Reads the scheme of an object that is of one kind already: another scheme is refused by its type.
fn only<'de, D: Deserializer<'de>>(
    deserializer: D,
    only: AuthScheme,
    words: &'static [&'static str],
) -> Result<Option<AuthScheme>, D::Error> {
    match Option::<AuthScheme>::deserialize(deserializer)? {
        Some(scheme) if scheme != only => Err(D::Error::unknown_variant(scheme.as_str(), words)),
        scheme => Ok(scheme),
    }
}

fn only_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AuthScheme>, D::Error> {
    only(deserializer, AuthScheme::Secret, &["secret"])
}

fn only_hmac<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AuthScheme>, D::Error> {
    only(deserializer, AuthScheme::Hmac, &["hmac"])
}

fn only_ed25519<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AuthScheme>, D::Error> {
    only(deserializer, AuthScheme::Ed25519, &["ed25519"])
}

impl AuthScheme {
    /// The name as it stands in a capability file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Hmac => "hmac",
            Self::Ed25519 => "ed25519",
        }
    }
}

/// Digests of an HMAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum HmacAlgorithm {
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
pub(crate) enum SignatureEncoding {
    /// Hexadecimal, lower case.
    #[default]
    Hex,
    /// Hexadecimal, upper case.
    HexUpper,
    /// Standard base64 with padding (RFC 4648, section 4).
    Base64,
}

/// Where an id to recognise a duplicate by stands: `{"header": NAME}` or `{"json_pointer": "/path"}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "DedupeFields")]
pub(crate) enum WebhookDedupe {
    /// The value of this header, such as `X-GitHub-Delivery` or `webhook-id`.
    Header(String),
    /// The string or whole number at this JSON pointer (RFC 6901) into the body, such as `/update_id`.
    JsonPointer(String),
}

/// How a [`WebhookDedupe`] stands in a file: one of the two.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct DedupeFields {
    /// A header, such as `X-GitHub-Delivery` or `webhook-id`.
    #[serde(default)]
    header: Option<String>,
    /// A JSON pointer (RFC 6901) into the body, such as `/update_id`.
    #[serde(default)]
    json_pointer: Option<String>,
}

impl TryFrom<DedupeFields> for WebhookDedupe {
    type Error = &'static str;

    fn try_from(fields: DedupeFields) -> Result<Self, Self::Error> {
        match (fields.header, fields.json_pointer) {
            (Some(name), None) => Ok(Self::Header(name)),
            (None, Some(pointer)) => Ok(Self::JsonPointer(pointer)),
            _ => Err("one of `header` and `json_pointer`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::ChannelCapabilitiesFile;
    use crate::channel::ChannelName;
    use crate::model::document::{Comments, read};

    fn parse(text: &str) -> Result<WebhookCapability, String> {
        read(serde_json::from_str(text).unwrap(), Comments::Refused).map_err(|error| error.to_string())
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
        assert_eq!(name.unwrap().preset(), Some(AuthName::StandardWebhooks));

        let json = r#"{"auth": {"scheme": "hmac", "algorithm": "sha1", "header": "X-Sig", "encoding": "hex-upper"}}"#;
        let Some(WebhookAuth::Hmac(details)) = parse(json).unwrap().auth else { panic!("an HMAC") };
        assert_eq!(details.algorithm, Some(HmacAlgorithm::Sha1));
        assert_eq!(details.encoding, Some(SignatureEncoding::HexUpper));
    }

    #[test]
    fn every_name_reads_and_writes_as_it_is_documented() {
        let all = [
            AuthName::None,
            AuthName::Secret,
            AuthName::Slack,
            AuthName::Github,
            AuthName::Whatsapp,
            AuthName::Stripe,
            AuthName::StandardWebhooks,
            AuthName::Line,
            AuthName::Twilio,
            AuthName::Feishu,
            AuthName::Discord,
            AuthName::VerifyToken,
        ];
        for name in all {
            let word = name.as_str();
            let by_name = parse(&format!(r#"{{"auth": "{word}"}}"#)).unwrap().auth.unwrap();
            let by_preset = parse(&format!(r#"{{"auth": {{"preset": "{word}"}}}}"#)).unwrap().auth.unwrap();
            assert_eq!(by_name.preset(), Some(name));
            assert_eq!(by_name, by_preset);
        }
    }

    #[test]
    fn a_field_without_meaning_for_a_scheme_is_unknown_there() {
        let cases = [
            (r#"{"preset": "none", "scheme": "hmac"}"#, "scheme", "preset"),
            (r#"{"preset": "none", "header": "X"}"#, "header", "preset"),
            (
                r#"{"preset": "stripe", "header": "X"}"#,
                "header",
                "preset, scheme, tolerance_secs, secret_name",
            ),
            (r#"{"preset": "twilio", "algorithm": "sha256"}"#, "algorithm", "preset, scheme, tolerance_secs"),
            (
                r#"{"preset": "discord", "encoding": "base64"}"#,
                "encoding",
                "preset, scheme, header, template",
            ),
            (r#"{"scheme": "secret", "template": "{body}"}"#, "template", "preset, scheme, header, prefix"),
            (
                r#"{"scheme": "secret", "tolerance_secs": 5}"#,
                "tolerance_secs",
                "preset, scheme, header, prefix",
            ),
            (r#"{"preset": "verify_token", "header": "X"}"#, "header", "preset, secret_name"),
        ];
        for (auth, field, known) in cases {
            let error = parse(&format!(r#"{{"auth": {auth}}}"#)).unwrap_err();
            assert_eq!(error.split(';').next(), Some(format!("unknown field `auth.{field}`").as_str()));
            assert!(error.contains(known), "{auth}: {error}");
        }
    }

    #[test]
    fn typing_errors_are_refused_and_named() {
        let cases = [
            (r#"{"secret_headr": "X"}"#, "unknown field `secret_headr`; did you mean `secret_header`?"),
            (r#"{"auth": "gitub"}"#, r#"not "gitub"; did you mean "github"?"#),
            (r#"{"auth": {"preset": "slakc"}}"#, r#"not "slakc"; did you mean "slack"?"#),
            // A scheme of another kind passed the type, and was a contradiction later.
            (
                r#"{"auth": {"preset": "stripe", "scheme": "ed25519"}}"#,
                r#"auth.scheme must be "hmac", not "ed25519""#,
            ),
            (
                r#"{"auth": {"preset": "slack", "scheme": "secret"}}"#,
                r#"auth.scheme must be "hmac", not "secret""#,
            ),
            (
                r#"{"auth": {"scheme": "hmac", "templat": "x"}}"#,
                "unknown field `auth.templat`; did you mean `template`?",
            ),
            (
                r#"{"auth": {"scheme": "hmac", "algorithm": "md5"}}"#,
                r#"auth.algorithm must be "sha256" or "sha512" or "sha1", not "md5""#,
            ),
            (r#"{"auth": 7}"#, "auth must be a name or an object, not 7"),
            (r#"{"auth": ["none"]}"#, "auth must be a name or an object, not a list"),
            (r#"{"auth": {}}"#, "`auth.preset` is missing"),
            (r#"{"auth": {"header": "X-Sig"}}"#, "`auth.preset` is missing"),
            (r#"{"auth": {"preset": "hmac"}}"#, r#"auth.preset must be "none" or "secret""#),
            (r#"{"auth": {"type": "slack"}}"#, "unknown field `auth.type`"),
            (r#"{"auth": {"scheme": "slack"}}"#, r#"auth.scheme must be "secret" or "hmac" or "ed25519""#),
            (r#"{"auth": "None"}"#, r#"not "None""#),
            (r#"{"dedupe": {"headers": "X"}}"#, "unknown field `dedupe.headers`; did you mean `header`?"),
            (r#"{"dedupe": {}}"#, "dedupe: one of `header` and `json_pointer`"),
            (r#"{"dedupe": {"header": "X", "json_pointer": "/a"}}"#, "dedupe: one of `header` and"),
            (r#"{"dedupe": "header"}"#, "dedupe must be a set of fields, not a string"),
            (r#"{"tolerance_secs": -1}"#, "tolerance_secs must be 0 or more, not -1"),
            (r#"{"methods": "POST"}"#, "methods must be a list, not a string"),
        ];
        for (json, part) in cases {
            let error = parse(json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }

    // `"auth": "hmca"` got an error with a list of words that had `hmac` and `ed25519` in it, which are refused alone.
    #[test]
    fn schemes_that_need_details_are_named_with_what_they_need() {
        for auth in [r#""hmca""#, r#""hmac""#, r#""ed25519""#, r#"{"preset": "hmac"}"#] {
            let error = parse(&format!(r#"{{"auth": {auth}}}"#)).unwrap_err();
            let (accepted, _) = error.rsplit_once(", not ").unwrap();
            for scheme in [
                r#"{"scheme": "hmac", "header": NAME}"#,
                r#"{"scheme": "ed25519", "header": NAME, "timestamp_header": NAME}"#,
            ] {
                assert!(accepted.contains(scheme), "{auth}: {error}");
            }
            let alone = [r#"or "hmac""#, r#"or "ed25519""#];
            assert!(alone.iter().all(|word| !accepted.contains(word)), "{auth}: {error}");
        }
        for needed in [
            r#"{"scheme": "hmac", "header": "A"}"#,
            r#"{"scheme": "ed25519", "header": "A", "timestamp_header": "B"}"#,
        ] {
            let webhook = parse(&format!(r#"{{"auth": {needed}}}"#)).unwrap();
            assert!(crate::webhook::AuthPlan::from(&webhook, "chan").is_ok(), "{needed}");
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
        let Some(WebhookAuth::Hmac(details)) = &read.capabilities.webhook().unwrap().auth else {
            panic!("an HMAC")
        };
        assert_eq!(details.tolerance_secs, Some(60));
        let error = file(r#"{"preset": "slack", "tolerance_sec": 60}"#).unwrap_err().to_string();
        assert!(error.contains("capabilities.channel.webhook.auth.tolerance_sec"), "{error}");
        assert!(error.contains("tolerance_secs"), "{error}");
    }
}
