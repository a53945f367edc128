//! How long a server of models asks to wait. No I/O.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest wait that is believed.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);

/// The wait that the headers of a 429 or 503 ask for: `Retry-After` (RFC 9110, section 10.2.3), `retry-after-ms`, or the longest
/// of `x-ratelimit-reset*` whose `x-ratelimit-remaining*` is 0, or else of all of them.
pub(super) fn asked_wait(header: impl Fn(&str) -> Option<String>, now: SystemTime) -> Option<Duration> {
    let millis = || header("retry-after-ms")?.trim().parse::<f64>().ok().and_then(|ms| seconds(ms / 1000.0));
    let wait = millis().or_else(|| header("retry-after").and_then(|value| retry_after(&value, now)));
    wait.or_else(|| reset(&header, now)).map(|wait| wait.min(MAX_WAIT))
}

fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    match value.trim().parse::<f64>() {
        Ok(number) => seconds(number),
        Err(_) => {
            let date = httpdate::parse_http_date(value.trim()).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        }
    }
}

fn reset(header: &impl Fn(&str) -> Option<String>, now: SystemTime) -> Option<Duration> {
    let resets = ["", "-requests", "-tokens"].into_iter().filter_map(|what| {
        let wait = reset_wait(&header(&format!("x-ratelimit-reset{what}"))?, now)?;
        let is_used_up =
            header(&format!("x-ratelimit-remaining{what}")).is_some_and(|left| left.trim() == "0");
        Some((is_used_up, wait))
    });
    resets.max().map(|(_, wait)| wait)
}

/// `1s`, `6m0s`, `2m59.56s`, `20ms`; or seconds; or a Unix time in seconds or milliseconds.
fn reset_wait(value: &str, now: SystemTime) -> Option<Duration> {
    const YEAR_2001_SECS: f64 = 1e9;
    const YEAR_2001_MS: f64 = 1e12;
    let value = value.trim();
    let Ok(number) = value.parse::<f64>() else { return units(value) };
    let at = |since: Duration| (UNIX_EPOCH + since).duration_since(now).unwrap_or_default();
    match number {
        _ if number >= YEAR_2001_MS => seconds(number / 1000.0).map(at),
        _ if number >= YEAR_2001_SECS => seconds(number).map(at),
        _ => seconds(number),
    }
}

fn units(mut value: &str) -> Option<Duration> {
    let mut wait = Duration::ZERO;
    while !value.is_empty() {
        let end = value.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = value[..end].parse().ok()?;
        value = &value[end..];
        let (unit, factor) = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)]
            .into_iter()
            .find(|(unit, _)| value.starts_with(unit))?;
        value = &value[unit.len()..];
        wait = wait.saturating_add(seconds(number * factor)?);
    }
    Some(wait)
}

fn seconds(number: f64) -> Option<Duration> {
    if number < 0.0 || number.is_nan() {
        return None;
    }
    // A Unix time has to stay within what the clock can tell.
    Some(Duration::try_from_secs_f64(number.min(1e11)).unwrap_or(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read_from_what_servers_send() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<f64>);
        let rows: [Row<'_>; 18] = [
            ("nothing", &[], None),
            ("seconds", &[("retry-after", "30")], Some(30.0)),
            ("a fraction", &[("retry-after", "0.5")], Some(0.5)),
            ("a date", &[("retry-after", "Fri, 15 Jan 2027 08:01:00 GMT")], Some(60.0)),
            ("a date in the past", &[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(0.0)),
            ("milliseconds", &[("retry-after-ms", "1500"), ("retry-after", "9")], Some(1.5)),
            ("longer than a day", &[("retry-after", "1e9")], Some(MAX_WAIT.as_secs_f64())),
            ("negative", &[("retry-after", "-1")], None),
            ("no number", &[("retry-after", "soon")], None),
            ("units", &[("x-ratelimit-reset-requests", "6m0s")], Some(360.0)),
            ("a fraction with units", &[("x-ratelimit-reset-tokens", "2m59.5s")], Some(179.5)),
            ("milliseconds as a unit", &[("x-ratelimit-reset-tokens", "20ms")], Some(0.02)),
            ("hours", &[("x-ratelimit-reset", "1h1m")], Some(3660.0)),
            ("Unix milliseconds", &[("x-ratelimit-reset", "1800000005000")], Some(5.0)),
            ("Unix seconds", &[("x-ratelimit-reset", "1800000007")], Some(7.0)),
            ("a time in the past", &[("x-ratelimit-reset", "1700000007")], Some(0.0)),
            (
                "the one that is used up, though it is shorter",
                &[
                    ("x-ratelimit-reset-requests", "1d"),
                    ("x-ratelimit-remaining-requests", "5"),
                    ("x-ratelimit-reset-tokens", "3s"),
                    ("x-ratelimit-remaining-tokens", "0"),
                ],
                Some(3.0),
            ),
            ("nonsense", &[("x-ratelimit-reset", "5 parsecs")], None),
        ];
        for (what, headers, expected) in rows {
            let header = |name: &str| {
                headers.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(asked_wait(header, now).map(|wait| wait.as_secs_f64()), expected, "{what}");
        }
    }
}
