//! Which features of WebAssembly a guest may use.

use wasmparser::WasmFeatures;

/// What wasmi runs, the vector instructions for an engine that was built with them, and the component model without
/// its asynchronous part. 64-bit memories, threads, exceptions and garbage collection are refused here.
pub(super) const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::COMPONENT_MODEL);
