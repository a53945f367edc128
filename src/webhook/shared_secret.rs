//! Secrets that a request carries as they are: a shared secret in a header, and the token of the GET challenge of Meta-style
//! providers. Nothing else is taken from a query string, which ends up in the logs of every proxy.
//!
//! Of a challenge the host only checks the token. The response (`hub.challenge` echoed) is the guest's, which sees the query
//! without the token.

use ring::digest::{SHA256, SHA256_OUTPUT_LEN};
use subtle::ConstantTimeEq;

use super::request::WebhookRequest;
use super::scheme::SharedSecret;
use super::verify::AuthFailure;

/// Compares the header with the stored secret.
pub(super) fn check(
    scheme: &SharedSecret,
    secret: &[u8],
    request: &WebhookRequest<'_>,
) -> Result<(), AuthFailure> {
    let sent = request.only(&scheme.header)?;
    let sent = sent.strip_prefix(&scheme.prefix).ok_or(AuthFailure::SecretMismatch)?;
    let equal = bool::from(digest(sent.as_bytes()).ct_eq(&digest(secret)));
    // An empty stored secret counts as missing long before; this is a second check.
    if equal && !secret.is_empty() { Ok(()) } else { Err(AuthFailure::SecretMismatch) }
}

/// Digests are compared instead of the values, so that not even a length shows in the time it takes.
pub(super) fn digest(value: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut bytes = [0; SHA256_OUTPUT_LEN];
    bytes.copy_from_slice(ring::digest::digest(&SHA256, value).as_ref());
    bytes
}

/// Which query parameter is compared with which stored secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    pub param: String,
    pub secret_name: String,
}

/// Whether a request is a challenge: a GET with the parameter. Every other request needs a scheme.
pub(super) fn is_challenge(challenge: &Challenge, request: &WebhookRequest<'_>) -> bool {
    request.method == "GET" && tokens(challenge, request).next().is_some()
}

/// Compares the token. Nothing signs a challenge's body, so it must have none.
pub(super) fn check_challenge(
    challenge: &Challenge,
    token: &[u8],
    request: &WebhookRequest<'_>,
) -> Result<(), AuthFailure> {
    if !request.body.is_empty() {
        return Err(AuthFailure::ChallengeWithBody);
    }
    let mut tokens = tokens(challenge, request);
    let sent = tokens.next().ok_or(AuthFailure::TokenMismatch)?;
    if tokens.next().is_some() {
        return Err(AuthFailure::TokenRepeated);
    }
    let equal = bool::from(digest(sent.as_bytes()).ct_eq(&digest(token)));
    // An empty stored token counts as missing long before; this is a second check.
    if equal && !token.is_empty() { Ok(()) } else { Err(AuthFailure::TokenMismatch) }
}

fn tokens<'a>(challenge: &'a Challenge, request: &WebhookRequest<'a>) -> impl Iterator<Item = String> + 'a {
    url::form_urlencoded::parse(request.query.as_bytes())
        .filter(|(name, _)| *name == challenge.param)
        .map(|(_, value)| value.into_owned())
}
