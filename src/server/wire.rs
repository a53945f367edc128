//! How a checked request is written for tiny_http, and how it is read back from what tiny_http made of it.
//!
//! The head that goes over the private socket is ours, not the client's: one space where one belongs, names in lower
//! case, nothing that concerns the client's connection, one `content-length`. The last field before it says where the
//! request came from and its number; a client's own fields with such names are dropped.

use std::fmt::Write as _;
use std::net::IpAddr;

use data_encoding::HEXLOWER;
use subtle::ConstantTimeEq as _;

use super::head::Head;

/// Names that begin so are ours on the private socket.
const PRIVATE_PREFIX: &str = "x-tinclaw";

/// Carries the token, the number and the peer.
const ENVELOPE: &str = "x-tinclaw-envelope";

/// Begins the name of a field whose value is in hexadecimal, because tiny_http takes nothing but ASCII.
const HEX_PREFIX: &str = "x-tinclaw-hex-";

/// Fields that concern the connection or the framing; the front has dealt with them.
const DROPPED: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Proves to the thread behind tiny_http that a request comes from this process's front, whoever else may have found a
/// way to the private socket. 128 bits, new for every server, as hexadecimal digits.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    pub(crate) fn random() -> Result<Self, ring::error::Unspecified> {
        random_hex().map(Token)
    }
}

/// 128 random bits as hexadecimal digits.
pub(crate) fn random_hex() -> Result<String, ring::error::Unspecified> {
    let bytes: [u8; 16] = ring::rand::generate(&ring::rand::SystemRandom::new())?.expose();
    Ok(HEXLOWER.encode(&bytes))
}

/// What the envelope of a request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestEnvelope {
    /// Nothing but a proof that a private connection works.
    Probe,
    /// A client's request.
    Request { arrival: u64, peer: IpAddr },
}

/// Writes everything of the head that does not depend on when it is handed over.
pub(crate) fn write_head(head: &Head<'_>) -> String {
    let mut text = String::with_capacity(512);
    text.extend([head.method, " ", &*head.target, " HTTP/1.1\r\n"]);
    let mut name = String::new();
    for (name_as_sent, value) in &head.fields {
        name.clear();
        name.push_str(name_as_sent);
        name.make_ascii_lowercase();
        if !name.starts_with(PRIVATE_PREFIX) && !DROPPED.contains(&name.as_str()) {
            write_field(&mut text, &name, value);
        }
    }
    text
}

fn write_field(text: &mut String, name: &str, value: &[u8]) {
    match std::str::from_utf8(value) {
        Ok(value) if value.is_ascii() => text.extend([name, ": ", value, "\r\n"]),
        _ => text.extend([HEX_PREFIX, name, ": ", &HEXLOWER.encode(value), "\r\n"]),
    }
}

/// Ends a head with the envelope and the length of the body.
pub(crate) fn finish_head(text: &mut String, token: &Token, envelope: RequestEnvelope, length: usize) {
    text.extend([ENVELOPE, ": ", &token.0]);
    match envelope {
        RequestEnvelope::Probe => text.push_str(" probe"),
        RequestEnvelope::Request { arrival, peer } => {
            write!(text, " {arrival} {peer}").expect("writing to a string cannot fail");
        }
    }
    write!(text, "\r\ncontent-length: {length}\r\n\r\n").expect("writing to a string cannot fail");
}

/// The request that proves a private connection.
pub(crate) fn probe(token: &Token) -> String {
    let mut text = String::from("GET / HTTP/1.1\r\n");
    finish_head(&mut text, token, RequestEnvelope::Probe, 0);
    text
}

/// Reads the envelope back; `None` when the request is not from this process's front.
pub(crate) fn read_envelope(fields: &[tiny_http::Header], token: &Token) -> Option<RequestEnvelope> {
    // It is the last but one, so the search starts at the end.
    let field = fields.iter().rev().find(|field| field.field.as_str().as_str() == ENVELOPE)?;
    let mut words = field.value.as_str().split(' ');
    let proof = words.next()?;
    if proof.len() != token.0.len() || !bool::from(proof.as_bytes().ct_eq(token.0.as_bytes())) {
        return None;
    }
    match (words.next()?, words.next(), words.next()) {
        ("probe", None, None) => Some(RequestEnvelope::Probe),
        (arrival, Some(peer), None) => {
            Some(RequestEnvelope::Request { arrival: arrival.parse().ok()?, peer: peer.parse().ok()? })
        }
        _ => None,
    }
}

/// The client's fields as the handler gets them.
pub(crate) fn read_fields(fields: &[tiny_http::Header]) -> Vec<(String, String)> {
    fields
        .iter()
        .filter_map(|field| read_field(field.field.as_str().as_str(), field.value.as_str()))
        .collect()
}

fn read_field(name: &str, value: &str) -> Option<(String, String)> {
    if let Some(name) = name.strip_prefix(HEX_PREFIX) {
        let bytes = HEXLOWER.decode(value.as_bytes()).ok()?;
        return Some((name.to_owned(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    let ours = name.starts_with(PRIVATE_PREFIX) || name == "content-length";
    (!ours).then(|| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::ServerLimits;
    use super::super::head::read_head;
    use super::*;

    fn parse(text: &str) -> (String, Vec<tiny_http::Header>) {
        let mut lines = text.split("\r\n");
        let request_line = lines.next().unwrap().to_owned();
        (request_line, lines.filter(|line| !line.is_empty()).map(|line| line.parse().unwrap()).collect())
    }

    #[test]
    fn a_head_is_rewritten_without_what_concerns_the_connection_only() {
        let head = b"POST /a/../b?x=%20&y HTTP/1.1\r\nHost: example.org\r\nX-Two:  1\r\nX-TWO: 2 \r\nConnection: close, X-Two\r\n\
            Keep-Alive: 5\r\nProxy-Connection: a\r\nTE: chunked\r\nTrailer: X\r\nUpgrade: h2c\r\nExpect: 100-continue\r\n\
            Content-Length: 3\r\nEmpty:\r\n\r\n";
        let text = write_head(&read_head(head, &ServerLimits::default()).unwrap());
        assert_eq!(
            text,
            "POST /a/../b?x=%20&y HTTP/1.1\r\nhost: example.org\r\nx-two: 1\r\nx-two: 2\r\nempty: \r\n"
        );
    }

    #[test]
    fn an_envelope_is_read_back_only_with_its_token() {
        let (token, other) = (Token::random().unwrap(), Token::random().unwrap());
        let peers = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap());
        for envelope in peers
            .map(|peer| RequestEnvelope::Request { arrival: 7, peer })
            .into_iter()
            .chain([RequestEnvelope::Probe])
        {
            let mut text = "GET / HTTP/1.1\r\n".to_owned();
            finish_head(&mut text, &token, envelope, 12);
            assert!(text.ends_with("content-length: 12\r\n\r\n"));
            let (_, fields) = parse(&text);
            assert_eq!(read_envelope(&fields, &token), Some(envelope));
            assert_eq!(read_envelope(&fields, &other), None);
            assert_eq!(read_envelope(&[], &token), None);
        }
    }

    #[test]
    fn private_fields_of_a_client_do_not_pass() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Tinclaw-Envelope: 0 1 192.0.2.1\r\nx-tinclaw-hex-a: 41\r\nX-Tinclaw: \xff\r\n\r\n";
        let text = write_head(&read_head(head, &ServerLimits::default()).unwrap());
        assert_eq!(text, "GET / HTTP/1.1\r\nhost: a\r\n");
    }

    #[test]
    fn values_that_are_not_ascii_arrive() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nCF-IPCity: S\xc3\xa3o Paulo\r\nOdd: \xff\x80\r\n\r\n";
        let mut text = write_head(&read_head(head, &ServerLimits::default()).unwrap());
        assert!(text.is_ascii());
        finish_head(&mut text, &Token::random().unwrap(), RequestEnvelope::Probe, 0);
        let (_, fields) = parse(&text);
        let expected = [("host", "a"), ("cf-ipcity", "S\u{e3}o Paulo"), ("odd", "\u{fffd}\u{fffd}")];
        assert_eq!(read_fields(&fields), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
