//! A line or a response of an agent: understood, or refused with an error that says why.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tinclaw::fuzzing::agent_line(bytes));
