//! A webhook of any shape, for every preset: it never verifies against a key that it was not signed with.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tinclaw::fuzzing::webhook_signature(bytes));
