//! Standard Webhooks, and Svix's older names for the same headers
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
//!
//! HMAC-SHA256 over `id.timestamp.body`; `webhook-signature` is a list of `v1,<base64>` separated by blanks, several
//! while a key is being rotated. Other versions (`v1a` is asymmetric) are ignored. The id stays the same when the
//! provider tries again, so it is what a replay is recognised by.

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::encoding;
use super::hmac::Mac;
use super::replay::{self, ReplayKey};
use super::request::WebhookRequest;
use super::scheme::{CheckError, KeyAndTolerance};
use super::template::checked_id;
use super::timestamp;
use super::verify::{AuthFailure, SecretProblem};
use crate::capability::webhook::{HmacAlgorithm, SignatureEncoding};

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
pub(super) fn key(secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecretProblem> {
    let text = secret.trim_ascii();
    let text = text.strip_prefix(b"whsec_").unwrap_or(text);
    let key = KEY_BASE64.decode(text).map(Zeroizing::new).map_err(|_| SecretProblem::Malformed(KEY_FORM))?;
    if key.is_empty() { Err(SecretProblem::Malformed(KEY_FORM)) } else { Ok(key) }
}

/// Checks the signature of a request.
pub(super) fn check(
    scheme: &KeyAndTolerance,
    secret: &[u8],
    request: &WebhookRequest<'_>,
) -> Result<Option<ReplayKey>, CheckError> {
    let key = key(secret)?;
    let names = names(request);
    // A full stop in the id would let its end be moved into the rest of the signed string.
    let id = checked_id(request.only(names.id)?, Some('.'))?;
    let timestamp = timestamp::recent(request.only(names.timestamp)?, request.now_ms, scheme.tolerance_secs)?;
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
    Ok(replay::by_id(id, Some(timestamp), request.now_ms, scheme.tolerance_secs))
}

/// One set of names for all three headers; they are never mixed.
fn names(request: &WebhookRequest<'_>) -> &'static Names {
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
            assert_eq!(key(secret).is_ok(), accepted, "{}", String::from_utf8_lossy(secret));
        }
    }
}
