//! How long a service asks to wait, in each of the forms that services use.

use std::time::SystemTime;

use serde_json::Value;

/// The wait that a response asks for, in milliseconds, at most a day.
///
/// The header `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3); in a JSON body `parameters.retry_after`
/// in seconds (Telegram Bot API, `ResponseParameters`), `retry_after` in seconds with a fraction (Discord, "Rate Limits"),
/// or `retry_after_ms` (Matrix client-server API, `M_LIMIT_EXCEEDED`). `now_ms`: milliseconds since 1970, for dates.
pub fn of_response(header: Option<&str>, body: &[u8], now_ms: u64) -> Option<u64> {
    let wait = header.and_then(|value| of_header(value.trim(), now_ms)).or_else(|| of_body(body));
    wait.map(|wait| wait.min(LONGEST_MS))
}

/// A day.
const LONGEST_MS: u64 = 24 * 3600 * 1000;

fn of_header(value: &str, now_ms: u64) -> Option<u64> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(value.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1000));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let date = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some((date.as_millis() as u64).saturating_sub(now_ms))
}

fn of_body(body: &[u8]) -> Option<u64> {
    let body: Value = serde_json::from_slice(body).ok()?;
    if let Some(wait) = body.get("retry_after_ms").and_then(Value::as_u64) {
        return Some(wait);
    }
    let seconds = body.pointer("/parameters/retry_after").or_else(|| body.get("retry_after"))?;
    // A cast saturates; a negative number becomes 0.
    Some((seconds.as_f64()? * 1000.0).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_understood() {
        let now = 784_111_777_000;
        for (case, header, body, expected) in [
            ("seconds", Some("30"), "", Some(30_000)),
            ("too many digits", Some("99999999999999999999999"), "", Some(LONGEST_MS)),
            ("a date", Some("Sun, 06 Nov 1994 08:50:37 GMT"), "", Some(60_000)),
            ("a date that is over", Some("Sun, 06 Nov 1994 08:00:00 GMT"), "", Some(0)),
            ("Telegram", None, r#"{"ok":false,"parameters":{"retry_after":7}}"#, Some(7_000)),
            ("Discord", None, r#"{"retry_after":0.25,"global":false}"#, Some(250)),
            ("Matrix", None, r#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":2000}"#, Some(2_000)),
            ("the header counts first", Some("1"), r#"{"retry_after":9}"#, Some(1_000)),
            ("a day at most", None, r#"{"retry_after":1e300}"#, Some(LONGEST_MS)),
            ("nothing", Some("soon"), "slow down", None),
        ] {
            assert_eq!(of_response(header, body.as_bytes(), now), expected, "{case}");
        }
    }
}
