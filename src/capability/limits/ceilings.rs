//! The host's side of every limit: the most that any channel gets.

use std::fmt;

use super::channel::{ChannelLimits, LIMITS};
use super::http::HTTP_LIMITS;
use crate::capability::HttpCapability;

/// The highest values that the host gives to any channel, whatever a file asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitCaps {
    limits: ChannelLimits,
    http: HttpCapability,
    /// The fields of [`HTTP_LIMITS`] that the host's configuration sets.
    set_http: Vec<&'static str>,
}

impl Default for LimitCaps {
    /// The `ceiling` columns of [`LIMITS`] and [`HTTP_LIMITS`].
    fn default() -> Self {
        let mut ceilings =
            Self { limits: ChannelLimits::default(), http: HttpCapability::default(), set_http: Vec::new() };
        LIMITS.iter().for_each(|limit| (limit.set)(&mut ceilings.limits, limit.ceiling));
        HTTP_LIMITS.iter().for_each(|limit| (limit.set)(&mut ceilings.http, limit.ceiling));
        ceilings
    }
}

impl LimitCaps {
    /// Sets one ceiling, named and counted as its capability field is: `"memory_mb"`, 64. Fields of
    /// `capabilities.http` have `http.` in front; `channel.` in front of the others may be left out.
    ///
    /// A ceiling below the default lowers the default too. One above it raises the default where the table says so
    /// ([`HttpLimit::raises_default`](super::HttpLimit::raises_default)).
    ///
    /// # Errors
    /// [`LimitCapError`] when there is no such limit, or when the value is outside what any host may give: below the
    /// least that makes sense, or above a bound that is built in (lanes of
    /// [`MAX_LANE_CONCURRENCY`](super::MAX_LANE_CONCURRENCY), callbacks of
    /// [`MAX_CALLBACK_TIMEOUT_SECS`](super::MAX_CALLBACK_TIMEOUT_SECS)).
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), LimitCapError> {
        if let Some(limit) = LIMITS.iter().find(|limit| is_called(limit.field, name)) {
            check_range(limit.field, value, limit.least, limit.most)?;
            (limit.set)(&mut self.limits, value);
        } else if let Some(limit) = HTTP_LIMITS.iter().find(|limit| is_called(limit.field, name)) {
            check_range(limit.field, value, 0, limit.most)?;
            (limit.set)(&mut self.http, value);
            self.set_http.push(limit.field);
        } else {
            return Err(LimitCapError::Unknown { field: name.to_owned() });
        }
        Ok(())
    }

    /// The ceilings, as the limits of a channel that gets all that the host gives.
    pub fn as_limits(&self) -> &ChannelLimits {
        &self.limits
    }

    /// Lowers the limits of outbound HTTP to what the host gives, and says which were lowered. A default is raised to what
    /// the host's configuration sets, where the table says so.
    pub fn cap_http(&self, http: &mut HttpCapability) -> Vec<ClampedLimit> {
        let mut adjusted = Vec::new();
        for limit in HTTP_LIMITS {
            let (asked, most) = ((limit.get)(http), (limit.get)(&self.http));
            if asked > most {
                (limit.set)(http, most);
                adjusted.push(ClampedLimit { field: limit.field, unit: limit.unit, asked, given: most });
            } else if limit.raises_default
                && asked == (limit.get)(&HttpCapability::default())
                && self.set_http.contains(&limit.field)
            {
                (limit.set)(http, most);
            }
        }
        adjusted
    }
}

/// Whether the host's configuration means this field.
fn is_called(field: &str, name: &str) -> bool {
    field == name || field.strip_prefix("channel.") == Some(name)
}

fn check_range(field: &'static str, value: u64, least: u64, most: u64) -> Result<(), LimitCapError> {
    match (least..=most).contains(&value) {
        true => Ok(()),
        false => Err(LimitCapError::OutOfRange { field, value, least, most }),
    }
}

/// Why a ceiling of the host's configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitCapError {
    /// No limit has this name.
    #[error("there is no limit `{field}`: the limits are {}", field_names())]
    Unknown {
        /// The name that was given.
        field: String,
    },
    /// The value cannot be a ceiling.
    #[error("the ceiling `{field}` cannot be {value}: give {least} to {most}")]
    OutOfRange {
        /// The limit.
        field: &'static str,
        /// The value that was given.
        value: u64,
        /// The lowest that is accepted.
        least: u64,
        /// The highest that is accepted.
        most: u64,
    },
}

fn field_names() -> String {
    let own = LIMITS.iter().map(|limit| limit.field.trim_start_matches("channel."));
    own.chain(HTTP_LIMITS.iter().map(|limit| limit.field)).collect::<Vec<_>>().join(", ")
}

/// A value that a file asked for and did not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClampedLimit {
    /// The field, below `capabilities`.
    pub field: &'static str,
    /// What its number counts.
    pub unit: &'static str,
    /// What the file asked for.
    pub asked: u64,
    /// What the channel gets.
    pub given: u64,
}

impl fmt::Display for ClampedLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, unit, asked, given } = self;
        let bound = if given < asked { "at most" } else { "at least" };
        write!(f, "`capabilities.{field}` asks for {asked} {unit}; {bound} {given} is given")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_is_set_by_the_name_of_its_field() {
        let mut ceilings = LimitCaps::default();
        ceilings.set("memory_mb", 64).unwrap();
        ceilings.set("channel.max_timers", 3).unwrap();
        ceilings.set("http.max_requests_per_callback", 7).unwrap();
        ceilings.set("http.max_response_bytes", 1000).unwrap();
        assert_eq!(ceilings.as_limits().memory_bytes, 64 << 20);
        assert_eq!(ceilings.as_limits().timers, 3);
        assert_eq!(ceilings.as_limits().http_calls, 7);
        assert_eq!(ceilings.http.max_response_bytes, 1000);
    }

    #[test]
    fn every_row_takes_its_bounds_and_nothing_beyond() {
        for limit in LIMITS {
            let mut ceilings = LimitCaps::default();
            for value in [limit.least, limit.ceiling, limit.most] {
                assert_eq!(ceilings.set(limit.field, value), Ok(()), "{}", limit.field);
                assert_eq!(
                    (limit.get)(ceilings.as_limits()),
                    value,
                    "{} comes back as it was set",
                    limit.field
                );
            }
            for value in [limit.least.checked_sub(1), limit.most.checked_add(1)].into_iter().flatten() {
                let refused =
                    matches!(ceilings.set(limit.field, value), Err(LimitCapError::OutOfRange { .. }));
                assert!(refused, "{} = {value}", limit.field);
            }
        }
        for limit in HTTP_LIMITS {
            let mut ceilings = LimitCaps::default();
            assert_eq!(ceilings.set(limit.field, limit.most), Ok(()), "{}", limit.field);
            assert_eq!((limit.get)(&ceilings.http), limit.most, "{}", limit.field);
            assert!(ceilings.set(limit.field, limit.most + 1).is_err(), "{}", limit.field);
        }
    }

    #[test]
    fn an_unknown_ceiling_is_refused_with_the_known_ones() {
        let error = LimitCaps::default().set("memory", 64).unwrap_err();
        assert!(
            error.to_string().contains("memory_mb") && error.to_string().contains("http.timeout_secs"),
            "{error}"
        );
    }

    #[test]
    fn outbound_http_is_lowered_to_the_ceiling_and_told() {
        for limit in HTTP_LIMITS {
            for (asked, expected) in [(limit.ceiling, None), (limit.ceiling + 1, Some(limit.ceiling))] {
                let mut http = HttpCapability::default();
                (limit.set)(&mut http, asked);
                let adjusted = LimitCaps::default().cap_http(&mut http);
                assert_eq!((limit.get)(&http), limit.ceiling, "{}", limit.field);
                assert_eq!(adjusted.first().map(|told| told.given), expected, "{}", limit.field);
            }
        }
        let mut defaults = HttpCapability::default();
        assert_eq!(LimitCaps::default().cap_http(&mut defaults), []);
        assert_eq!(defaults, HttpCapability::default());
    }

    // A published Telegram file names no `max_request_bytes`, and the operator could only lower it: attachments of 1 MiB and
    // more were never sent.
    #[test]
    fn an_operator_raises_and_lowers_the_bytes_of_requests_whose_file_names_none() {
        let resolved = |ceiling: Option<u64>, asked: Option<u64>| {
            let mut ceilings = LimitCaps::default();
            if let Some(ceiling) = ceiling {
                ceilings.set("http.max_request_bytes", ceiling).unwrap();
            }
            let mut http = HttpCapability::default();
            if let Some(asked) = asked {
                http.max_request_bytes = asked;
            }
            ceilings.cap_http(&mut http);
            http.max_request_bytes >> 20
        };
        let mib = |n: u64| Some(n << 20);
        assert_eq!(resolved(None, None), 50, "what a reply may carry");
        assert_eq!(resolved(mib(80), None), 80);
        assert_eq!(resolved(mib(1), None), 1);
        assert_eq!(resolved(mib(80), mib(2)), 2, "the file's own value stays");
        assert_eq!(resolved(None, mib(60)), 50);
    }

    #[test]
    fn an_operator_raises_no_rate_that_a_file_does_not_ask_for() {
        let mut ceilings = LimitCaps::default();
        ceilings.set("http.rate_limit.requests_per_minute", 1_000).unwrap();
        let mut http = HttpCapability::default();
        ceilings.cap_http(&mut http);
        assert_eq!(http, HttpCapability::default());
    }
}
