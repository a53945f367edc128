//! Secrets in what a guest wrote, also behind percent-encoding and JSON escapes.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use super::REDACTED;
use super::escapes::{self, Decoded};
use super::matcher::SecretMatcher;
use crate::egress::headers::OutboundHeader;

/// How often percent-encoding is undone in what a guest wrote.
const MAX_DECODE_ROUNDS: usize = 3;
/// The longest body in which a secret that is hidden behind escapes is replaced. Finding its place takes eight times the
/// body's memory; in a longer one it is refused.
const MAX_TRACED_BYTES: usize = 1024 * 1024;

/// A body after the search.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::egress) enum BodySearch {
    /// It contains no secret.
    Clean(Vec<u8>),
    /// Every secret was replaced; the names of the secrets.
    Redacted(Vec<u8>, Vec<String>),
    /// A secret of this name is in it in a form that cannot be replaced.
    Hidden(String),
}

impl SecretMatcher {
    /// The name of a secret whose value stands in what a guest wrote, also behind percent-encoding and JSON escapes.
    pub(in crate::egress) fn find_in_guest_text(&self, text: &[u8]) -> Option<&str> {
        if self.is_empty() {
            return None;
        }
        let unescaped = text.contains(&b'\\').then(|| Zeroizing::new(escapes::undo(text)));
        let views = [Some(text), unescaped.as_ref().map(|bytes| bytes.as_slice())];
        views.into_iter().flatten().find_map(|view| find_decoding(view, |view| self.find(view)))
    }

    /// The name of a secret whose value stands in the name of a header, which is sent in lower case.
    fn find_in_header_name(&self, name: &str) -> Option<&str> {
        find_decoding(name.as_bytes(), |view| self.find_in_any_case(view))
    }

    /// The body with every secret in it replaced by [`REDACTED`].
    pub(in crate::egress) fn search_body(&self, body: Vec<u8>) -> BodySearch {
        let Some(first) = self.find_in_guest_text(&body).map(str::to_owned) else {
            return BodySearch::Clean(body);
        };
        let mut names: BTreeSet<String> = self.places(&body).map(|(_, name)| name.to_owned()).collect();
        let (mut body, _) = self.redact(body);
        if self.find_in_guest_text(&body).is_some() {
            if body.len() > MAX_TRACED_BYTES {
                return BodySearch::Hidden(first);
            }
            body = self.redact_hidden(&body, &mut names);
        }
        match self.find_in_guest_text(&body) {
            // What stands left and right of a replacement can be a secret's halves.
            Some(name) => BodySearch::Hidden(name.to_owned()),
            None => BodySearch::Redacted(body, names.into_iter().collect()),
        }
    }

    /// Replaces secrets that show only once escapes are undone.
    fn redact_hidden(&self, text: &[u8], names: &mut BTreeSet<String>) -> Vec<u8> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let mut views = vec![Decoded::plain(text)];
        views.push(views[0].without_json_escapes());
        for mut view in views {
            for _ in 0..=MAX_DECODE_ROUNDS {
                for (place, name) in self.places(view.text()) {
                    names.insert(name.to_owned());
                    ranges.push(view.origin_of(place));
                }
                view = view.percent_decoded();
            }
        }
        ranges.sort_unstable_by_key(|range| range.start);
        replace(text, &ranges)
    }

    /// The beginning of a text, at least `limit` bytes, with every secret in it replaced. What is behind that is left out when
    /// there was something to replace, so no more than about `limit` bytes are copied.
    pub(in crate::egress) fn redact_beginning<'t>(&self, text: &'t str, limit: usize) -> Cow<'t, str> {
        let bytes = text.as_bytes();
        let mut out = Vec::new();
        let mut copied = 0;
        for (place, _) in self.places(bytes) {
            out.extend_from_slice(beginning(&bytes[copied..place.start], limit - out.len()));
            out.extend_from_slice(REDACTED.as_bytes());
            copied = place.end;
            if out.len() >= limit {
                break;
            }
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        out.extend_from_slice(beginning(&bytes[copied..], limit.saturating_sub(out.len())));
        Cow::Owned(String::from_utf8_lossy(&out).into_owned())
    }

    /// A header's value without secrets. Headers are short, so here percent-encoding is undone as for guests; a value
    /// that still shows a secret then is replaced whole.
    pub(in crate::egress) fn redact_header(&self, value: &[u8]) -> (String, bool) {
        let (value, mut changed) = self.redact(value.to_vec());
        let mut text = String::from_utf8_lossy(&value).into_owned();
        if self.find_in_guest_text(text.as_bytes()).is_some() {
            REDACTED.clone_into(&mut text);
            changed = true;
        }
        (text, changed)
    }

    /// Whether the values of headers of one name show a secret together, which none of them shows alone.
    pub(in crate::egress) fn is_split_over(&self, values: &[&str]) -> bool {
        values.len() > 1
            && ["", ", ", ","]
                .iter()
                .any(|between| self.find_in_guest_text(values.join(between).as_bytes()).is_some())
    }

    /// A header's name without secrets: one that shows a secret in any case is replaced whole.
    pub(in crate::egress) fn redact_header_name(&self, name: &str) -> String {
        if self.find_in_header_name(name).is_some() { REDACTED.to_owned() } else { name.to_owned() }
    }
}

/// What is found in a text, or in it with its percent-encoding undone.
fn find_decoding<'m>(text: &[u8], find: impl Fn(&[u8]) -> Option<&'m str>) -> Option<&'m str> {
    let mut view = Cow::Borrowed(text);
    for _ in 0..=MAX_DECODE_ROUNDS {
        if let Some(name) = find(&view) {
            return Some(name);
        }
        match Cow::from(percent_decode(&view)) {
            Cow::Borrowed(_) => break,
            Cow::Owned(decoded) => view = Cow::Owned(decoded),
        }
    }
    None
}

/// At most `limit` bytes of the beginning.
fn beginning(bytes: &[u8], limit: usize) -> &[u8] {
    &bytes[..bytes.len().min(limit)]
}

/// The text with these ranges replaced, which are in the order of their beginnings and may overlap.
pub(super) fn replace(text: &[u8], ranges: &[Range<usize>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut copied = 0;
    for range in ranges {
        if range.start >= copied {
            out.extend_from_slice(&text[copied..range.start]);
            out.extend_from_slice(REDACTED.as_bytes());
        }
        copied = copied.max(range.end);
    }
    out.extend_from_slice(&text[copied..]);
    out
}

/// Searches the URL and the headers that a guest wrote. Returns the secret's name and the place.
pub(in crate::egress) fn find_in_head<'m>(
    matcher: &'m SecretMatcher,
    url: &str,
    headers: &[OutboundHeader],
) -> Option<(&'m str, &'static str)> {
    let in_headers = || {
        headers.iter().find_map(|header| {
            let name = matcher.find_in_header_name(&header.name);
            name.or_else(|| matcher.find_in_guest_text(header.value.as_bytes()))
        })
    };
    matcher
        .find_in_guest_text(url.as_bytes())
        .map(|name| (name, "URL"))
        .or_else(|| in_headers().map(|name| (name, "header")))
}
