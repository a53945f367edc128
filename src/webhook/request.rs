//! A request as the authenticator looks at it.

use zeroize::Zeroizing;

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
    /// The path, without the query. No format signs it alone; those that sign the URL take `public_url`.
    pub path: &'a str,
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
