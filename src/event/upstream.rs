//! What the outbound requests of one callback came to, as far as the host acts on it: pure bookkeeping.

use crate::model::escape::escaped;
use crate::model::prefix::prefix;

/// Bytes of a service's response that are quoted.
const QUOTED_BYTES: usize = 300;

/// Bytes of a service's response that are looked at: a secret in what is quoted lies within them.
const READ_BYTES: usize = 16 * 1024;

/// How the requests of one callback went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamOutcome {
    /// The last request that failed was refused for good, in these words: the same request would be refused again. A
    /// later request that succeeded does not change that; a later one that failed for another reason does.
    pub refused: Option<String>,
    /// A service did not accept the credentials (status 401), in these words.
    pub unauthorized: Option<String>,
    /// What the last service that was reached responded, without its words: `api.example.com responded with 200`.
    pub last_response: Option<String>,
    /// A service accepted a request (status 2xx).
    pub was_accepted: bool,
}

impl UpstreamOutcome {
    /// A service responded. `asks_to_wait`: it said when to try again. What is quoted of its words has gone through `redact`:
    /// a service may repeat what it was sent.
    pub fn responded(
        &mut self,
        url: &str,
        status: u16,
        body: &[u8],
        asks_to_wait: bool,
        redact: impl Fn(String) -> String,
    ) {
        self.last_response = Some(format!("{} responded with {status}", host_of(url)));
        match status {
            200..=299 => self.was_accepted = true,
            400..=499 if !asks_to_wait && is_permanent(status) => {
                let words = quoted(url, status, body, redact);
                if status == 401 {
                    self.unauthorized = Some(words.clone());
                }
                self.refused = Some(words);
            }
            400..=599 => self.refused = None,
            _ => {}
        }
    }

    /// The host did not make the request, and would not make the same one again.
    pub fn refused_by_host(&mut self, reason: &str) {
        self.refused = Some(reason.to_owned());
    }

    /// There was no response, or the host could not make the request now.
    pub fn failed(&mut self) {
        self.last_response = None;
        self.refused = None;
    }
}

/// Whether the same request would get the same response again. Request Timeout, Conflict, Too Early and Too Many Requests
/// pass (RFC 9110, section 15.5; RFC 8470, section 5.2; RFC 6585, section 4).
fn is_permanent(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 408 | 409 | 425 | 429)
}

fn quoted(url: &str, status: u16, body: &[u8], redact: impl Fn(String) -> String) -> String {
    let host = host_of(url);
    // Redacted before it is cut: the beginning of a secret is not recognised.
    let read = &body[..body.len().min(READ_BYTES)];
    let words = redact(String::from_utf8_lossy(read).into_owned());
    let words = words.trim();
    let words = prefix(words, QUOTED_BYTES);
    match words.is_empty() {
        true => format!("{host} responded with {status}"),
        false => format!("{host} responded with {status}: {}", escaped(words)),
    }
}

/// The host of a URL that was requested. The rest of it may hold what nobody should read.
fn host_of(url: &str) -> String {
    let parsed = url::Url::parse(url).ok();
    parsed.as_ref().and_then(url::Url::host_str).unwrap_or("the service").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://api.example/bot{TOKEN}/send?x=1";

    fn as_it_is(text: String) -> String {
        text
    }

    // A service that repeated the token it was sent put it into the log, the dead letter and health.
    #[test]
    fn secrets_in_the_words_of_a_service_are_redacted_before_they_are_cut() {
        let redact = |text: String| text.replace("hunter2", "[redacted]");
        let mut outcome = UpstreamOutcome::default();
        // The secret begins within what is quoted and ends behind it.
        let body = format!("{}hunter2 is wrong", "x".repeat(QUOTED_BYTES - 3));
        outcome.responded(URL, 401, body.as_bytes(), false, redact);
        for words in [outcome.refused.unwrap(), outcome.unauthorized.unwrap()] {
            assert!(words.ends_with("xxx[re") && !words.contains("hun"), "{words}");
        }
    }

    fn after(statuses: &[u16]) -> UpstreamOutcome {
        let mut outcome = UpstreamOutcome::default();
        statuses.iter().for_each(|status| outcome.responded(URL, *status, b"no", false, as_it_is));
        outcome
    }

    #[test]
    fn a_client_error_is_permanent_unless_it_says_that_it_passes() {
        for (status, is_refused) in [
            (200, false),
            (302, false),
            (399, false),
            (400, true),
            (401, true),
            (403, true),
            (404, true),
            (407, true),
            (408, false),
            (409, false),
            (410, true),
            (424, true),
            (425, false),
            (426, true),
            (429, false),
            (499, true),
            (500, false),
            (503, false),
        ] {
            assert_eq!(after(&[status]).refused.is_some(), is_refused, "{status}");
        }
    }

    #[test]
    fn the_last_failure_decides() {
        for (case, statuses, is_refused) in [
            ("a fallback that worked", &[400, 200][..], true),
            ("a fallback that could not be tried", &[400, 503], false),
            ("a fallback that is refused too", &[503, 400], true),
        ] {
            assert_eq!(after(statuses).refused.is_some(), is_refused, "{case}");
        }
        let mut outcome = after(&[400]);
        outcome.failed();
        assert_eq!(outcome.refused, None, "no response");
        outcome.refused_by_host("too large");
        assert_eq!(outcome.refused.as_deref(), Some("too large"));
    }

    #[test]
    fn a_refusal_with_retry_after_is_not_final() {
        let mut outcome = UpstreamOutcome::default();
        outcome.responded(URL, 403, b"slow down", true, as_it_is);
        assert_eq!(outcome.refused, None);
    }

    #[test]
    fn the_words_of_the_service_are_quoted_without_the_path() {
        let mut outcome = UpstreamOutcome::default();
        outcome.responded(URL, 401, "{\"description\":\"Unauthorized\u{202e}\"}".as_bytes(), false, as_it_is);
        let words = "api.example responded with 401: {\"description\":\"Unauthorized\\u{202e}\"}";
        assert_eq!(outcome.refused.as_deref(), Some(words));
        assert_eq!(outcome.unauthorized.as_deref(), Some(words));
        outcome.responded(URL, 400, &[b'x'; 5_000], false, as_it_is);
        assert_eq!(outcome.refused.unwrap().len(), "api.example responded with 400: ".len() + QUOTED_BYTES);
    }
}
