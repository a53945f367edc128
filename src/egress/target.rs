//! The URL that a guest wrote, parsed, normalised and stripped of everything that two parsers could read differently.

use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::error::OutboundError;
use super::operator_host::OperatorHost;
use super::placeholders::{self, Placeholder};

/// The longest URL that a guest may write, in bytes: what common servers take at most.
pub const MAX_URL_BYTES: usize = 8 * 1024;
/// What is said of a longer one, as it was written or when it is normalised.
const TOO_LONG: &str = "it is longer than 8 KiB";
/// The port of https.
pub(super) const HTTPS_PORT: u16 = 443;
/// How often something in a path may be percent-encoded before the host refuses to guess what a server makes of it.
const MAX_DECODE_ROUNDS: usize = 3;
/// The longest host name (RFC 1035, section 3.1, without the root's dot).
const MAX_HOST_BYTES: usize = 253;
/// The longest label of a host name (RFC 1035, section 2.3.1).
const MAX_LABEL_BYTES: usize = 63;

/// An https URL without user, fragment, traversal or ambiguity. Placeholders still stand in it.
#[derive(Clone, Debug)]
pub(super) struct OutboundTarget {
    /// The normalised URL, with a marker for each placeholder.
    url: Url,
    slots: Vec<Placeholder>,
    host: String,
    literal: Option<IpAddr>,
    port: u16,
    path: String,
    /// Whether it is `https`; a plain one leads to a server that the operator named.
    is_encrypted: bool,
}

impl OutboundTarget {
    /// Parses what a guest wrote. A plain `http://` URL is taken when it leads to one of these servers of the operator.
    ///
    /// # Errors
    /// As of [`OutboundTarget::parse`].
    pub(super) fn parse_for(text: &str, operator_hosts: &[OperatorHost]) -> Result<Self, OutboundError> {
        let plain =
            operator_hosts.iter().find_map(|host| Some((host.authority(), host.rest_of_plain(text)?)));
        match plain {
            // Everything else about it is checked as of the encrypted URL.
            Some((authority, rest)) => {
                Ok(Self { is_encrypted: false, ..Self::parse(&format!("https://{authority}{rest}"))? })
            }
            None => Self::parse(text).and_then(|target| target.unless_plain(operator_hosts)),
        }
    }

    /// Refuses an encrypted URL for a server that the operator named with `http`: only what was written is allowed.
    fn unless_plain(self, operator_hosts: &[OperatorHost]) -> Result<Self, OutboundError> {
        let is_it = |host: &OperatorHost| host.is(&self.host, self.port) && !host.is_encrypted();
        if operator_hosts.iter().any(is_it) {
            return Err(OutboundError::Url("its server is named with http:// in the settings"));
        }
        Ok(self)
    }

    /// Parses what a guest wrote.
    ///
    /// # Errors
    /// [`OutboundError::Url`], with a text that quotes nothing of the URL.
    pub(super) fn parse(text: &str) -> Result<Self, OutboundError> {
        let refuse = |reason| Err(OutboundError::Url(reason));
        if let Err(reason) = check_text(text) {
            return refuse(reason);
        }
        let (protected, slots) = placeholders::protect(text);
        let Ok(mut url) = Url::parse(&protected) else { return refuse("it is not a valid URL") };
        url.set_fragment(None);
        let (host, literal) = match host_of(&url, raw_authority(text)) {
            Ok(host) => host,
            Err(reason) => return refuse(reason),
        };
        let port = match url.port_or_known_default() {
            Some(0) | None => return refuse("port 0 does not exist"),
            Some(port) => port,
        };
        let named = |slot: &Placeholder| format!("{{{}}}", slot.name);
        // Percent-encoding makes a URL longer than it was written.
        if placeholders::fill(url.as_str(), &slots, named).len() > MAX_URL_BYTES {
            return refuse(TOO_LONG);
        }
        let path = placeholders::fill(url.path(), &slots, named);
        Ok(Self { url, slots, host, literal, port, path, is_encrypted: true })
    }

    /// The host in lower case and ASCII; an IPv6 address without brackets.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The host when it is an address and not a name.
    pub(super) fn literal(&self) -> Option<IpAddr> {
        self.literal
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The normalised path, with placeholders as `{NAME}`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The placeholders, in the order of the URL, each with whether it stands in the path (or else in the query).
    pub(super) fn placeholders(&self) -> impl Iterator<Item = (&str, bool)> {
        let path = self.url.path();
        self.slots.iter().filter_map(move |slot| {
            let in_path = path.contains(slot.marker.as_str());
            let anywhere =
                in_path || self.url.query().is_some_and(|query| query.contains(slot.marker.as_str()));
            anywhere.then_some((slot.name.as_str(), in_path))
        })
    }

    /// The path with each placeholder exchanged for what `value` says. The values must be encoded for a path already.
    pub(super) fn path_with(&self, mut value: impl FnMut(&str) -> String) -> String {
        placeholders::fill(self.url.path(), &self.slots, |slot| value(&slot.name))
    }

    /// The query (without `?`) with each placeholder exchanged, like [`OutboundTarget::path_with`].
    pub(super) fn query_with(&self, mut value: impl FnMut(&str) -> String) -> Option<String> {
        Some(placeholders::fill(self.url.query()?, &self.slots, |slot| value(&slot.name)))
    }

    /// `https://host` or `https://host:port`, as it stands in a URL; with `http` for a plain one.
    pub(super) fn origin(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        if !self.is_encrypted {
            return format!("http://{host}:{}", self.port);
        }
        if self.port == HTTPS_PORT {
            format!("https://{host}")
        } else {
            format!("https://{host}:{}", self.port)
        }
    }
}

/// Whether exchanging placeholders left the structure of a URL alone.
///
/// `path` is the path after the exchange, `segments` how many segments it had before.
pub(super) fn keeps_structure(origin: &str, path: &str, segments: usize) -> bool {
    if path.contains(['?', '#', '\\']) {
        return false;
    }
    let whole = format!("{origin}{path}");
    let unchanged = Url::parse(&whole).is_ok_and(|url| url.path() == path && url.query().is_none());
    unchanged && path.split('/').count() == segments && check_path(path).is_ok()
}

/// Normalises a path prefix of a capability file exactly as a guest's path is.
///
/// What normalising would shorten is refused: `/api/..` and a prefix of nothing but white space would fit every path, and
/// whether the prefix ends in a slash must be as it is written.
pub(super) fn normalise_path(prefix: &str) -> Result<String, &'static str> {
    if prefix.contains(['?', '#', '\\']) {
        return Err("a path has no '?', '#' or backslash");
    }
    if prefix.trim() != prefix {
        return Err("there is white space around the path");
    }
    let rooted = if prefix.starts_with('/') { prefix.to_owned() } else { format!("/{prefix}") };
    if rooted.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("a path of a capability file has no '.' or '..' segments");
    }
    check_path(&rooted)?;
    let (protected, slots) = placeholders::protect(&rooted);
    let url = Url::parse(&format!("https://host.invalid{protected}")).map_err(|_| "this is no path")?;
    Ok(placeholders::fill(url.path(), &slots, |slot| format!("{{{}}}", slot.name)))
}

/// What stands between `https://` and the path, as the guest wrote it.
fn raw_authority(text: &str) -> &str {
    let rest = text.get("https://".len()..).unwrap_or_default();
    &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())]
}

/// Refuses what parsers disagree about, before any parser has made up its mind.
fn check_text(text: &str) -> Result<(), &'static str> {
    if text.len() > MAX_URL_BYTES {
        return Err(TOO_LONG);
    }
    if text.bytes().any(|b| b.is_ascii_control()) || text.trim() != text {
        return Err("it contains control characters, or white space around it");
    }
    if !text.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
        return Err("only https:// is allowed");
    }
    let authority = raw_authority(text);
    if authority.contains('@') {
        return Err("it contains a user name or password; use a credential");
    }
    if authority.is_empty() || authority.contains(['%', '\\', '{', '}', '*', ' ']) {
        return Err("its host is empty, encoded, or contains a placeholder or a backslash");
    }
    let rest = &text["https://".len() + authority.len()..];
    let path = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
    if path.contains('\\') {
        return Err("its path contains a backslash");
    }
    check_path(path)
}

/// Refuses a path in which a server could find other segments than the host does.
fn check_path(path: &str) -> Result<(), &'static str> {
    path.split('/').try_for_each(check_segment)
}

fn check_segment(segment: &str) -> Result<(), &'static str> {
    let mut current = segment.as_bytes().to_vec();
    for round in 0..=MAX_DECODE_ROUNDS {
        let encoded = round > 0;
        if encoded && current.iter().any(|b| matches!(b, b'/' | b'\\')) {
            return Err("its path contains an encoded slash or backslash");
        }
        if current.iter().any(u8::is_ascii_control) {
            return Err("its path contains an encoded control character");
        }
        let name = current.split(|b| *b == b';').next().unwrap_or_default();
        let dots = name == b"." || name == b"..";
        if dots && (encoded || name.len() != current.len()) {
            return Err("its path contains hidden dot segments");
        }
        let decoded = decode(&current);
        if decoded == current {
            return Ok(());
        }
        current = decoded;
    }
    Err("its path is encoded too often")
}

fn decode(bytes: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => percent_decode_str(text).collect(),
        Err(_) => percent_encoding::percent_decode(bytes).collect(),
    }
}

fn host_of(url: &Url, raw_authority: &str) -> Result<(String, Option<IpAddr>), &'static str> {
    match url.host() {
        None => Err("it has no host"),
        Some(Host::Ipv6(address)) => Ok((address.to_string(), Some(IpAddr::V6(address)))),
        Some(Host::Ipv4(address)) => {
            let canonical = address.to_string();
            let raw = raw_authority.split(':').next().unwrap_or_default();
            if raw != canonical {
                return Err("its host is an IPv4 address in an unusual notation");
            }
            Ok((canonical, Some(IpAddr::V4(address))))
        }
        Some(Host::Domain(name)) => check_name(name).map(|()| (name.to_owned(), None)),
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.ends_with('.') {
        return Err("its host ends in a dot");
    }
    let label = |label: &str| !label.is_empty() && label.len() <= MAX_LABEL_BYTES;
    if name.len() > MAX_HOST_BYTES || !name.split('.').all(label) {
        return Err("its host name has an empty or overlong label");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        let target = OutboundTarget::parse(text).map_err(|error| error.to_string())?;
        let query =
            target.query_with(|name| format!("{{{name}}}")).map(|q| format!("?{q}")).unwrap_or_default();
        Ok(format!("{}:{}{}{query}", target.host(), target.port(), target.path()))
    }

    /// A URL of 8 KiB was written with bytes that percent-encoding makes three of, and left the host with 24 KiB.
    #[test]
    fn a_url_is_bounded_as_it_is_sent_too() {
        let base = "https://h.example/";
        let room = MAX_URL_BYTES - base.len();
        let (encoded, rest) = (room / 3, room % 3);
        let at_the_limit = format!("{base}{}{}", "\"".repeat(encoded), "a".repeat(rest));
        assert!(OutboundTarget::parse(&at_the_limit).is_ok());
        let past_it = shown(&format!("{at_the_limit}a")).err().unwrap_or_default();
        assert!(past_it.contains(TOO_LONG), "{past_it}");
    }

    #[test]
    fn urls_of_published_guests_are_normalised() {
        let rows = [
            ("plain", "https://api.example.com/v1/x?a=b", "api.example.com:443/v1/x?a=b"),
            ("no path", "https://api.example.com", "api.example.com:443/"),
            ("upper case", "HTTPS://API.Example.COM/V1", "api.example.com:443/V1"),
            ("default port written", "https://api.example.com:443/", "api.example.com:443/"),
            ("another port", "https://api.example.com:8443/", "api.example.com:8443/"),
            ("empty port", "https://api.example.com:/x", "api.example.com:443/x"),
            ("fragment", "https://api.example.com/x?y#secret", "api.example.com:443/x?y"),
            (
                "Telegram's raw query",
                r#"https://api.telegram.org/bot{TELEGRAM_BOT_TOKEN}/getUpdates?allowed_updates=["message","edited_message"]"#,
                "api.telegram.org:443/bot{TELEGRAM_BOT_TOKEN}/getUpdates?allowed_updates=[%22message%22,%22edited_message%22]",
            ),
            ("dot segments resolved", "https://h.example/a/./b/../c", "h.example:443/a/c"),
            ("dots above the root", "https://h.example/../../x", "h.example:443/x"),
            ("dots in a name", "https://h.example/a..b/..c", "h.example:443/a..b/..c"),
            ("encoded dot in a name", "https://h.example/file%2ejson", "h.example:443/file%2ejson"),
            ("encoded slash in the query", "https://h.example/?p=%2F..%2f", "h.example:443/?p=%2F..%2f"),
            ("encoded line break in the query", "https://h.example/?text=a%0Ab", "h.example:443/?text=a%0Ab"),
            ("international name", "https://xn--bcher-kva.example/", "xn--bcher-kva.example:443/"),
            ("space in the path", "https://h.example/a b", "h.example:443/a%20b"),
            ("at sign in the path", "https://h.example/@me", "h.example:443/@me"),
            ("at sign in the query", "https://h.example?x=@a.example", "h.example:443/?x=@a.example"),
            ("address", "https://93.184.216.34/", "93.184.216.34:443/"),
            ("IPv6 address", "https://[2606:2800:220::1]:444/", "2606:2800:220::1:444/"),
            ("encoded braces are text", "https://h.example/%7BTOKEN%7D", "h.example:443/%7BTOKEN%7D"),
        ];
        for (what, text, expected) in rows {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{what}");
        }
    }

    #[test]
    fn limits_hold_at_their_edge_and_not_past_it() {
        let long = |bytes: usize| format!("https://h.example/{}", "a".repeat(bytes - 18));
        let host = |bytes: usize| {
            let label = "a".repeat(63);
            format!("https://{label}.{label}.{label}.{}/", "a".repeat(bytes - 192))
        };
        for (what, fits, over) in [
            ("bytes of the URL", long(8192), long(8193)),
            ("bytes of the host", host(253), host(254)),
            ("encodings", "https://h.example/%252561".into(), "https://h.example/%25252561".into()),
        ] {
            assert!(OutboundTarget::parse(&fits).is_ok(), "{what}: {fits}");
            assert!(OutboundTarget::parse(&over).is_err(), "{what}: {over}");
        }
    }

    #[test]
    fn a_plain_url_stays_plain_for_the_server_that_the_operator_named_and_for_no_other() {
        let hosts = [OperatorHost::parse("http://box.example:8123").unwrap()];
        let target = OutboundTarget::parse_for("http://box.example:8123/x", &hosts).unwrap();
        assert_eq!(target.origin(), "http://box.example:8123");
        assert!(OutboundTarget::parse_for("https://box.example:8123/x", &hosts).is_err());
        assert_eq!(
            OutboundTarget::parse_for("https://box.example/x", &hosts).unwrap().origin(),
            "https://box.example"
        );
        assert!(OutboundTarget::parse_for("http://other.example:8123/x", &hosts).is_err());
    }

    #[test]
    fn ambiguous_urls_are_refused() {
        let long = format!("https://h.example/{}", "a".repeat(MAX_URL_BYTES));
        let label = format!("https://{}.example/", "a".repeat(64));
        let name = format!("https://{}example/", "a.".repeat(130));
        let rows = [
            ("http", "http://h.example/"),
            ("file", "file:///etc/passwd"),
            ("data", "data:text/plain,x"),
            ("no scheme", "h.example/x"),
            ("protocol-relative", "//h.example/x"),
            ("one slash", "https:/h.example/"),
            ("no slashes", "https:h.example/"),
            ("three slashes", "https:///h.example/"),
            ("backslashes as slashes", "https:\\\\h.example/"),
            ("empty", ""),
            ("user", "https://user@h.example/"),
            ("user and password", "https://user:pw@h.example/"),
            ("empty user", "https://@h.example/"),
            ("host hidden before an at sign", "https://api.example.com@evil.example/"),
            ("backslash before an at sign", "https://evil.example\\@api.example.com/"),
            ("backslash after the host", "https://api.example.com\\.evil.example/"),
            ("backslash in the path", "https://h.example/a\\..\\b"),
            ("encoded host", "https://%65vil.example/"),
            ("encoded at sign", "https://a%40evil.example/"),
            ("encoded slash", "https://h.example/a%2fb"),
            ("encoded slash in upper case", "https://h.example/a%2Fb"),
            ("encoded backslash", "https://h.example/a%5Cb"),
            ("slash encoded twice", "https://h.example/a%252fb"),
            ("slash encoded three times", "https://h.example/a%25252fb"),
            ("encoded four times", "https://h.example/a%2525252541"),
            ("encoded dots", "https://h.example/a/%2e%2e/b"),
            ("half-encoded dots", "https://h.example/a/.%2E/b"),
            ("dots encoded twice", "https://h.example/a/%252e%252e/b"),
            ("single encoded dot", "https://h.example/a/%2e/b"),
            ("dots with a parameter", "https://h.example/a/..;x=1/b"),
            ("encoded dots with a parameter", "https://h.example/a/%2e%2e;/b"),
            ("encoded NUL", "https://h.example/a%00b"),
            ("encoded line break", "https://h.example/a%0d%0aX: y"),
            ("raw NUL", "https://h.example/a\0b"),
            ("raw line break", "https://h.example/\r\nX: y"),
            ("tab inside the host", "https://h.exa\tmple/"),
            ("space before", " https://h.example/"),
            ("space after", "https://h.example/ "),
            ("space in the host", "https://h .example/"),
            ("no host", "https:///"),
            ("port only", "https://:443/"),
            ("port zero", "https://h.example:0/"),
            ("port too large", "https://h.example:65536/"),
            ("port is no number", "https://h.example:x/"),
            ("trailing dot", "https://h.example./"),
            ("empty label", "https://h..example/"),
            ("leading dot", "https://.h.example/"),
            ("overlong label", &label),
            ("overlong name", &name),
            ("overlong URL", &long),
            ("star", "https://*.example.com/"),
            ("placeholder as host", "https://{TOKEN}.example/"),
            ("placeholder as user", "https://{TOKEN}@h.example/"),
            ("placeholder as port", "https://h.example:{PORT}/"),
            ("decimal address", "https://2130706433/"),
            ("hexadecimal address", "https://0x7f000001/"),
            ("hexadecimal parts", "https://0x7f.0.0.1/"),
            ("octal address", "https://0177.0.0.1/"),
            ("short address", "https://127.1/"),
            ("wide digits", "https://１２７.0.0.1/"),
            ("address with a trailing dot", "https://127.0.0.1./"),
            ("five parts", "https://1.2.3.4.5/"),
            ("part too large", "https://256.1.1.1/"),
            ("IPv6 zone", "https://[fe80::1%25eth0]/"),
            ("IPv6 without brackets", "https://::1/"),
            ("broken IPv6", "https://[::1/"),
            ("slash look-alike in the host", "https://h.example／x/"),
            ("question mark look-alike", "https://h.example？x/"),
        ];
        for (what, text) in rows {
            let result = shown(text);
            assert!(result.is_err(), "{what}: {result:?}");
        }
    }

    #[test]
    fn the_longest_url_is_taken() {
        let base = "https://h.example/";
        let text = format!("{base}{}", "a".repeat(MAX_URL_BYTES - base.len()));
        assert!(OutboundTarget::parse(&text).is_ok());
        assert!(OutboundTarget::parse(&format!("{text}a")).is_err());
    }

    #[test]
    fn refusals_quote_nothing() {
        let error = OutboundTarget::parse("https://hunter2@hunter2/hunter2").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn a_host_is_an_address_or_a_name() {
        for (url, address) in [
            ("https://192.0.2.1/", Some("192.0.2.1")),
            ("https://[2001:db8::1]/", Some("2001:db8::1")),
            ("https://h.example/", None),
        ] {
            assert_eq!(
                OutboundTarget::parse(url).unwrap().literal(),
                address.map(|text| text.parse().unwrap()),
                "{url}"
            );
        }
    }

    #[test]
    fn placeholders_know_where_they_stand() {
        let target = OutboundTarget::parse("https://h.example/{A}/x?q={B}#{C}").unwrap();
        assert_eq!(target.placeholders().collect::<Vec<_>>(), [("A", true), ("B", false)]);
        assert_eq!(target.path_with(|name| name.to_lowercase()), "/a/x");
        assert_eq!(target.query_with(|name| name.to_lowercase()).unwrap(), "q=b");
        assert_eq!(target.origin(), "https://h.example");
    }

    #[test]
    fn a_value_that_changes_the_path_is_noticed() {
        let rows = [
            ("ordinary", "/bot123:ABC/x", true),
            ("encoded per cent sign", "/bot%25/x", true),
            ("slash", "/bota/b/x", false),
            ("dots alone in a segment", "/../x", false),
            ("encoded dots", "/%2e%2e/x", false),
            ("query", "/bot?a/x", false),
            ("fragment", "/bot#a/x", false),
            ("encoded slash", "/bot%2F/x", false),
            ("space", "/bot a/x", false),
        ];
        for (what, path, expected) in rows {
            assert_eq!(keeps_structure("https://h.example", path, 3), expected, "{what}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_accepted_is_stable(text in "https://[a-c.:@\\[\\]%{}A-B]{1,12}[/a-c.%2eEfF5;\\\\?#{}A-B\"\\[\\] ]{0,30}") {
            if let Ok(target) = OutboundTarget::parse(&text) {
                let once = format!("{}{}", target.origin(), target.path_with(|name| name.to_owned()));
                let again = OutboundTarget::parse(&once).expect("a normalised URL is acceptable");
                prop_assert_eq!(again.path(), target.path_with(|name| name.to_owned()));
                prop_assert_eq!(again.host(), target.host());
                prop_assert!(!target.path().split('/').any(|segment| segment == ".."));
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            let _ = OutboundTarget::parse(&text);
            let _ = OutboundTarget::parse(&format!("https://{text}"));
            let _ = OutboundTarget::parse(&format!("https://h.example/{text}"));
        }
    }
}
