//! Builds the parts, starts and stops the threads in order.
