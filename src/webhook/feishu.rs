//! Feishu and Lark: an event is encrypted with AES-256-CBC under SHA-256 of the Encrypt Key, and signed with SHA-256 over time,
//! nonce, Encrypt Key and body (<https://open.feishu.cn/document/server-docs/event-subscription-guide/event-subscription-configure-/encrypt-key-encryption-configuration-case>).
//!
//! Only the request that verifies the channel's address is not signed. It is accepted when it decrypts to
//! `"type": "url_verification"`: all that it gets is its own challenge.
//!
//! What is appended to a signed body keeps such a signature valid for whoever knows its length, so a body is one JSON object
//! and nothing after it.

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut as _, KeyIvInit as _};
use ring::digest::{Context, SHA256};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use super::encoding;
use super::freshness::{self, replay_by_signature};
use super::plan::{KeyAndTolerance, Passed};
use super::request::WebhookRequest;
use super::template::checked_id;
use super::verify::{AuthFailure, digest};
use crate::capability::webhook::SignatureEncoding;

const SIGNATURE_HEADER: &str = "x-lark-signature";
const TIMESTAMP_HEADER: &str = "x-lark-request-timestamp";
const NONCE_HEADER: &str = "x-lark-request-nonce";

/// Bytes of the initialisation vector, which stands before the ciphertext.
const IV_BYTES: usize = 16;

/// Checks the signature of a request, and decrypts its body.
pub(super) fn check(
    scheme: &KeyAndTolerance,
    secret: &[u8],
    request: &WebhookRequest<'_>,
) -> Result<Passed, AuthFailure> {
    let Some(sent) = request.at_most_one(SIGNATURE_HEADER)? else {
        let text = decrypted(secret, request.body)?;
        return match is_challenge(&text) {
            true => Ok(Passed { replay_key: None, body: Some(text) }),
            false => Err(AuthFailure::HeaderMissing(SIGNATURE_HEADER.to_owned())),
        };
    };
    let timestamp =
        freshness::recent(request.only(TIMESTAMP_HEADER)?, request.now_ms, scheme.tolerance_secs)?;
    let nonce = checked_id(request.only(NONCE_HEADER)?, None)?;
    let sent = encoding::decode(SignatureEncoding::Hex, sent).ok_or(AuthFailure::SignatureMalformed)?;
    let mut signed = Context::new(&SHA256);
    for piece in [timestamp.text.as_bytes(), nonce.as_bytes(), secret, request.body] {
        signed.update(piece);
    }
    let signature = signed.finish();
    if !bool::from(signature.as_ref().ct_eq(&sent)) {
        return Err(AuthFailure::SignatureMismatch);
    }
    let replay_key =
        replay_by_signature(signature.as_ref(), Some(timestamp), request.now_ms, scheme.tolerance_secs);
    Ok(Passed { replay_key, body: Some(decrypted(secret, request.body)?) })
}

/// `{"encrypt": BASE64}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Encrypted<'a> {
    #[serde(borrow)]
    encrypt: std::borrow::Cow<'a, str>,
}

/// The text of an encrypted body.
fn decrypted(secret: &[u8], body: &[u8]) -> Result<Vec<u8>, AuthFailure> {
    let body: Encrypted<'_> = serde_json::from_slice(body).map_err(|_| AuthFailure::NotEncrypted)?;
    let data = STANDARD.decode(body.encrypt.as_bytes()).map_err(|_| AuthFailure::NotEncrypted)?;
    let (iv, data) = data.split_at_checked(IV_BYTES).ok_or(AuthFailure::NotEncrypted)?;
    let decryptor = cbc::Decryptor::<Aes256>::new_from_slices(&digest(secret), iv)
        .map_err(|_| AuthFailure::NotEncrypted)?;
    decryptor.decrypt_padded_vec_mut::<Pkcs7>(data).map_err(|_| AuthFailure::NotEncrypted)
}

/// Whether a text is the request that verifies the channel's address.
fn is_challenge(text: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Challenge {
        #[serde(rename = "type")]
        kind: String,
    }
    serde_json::from_slice::<Challenge>(text).is_ok_and(|challenge| challenge.kind == "url_verification")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"test key";

    /// The example of the page above.
    const EXAMPLE: &str = "P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk=";
    /// `{"type":"url_verification","challenge":"c"}` and `{"header":{"event_id":"e"}}`, encrypted by OpenSSL.
    const CHALLENGE: &str =
        "AAECAwQFBgcICQoLDA0OD0nVfUSk5vZiFpeYmJps9c6K/CQWbys36yh60ze6mzSk+EhUXCPoLT3eKcfLarJJ3g==";
    const EVENT: &str = "AAECAwQFBgcICQoLDA0OD/2xOupWX+DooEzv+nEzqL6UCGLdELFgCxwTs4V3Gfkf";

    fn scheme() -> KeyAndTolerance {
        KeyAndTolerance { tolerance_secs: 300, secret_name: "key".to_owned() }
    }

    fn body(encrypted: &str) -> String {
        format!("{{\"encrypt\":\"{encrypted}\"}}")
    }

    /// The event as it is signed; the signature was computed with Python's `hashlib`.
    fn headers() -> Vec<(String, String)> {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            header(TIMESTAMP_HEADER, "1700000000"),
            header(NONCE_HEADER, "n0nce"),
            header(SIGNATURE_HEADER, "d482adfdc375181b3d561267dfd9cc0f7101714764583f030d2459b7682e73ad"),
        ]
    }

    fn checked(
        key: &[u8],
        headers: &[(String, String)],
        body: &str,
        now_ms: u64,
    ) -> Result<Passed, AuthFailure> {
        let request = WebhookRequest {
            method: "POST",
            query: "",
            public_url: "https://bot.example/webhook/x",
            headers,
            body: body.as_bytes(),
            now_ms,
        };
        check(&scheme(), key, &request)
    }

    const NOW_MS: u64 = 1_700_000_000_000;

    #[test]
    fn the_documented_example_decrypts() {
        assert_eq!(decrypted(KEY, body(EXAMPLE).as_bytes()), Ok(b"hello world".to_vec()));
    }

    #[test]
    fn a_signed_event_is_decrypted_and_recognised_when_it_is_sent_again() {
        let passed = checked(KEY, &headers(), &body(EVENT), NOW_MS).unwrap();
        assert_eq!(passed.body.as_deref(), Some(&br#"{"header":{"event_id":"e"}}"#[..]));
        assert!(passed.replay_key.is_some());
    }

    #[test]
    fn without_a_signature_only_the_challenge_passes() {
        let passed = checked(KEY, &[], &body(CHALLENGE), NOW_MS).unwrap();
        assert_eq!(passed.body.as_deref(), Some(&br#"{"type":"url_verification","challenge":"c"}"#[..]));
        assert_eq!(
            checked(KEY, &[], &body(EVENT), NOW_MS),
            Err(AuthFailure::HeaderMissing(SIGNATURE_HEADER.to_owned()))
        );
    }

    #[test]
    fn signatures_of_feishu() {
        let changed = |name: &str, value: &str| {
            let mut headers = headers();
            headers.iter_mut().filter(|(key, _)| key == name).for_each(|(_, old)| *old = value.to_owned());
            headers
        };
        let without = |name: &str| headers().into_iter().filter(|(key, _)| key != name).collect::<Vec<_>>();
        let twice = || [headers(), headers()].concat();
        let event = body(EVENT);
        let longer = format!("{event} ");
        let other_key = headers();
        for (case, key, headers, body, now_ms, expected) in [
            ("another key", &b"other key"[..], other_key, &event, NOW_MS, "SignatureMismatch"),
            ("another body", KEY, headers(), &longer, NOW_MS, "SignatureMismatch"),
            ("another nonce", KEY, changed(NONCE_HEADER, "n1nce"), &event, NOW_MS, "SignatureMismatch"),
            (
                "a second later",
                KEY,
                changed(TIMESTAMP_HEADER, "1700000001"),
                &event,
                NOW_MS,
                "SignatureMismatch",
            ),
            ("no hexadecimal", KEY, changed(SIGNATURE_HEADER, "zz"), &event, NOW_MS, "SignatureMalformed"),
            ("empty", KEY, changed(SIGNATURE_HEADER, ""), &event, NOW_MS, "SignatureMismatch"),
            ("no time", KEY, without(TIMESTAMP_HEADER), &event, NOW_MS, "HeaderMissing"),
            ("no nonce", KEY, without(NONCE_HEADER), &event, NOW_MS, "HeaderMissing"),
            ("each header twice", KEY, twice(), &event, NOW_MS, "HeaderRepeated"),
            ("old", KEY, headers(), &event, NOW_MS + 300_001, "TimestampOutsideTolerance"),
        ] {
            let refused = format!("{:?}", checked(key, &headers, body, now_ms).expect_err(case));
            assert!(refused.starts_with(expected), "{case}: {refused}");
        }
        assert!(checked(KEY, &headers(), &event, NOW_MS + 300_000).is_ok());
    }

    #[test]
    fn bodies_that_cannot_be_decrypted_are_refused() {
        for text in [
            "",
            "{}",
            "hello",
            &body(""),
            &body("AAAA"),
            &body(&EXAMPLE[..40]),
            &body(&EXAMPLE[..24]),
            &body("P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghj="),
            &format!("{}{{}}", body(EXAMPLE)),
            &format!("{{\"encrypt\":\"{EXAMPLE}\",\"type\":\"url_verification\"}}"),
        ] {
            assert_eq!(decrypted(KEY, text.as_bytes()), Err(AuthFailure::NotEncrypted), "{text}");
        }
        assert!(decrypted(b"another key", body(EXAMPLE).as_bytes()).is_err());
    }
}
