//! Values that a guest returns or passes: no memory and no pointer harms the host, and no value is larger than the memory
//! that it came from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wit_abi::canonical::{CoreType, CoreValue};
use wit_abi::exports;
use wit_abi::abi_version::NamedAbiVersion;
use wit_abi::imports::{HostCall, HostFunc};

/// Core values that a call has at most.
const MAX_ARGS: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    let Some((words, memory)) = bytes.split_at_checked(MAX_ARGS * 4) else { return };
    let words: Vec<u32> =
        words.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect();
    let pointer = words[0];
    for named in NamedAbiVersion::ALL {
        let version = named.abi_version();
        for func in HostFunc::ALL {
            let types = func.core_type(&version).params;
            let args: Vec<CoreValue> = types
                .iter()
                .zip(words.iter().cycle())
                .map(|(ty, word)| match ty {
                    CoreType::I64 => CoreValue::I64(u64::from(*word)),
                    _ => CoreValue::I32(*word),
                })
                .collect();
            if let Ok(HostCall::EmitMessage(message)) = HostCall::lift(func, &version, &args, memory) {
                assert!(message.content.len() + message.metadata_json.len() <= memory.len() * 2);
            }
        }
    }
    if let Ok(Ok(config)) = exports::lift_on_start(pointer, memory) {
        assert!(config.display_name.len() <= memory.len());
    }
    if let Ok(response) = exports::lift_on_http_request(pointer, memory) {
        assert!(response.body.len() <= memory.len() && response.headers_json.len() <= memory.len());
    }
    let _ = exports::lift_on_respond(pointer, memory);
    let _ = exports::lift_on_broadcast(pointer, memory);
});
