//! What one host forwards to another is signed with the secret that all of them have: pure.
//!
//! The signature covers everything that the owner decides by: when it was sent, for which client, method, target, headers and body. A request with a good
//! signature is never forwarded again, so there are no loops. One without is what any client may send.

use std::net::IpAddr;

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use ring::hmac;

/// The header with the time, the client and the signature. Names that begin with `x-tinclaw-` are taken out of every request by the server,
/// which uses such names itself.
pub(crate) const HEADER: &str = "tinclaw-forwarded";
/// How far the clocks of two hosts may be apart, with the time on the way.
const MAX_AGE_MS: u64 = 5 * 60 * 1000;

/// A request that is or was forwarded.
#[derive(Clone, Copy)]
pub(crate) struct Forwarded<'a> {
    /// Method, as it was sent.
    pub(crate) method: &'a str,
    /// Path and query, as they were sent.
    pub(crate) target: &'a str,
    /// The header fields in their order, without those of this module.
    pub(crate) headers: &'a [(String, String)],
    /// The body.
    pub(crate) body: &'a [u8],
}

/// What a header says that this host cannot believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadSignature {
    /// It is not written as it should be.
    Malformed,
    /// It was sent too long ago, or in the future.
    Stale,
    /// It is not of the secret, or not of this request.
    Wrong,
}

impl BadSignature {
    /// What the log says after "it claims to come from another host, and".
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "what it says of that cannot be read",
            Self::Stale => {
                "its time is more than five minutes off: it is an old one, or the clocks of the hosts differ"
            }
            Self::Wrong => {
                "its signature is not of this secret and request; it is forged, or the hosts have different secrets"
            }
        }
    }
}

/// The value of the header for a request of this client.
pub(crate) fn sign(secret: &[u8], request: &Forwarded<'_>, client: IpAddr, now_ms: u64) -> String {
    let tag = hmac::sign(&key(secret), &signed(request, client, now_ms));
    format!("{now_ms} {client} {}", HEXLOWER.encode(tag.as_ref()))
}

/// The client of a forwarded request.
///
/// # Errors
/// The header is not a good signature of this request.
pub(crate) fn verify(
    secret: &[u8],
    request: &Forwarded<'_>,
    header: &str,
    now_ms: u64,
) -> Result<IpAddr, BadSignature> {
    let mut parts = header.split(' ');
    let (Some(sent), Some(client), Some(tag), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(BadSignature::Malformed);
    };
    let (Ok(sent_ms), Ok(client), Ok(tag)) =
        (sent.parse::<u64>(), client.parse::<IpAddr>(), HEXLOWER.decode(tag.as_bytes()))
    else {
        return Err(BadSignature::Malformed);
    };
    if now_ms.abs_diff(sent_ms) > MAX_AGE_MS {
        return Err(BadSignature::Stale);
    }
    let verified = hmac::verify(&key(secret), &signed(request, client, sent_ms), &tag);
    verified.map(|()| client).map_err(|_| BadSignature::Wrong)
}

fn key(secret: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret)
}

/// Everything that is signed, each part with its length, so that no two requests come to the same bytes.
fn signed(request: &Forwarded<'_>, client: IpAddr, sent_ms: u64) -> Vec<u8> {
    let (sent, client) = (sent_ms.to_string(), client.to_string());
    let body = digest(&SHA256, request.body);
    let mut parts: Vec<&[u8]> =
        vec![sent.as_bytes(), client.as_bytes(), request.method.as_bytes(), request.target.as_bytes()];
    parts.push(body.as_ref());
    // Fields of different names may change places on the way.
    let mut fields: Vec<&(String, String)> = request.headers.iter().collect();
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    for (name, value) in fields {
        parts.extend([name.as_bytes(), value.as_bytes()]);
    }
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn a_request_is_believed_as_it_was_signed_and_not_otherwise() {
        let headers = vec![("a".to_owned(), "b".to_owned())];
        let request = Forwarded { method: "POST", target: "/hook?x=1", headers: &headers, body: b"{}" };
        let client: IpAddr = "192.0.2.7".parse().unwrap();
        let header = sign(b"secret", &request, client, NOW);
        assert_eq!(verify(b"secret", &request, &header, NOW + MAX_AGE_MS), Ok(client));
        assert_eq!(verify(b"secret", &request, &header, NOW - MAX_AGE_MS), Ok(client));
        assert_eq!(verify(b"secret", &request, &header, NOW + MAX_AGE_MS + 1), Err(BadSignature::Stale));
        assert_eq!(verify(b"other", &request, &header, NOW), Err(BadSignature::Wrong));
        let two = |first: &str, second: &str| {
            [first, second].map(|name| (name.to_owned(), "v".to_owned())).to_vec()
        };
        let (there, back) = (two("a", "b"), two("b", "a"));
        let header_of_two = sign(b"secret", &Forwarded { headers: &there, ..request }, client, NOW);
        assert_eq!(
            verify(b"secret", &Forwarded { headers: &back, ..request }, &header_of_two, NOW),
            Ok(client)
        );
        let moved = vec![("ab".to_owned(), String::new())];
        for (case, other) in [
            ("another method", Forwarded { method: "PUT", ..request }),
            ("another target", Forwarded { target: "/hook?x=2", ..request }),
            ("another body", Forwarded { body: b"{} ", ..request }),
            ("the same letters in other places", Forwarded { headers: &moved, ..request }),
            ("no headers", Forwarded { headers: &[], ..request }),
        ] {
            assert_eq!(verify(b"secret", &other, &header, NOW), Err(BadSignature::Wrong), "{case}");
        }
        let other_client = header.replacen("192.0.2.7", "192.0.2.8", 1);
        assert_eq!(verify(b"secret", &request, &other_client, NOW), Err(BadSignature::Wrong));
    }

    #[test]
    fn malformed_signatures_are_distinguished() {
        let request = Forwarded { method: "GET", target: "/", headers: &[], body: b"" };
        for header in ["", "1 2", "x 192.0.2.7 00", "1 nobody 00", "1 192.0.2.7 zz", "1 192.0.2.7 00 more"] {
            assert_eq!(verify(b"s", &request, header, 1), Err(BadSignature::Malformed), "{header:?}");
        }
    }
}
