//! How long settled records are kept: numbers and decisions.

/// What housekeeping keeps of what is settled. Pending messages and replies are never forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long acknowledged and dropped messages, and delivered and dropped replies are kept: default 7 days.
    pub settled_ms: u64,
    /// How long dead replies are kept: default 30 days.
    pub dead_ms: u64,
    /// How many settled messages are kept, and how many settled replies (dead ones included): default 10,000 each.
    pub max_settled: u64,
    /// How many bytes of settled messages are kept, attachments included, and how many of settled replies: default
    /// 256 MiB each.
    pub max_settled_bytes: u64,
    /// How many seen keys are kept for each channel: default 10,000.
    pub max_seen: u64,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        Self {
            settled_ms: 7 * DAY_MS,
            dead_ms: 30 * DAY_MS,
            max_settled: 10_000,
            max_settled_bytes: 256 << 20,
            max_seen: 10_000,
        }
    }
}

/// What one round of housekeeping forgot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Housekeeping {
    /// Messages.
    pub messages: u64,
    /// Replies.
    pub replies: u64,
    /// Seen keys.
    pub seen: u64,
    /// Expired pairing requests.
    pub pairing: u64,
    /// Whether there is more to forget; call again.
    pub more: bool,
}
