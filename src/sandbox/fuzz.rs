//! Fuzzing of guests' binaries.

use std::sync::OnceLock;

use super::{WasmChannelRuntime, WasmChannelRuntimeConfig};

/// A binary on its whole way to a prepared guest.
pub fn guest_binary(bytes: &[u8]) {
    static RUNTIME: OnceLock<WasmChannelRuntime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        WasmChannelRuntime::new(WasmChannelRuntimeConfig::default())
            .expect("the default configuration is valid")
    });
    if let Err(error) = runtime.prepare("fuzz", bytes) {
        assert!(!error.to_string().is_empty(), "a refused guest is explained");
    }
}
