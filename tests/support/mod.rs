//! What the tests share, those in `src` as well: a fake upstream server, a client, a host with the fixture guests, a
//! directory for each test.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod client;
pub mod fixtures;
pub mod gateway;
#[cfg(feature = "cluster")]
pub mod mariadb;
pub mod model_stream;
pub mod own_process;
pub mod temp_dir;
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
