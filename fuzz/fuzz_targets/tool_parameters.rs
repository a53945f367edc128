//! A tool's schema and parameters: any text gives a list of problems.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tinclaw::fuzzing::tool_parameters(bytes));
