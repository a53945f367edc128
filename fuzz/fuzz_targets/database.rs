//! A database file with any bytes in it: it is refused, or what is read of it keeps its types.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tinclaw::fuzzing::database(bytes));
