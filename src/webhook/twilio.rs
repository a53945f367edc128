//! Twilio: `X-Twilio-Signature`, base64 of HMAC-SHA1 over the URL and the form
//! (<https://www.twilio.com/docs/usage/security#validating-requests>).
//!
//! A form's fields are appended to the URL, sorted by name, each name followed by its value. A body of another type is
//! covered by its SHA-256, which Twilio puts into the signed URL as `bodySHA256`. Any other body is not signed, and
//! the request is refused.
//!
//! The format has no separators between names and values; that is Twilio's, and why its signature proves a set of
//! characters rather than of fields. It signs no time either, so only the memory of replays stops a captured request.

use std::borrow::Cow;

use subtle::ConstantTimeEq;

use super::encoding;
use super::freshness::{ReplayKey, replay_by_signature};
use super::hmac::{Mac, Tag};
use super::plan::KeyAndTolerance;
use super::request::{WebhookRequest, essence};
use super::verify::{AuthFailure, digest};
use crate::capability::webhook::{HmacAlgorithm, SignatureEncoding};

const HEADER: &str = "x-twilio-signature";
const BODY_HASH_PARAM: &str = "bodySHA256";

/// Name and value of a form's field, decoded.
type Field<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Checks the signature of a request.
pub(super) fn check(
    scheme: &KeyAndTolerance,
    secret: &[u8],
    request: &WebhookRequest<'_>,
) -> Result<Option<ReplayKey>, AuthFailure> {
    let sent = request.only(HEADER)?;
    let sent = encoding::decode(SignatureEncoding::Base64, sent).ok_or(AuthFailure::SignatureMalformed)?;
    let fields = signed_fields(request)?;
    // Twilio signs some URLs with their port and some without, whatever was configured.
    let tag = [Cow::Borrowed(request.public_url), with_or_without_port(request.public_url)]
        .iter()
        .map(|url| sign(secret, url, &fields))
        .find(|tag| tag.equals(&sent))
        .ok_or(AuthFailure::SignatureMismatch)?;
    Ok(replay_by_signature(tag.as_bytes(), None, request.now_ms, scheme.tolerance_secs))
}

fn sign(secret: &[u8], url: &str, fields: &[Field<'_>]) -> Tag {
    let mut mac = Mac::new(HmacAlgorithm::Sha1, secret);
    mac.update(url.as_bytes());
    for (name, value) in fields {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    mac.finish()
}

/// The form fields that are part of the signed string: none where the body is empty or covered by its hash.
fn signed_fields<'a>(request: &WebhookRequest<'a>) -> Result<Vec<Field<'a>>, AuthFailure> {
    if let Some(hash) = body_hash(request.query)? {
        let matches = bool::from(digest(request.body).as_slice().ct_eq(&hash));
        return if matches { Ok(Vec::new()) } else { Err(AuthFailure::SignatureMismatch) };
    }
    if request.body.is_empty() {
        return Ok(Vec::new());
    }
    let content_type = request.at_most_one("content-type")?.unwrap_or_default();
    if !essence(content_type).eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(AuthFailure::BodyNotSigned);
    }
    let mut fields: Vec<_> = url::form_urlencoded::parse(request.body).collect();
    fields.sort_unstable();
    // Names may repeat; equal pairs count once, as in Twilio's own libraries.
    fields.dedup();
    Ok(fields)
}

/// The hash that the signed URL promises for the body.
fn body_hash(query: &str) -> Result<Option<Vec<u8>>, AuthFailure> {
    let mut hashes =
        query.split('&').filter_map(|pair| pair.strip_prefix(BODY_HASH_PARAM)?.strip_prefix('='));
    let Some(hash) = hashes.next() else { return Ok(None) };
    if hashes.next().is_some() {
        return Err(AuthFailure::SignatureMalformed);
    }
    encoding::decode(SignatureEncoding::Hex, hash).map(Some).ok_or(AuthFailure::SignatureMalformed)
}

/// The same URL with the default port of its scheme written out, or with its port left out.
fn with_or_without_port(url: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = url.split_once("://") else { return Cow::Borrowed(url) };
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // The colons inside a bracketed IPv6 address are no port.
    let host_end = authority.rfind(']').unwrap_or(0);
    Cow::Owned(match authority[host_end..].rfind(':') {
        Some(colon) => format!("{scheme}://{}{tail}", &authority[..host_end + colon]),
        None => {
            let port = if scheme.eq_ignore_ascii_case("http") { 80 } else { 443 };
            format!("{scheme}://{authority}:{port}{tail}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_spelling_of_a_url_has_or_has_not_its_port() {
        let cases = [
            ("https://a.example/x?y=1:2", "https://a.example:443/x?y=1:2"),
            ("http://a.example", "http://a.example:80"),
            ("https://a.example?x", "https://a.example:443?x"),
            ("https://a.example:8443/x", "https://a.example/x"),
            ("https://[2001:db8::1]/x", "https://[2001:db8::1]:443/x"),
            ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]/x"),
            ("https://[::]/x", "https://[::]:443/x"),
            ("https://[::]:8443/x", "https://[::]/x"),
            ("no url", "no url"),
        ];
        for (url, other) in cases {
            assert_eq!(with_or_without_port(url), other);
        }
    }
}
