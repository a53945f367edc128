//! The encrypted file of secrets: any bytes are refused or opened, without a panic and within bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tinclaw::fuzzing::secrets_file(bytes));
