//! Values that every room uses: names, rate limits, and small parts without I/O.

pub(crate) mod backoff;
pub(crate) mod clock;
pub(crate) mod deadline;
pub(crate) mod diagnostic;
pub(crate) mod document;
mod document_format;
pub(crate) mod escape;
pub(crate) mod human_duration;
pub(crate) mod log_throttle;
pub(crate) mod name;
pub(crate) mod oneshot;
pub(crate) mod prefix;
pub(crate) mod random;
pub(crate) mod rate_limit;
pub(crate) mod subject;
pub(crate) mod vital_thread;
pub(crate) mod wait;
