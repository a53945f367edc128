//! HMACs: one signature in one header over a template, and Stripe's format, which puts the time into the same header.
//!
//! Stripe: `Stripe-Signature: t=1492774577,v1=5257a8…,v1=6ffbb5…,v0=…` over `timestamp.body`
//! (<https://docs.stripe.com/webhooks?verify=verify-manually>). Several `v1` signatures come while a key is being rolled. Other
//! versions are ignored, as Stripe asks, to prevent a downgrade. The key is the whole text of the endpoint's secret, `whsec_`
//! included.

use ring::hmac;
use subtle::ConstantTimeEq;

use super::replay::{self, ReplayKey};
use super::request::WebhookRequest;
use super::scheme::{KeyAndTolerance, Keyed};
use super::verify::AuthFailure;
use super::{encoding, timestamp};
use crate::capability::webhook::{HmacAlgorithm, SignatureEncoding};

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

const STRIPE_HEADER: &str = "stripe-signature";

/// Checks the signature of a request.
pub(super) fn check_stripe(
    scheme: &KeyAndTolerance,
    secret: &[u8],
    request: &WebhookRequest<'_>,
) -> Result<Option<ReplayKey>, AuthFailure> {
    let header = SignatureHeader::parse(request.only(STRIPE_HEADER)?)?;
    let timestamp = timestamp::recent(header.timestamp, request.now_ms, scheme.tolerance_secs)?;
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
    Ok(replay::by_signature(mac.as_bytes(), Some(timestamp), request.now_ms, scheme.tolerance_secs))
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
