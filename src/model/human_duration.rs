//! Durations as people read them: `350 ms`, `30 s`, `5 min`, `1 h 30 min`, `2 days`.

use std::fmt;
use std::time::Duration;

/// Prints a duration in at most two units, rounded to what matters at its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HumanDuration(pub Duration);

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded up from a microsecond below the next millisecond: what is left of 30 s is 30 s, not 29.9999 s.
        let millis = self.0.saturating_add(Duration::from_micros(500)).as_millis();
        if millis == 0 && !self.0.is_zero() {
            return f.write_str("less than 1 ms");
        }
        if millis < 1_000 {
            return write!(f, "{millis} ms");
        }
        if millis < 10_000 && !millis.is_multiple_of(1_000) {
            return write!(f, "{}.{} s", millis / 1_000, millis % 1_000 / 100);
        }
        let seconds = (millis + 500) / 1_000;
        let (minutes, hours) = ((seconds + 30) / 60, (seconds + 1_800) / 3_600);
        match seconds {
            0..=119 => write!(f, "{seconds} s"),
            120..=599 if !seconds.is_multiple_of(60) => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            120..=7_199 => write!(f, "{minutes} min"),
            7_200..=86_399 if !minutes.is_multiple_of(60) => {
                write!(f, "{} h {} min", minutes / 60, minutes % 60)
            }
            7_200..=172_799 => write!(f, "{hours} h"),
            _ => write!(f, "{} days", (seconds + 43_200) / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_as_people_read_them() {
        let secs = Duration::from_secs;
        for (duration, text) in [
            (Duration::ZERO, "0 ms"),
            (Duration::from_nanos(1), "less than 1 ms"),
            (Duration::from_millis(350), "350 ms"),
            (Duration::from_millis(999), "999 ms"),
            (secs(1), "1 s"),
            (Duration::from_millis(1_250), "1.2 s"),
            // Once printed as 29.99999972s.
            (Duration::from_nanos(29_999_999_720), "30 s"),
            (secs(90), "90 s"),
            (secs(120), "2 min"),
            (secs(150), "2 min 30 s"),
            (secs(900), "15 min"),
            (secs(3_600), "60 min"),
            (secs(7_200), "2 h"),
            (secs(9_000), "2 h 30 min"),
            (secs(86_400), "24 h"),
            (secs(172_800), "2 days"),
            (Duration::MAX, "213503982334601 days"),
        ] {
            assert_eq!(HumanDuration(duration).to_string(), text, "{duration:?}");
        }
    }
}
