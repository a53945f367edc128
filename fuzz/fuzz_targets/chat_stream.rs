//! A stream of a model's server: a response, or an error that says why there is none, wherever it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tinclaw::fuzzing::chat_stream(bytes));
