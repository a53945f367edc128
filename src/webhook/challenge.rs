//! The GET challenge of Meta-style providers: a token in the query, compared here.
//!
//! The host only checks the token. The answer (`hub.challenge` echoed) is the guest's, which sees the query without
//! the token.

use subtle::ConstantTimeEq;

use super::request::WebhookRequest;
use super::shared_secret::digest;
use super::verify::AuthFailure;

/// Which query parameter is compared with which stored secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    pub param: String,
    pub secret_name: String,
}

/// Whether a request is a challenge: a GET with the parameter. Every other request needs a scheme.
pub(super) fn is_meant(challenge: &Challenge, request: &WebhookRequest<'_>) -> bool {
    request.method == "GET" && tokens(challenge, request).next().is_some()
}

/// Compares the token. Nothing signs a challenge's body, so it must have none.
pub(super) fn check(
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
    // An empty stored token counts as missing long before; this is the second lock on that door.
    if equal && !token.is_empty() { Ok(()) } else { Err(AuthFailure::TokenMismatch) }
}

fn tokens<'a>(challenge: &'a Challenge, request: &WebhookRequest<'a>) -> impl Iterator<Item = String> + 'a {
    url::form_urlencoded::parse(request.query.as_bytes())
        .filter(|(name, _)| *name == challenge.param)
        .map(|(_, value)| value.into_owned())
}
