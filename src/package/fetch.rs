//! Fetches packages as the host makes every other request: with the operator's proxy, rewrites and rules about addresses, within
//! limits, and without sending anything of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use url::Url;

use crate::capability::{AllowlistEntry, HttpCapability};
use crate::channel::ChannelLimits;
use crate::egress::{
    ChannelHttp, ChannelHttpSettings, OutboundCall, OutboundHttp, OutboundHttpSettings, OutboundRequest,
    RequestPurpose,
};
use crate::model::deadline::deadline_after;
use crate::secrets::{AllowedNames, MemorySecrets};

/// How long a file may take.
const FETCH_TIME: Duration = Duration::from_secs(300);
/// Downloads of releases are redirected, rarely more than once.
const MAX_REDIRECTS: usize = 5;
/// What log lines call the one who fetches.
const FETCHER: &str = "install";

/// Fetches files with the host's settings of outbound HTTP.
pub(crate) struct Fetcher(OutboundHttp);

impl Fetcher {
    /// With these settings.
    ///
    /// # Errors
    /// A setting that cannot be used.
    pub fn new(settings: &OutboundHttpSettings) -> Result<Self, String> {
        OutboundHttp::new(settings).map(Self).map_err(|error| error.to_string())
    }

    /// The body of an `https://` address, of at most `limit` bytes. Redirects are followed, to `https://` only.
    ///
    /// # Errors
    /// What went wrong.
    pub fn fetch(&self, url: &Url, limit: usize) -> Result<Vec<u8>, String> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let (status, headers, body) = self.request(&url, limit)?;
            match status {
                200 => return Ok(body),
                301 | 302 | 303 | 307 | 308 => {
                    let headers: serde_json::Value = serde_json::from_str(&headers).unwrap_or_default();
                    let fields = headers.as_object().into_iter().flatten();
                    let to = fields.filter(|(name, _)| name.eq_ignore_ascii_case("location"));
                    let to = to.filter_map(|(_, value)| value.as_str()).next_back();
                    let to = to.ok_or("it is redirected to nowhere")?;
                    url = url.join(to).map_err(|error| format!("it is redirected to {to}: {error}"))?;
                    if url.scheme() != "https" {
                        return Err(format!("it is redirected to {url}, which is not https"));
                    }
                }
                status => return Err(format!("the server responds with status {status}")),
            }
        }
        Err(format!("it is redirected more than {MAX_REDIRECTS} times"))
    }

    fn request(&self, url: &Url, limit: usize) -> Result<(u16, String, Vec<u8>), String> {
        let entry = AllowlistEntry {
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port(),
            ..AllowlistEntry::default()
        };
        let limits = ChannelLimits {
            http_response_bytes: limit as u64,
            http_timeout: FETCH_TIME,
            ..ChannelLimits::default()
        };
        let settings = ChannelHttpSettings {
            caller: FETCHER.to_owned(),
            capability: HttpCapability { allowlist: vec![entry], ..HttpCapability::default() },
            limits,
            operator_hosts: Vec::new(),
            allowed_secrets: AllowedNames::default(),
            secrets: Arc::new(MemorySecrets::new()),
            given_to_guest: Vec::new(),
            inbound_secrets: Vec::new(),
            login_secrets: Vec::new(),
            required_secrets: Vec::new(),
        };
        let http = ChannelHttp::new(self.0.clone(), settings).map_err(|error| error.to_string())?;
        let request = OutboundRequest {
            method: "GET".to_owned(),
            url: url.to_string(),
            headers_json: "{}".to_owned(),
            body: None,
            timeout: Some(FETCH_TIME),
        };
        let call = OutboundCall {
            deadline: deadline_after(Instant::now(), FETCH_TIME),
            calls_before: 0,
            purpose: RequestPurpose::Other,
        };
        let response =
            http.request(request, call, &mut |_| true).map_err(|error| error.to_string())?.response;
        Ok((response.status, response.headers_json, response.body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::upstream::Upstream;

    fn fetcher(upstream: &Upstream) -> Fetcher {
        let http_rewrite =
            [("a.example".to_owned(), upstream.url()), ("b.example".to_owned(), upstream.url())];
        let settings =
            OutboundHttpSettings { http_rewrite: http_rewrite.into(), ..OutboundHttpSettings::default() };
        Fetcher::new(&settings).expect("good settings")
    }

    #[test]
    fn redirects_are_followed_to_https_and_bodies_are_bounded() {
        let upstream = Upstream::start(|request, _| {
            let to = |place: &str| (302, vec![("Location".to_owned(), place.to_owned())], Vec::new());
            match request.target.as_str() {
                "/file" => (200, Vec::new(), b"12345".to_vec()),
                "/relative" => to("/file"),
                "/elsewhere" => to("https://b.example/file"),
                "/plain" => to("http://b.example/file"),
                "/circle" => to("/circle"),
                _ => (404, Vec::new(), Vec::new()),
            }
        });
        let fetcher = fetcher(&upstream);
        let fetch = |path: &str, limit| {
            fetcher.fetch(&Url::parse(&format!("https://a.example{path}")).expect("a URL"), limit)
        };
        for path in ["/file", "/relative", "/elsewhere"] {
            assert_eq!(fetch(path, 5).as_deref(), Ok(&b"12345"[..]), "{path}");
        }
        for (path, limit, part) in [
            ("/file", 4, "4"),
            ("/plain", 9, "which is not https"),
            ("/circle", 9, "more than 5 times"),
            ("/nothing", 9, "status 404"),
        ] {
            let error = fetch(path, limit).expect_err(path);
            assert!(error.contains(part), "{path}: {error}");
        }
    }

    /// A package server in the network here is as far away as it is for a guest.
    #[test]
    fn private_addresses_are_refused_unless_the_operator_allows_them() {
        let fetcher = Fetcher::new(&OutboundHttpSettings::default()).expect("good settings");
        let error =
            fetcher.fetch(&Url::parse("https://127.0.0.1/x").expect("a URL"), 9).expect_err("refused");
        assert!(error.contains("127.0.0.1"), "{error}");
    }
}
