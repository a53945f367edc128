//! How the runtime is set up.

use crate::capability::limits::ChannelLimits;

/// Bytes of a guest's file that are read at most.
pub const DEFAULT_MAX_GUEST_BYTES: usize = 16 * 1024 * 1024;

/// The settings of a [`WasmChannelRuntime`](super::WasmChannelRuntime).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WasmChannelRuntimeConfig {
    /// What a callback may use, unless its channel's capability file says otherwise.
    pub limits: ChannelLimits,
    /// Bytes of a guest's file. Default 16 MiB; a larger one is refused.
    pub max_guest_bytes: usize,
}

impl Default for WasmChannelRuntimeConfig {
    /// 500,000,000 units of fuel, 30 s and 50 MiB of memory per callback.
    fn default() -> Self {
        Self { limits: ChannelLimits::default(), max_guest_bytes: DEFAULT_MAX_GUEST_BYTES }
    }
}

impl WasmChannelRuntimeConfig {
    /// A small and quick configuration: see [`ChannelLimits::for_testing`].
    #[must_use]
    pub fn for_testing() -> Self {
        Self { limits: ChannelLimits::for_testing(), ..Self::default() }
    }
}
