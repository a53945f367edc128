//! Stripe: `Stripe-Signature: t=1492774577,v1=5257a8…,v1=6ffbb5…,v0=…` over `timestamp.body`
//! (<https://docs.stripe.com/webhooks?verify=verify-manually>).
//!
//! Several `v1` signatures come while a key is being rolled. Other versions are ignored, as Stripe asks, to prevent a
//! downgrade. The key is the whole text of the endpoint's secret, `whsec_` included.

use super::encoding;
use super::keyed::Mac;
use super::replay::{self, ReplayKey};
use super::request::WebhookRequest;
use super::scheme::KeyAndTolerance;
use super::timestamp;
use super::verify::AuthFailure;
use crate::capability::webhook::{HmacAlgorithm, SignatureEncoding};

const HEADER: &str = "stripe-signature";

/// Checks the signature of a request.
pub(super) fn check(
    scheme: &KeyAndTolerance,
    secret: &[u8],
    request: &WebhookRequest<'_>,
) -> Result<Option<ReplayKey>, AuthFailure> {
    let header = SignatureHeader::parse(request.only(HEADER)?)?;
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
