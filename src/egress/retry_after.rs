//! How long a server asks to wait.

use std::time::{Duration, SystemTime};

/// The longest wait that is believed: a day.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// The longest body in which Telegram's field is looked for, in bytes; theirs has about a hundred.
const MAX_ERROR_BODY_BYTES: usize = 64 * 1024;

/// The wait that a response asks for.
///
/// The header `Retry-After` (RFC 9110, section 10.2.3: seconds or a date) counts with any status; without it a 429 whose
/// JSON body has `parameters.retry_after` in seconds (Telegram Bot API, `ResponseParameters`), or `retry_after` in seconds,
/// possibly with a fraction (Discord), counts too.
///
/// A date is counted from the `Date` of the same response (RFC 9110, section 6.6.1), because this host's clock may be wrong;
/// without one, from `now`.
pub(super) fn of_response(
    status: u16,
    header: Option<&str>,
    date: Option<&str>,
    body: &[u8],
    now: SystemTime,
) -> Option<Duration> {
    let now = date.and_then(|date| httpdate::parse_http_date(date.trim()).ok()).unwrap_or(now);
    let wait = header.and_then(|value| of_header(value, now));
    let wait = wait.or_else(|| if status == 429 { of_body(body) } else { None });
    wait.map(|wait| wait.min(MAX_RETRY_AFTER))
}

fn of_header(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // Digits only, so the one way to fail is that there are too many of them.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

fn of_body(body: &[u8]) -> Option<Duration> {
    if body.len() > MAX_ERROR_BODY_BYTES {
        return None;
    }
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let field = body.pointer("/parameters/retry_after").or_else(|| body.get("retry_after"))?;
    let seconds = field.as_f64().filter(|seconds| *seconds >= 0.0)?;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read_from_header_and_body() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let day = MAX_RETRY_AFTER.as_secs_f64();
        type Row<'a> = (&'a str, u16, Option<&'a str>, &'a str, Option<f64>);
        let rows: &[Row<'_>] = &[
            ("seconds", 429, Some("30"), "", Some(30.0)),
            ("seconds with another status", 503, Some(" 5 "), "", Some(5.0)),
            ("zero", 429, Some("0"), "", Some(0.0)),
            ("date", 429, Some("Sun, 06 Nov 1994 08:50:37 GMT"), "", Some(60.0)),
            ("date in the past", 429, Some("Sun, 06 Nov 1994 08:00:00 GMT"), "", Some(0.0)),
            ("longer than a day", 429, Some("999999"), "", Some(day)),
            ("too many digits", 429, Some("99999999999999999999999"), "", Some(day)),
            ("negative", 429, Some("-5"), "", None),
            ("nonsense", 429, Some("soon"), "", None),
            ("Telegram", 429, None, r#"{"ok":false,"parameters":{"retry_after":7}}"#, Some(7.0)),
            ("Discord", 429, None, r#"{"retry_after":0.5,"global":false}"#, Some(0.5)),
            ("header before body", 429, Some("3"), r#"{"retry_after":7}"#, Some(3.0)),
            ("body of another status", 400, None, r#"{"parameters":{"retry_after":7}}"#, None),
            ("none in the body", 429, None, r#"{"retry_after":0}"#, Some(0.0)),
            ("negative in the body", 429, None, r#"{"retry_after":-1}"#, None),
            ("huge in the body", 429, None, r#"{"retry_after":1e300}"#, Some(day)),
            ("text in the body", 429, None, r#"{"retry_after":"7"}"#, None),
            ("no JSON", 429, None, "slow down", None),
        ];
        for (what, status, header, body, expected) in rows {
            let wait = of_response(*status, *header, None, body.as_bytes(), now);
            assert_eq!(wait, expected.map(Duration::from_secs_f64), "{what}");
        }
    }

    #[test]
    fn the_longest_body_is_read_and_a_longer_one_is_not() {
        for (extra, expected) in [(0, Some(Duration::from_secs(7))), (1, None), (2, None)] {
            let wait = br#"{"retry_after":7}"#;
            let blanks = vec![b' '; MAX_ERROR_BODY_BYTES + extra - wait.len()];
            let body = [&blanks[..], wait].concat();
            assert_eq!(
                of_response(429, None, None, &body, SystemTime::UNIX_EPOCH),
                expected,
                "{extra} too many"
            );
        }
    }

    // A host whose clock was behind waited for a day, and one whose clock was ahead not at all.
    #[test]
    fn a_date_is_counted_from_the_clock_of_the_server() {
        let until = Some("Sun, 06 Nov 1994 08:50:37 GMT");
        let of = |date, now| of_response(503, until, date, b"", now);
        let here = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for now in [SystemTime::UNIX_EPOCH, here, here + Duration::from_secs(1 << 30)] {
            assert_eq!(of(Some("Sun, 06 Nov 1994 08:50:00 GMT"), now), Some(Duration::from_secs(37)));
        }
        assert_eq!(of(Some("yesterday"), here), Some(Duration::from_secs(60)));
    }
}
