//! Reads the head of a request, and refuses what two readers could understand differently.
//!
//! Two pure steps. [`HeadScanner`] finds the end of the head while bytes come in, looking at each byte once, and refuses
//! at once what no later byte can make valid. [`read_head`] then parses the whole. The rules are those of RFC 9112, read
//! strictly: where it lets a server repair a request, this one refuses it, because whatever stands in front of us may
//! have repaired it differently (request smuggling).

use std::borrow::Cow;
use std::mem::MaybeUninit;

use super::ServerLimits;
use super::reply::Rejection;
use crate::net::header_field::is_token_byte;

/// Finds the end of a head in bytes that come piece by piece.
#[derive(Debug, Default)]
pub(crate) struct HeadScanner {
    length: usize,
    lines: usize,
    line_length: usize,
    after_carriage_return: bool,
    empty_lines: usize,
}

/// Empty lines that may stand before the request line.
const MAX_EMPTY_LINES: usize = 4;

impl HeadScanner {
    /// Looks at the next bytes. `Some(n)`: the head ends after the first `n` of them.
    pub(crate) fn scan(&mut self, bytes: &[u8], limits: &ServerLimits) -> Result<Option<usize>, Rejection> {
        for (index, byte) in bytes.iter().enumerate() {
            self.length += 1;
            if self.length > limits.max_header_bytes {
                return Err(Rejection::HeadTooLarge);
            }
            match byte {
                b'\n' if !self.after_carriage_return => return Err(Rejection::LineEnd),
                b'\n' => {
                    self.after_carriage_return = false;
                    if self.end_of_line(limits)? {
                        return Ok(Some(index + 1));
                    }
                }
                _ if self.after_carriage_return => return Err(Rejection::LineEnd),
                b'\r' => self.after_carriage_return = true,
                0 => return Err(Rejection::Header),
                _ => self.line_length += 1,
            }
        }
        Ok(None)
    }

    /// Whether this line end is the end of the head.
    fn end_of_line(&mut self, limits: &ServerLimits) -> Result<bool, Rejection> {
        let empty = self.line_length == 0;
        self.line_length = 0;
        if empty && self.lines > 0 {
            return Ok(true);
        }
        if empty {
            // Empty lines before the request line are ignored (RFC 9112 section 2.2): old clients end a body with one.
            self.empty_lines += 1;
            return if self.empty_lines > MAX_EMPTY_LINES { Err(Rejection::RequestLine) } else { Ok(false) };
        }
        self.lines += 1;
        if self.lines > limits.max_headers + 1 {
            return Err(Rejection::TooManyFields);
        }
        Ok(false)
    }
}

/// A head that can be understood in one way only.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a str,
    /// Path and query as sent; it starts with `/` and is visible ASCII.
    pub(crate) target: Cow<'a, str>,
    /// `OPTIONS *`: the request is about the server as a whole. The target is `/` then.
    pub(crate) is_about_server: bool,
    /// Every field in its order, names as sent, values without surrounding white space.
    pub(crate) fields: Vec<(&'a str, &'a [u8])>,
    pub(crate) framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
    /// The client sends no further request on this connection.
    pub(crate) wants_close: bool,
}

/// How the end of the body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
}

impl Head<'_> {
    /// The path without the query.
    pub(crate) fn path(&self) -> &str {
        self.target.split_once('?').map_or(&*self.target, |(path, _)| path)
    }
}

/// Parses a whole head, up to and including its empty line.
pub(crate) fn read_head<'a>(bytes: &'a [u8], limits: &ServerLimits) -> Result<Head<'a>, Rejection> {
    let mut storage = [const { MaybeUninit::<httparse::Header<'a>>::uninit() }; ServerLimits::MAX_HEADERS];
    let room = limits.max_headers.min(ServerLimits::MAX_HEADERS);
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut storage[..room]) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(Rejection::RequestLine),
        Err(error) => return Err(refusal_for(error, bytes)),
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Rejection::RequestLine);
    };
    let is_about_server = method == "OPTIONS" && target == "*";
    let target = if is_about_server { RequestTarget::origin("/") } else { read_target(target)? };
    let mut fields: Vec<_> = request.headers.iter().map(|field| (field.name, field.value)).collect();
    check_values(&fields)?;
    let version_1_0 = version == 0;
    check_host(&fields, version_1_0)?;
    take_host_of_target(&mut fields, target.authority);
    Ok(Head {
        method,
        target: target.path_and_query,
        is_about_server,
        framing: framing(&fields, version_1_0)?,
        expects_continue: expects_continue(&fields, version_1_0)?,
        wants_close: version_1_0 || has_token(&fields, "connection", "close"),
        fields,
    })
}

fn refusal_for(error: httparse::Error, bytes: &[u8]) -> Rejection {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Rejection::Header,
        httparse::Error::TooManyHeaders => Rejection::TooManyFields,
        httparse::Error::Version if names_another_version(bytes) => Rejection::Version,
        _ => Rejection::RequestLine,
    }
}

/// Whether the request line is well formed but for a version that is not ours.
fn names_another_version(bytes: &[u8]) -> bool {
    let line = bytes.trim_ascii_start().split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (version, rest) = (words.nth(2).unwrap_or_default(), words.next());
    matches!((version, rest), ([b'H', b'T', b'T', b'P', b'/', major, b'.', minor], None)
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// A later minor version of HTTP/1 is read as HTTP/1.1, the highest that is known here (RFC 9110 section 2.5): it may not
/// change what a message means.
pub(crate) fn downgrade_version(head: &mut [u8]) {
    let start = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or_default();
    let Some(length) = head[start..].iter().position(|byte| *byte == b'\r') else { return };
    if let [.., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] = &mut head[start..start + length]
        && minor.is_ascii_digit()
        && *minor > b'1'
    {
        *minor = b'1';
    }
}

/// A request's target, taken apart.
struct RequestTarget<'a> {
    path_and_query: Cow<'a, str>,
    /// Host and port of the absolute form.
    authority: Option<&'a str>,
}

impl<'a> RequestTarget<'a> {
    fn origin(path_and_query: &'a str) -> Self {
        RequestTarget { path_and_query: Cow::Borrowed(path_and_query), authority: None }
    }
}

/// `/path?query`, or the absolute form `http://host/path?query`, which every server must accept (RFC 9112 section 3.2.2).
/// `host:port` names no resource, and a fragment is never sent.
fn read_target(target: &str) -> Result<RequestTarget<'_>, Rejection> {
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(Rejection::Target);
    }
    if target.starts_with('/') {
        return Ok(RequestTarget::origin(target));
    }
    let (scheme, rest) = target.split_once("://").ok_or(Rejection::Target)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(Rejection::Target);
    }
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.is_empty() || !authority.bytes().all(is_host_byte) {
        return Err(Rejection::Target);
    }
    let path_and_query =
        if tail.starts_with('/') { Cow::Borrowed(tail) } else { Cow::Owned(format!("/{tail}")) };
    Ok(RequestTarget { path_and_query, authority: Some(authority) })
}

/// With the absolute form the target names the host, and a `Host` that says something else is replaced by it (RFC 9112 section
/// 3.2.2), so that every reader takes the same one.
fn take_host_of_target<'a>(fields: &mut Vec<(&'a str, &'a [u8])>, authority: Option<&'a str>) {
    let Some(authority) = authority else { return };
    fields.retain(|(name, _)| !name.eq_ignore_ascii_case("host"));
    fields.push(("host", authority.as_bytes()));
}

/// No control characters but the tab. Bytes above 0x7f are opaque data (RFC 9110 section 5.5), and proxies do send them.
fn check_values(fields: &[(&str, &[u8])]) -> Result<(), Rejection> {
    let fine = |byte: &u8| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f);
    if fields.iter().all(|(_, value)| value.iter().all(fine)) { Ok(()) } else { Err(Rejection::Header) }
}

/// HTTP/1.1 needs exactly one `Host`; nobody may send two (RFC 9112 section 3.2).
fn check_host(fields: &[(&str, &[u8])], version_1_0: bool) -> Result<(), Rejection> {
    let mut hosts = values(fields, "host");
    match (hosts.next(), hosts.next()) {
        (None, _) if version_1_0 => Ok(()),
        (Some(host), None) if host.iter().all(|byte| is_host_byte(*byte)) => Ok(()),
        _ => Err(Rejection::Host),
    }
}

/// What `uri-host [":" port]` may consist of (RFC 3986 section 3.2.2).
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

/// Two statements about the length, or one that is not plain, are refused even when they agree.
fn framing(fields: &[(&str, &[u8])], version_1_0: bool) -> Result<Framing, Rejection> {
    let mut encodings = values(fields, "transfer-encoding");
    let mut lengths = values(fields, "content-length");
    match (encodings.next(), lengths.next()) {
        (None, None) => Ok(Framing::Length(0)),
        (Some(_), Some(_)) => Err(Rejection::AmbiguousLength),
        (None, Some(_)) if lengths.next().is_some() => Err(Rejection::AmbiguousLength),
        (None, Some(length)) => read_length(length).map(Framing::Length),
        (Some(_), None) if version_1_0 || encodings.next().is_some() => Err(Rejection::TransferEncoding),
        (Some(encoding), None) => transfer_coding(encoding),
    }
}

/// `chunked` alone is understood. Another coding is 501 (RFC 9112 section 6.1); what is no list of codings is 400.
fn transfer_coding(value: &[u8]) -> Result<Framing, Rejection> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(Framing::Chunked);
    }
    let codings = || value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let is_token = |coding: &[u8]| !coding.is_empty() && coding.iter().all(|byte| is_token_byte(*byte));
    let is_list = codings().all(is_token);
    let names_another = codings().any(|coding| !coding.eq_ignore_ascii_case(b"chunked"));
    Err(if is_list && names_another { Rejection::UnknownTransferCoding } else { Rejection::TransferEncoding })
}

fn read_length(value: &[u8]) -> Result<u64, Rejection> {
    // 18 digits always fit; nobody means more.
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Rejection::Length);
    }
    Ok(value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

fn expects_continue(fields: &[(&str, &[u8])], version_1_0: bool) -> Result<bool, Rejection> {
    let mut expectations = values(fields, "expect");
    match (expectations.next(), expectations.next()) {
        (None, _) => Ok(false),
        // A client of HTTP/1.0 would take the interim response for the final one (RFC 9110 section 10.1.1).
        (Some(_), None) if version_1_0 => Ok(false),
        (Some(value), None) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
        _ => Err(Rejection::Expectation),
    }
}

fn values<'f, 'a>(fields: &'f [(&'a str, &'a [u8])], name: &'f str) -> impl Iterator<Item = &'a [u8]> + 'f {
    fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

/// Whether a field that lists tokens, separated by commas, has this one.
fn has_token(fields: &[(&str, &[u8])], name: &str, token: &str) -> bool {
    values(fields, name)
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(bytes: &[u8], piece: usize, limits: &ServerLimits) -> Result<Option<usize>, Rejection> {
        let mut scanner = HeadScanner::default();
        for (index, part) in bytes.chunks(piece).enumerate() {
            if let Some(end) = scanner.scan(part, limits)? {
                return Ok(Some(index * piece + end));
            }
        }
        Ok(None)
    }

    #[test]
    fn the_end_of_a_head_is_found_however_it_is_cut() {
        let head = b"\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
        let bytes = [head.as_slice(), b"a\n\0"].concat();
        for piece in 1..bytes.len() {
            assert_eq!(
                scan(&bytes, piece, &ServerLimits::default()),
                Ok(Some(head.len())),
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn a_head_may_have_its_limits_and_no_more() {
        let limits = ServerLimits { max_header_bytes: 300, max_headers: 3, ..ServerLimits::default() };
        let with_length = |length: usize| {
            let start = "GET / HTTP/1.1\r\nHost: ";
            format!("{start}{}\r\n\r\n", "a".repeat(length - start.len() - 4)).into_bytes()
        };
        assert_eq!(scan(&with_length(300), 7, &limits), Ok(Some(300)));
        assert_eq!(scan(&with_length(301), 7, &limits), Err(Rejection::HeadTooLarge));
        let with_fields =
            |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count)).into_bytes();
        assert!(scan(&with_fields(3), 7, &limits).is_ok());
        assert_eq!(scan(&with_fields(4), 7, &limits), Err(Rejection::TooManyFields));
        assert_eq!(read_head(&with_fields(4), &limits).err(), Some(Rejection::TooManyFields));
    }

    #[test]
    fn a_head_is_understood() {
        let bytes = b"POST /a?b=c HTTP/1.1\r\nHost: example.org\r\nConnection: TE, Close\r\nX:  y \r\nContent-Length: 5\r\n\r\n";
        let head = read_head(bytes, &ServerLimits::default()).unwrap();
        assert_eq!((head.method, &*head.target, head.path()), ("POST", "/a?b=c", "/a"));
        assert_eq!(head.framing, Framing::Length(5));
        assert!(head.wants_close && !head.expects_continue);
        assert_eq!(head.fields[2], ("X", &b"y"[..]));
    }

    #[test]
    fn targets_are_read_alike_or_refused() {
        type Row = (&'static str, &'static str, Result<(&'static str, &'static str), Rejection>);
        let rows: [Row; 14] = [
            ("http://a/p?q", "Host: a", Ok(("/p?q", "a"))),
            ("HTTPS://A:8080/p", "Host: a:8080", Ok(("/p", "A:8080"))),
            ("http://a", "Host: a", Ok(("/", "a"))),
            ("http://a?q=/x", "Host: a", Ok(("/?q=/x", "a"))),
            ("http://[::1]:80/", "Host: [::1]:80", Ok(("/", "[::1]:80"))),
            ("/p?u=http://b/", "Host: a", Ok(("/p?u=http://b/", "a"))),
            ("http://a/", "Host: b", Ok(("/", "a"))),
            ("http://a:80/", "Host: a", Ok(("/", "a:80"))),
            ("http://u@a/", "Host: a", Err(Rejection::Target)),
            ("http:///p", "Host: a", Err(Rejection::Target)),
            ("ftp://a/", "Host: a", Err(Rejection::Target)),
            ("http:/a", "Host: a", Err(Rejection::Target)),
            ("http://a/#f", "Host: a", Err(Rejection::Target)),
            ("*", "Host: a", Err(Rejection::Target)),
        ];
        for (target, host, expected) in rows {
            let bytes = format!("GET {target} HTTP/1.1\r\n{host}\r\n\r\n");
            let head = read_head(bytes.as_bytes(), &ServerLimits::default());
            let found = head.as_ref().map(|head| {
                let host = values(&head.fields, "host").next().unwrap();
                (&*head.target, std::str::from_utf8(host).unwrap())
            });
            assert_eq!(found.map_err(|refusal| *refusal), expected, "{target}");
        }
        let old = read_head(b"GET http://a/ HTTP/1.0\r\n\r\n", &ServerLimits::default()).unwrap();
        assert_eq!(old.fields, [("host", &b"a"[..])]);
    }

    #[test]
    fn later_minor_versions_are_read_as_the_latest_known() {
        for (line, expected) in [
            ("GET / HTTP/1.2", "GET / HTTP/1.1"),
            ("\r\nGET / HTTP/1.9", "\r\nGET / HTTP/1.1"),
            ("GET / HTTP/1.0", "GET / HTTP/1.0"),
            ("GET / HTTP/2.2", "GET / HTTP/2.2"),
            ("GET / HTTP/1.22", "GET / HTTP/1.22"),
            ("GET /HTTP/1.2", "GET /HTTP/1.2"),
        ] {
            let mut bytes = format!("{line}\r\nX: HTTP/1.2\r\n\r\n").into_bytes();
            downgrade_version(&mut bytes);
            assert_eq!(bytes, format!("{expected}\r\nX: HTTP/1.2\r\n\r\n").into_bytes(), "{line}");
        }
        for bytes in [&b""[..], b"\r", b"\r\n\r\n", b"HTTP/1.2"] {
            downgrade_version(&mut bytes.to_vec());
        }
    }

    proptest! {
        /// Whatever comes: no panic, and what is accepted holds nothing that could be read as another line or request.
        #[test]
        fn any_bytes_are_refused_or_understood(bytes in proptest::collection::vec(any::<u8>(), 0..300), piece in 1_usize..50) {
            check(&bytes, piece)?;
        }

        /// The same for bytes that look more like a head.
        #[test]
        fn near_heads_are_refused_or_understood(
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "GET ", "POST ", "/", " ", "HTTP/1.1", "HTTP/1.0", "\r\n", "\r\n\r\n", "\r", "\n", "Host: a", "Host", ":", "a",
                    "Content-Length: 1", "Transfer-Encoding: chunked", "Connection: close", "Expect: 100-continue", "\t", "\0",
                    "?x=1", "#", "http://a", "HTTP/1.3", "*", "OPTIONS ", "\u{e4}", "GET / HTTP/1.1\r\nHost: a\r\n",
                ]),
                0..20,
            ),
            piece in 1_usize..50,
        ) {
            check(parts.concat().as_bytes(), piece)?;
        }
    }

    fn check(bytes: &[u8], piece: usize) -> Result<(), TestCaseError> {
        let limits = ServerLimits::default();
        let scanned = scan(bytes, piece, &limits);
        prop_assert_eq!(scanned, scan(bytes, bytes.len().max(1), &limits), "pieces make no difference");
        // The parser stands on its own, too.
        let _ = read_head(bytes, &limits);
        if let Ok(Some(end)) = scanned
            && let Ok(head) = read_head(&bytes[..end], &limits)
        {
            prop_assert!(
                head.target.starts_with('/') && head.target.bytes().all(|byte| byte.is_ascii_graphic())
            );
            prop_assert!(head.fields.iter().all(|(name, value)| !name.is_empty() && !value.contains(&b'\n')));
            let text = super::super::wire::write_head(&head);
            prop_assert!(text.is_ascii() && text.lines().count() <= head.fields.len() + 1);
        }
        Ok(())
    }
}
