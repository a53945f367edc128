//! Frames of a service that the host holds a websocket to, and the ends of its connections, for every protocol.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tinclaw::fuzzing::link_frames(bytes));
