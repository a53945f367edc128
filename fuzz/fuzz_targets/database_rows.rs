//! Rows of the database with any values in them: the store refuses them, or what is read of them keeps its types.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tinclaw::fuzzing::database_rows(bytes));
