//! Numbers of the configuration that have bounds. A value outside of them is refused with both.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};

/// A whole number from `MIN` to `MAX`.
fn bounded<'de, D: Deserializer<'de>>(deserializer: D, min: u64, max: u64) -> Result<u64, D::Error> {
    let value = u64::deserialize(deserializer)?;
    match (min..=max).contains(&value) {
        true => Ok(value),
        false => Err(D::Error::custom(format!("{value} is out of range; give {min} to {max}"))),
    }
}

macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident, $get:ident -> $type:ty, |$value:ident| $make:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name<const MIN: u64, const MAX: u64>(u64);

        impl<const MIN: u64, const MAX: u64> $name<MIN, MAX> {
            /// The value.
            pub fn $get(self) -> $type {
                let $value = self.0;
                $make
            }
        }

        impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for $name<MIN, MAX> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                bounded(deserializer, MIN, MAX).map(Self)
            }
        }
    };
}

bounded!(
    /// A number of things.
    Count,
    get -> usize,
    |value| usize::try_from(value).unwrap_or(usize::MAX)
);
bounded!(
    /// Seconds.
    Secs,
    get -> Duration,
    |value| Duration::from_secs(value)
);
bounded!(
    /// Milliseconds.
    Millis,
    get -> Duration,
    |value| Duration::from_millis(value)
);
bounded!(
    /// Days, as a duration.
    Days,
    get -> Duration,
    |value| Duration::from_secs(value.saturating_mul(24 * 60 * 60))
);
bounded!(
    /// MiB, in bytes.
    Megabytes,
    get_bytes -> u64,
    |value| value.saturating_mul(1024 * 1024)
);
