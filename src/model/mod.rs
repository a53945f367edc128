//! Values that every room uses: names, rate limits, and small parts without I/O.

pub(crate) mod address_space;
pub(crate) mod backoff;
pub(crate) mod bounded;
pub(crate) mod clock;
pub(crate) mod closing_queue;
pub(crate) mod deadline;
pub(crate) mod diagnostic;
pub(crate) mod document;
mod document_format;
#[cfg(feature = "cli")]
pub(crate) mod document_parts;
pub(crate) mod escape;
pub(crate) mod human_duration;
pub(crate) mod io_advice;
pub(crate) mod log_throttle;
pub(crate) mod name;
pub(crate) mod oneshot;
pub(crate) mod prefix;
pub(crate) mod private_directory;
pub(crate) mod random;
pub(crate) mod rate_limit;
pub(crate) mod regular_file;
pub(crate) mod scoped_thread;
pub(crate) mod subject;
pub(crate) mod unique_json;
pub(crate) mod value_error;
pub(crate) mod vital_thread;
pub(crate) mod wait;
