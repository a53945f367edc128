//! HMACs: one signature in one header over a template; Stripe's format, which puts the time into the same header; and
//! Standard Webhooks, with Svix's older names for the same headers.
//!
//! Stripe: `Stripe-Signature: t=1492774577,v1=5257a8…,v1=6ffbb5…,v0=…` over `timestamp.body`
//! (<https://docs.stripe.com/webhooks?verify=verify-manually>). Several `v1` signatures come while a key is being rolled. Other
//! versions are ignored, as Stripe asks, to prevent a downgrade. The key is the whole text of the endpoint's secret, `whsec_`
//! included.
//!
//! Standard Webhooks (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>):
//! HMAC-SHA256 over `id.timestamp.body`; `webhook-signature` is a list of `v1,<base64>` separated by blanks, several
//! while a key is being rotated. Other versions (`v1a` is asymmetric) are ignored. The id stays the same when the
//! provider tries again, so it is what a replay is recognised by.

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use ring::hmac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::freshness::{ReplayKey, replay_by_id, replay_by_signature};
use super::plan::{CheckError, HmacCheck, KeyAndTolerance};
use super::request::WebhookRequest;
use super::template::checked_id;
use super::verify::{AuthFailure, SecretProblem};
use super::{encoding, freshness};
use crate::capability::webhook::{HmacAlgorithm, SignatureEncoding};

/// Checks the signature of a request.
pub(super) fn check(
    scheme: &HmacCheck,
    secret: &[u8],
    request: &WebhookRequest<'_>,
) -> Result<Option<ReplayKey>, AuthFailure> {
    let parts = scheme.signed.parts(request, scheme.tolerance_secs)?;
    let sent =
        request.only(&scheme.header)?.strip_prefix(&scheme.prefix).ok_or(AuthFailure::SignatureMalformed)?;
    let sent = encoding::decode(scheme.encoding, sent).ok_or(AuthFailure::SignatureMalformed)?;
    let mut mac = Mac::new(scheme.algorithm, secret);
    scheme.signed.feed(&parts, request, |piece| mac.update(piece));
    let mac = mac.finish();
    if !mac.equals(&sent) {
        return Err(AuthFailure::SignatureMismatch);
    }
    let window = scheme.tolerance_secs;
    Ok(match parts.id {
        Some(id) => replay_by_id(id, parts.timestamp, request.now_ms, window),
        None => replay_by_signature(mac.as_bytes(), parts.timestamp, request.now_ms, window),
    })
}

/// An HMAC that is being computed.
pub(super) struct Mac(hmac::Context);

/// An HMAC that was computed by the host.
pub(super) struct Tag(hmac::Tag);

impl Mac {
    pub fn new(algorithm: HmacAlgorithm, secret: &[u8]) -> Self {
        let algorithm = match algorithm {
            HmacAlgorithm::Sha256 => hmac::HMAC_SHA256,
            HmacAlgorithm::Sha512 => hmac::HMAC_SHA512,
            HmacAlgorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        };
        Self(hmac::Context::with_key(&hmac::Key::new(algorithm, secret)))
    }

    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    pub fn finish(self) -> Tag {
        Tag(self.0.sign())
    }
}

impl Tag {
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// Compares in constant time; another length is never equal.
    pub fn equals(&self, sent: &[u8]) -> bool {
        self.as_bytes().ct_eq(sent).into()
    }
}

const STRIPE_HEADER: &str = "stripe-signature";

/// Checks the signature of a request.
pub(super) fn check_stripe(
    scheme: &KeyAndTolerance,
    secret: &[u8],
    request: &WebhookRequest<'_>,
) -> Result<Option<ReplayKey>, AuthFailure> {
    let header = SignatureHeader::parse(request.only(STRIPE_HEADER)?)?;
    let timestamp = freshness::recent(header.timestamp, request.now_ms, scheme.tolerance_secs)?;
    let mut mac = Mac::new(HmacAlgorithm::Sha256, secret);
    mac.update(timestamp.text.as_bytes());
    mac.update(b".");
    mac.update(request.body);
    let mac = mac.finish();
    let matches =
        |text: &&str| encoding::decode(SignatureEncoding::Hex, text).is_some_and(|sent| mac.equals(&sent));
    if !header.signatures.iter().any(matches) {
        return Err(AuthFailure::SignatureMismatch);
    }
    Ok(replay_by_signature(mac.as_bytes(), Some(timestamp), request.now_ms, scheme.tolerance_secs))
}

/// The header, taken apart: one time, at least one signature.
struct SignatureHeader<'a> {
    timestamp: &'a str,
    signatures: Vec<&'a str>,
}

impl<'a> SignatureHeader<'a> {
    fn parse(text: &'a str) -> Result<Self, AuthFailure> {
        let mut timestamp = None;
        let mut signatures = Vec::new();
        for item in text.split(',') {
            match item.split_once('=').ok_or(AuthFailure::SignatureMalformed)? {
                ("t", _) if timestamp.is_some() => return Err(AuthFailure::SignatureMalformed),
                ("t", value) => timestamp = Some(value),
                ("v1", value) => signatures.push(value),
                _ => {}
            }
        }
        match timestamp {
            Some(timestamp) if !signatures.is_empty() => Ok(Self { timestamp, signatures }),
            _ => Err(AuthFailure::SignatureMalformed),
        }
    }
}

/// What a key looks like, for the message when a stored one does not.
const KEY_FORM: &str = "a Standard Webhooks key: `whsec_` and base64";

/// Keys are pasted with and without padding.
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The names of the three headers.
struct Names {
    id: &'static str,
    timestamp: &'static str,
    signature: &'static str,
}

const STANDARD: Names =
    Names { id: "webhook-id", timestamp: "webhook-timestamp", signature: "webhook-signature" };
const SVIX: Names = Names { id: "svix-id", timestamp: "svix-timestamp", signature: "svix-signature" };

/// The bytes of a key; `whsec_` may be left out.
pub(super) fn standard_key(secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecretProblem> {
    let text = secret.trim_ascii();
    let text = text.strip_prefix(b"whsec_").unwrap_or(text);
    let key = KEY_BASE64.decode(text).map(Zeroizing::new).map_err(|_| SecretProblem::Malformed(KEY_FORM))?;
    if key.is_empty() { Err(SecretProblem::Malformed(KEY_FORM)) } else { Ok(key) }
}

/// Checks the signature of a request.
pub(super) fn check_standard(
    scheme: &KeyAndTolerance,
    secret: &[u8],
    request: &WebhookRequest<'_>,
) -> Result<Option<ReplayKey>, CheckError> {
    let key = standard_key(secret)?;
    let names = standard_names(request);
    // A full stop in the id would let its end be moved into the rest of the signed string.
    let id = checked_id(request.only(names.id)?, Some('.'))?;
    let timestamp = freshness::recent(request.only(names.timestamp)?, request.now_ms, scheme.tolerance_secs)?;
    let signatures = request.only(names.signature)?;
    let mut mac = Mac::new(HmacAlgorithm::Sha256, &key);
    for piece in [id.as_bytes(), b".", timestamp.text.as_bytes(), b".", request.body] {
        mac.update(piece);
    }
    let mac = mac.finish();
    let matches =
        |text: &str| encoding::decode(SignatureEncoding::Base64, text).is_some_and(|sent| mac.equals(&sent));
    if !signatures.split(' ').filter_map(|item| item.strip_prefix("v1,")).any(matches) {
        return Err(AuthFailure::SignatureMismatch.into());
    }
    Ok(replay_by_id(id, Some(timestamp), request.now_ms, scheme.tolerance_secs))
}

/// One set of names for all three headers; they are never mixed.
fn standard_names(request: &WebhookRequest<'_>) -> &'static Names {
    let standard = [STANDARD.id, STANDARD.timestamp, STANDARD.signature];
    let is_standard = |name: &str| standard.iter().any(|known| name.eq_ignore_ascii_case(known));
    if request.headers.iter().any(|(name, _)| is_standard(name)) { &STANDARD } else { &SVIX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_base64_with_or_without_their_prefix() {
        let cases: [(&[u8], bool); 12] = [
            (b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true),
            (b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true),
            (b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", true),
            (b"whsec_AAE=", true),
            (b"whsec_AAE", true),
            (b"whsec_", false),
            (b"whsec_!!!!", false),
            (b"whsec_whsec_AAE=", false),
            (b"whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", false),
            (b"whsec_AAE=AAE=", false),
            (b"whsec_A", false),
            (b"\xff\xfe", false),
        ];
        for (secret, accepted) in cases {
            assert_eq!(standard_key(secret).is_ok(), accepted, "{}", String::from_utf8_lossy(secret));
        }
    }
}
