//! Webhook authentication: declared as data, decided without I/O.
