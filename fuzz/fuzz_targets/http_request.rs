//! A request's head and chunks, however they are cut: what is accepted can be read in one way only.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tinclaw::fuzzing::http_request(bytes));
