//! The types that cross between threads.
