//! The JSON object of headers that a guest writes: no line break survives.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tinclaw::fuzzing::header_json(bytes));
