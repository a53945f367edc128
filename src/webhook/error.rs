//! Why a `webhook` object cannot be used.

use thiserror::Error;

/// A `webhook` object that reads well but cannot be meant as it stands. Every message names the channel and what to
/// change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum WebhookConfigError {
    /// `auth` says one thing and another field of the same object says another.
    #[error(
        "channel {channel}: webhook.auth is \"{auth}\", which contradicts `{field}`; remove one of the two"
    )]
    Contradiction {
        /// The channel.
        channel: String,
        /// The scheme or preset in `auth`.
        auth: &'static str,
        /// The field that cannot stand beside it.
        field: &'static str,
    },
    /// The object form of `auth` names neither `scheme` nor `preset`.
    #[error("channel {channel}: webhook.auth needs a `scheme` (secret, hmac, ed25519) or a `preset`")]
    NoScheme {
        /// The channel.
        channel: String,
    },
    /// A field that the rest of the object calls for is absent.
    #[error("channel {channel}: webhook.auth.{field} is missing: {why}")]
    MissingField {
        /// The channel.
        channel: String,
        /// The field.
        field: &'static str,
        /// What asks for it.
        why: &'static str,
    },
    /// A header whose value would not be signed.
    #[error(
        "channel {channel}: webhook.auth.{field} has no effect, because the template has no {placeholder}; remove `{field}`, or give a \
         `template` with {placeholder}"
    )]
    UnsignedHeader {
        /// The channel.
        channel: String,
        /// The field that names the header.
        field: &'static str,
        /// What would stand for its value.
        placeholder: &'static str,
    },
    /// The signed template cannot be used.
    #[error("channel {channel}: webhook.auth.template: {problem}")]
    Template {
        /// The channel.
        channel: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A header name that no request can have.
    #[error("channel {channel}: `{name}` in webhook.{field} is not the name of a header")]
    HeaderName {
        /// The channel.
        channel: String,
        /// The field.
        field: &'static str,
        /// What stands there.
        name: String,
    },
    /// A secret's name, or the name of a query parameter, is empty.
    #[error("channel {channel}: webhook.{field} is empty; leave it out to get its default")]
    EmptyName {
        /// The channel.
        channel: String,
        /// The field.
        field: &'static str,
    },
    /// Two fields name different secrets for the same key.
    #[error("channel {channel}: webhook names two secrets for one key, `{first}` and `{second}`; keep one")]
    TwoSecretNames {
        /// The channel.
        channel: String,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// The token of the GET challenge travels in URLs and must not also be a signing key.
    #[error(
        "channel {channel}: `{name}` would be both the verify token, which travels in URLs, and the signing key; name \
         the token in `secret_name` and the key in `hmac_secret_name`"
    )]
    TokenIsKey {
        /// The channel.
        channel: String,
        /// The name used for both.
        name: String,
    },
    /// A method is taken that nothing authenticates.
    #[error(
        "channel {channel}: webhook.auth \"verify_token\" authenticates GET only, but webhook.methods has {method}; \
         set `methods` to [\"GET\"], or use a scheme for {method} and `verify_token_param` for GET"
    )]
    MethodWithoutScheme {
        /// The channel.
        channel: String,
        /// The method.
        method: String,
    },
    /// An entry of `methods` is no HTTP method.
    #[error("channel {channel}: webhook.methods has `{found}`; methods are in capitals, such as \"POST\"")]
    Method {
        /// The channel.
        channel: String,
        /// What was found.
        found: String,
    },
    /// A tolerance outside its range.
    #[error(
        "channel {channel}: webhook.tolerance_secs is {secs}; it must be {min} to {max} seconds for this scheme, and 0 \
         (replays run) is for schemes that sign no time"
    )]
    Tolerance {
        /// The channel.
        channel: String,
        /// What was asked for, in seconds.
        secs: u64,
        /// The least for this scheme, in seconds.
        min: u64,
        /// The most, in seconds.
        max: u64,
    },
    /// `max_body_bytes` of 0 would refuse every webhook.
    #[error(
        "channel {channel}: webhook.max_body_bytes is 0, which refuses every webhook; leave it out or raise it"
    )]
    NoBodyAllowed {
        /// The channel.
        channel: String,
    },
    /// A `dedupe` pointer that does not follow RFC 6901.
    #[error(
        "channel {channel}: webhook.dedupe.json_pointer `{pointer}` must be \"\" or start with `/`, and `~` only as ~0 or ~1"
    )]
    JsonPointer {
        /// The channel.
        channel: String,
        /// The pointer.
        pointer: String,
    },
    /// An entry of `content_types` is no media type.
    #[error(
        "channel {channel}: `{found}` in webhook.content_types is no media type such as application/json or text/*"
    )]
    ContentType {
        /// The channel.
        channel: String,
        /// What was found.
        found: String,
    },
}
