//! Ed25519 signatures, verified strictly.
//!
//! `ring` checks that the second half of a signature (S) is smaller than the group's order, so a signature cannot be
//! re-spelt, and compares the first half (R) byte for byte with the canonical encoding of what it computed, so R is
//! canonical. It decodes a public key leniently: a non-canonical or small-order key is accepted, and with a small-order
//! key one signature is good for many messages. Those keys are refused here, as is an R of small order, which together
//! is what RFC 8032 and its strict readings ask for.

use ring::signature::{ED25519, UnparsedPublicKey};

use super::encoding;
use super::freshness::{ReplayKey, replay_by_id, replay_by_signature};
use super::plan::{CheckError, Ed25519};
use super::request::WebhookRequest;
use super::verify::{AuthFailure, SecretProblem};
use crate::capability::webhook::SignatureEncoding;

/// What a key looks like, for the message when a stored one does not.
const KEY_FORM: &str = "an Ed25519 public key: 64 hexadecimal digits, not of small order";

/// Checks the signature of a request.
pub(super) fn check(
    scheme: &Ed25519,
    secret: &[u8],
    request: &WebhookRequest<'_>,
) -> Result<Option<ReplayKey>, CheckError> {
    let key = PublicKey::from_hex(secret)?;
    let parts = scheme.signed.parts(request, scheme.tolerance_secs)?;
    let sent = request.only(&scheme.header)?;
    let signature = encoding::decode(SignatureEncoding::Hex, sent).ok_or(AuthFailure::SignatureMalformed)?;
    // The message is put together because the algorithm goes over it twice when signing and `ring` takes it whole.
    let mut message = Vec::with_capacity(request.body.len() + 64);
    scheme.signed.feed(&parts, request, |piece| message.extend_from_slice(piece));
    if !key.verifies(&message, &signature) {
        return Err(AuthFailure::SignatureMismatch.into());
    }
    let window = scheme.tolerance_secs;
    Ok(match parts.id {
        Some(id) => replay_by_id(id, parts.timestamp, request.now_ms, window),
        None => replay_by_signature(&signature, parts.timestamp, request.now_ms, window),
    })
}

/// A public key that is canonical and not of small order.
#[derive(Debug)]
pub(super) struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads the key as Discord shows it: 64 hexadecimal digits.
    pub fn from_hex(text: &[u8]) -> Result<Self, SecretProblem> {
        let bytes =
            encoding::hex_of_either_case(text.trim_ascii()).ok_or(SecretProblem::Malformed(KEY_FORM))?;
        let key = <[u8; 32]>::try_from(bytes).map_err(|_| SecretProblem::Malformed(KEY_FORM))?;
        if !is_canonical(&key) || is_small_order(&key) {
            return Err(SecretProblem::Malformed(KEY_FORM));
        }
        Ok(Self(key))
    }

    /// Whether this key signed the message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Some(r) = signature.first_chunk::<32>() else { return false };
        !is_small_order(r) && UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

/// The y coordinates (little endian, sign bit clear) of the eight points whose order divides 8: order 4, 1, 2, and the
/// two of order 8. Each stands for the two points that differ in the sign of x.
const SMALL_ORDER_Y: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    {
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        minus_one
    },
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

/// Whether a canonical encoding is that of a point of order 1, 2, 4 or 8. Public values: time does not matter.
fn is_small_order(point: &[u8; 32]) -> bool {
    SMALL_ORDER_Y.contains(&without_sign(point))
}

/// Whether y is smaller than the field's prime, 2^255 - 19.
fn is_canonical(point: &[u8; 32]) -> bool {
    let y = without_sign(point);
    y[31] != 0x7f || y[1..31].iter().any(|byte| *byte != 0xff) || y[0] < 0xed
}

fn without_sign(point: &[u8; 32]) -> [u8; 32] {
    let mut y = *point;
    y[31] &= 0x7f;
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        encoding::hex_of_either_case(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_vectors_of_rfc_8032_verify() {
        // Section 7.1, tests 1 to 3: public key, message, signature.
        let vectors = [
            (
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
                 d25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c\
                 387b2eaeb4302aeeb00d291612bb0c00",
            ),
            (
                "FC51CD8E6218A1A38DA47ED00230F0580816ED13BA3303AC5DEB911548908025",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659\
                 4a7c15e9716ed28dc027beceea1ec40a",
            ),
        ];
        for (key, message, signature) in vectors {
            let public = PublicKey::from_hex(key.as_bytes()).unwrap();
            assert!(public.verifies(&hex(message), &hex(signature)), "{key}");
            assert!(!public.verifies(b"another", &hex(signature)), "{key}");
        }
    }

    /// What `ring` lets through and what it does not: should that change, the head of this file changes with it.
    #[test]
    fn non_canonical_keys_that_ring_accepts_are_refused() {
        let message = br#"1700000000{"text":"hi"}"#;
        let ring = |key: &str, signature: &str| {
            UnparsedPublicKey::new(&ED25519, hex(key)).verify(message, &hex(signature)).is_ok()
        };
        let identity = "0100000000000000000000000000000000000000000000000000000000000000";
        let forged = "edc876d6831fd2105d0b4389ca2e283166469289146e2ce06faefe98b22548df\
                      0500000000000000000000000000000000000000000000000000000000000000";
        assert!(ring(identity, forged), "with a small-order key anybody signs anything");
        assert!(PublicKey::from_hex(identity.as_bytes()).is_err());

        let key = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";
        let small_r = "0100000000000000000000000000000000000000000000000000000000000000\
                       b91f32c53ee9eb8e39a12c871598ad1679d052c50ad6bee7deb9e361da6c3503";
        assert!(ring(key, small_r));
        assert!(!PublicKey::from_hex(key.as_bytes()).unwrap().verifies(message, &hex(small_r)));

        let large_s = "0169dd4c76b42cca14131c0a043c826b41f3f10c9f479bd22ad648793c6d09a7\
                       f86ef8e1abdb8355f19a4f787f28fc8ece9a87e5bbbd44e81e76bbc7a72be411";
        assert!(!ring(key, large_s), "S is checked by ring");
    }

    #[test]
    fn keys_that_are_not_canonical_or_of_small_order_are_recognised() {
        let with_sign = |mut y: [u8; 32]| {
            y[31] |= 0x80;
            y
        };
        for y in SMALL_ORDER_Y {
            assert!(is_small_order(&y) && is_small_order(&with_sign(y)));
        }
        // The prime less one, the prime itself, and the largest y that can be written.
        let mut y = [0xff; 32];
        y[31] = 0x7f;
        for (lowest, canonical) in [(0xec, true), (0xed, false), (0xff, false)] {
            y[0] = lowest;
            assert_eq!(is_canonical(&y), canonical);
            assert_eq!(is_canonical(&with_sign(y)), canonical);
        }
        // Smaller than the prime by one bit in one of its other bytes.
        for byte in 1..32 {
            let mut smaller = y;
            smaller[byte] &= 0xfe;
            assert!(is_canonical(&smaller), "byte {byte}");
        }
    }
}
