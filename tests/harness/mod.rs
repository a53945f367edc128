//! What the integration tests stand on: a fake upstream server, a client, a host with the fixture guests.
#![allow(dead_code, reason = "each test file uses its own part of the harness")]

pub mod client;
pub mod fixtures;
pub mod upstream;

use std::time::{Duration, Instant};

/// Waits until `condition` gives a value; fails the test after 90 seconds, which only a broken product needs.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + Duration::from_secs(90);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < give_up, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
