//! What a guest may ask for: outbound HTTP, credentials, leak scan, workspace, pairing, rate limits.

pub mod workspace;
