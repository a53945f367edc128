//! The one thread that owns all routing state: lanes, admission, pausing, fresh instances.
