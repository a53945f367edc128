//! What the operator gives to any channel at most, and what of a file is changed by it.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};

use super::table::{ChannelLimits, LIMITS, Limit, Sections};
use crate::capability::ChannelCapabilities;
use crate::model::document::nearest;
use crate::model::value_error::ValueError;

/// The highest values that the host gives to any channel, whatever a file asks for. Deserialises from a map of fields to
/// values, as [`set`](Self::set) takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitCaps {
    caps: ChannelLimits,
    /// The fields that the host's configuration sets.
    set: Vec<&'static str>,
}

impl Default for LimitCaps {
    /// The column "cap" of `docs/limits.md`.
    fn default() -> Self {
        let mut caps = ChannelLimits::default();
        LIMITS.iter().for_each(|limit| (limit.set)(&mut caps, limit.cap));
        Self { caps, set: Vec::new() }
    }
}

impl LimitCaps {
    /// Sets one cap, named and counted as its capability field is: `"memory_mb"`, 64. Fields of `capabilities.http` have
    /// `http.` in front; `channel.` in front of the others may be left out.
    ///
    /// A cap below the default lowers the default too. Those of `http.max_request_bytes` and `http.max_response_bytes` are
    /// also what a channel gets whose file does not have these fields.
    ///
    /// # Errors
    /// [`ValueError`] when there is no such limit, or when the value is outside what any host may give: below
    /// the least that the limit may be, or above the highest cap that it may have.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), ValueError> {
        let Some(limit) = LIMITS.iter().find(|limit| is_called(limit.field, name)) else {
            return Err(ValueError::UnknownLimit { field: name.to_owned(), known: field_names() });
        };
        let Limit { field, min, max_cap, .. } = *limit;
        if !(min..=max_cap).contains(&value) {
            return Err(ValueError::CapOutOfRange { field, value, min, max: max_cap });
        }
        (limit.set)(&mut self.caps, value);
        self.set.push(field);
        Ok(())
    }

    /// The caps, as the limits of a channel that gets all that the host gives.
    #[must_use]
    pub fn as_limits(&self) -> &ChannelLimits {
        &self.caps
    }

    /// What a file gets that does not have the field of this limit.
    fn default_of(&self, limit: &Limit) -> u64 {
        match limit.cap_is_default() && self.set.contains(&limit.field) {
            true => (limit.get)(&self.caps),
            false => limit.default,
        }
    }
}

impl<'de> Deserialize<'de> for LimitCaps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(CapsVisitor)
    }
}

struct CapsVisitor;

impl<'de> Visitor<'de> for CapsVisitor {
    type Value = LimitCaps;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a set of limits")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<LimitCaps, A::Error> {
        let mut caps = LimitCaps::default();
        while let Some(name) = fields.next_key::<String>()? {
            fields.next_value_seed(OneCap { caps: &mut caps, name: &name })?;
        }
        Ok(caps)
    }
}

/// The value of one limit: what is wrong with it is an error at its place.
struct OneCap<'a> {
    caps: &'a mut LimitCaps,
    name: &'a str,
}

impl<'de> DeserializeSeed<'de> for OneCap<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let before = self.caps.set.len();
        let value = match LIMITS.iter().any(|limit| is_called(limit.field, self.name)) {
            true => u64::deserialize(deserializer)?,
            // The name is wrong, whatever stands there.
            false => 0,
        };
        match self.caps.set(self.name, value) {
            Ok(()) if self.caps.set[..before].contains(&self.caps.set[before]) => {
                Err(D::Error::custom("duplicate limit; keep one of them"))
            }
            Ok(()) => Ok(()),
            Err(ValueError::CapOutOfRange { value, min, max, .. }) => {
                Err(D::Error::custom(format!("{value} is out of range; give {min} to {max}")))
            }
            Err(ValueError::UnknownLimit { known, .. }) => {
                let names: Vec<&str> = known.split(", ").collect();
                Err(D::Error::custom(match nearest(self.name, &names) {
                    Some(near) => format!("there is no such limit; did you mean `{near}`?"),
                    None => format!("there is no such limit; the limits are {known}"),
                }))
            }
            Err(other) => Err(D::Error::custom(other)),
        }
    }
}

impl ChannelLimits {
    /// The limits of a channel: what its file asks for, else the default, and never above the host's cap.
    ///
    /// Also returned is what was asked for and not given as it was asked, in the order of the table.
    pub(crate) fn resolve(capabilities: &ChannelCapabilities, caps: &LimitCaps) -> (Self, Vec<ClampedLimit>) {
        Self::resolve_sections(&capabilities.into(), caps)
    }

    /// The same for either kind of capability file.
    pub(crate) fn resolve_sections(
        capabilities: &Sections<'_>,
        caps: &LimitCaps,
    ) -> (Self, Vec<ClampedLimit>) {
        let mut limits = Self::default();
        let mut clamped = Vec::new();
        for limit in LIMITS {
            let asked = (limit.asked)(capabilities);
            let wanted = asked.unwrap_or_else(|| caps.default_of(limit));
            let given = wanted.max(limit.min).min((limit.get)(&caps.caps));
            (limit.set)(&mut limits, given);
            if let Some(asked) = asked.filter(|asked| *asked != given) {
                clamped.push(ClampedLimit { field: limit.field, unit: limit.unit, asked, given });
            }
        }
        (limits, clamped)
    }
}

/// Whether the host's configuration means this field.
fn is_called(field: &str, name: &str) -> bool {
    field == name || field.strip_prefix("channel.") == Some(name)
}

fn field_names() -> String {
    let names = LIMITS.iter().map(|limit| limit.field.trim_start_matches("channel."));
    names.collect::<Vec<_>>().join(", ")
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
#[path = "caps_tests.rs"]
mod tests;
