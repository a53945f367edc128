//! How long a service asks to wait, in each of the forms that services use.

use serde_json::Value;

/// The wait that a response asks for, in milliseconds, at most a day.
///
/// The header `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3); in a JSON body `parameters.retry_after`
/// in seconds (Telegram Bot API, `ResponseParameters`), `retry_after` in seconds with a fraction (Discord, "Rate Limits"),
/// or `retry_after_ms` (Matrix client-server API, `M_LIMIT_EXCEEDED`). `now_ms`: milliseconds since 1970, for dates.
pub fn of_response(header: Option<&str>, body: &[u8], now_ms: u64) -> Option<u64> {
    let wait = header.and_then(|value| of_header(value.trim(), now_ms)).or_else(|| of_body(body));
    wait.map(|wait| wait.min(MAX_MS))
}

/// A day.
const MAX_MS: u64 = 24 * 3600 * 1000;

fn of_header(value: &str, now_ms: u64) -> Option<u64> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(value.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1000));
    }
    Some(date_ms(value)?.saturating_sub(now_ms))
}

/// Milliseconds since 1970 of a date such as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7). The two obsolete
/// forms are not read. A crate for it would add 7 KB to every guest.
fn date_ms(text: &str) -> Option<u64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let words: Vec<&str> = text.split([' ', ':']).collect();
    let [_, day, month, year, hour, minute, second, "GMT"] = words.as_slice() else { return None };
    let number = |digits: &str, most: u64| {
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|number| is_plain && *number <= most)
    };
    let month = (MONTHS.find(month).filter(|at| month.len() == 3 && at % 3 == 0)? / 3) as u64;
    // Years begin in March here, so that the day that a leap year has more is its last one.
    let year = number(year, 9999)?.checked_sub(u64::from(month < 2))?;
    let days = 365 * year + year / 4 - year / 100 + year / 400;
    let days = days + (153 * ((month + 10) % 12) + 2) / 5 + number(day, 31)?;
    let seconds = number(hour, 23)? * 3600 + number(minute, 59)? * 60 + number(second, 60)?;
    // 719,469 days from the first of March of the year 0 to 1970.
    Some((days.checked_sub(719_469)? * 86_400 + seconds) * 1000)
}

fn of_body(body: &[u8]) -> Option<u64> {
    let body = crate::json::value(body);
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
    fn dates_are_counted_from_1970() {
        for (date, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Mon, 28 Feb 2000 23:59:59 GMT", 951_782_399),
            ("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400),
            ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
            ("Fri, 31 Dec 2100 23:59:59 GMT", 4_133_980_799),
        ] {
            assert_eq!(date_ms(date), Some(seconds * 1000), "{date}");
        }
        assert_eq!(date_ms("Wed, 31 Dec 1969 23:59:59 GMT"), None);
    }

    #[test]
    fn each_form_is_understood() {
        let now = 784_111_777_000;
        for (case, header, body, expected) in [
            ("seconds", Some("30"), "", Some(30_000)),
            ("too many digits", Some("99999999999999999999999"), "", Some(MAX_MS)),
            ("a date", Some("Sun, 06 Nov 1994 08:50:37 GMT"), "", Some(60_000)),
            ("a date that is over", Some("Sun, 06 Nov 1994 08:00:00 GMT"), "", Some(0)),
            ("a leap day", Some("Tue, 29 Feb 2000 00:00:00 GMT"), "", Some(MAX_MS)),
            ("no such month", Some("Sun, 06 Nob 1994 08:50:37 GMT"), "", None),
            ("no such hour", Some("Sun, 06 Nov 1994 24:50:37 GMT"), "", None),
            ("Telegram", None, r#"{"ok":false,"parameters":{"retry_after":7}}"#, Some(7_000)),
            ("Discord", None, r#"{"retry_after":0.25,"global":false}"#, Some(250)),
            ("Matrix", None, r#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":2000}"#, Some(2_000)),
            ("the header counts first", Some("1"), r#"{"retry_after":9}"#, Some(1_000)),
            ("a day at most", None, r#"{"retry_after":1e300}"#, Some(MAX_MS)),
            ("nothing", Some("soon"), "slow down", None),
        ] {
            assert_eq!(of_response(header, body.as_bytes(), now), expected, "{case}");
        }
    }
}
