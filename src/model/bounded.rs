//! Numbers of a configuration, read within their bounds. One outside of them is refused with both.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// A whole number from `min` to `max`.
pub(crate) fn bounded<'de, D: Deserializer<'de>>(field: D, min: u64, max: u64) -> Result<u64, D::Error> {
    let value = u64::deserialize(field)?;
    match (min..=max).contains(&value) {
        true => Ok(value),
        false => Err(D::Error::custom(format!("{value} is out of range; give {min} to {max}"))),
    }
}

/// A number of things.
pub(crate) fn count<'de, D, N, const MIN: u64, const MAX: u64>(field: D) -> Result<N, D::Error>
where
    D: Deserializer<'de>,
    N: TryFrom<u64>,
{
    let count = bounded(field, MIN, MAX)?;
    N::try_from(count).map_err(|_| D::Error::custom(format!("{count} is too large")))
}

/// A duration in seconds.
pub(crate) fn secs<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    field: D,
) -> Result<Duration, D::Error> {
    bounded(field, MIN, MAX).map(Duration::from_secs)
}

/// A duration in milliseconds.
pub(crate) fn millis<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    field: D,
) -> Result<Duration, D::Error> {
    bounded(field, MIN, MAX).map(Duration::from_millis)
}

/// A duration in days.
pub(crate) fn days<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    field: D,
) -> Result<Duration, D::Error> {
    bounded(field, MIN, MAX).map(|days| Duration::from_secs(days.saturating_mul(24 * 60 * 60)))
}

/// A number of MiB, in bytes.
pub(crate) fn megabytes<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    field: D,
) -> Result<u64, D::Error> {
    bounded(field, MIN, MAX).map(|megabytes| megabytes.saturating_mul(1024 * 1024))
}

/// [`count`] for what need not be set.
#[cfg(any(feature = "cli", feature = "agent-openai"))]
pub(crate) fn some_count<'de, D, N, const MIN: u64, const MAX: u64>(field: D) -> Result<Option<N>, D::Error>
where
    D: Deserializer<'de>,
    N: TryFrom<u64>,
{
    count::<D, N, MIN, MAX>(field).map(Some)
}
