//! A request as the authenticator looks at it, which media types its body may have, and what the guest sees of it: headers
//! and query as JSON, without anything that carried a secret.
//!
//! Signature headers stay visible. They prove one request and cannot be turned into the key, and guests that were written for
//! other hosts look at them.

use std::borrow::Cow;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::plan::{Checks, Scheme};
use super::verify::{AuthFailure, SecretProblem};

/// Where secrets come from: the stored value of a name in lower case, nothing, or why it cannot be read. An empty value
/// counts as missing.
pub type SecretLookup<'a> = dyn Fn(&str) -> Result<Option<Zeroizing<Vec<u8>>>, SecretProblem> + 'a;

/// One complete HTTP request, exactly as it arrived: nothing in it has been decoded or normalised, except that
/// header names are in lower case.
#[derive(Clone, Copy, Debug)]
pub struct WebhookRequest<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// What stands after `?` in the request target, not decoded; empty when there is none.
    pub query: &'a str,
    /// The whole URL as the provider called it (scheme, public host, path and query), for providers that sign it.
    /// Built from the configured public address, because a proxy in front may have changed what arrived here.
    pub public_url: &'a str,
    /// Every header line in order, names in lower case, values without surrounding blanks.
    pub headers: &'a [(String, String)],
    /// The body.
    pub body: &'a [u8],
    /// The host's clock, Unix time in milliseconds.
    pub now_ms: u64,
}

impl<'a> WebhookRequest<'a> {
    /// The value of a header that must be there once. A second line with the same name is refused even when it is
    /// equal: what reads the request later might pick the other one.
    pub(super) fn only(&self, name: &str) -> Result<&'a str, AuthFailure> {
        self.at_most_one(name)?.ok_or_else(|| AuthFailure::HeaderMissing(name.to_owned()))
    }

    /// The value of a header that may be absent, but not be there twice.
    pub(super) fn at_most_one(&self, name: &str) -> Result<Option<&'a str>, AuthFailure> {
        let mut values = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let first = values.next();
        match values.next() {
            Some(_) => Err(AuthFailure::HeaderRepeated(name.to_owned())),
            None => Ok(first.map(|(_, value)| value.as_str())),
        }
    }
}

/// Shortest secret that is searched for in other headers and parameters; a shorter one would hide too much.
const MIN_SEARCHED_SECRET_BYTES: usize = 8;

/// Names of headers (lower case) and query parameters that the guest does not get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    headers: Vec<String>,
    params: Vec<String>,
}

impl Hidden {
    /// What an authentic request carried secrets in: the declared places, and any other whose value contains one,
    /// because a sender may be configured to put it there too.
    pub(super) fn after(checks: &Checks, secrets: &[&[u8]], request: &WebhookRequest<'_>) -> Self {
        let declared_headers = checks.schemes.iter().filter_map(|scheme| match scheme {
            Scheme::SharedSecret(shared) => Some(shared.header.clone()),
            _ => None,
        });
        let leaking_headers = request
            .headers
            .iter()
            .filter(|(_, value)| contains_any(value, secrets))
            .map(|(name, _)| name.to_ascii_lowercase());
        let declared_params = checks.challenge.iter().map(|challenge| challenge.param.clone());
        let leaking_params = parameters(request.query)
            .filter(|(_, value)| contains_any(value, secrets))
            .map(|(name, _)| name.into_owned());
        Self {
            headers: declared_headers.chain(leaking_headers).collect(),
            params: declared_params.chain(leaking_params).collect(),
        }
    }

    /// Names of the hidden headers, in lower case.
    #[cfg(test)]
    pub fn headers(&self) -> &[String] {
        &self.headers
    }
}

fn contains_any(value: &str, secrets: &[&[u8]]) -> bool {
    let value = value.as_bytes();
    secrets
        .iter()
        .filter(|secret| secret.len() >= MIN_SEARCHED_SECRET_BYTES)
        .any(|secret| value.windows(secret.len()).any(|window| window == *secret))
}

/// Headers whose names begin so are the host's to write: what a client sends under such a name is left out.
const HOST_HEADER_PREFIX: &str = "tinclaw-";

/// The `headers-json` of a request: one JSON object of strings, names in lower case, the values of a repeated header
/// joined with `", "` in their order (RFC 9110, section 5.3); those of `cookie` with `"; "`, as one line would have them
/// (RFC 9113, section 8.2.3).
pub fn visible_headers(headers: &[(String, String)], hidden: &Hidden) -> String {
    let pairs = headers
        .iter()
        .map(|(name, value)| (Cow::Owned(name.to_ascii_lowercase()), Cow::Borrowed(value.as_str())))
        .filter(|(name, _): &(Cow<'_, str>, _)| !name.starts_with(HOST_HEADER_PREFIX));
    object(pairs, &hidden.headers, |name| Some(if name == "cookie" { "; " } else { ", " }))
}

/// The `query-json` of a request, from its raw query: one JSON object of strings, percent-decoded (what is not UTF-8
/// becomes U+FFFD). Of a repeated parameter the last value counts, as in the readers of the guests' languages: joined, it
/// would be a value that nobody sent.
pub fn visible_query(query: &str, hidden: &Hidden) -> String {
    object(parameters(query), &hidden.params, |_| None)
}

fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    url::form_urlencoded::parse(query.as_bytes())
}

/// `separator` says what stands between the values of a name that is there several times; without one, the last counts.
fn object<'a>(
    pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    hidden: &[String],
    separator: impl Fn(&str) -> Option<&'static str>,
) -> String {
    let mut object = Map::new();
    for (name, value) in pairs.filter(|(name, _)| !hidden.iter().any(|hidden| *hidden == *name)) {
        match (object.get_mut(name.as_ref()), separator(&name)) {
            (Some(Value::String(joined)), Some(separator)) => {
                joined.push_str(separator);
                joined.push_str(&value);
            }
            _ => {
                object.insert(name.into_owned(), Value::String(value.into_owned()));
            }
        }
    }
    Value::Object(object).to_string()
}

/// Whether a request passes `content_types`; when not, the response is 415.
///
/// `allowed` entries are `type/subtype` or `type/*`; case and parameters (`; charset=utf-8`) do not matter. `None`
/// allows everything, and a request without a body has no type to check.
pub fn media_type_allowed(
    allowed: Option<&[String]>,
    content_type: Option<&str>,
    body_is_empty: bool,
) -> bool {
    let Some(allowed) = allowed else { return true };
    let sent = essence(content_type.unwrap_or_default());
    body_is_empty || allowed.iter().any(|pattern| matches(pattern, sent))
}

/// A media type without its parameters.
pub(super) fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim_matches([' ', '\t'])
}

/// Whether an entry of `content_types` is a media type or a `type/*`.
pub(super) fn is_media_type_pattern(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.split_once('/').is_some_and(|(kind, subtype)| token(kind) && (subtype == "*" || token(subtype)))
}

fn matches(pattern: &str, sent: &str) -> bool {
    let (Some((kind, subtype)), Some((sent_kind, sent_subtype))) =
        (pattern.split_once('/'), sent.split_once('/'))
    else {
        return false;
    };
    let subtype_matches =
        if subtype == "*" { !sent_subtype.is_empty() } else { subtype.eq_ignore_ascii_case(sent_subtype) };
    kind.eq_ignore_ascii_case(sent_kind) && subtype_matches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn headers_are_lower_case_and_joined_and_hidden_ones_are_left_out() {
        let hidden = Hidden { headers: vec!["x-webhook-secret".to_owned()], params: vec![] };
        let headers = headers(&[
            ("X-Webhook-Secret", "s3cret"),
            ("Accept", "a"),
            ("x-quote", "\"\u{1}é"),
            ("accept", "b"),
            ("x-webhook-secret", "again"),
            ("Cookie", "a=1"),
            ("cookie", "b=2; c=3"),
        ]);
        let json = visible_headers(&headers, &hidden);
        assert_eq!(json, r#"{"accept":"a, b","x-quote":"\"\u0001é","cookie":"a=1; b=2; c=3"}"#);
    }

    #[test]
    fn the_query_is_decoded_and_without_the_token_and_the_last_of_equal_names_counts() {
        let hidden = Hidden { headers: vec![], params: vec!["hub.verify_token".to_owned()] };
        let query = "hub.mode=subscribe&hub%2Everify_token=t&hub.challenge=1%202+3&a&a=%ff&=x";
        let json = visible_query(query, &hidden);
        assert_eq!(
            json,
            "{\"hub.mode\":\"subscribe\",\"hub.challenge\":\"1 2 3\",\"a\":\"\u{fffd}\",\"\":\"x\"}"
        );
        assert_eq!(visible_query("", &hidden), "{}");
    }

    #[test]
    fn short_secrets_are_not_searched_for() {
        assert!(contains_any("Bearer 12345678", &[b"12345678"]));
        assert!(!contains_any("Bearer 1234567", &[b"1234567"]));
    }

    #[test]
    fn only_listed_types_pass() {
        let allowed = ["application/json".to_owned(), "text/*".to_owned()];
        let cases = [
            (Some("application/json"), true),
            (Some("Application/JSON; charset=utf-8"), true),
            (Some("application/json;charset=utf-8"), true),
            (Some("text/plain"), true),
            (Some("text/"), false),
            (Some("application/jsonp"), false),
            (Some("application/xml"), false),
            (Some("application/xml; application/json"), false),
            (Some("json"), false),
            (Some(""), false),
            (None, false),
        ];
        for (sent, passes) in cases {
            assert_eq!(media_type_allowed(Some(&allowed), sent, false), passes, "{sent:?}");
        }
    }

    #[test]
    fn no_list_and_no_body_always_pass() {
        assert!(media_type_allowed(None, None, false));
        assert!(media_type_allowed(Some(&["text/plain".to_owned()]), None, true));
        assert!(!media_type_allowed(Some(&[]), Some("text/plain"), false));
    }

    #[test]
    fn patterns_are_types_with_at_most_a_star_for_the_subtype() {
        for (text, valid) in [
            ("application/json", true),
            ("application/vnd.api+json", true),
            ("text/*", true),
            ("*/*", false),
            ("text", false),
            ("text/", false),
            ("text/plain; charset=utf-8", false),
            ("te xt/plain", false),
        ] {
            assert_eq!(is_media_type_pattern(text), valid, "{text}");
        }
    }
}
