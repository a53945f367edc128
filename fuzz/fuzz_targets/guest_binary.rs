//! A guest's binary: whatever bytes lie in `NAME.wasm`, they are refused with an error or become a guest.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wit_abi::abi_version::World;
use wit_abi::guest::{ImportKnowledge, ImportName, read_guest_of};

fn nothing_is_known(_: &ImportName<'_>) -> ImportKnowledge {
    ImportKnowledge::Unknown
}

fuzz_target!(|bytes: &[u8]| {
    for world in [World::Channel, World::Tool] {
        if let Ok(guest) = read_guest_of(world, bytes, &nothing_is_known) {
            assert!(guest.module.len() <= bytes.len(), "the core module is a part of the binary");
        }
    }
    tinclaw::fuzzing::guest_binary(bytes);
});
