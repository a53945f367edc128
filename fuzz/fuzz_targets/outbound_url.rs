//! A guest's URL against an allow-list: what is accepted stays what it is when it is read once more.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tinclaw::fuzzing::outbound_url(bytes));
