//! HMACs: one signature in one header over a template.

use ring::hmac;
use subtle::ConstantTimeEq;

use super::encoding;
use super::replay::{self, ReplayKey};
use super::request::WebhookRequest;
use super::scheme::Keyed;
use super::verify::AuthFailure;
use crate::capability::webhook::HmacAlgorithm;

/// Checks the signature of a request.
pub(super) fn check(
    scheme: &Keyed,
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
        Some(id) => replay::by_id(id, parts.timestamp, request.now_ms, window),
        None => replay::by_signature(mac.as_bytes(), parts.timestamp, request.now_ms, window),
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
