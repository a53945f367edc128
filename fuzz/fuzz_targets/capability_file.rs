//! A capability file: any bytes give typed values or an error that says where and what.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tinclaw::{ChannelCapabilitiesFile, ChannelName};

fuzz_target!(|bytes: &[u8]| {
    let Ok(channel) = "echo".parse::<ChannelName>() else { return };
    match ChannelCapabilitiesFile::parse("echo.capabilities.json", &channel, bytes) {
        Ok(file) => {
            let _ = file.inspect();
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
