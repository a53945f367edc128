//! A tool's capability file: any bytes give typed values or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tinclaw::fuzzing::tool_capability_file(bytes));
