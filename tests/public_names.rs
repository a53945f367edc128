//! The words by which whoever knows systems of this kind finds their way: all of them are at the top of the crate. And how
//! many public items there are.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use support::temp_dir::TempDir;
#[expect(unused_imports, reason = "that they can be named is what is tested")]
use tinclaw::{
    ChannelCapabilities, ChannelCapabilitiesFile, ChannelConfig, ChannelEmitRateLimiter, ChannelHostState,
    ChannelManager, DiscoveredChannel, EmitRateLimitConfig, EmittedMessage, HttpEndpointConfig, HttpResponse,
    LoadResults, MessageStream, PollConfig, PreparedChannelModule, RegisteredEndpoint, WasmChannel,
    WasmChannelError, WasmChannelLoader, WasmChannelRouter, WasmChannelRuntime, WasmChannelRuntimeConfig,
    available_channel_names, bundled_channel_names, default_channels_dir, discover_channels,
    install_bundled_channel,
};

/// Without the feature `bundled` a name is known, but its files are not here.
#[test]
fn available_channels_are_bundled_and_can_be_installed() {
    let available = available_channel_names();
    assert_eq!(available.contains(&"webchat"), cfg!(feature = "bundled"));
    for name in &available {
        assert!(bundled_channel_names().contains(name), "{name}");
        let dir = TempDir::new();
        install_bundled_channel(name, dir.path(), false).unwrap();
        assert_eq!(discover_channels(dir.path()).unwrap().channels.len(), 1);
    }
}

/// The public surface was 291 items once, most of them internals that tests and benches used.
#[test]
fn the_public_items_are_few() {
    const MAX_ITEMS: usize = 120;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let root = fs::read_to_string(source.join("lib.rs")).unwrap();
    let modules = root.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let mut items = exported(&root);
    // The daemon's `main` and what is fuzzed are not for programs that use the library.
    for module in modules.filter(|module| !["fuzzing", "cli"].contains(module)) {
        let text = fs::read_to_string(source.join(module).join("mod.rs")).unwrap();
        items.extend(exported(&text));
    }
    println!("{} public items: {}", items.len(), items.iter().cloned().collect::<Vec<_>>().join(" "));
    assert!(
        items.contains("Host") && items.contains("ChannelName") && items.contains("StoreError"),
        "{items:?}"
    );
    assert!(items.len() <= MAX_ITEMS, "{} public items: {items:?}", items.len());
}

/// What a table of contents makes public: the names that it re-exports, and what it defines itself.
fn exported(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for statement in text.split(';').filter_map(|part| part.rsplit_once("\npub use ")).map(|(_, path)| path) {
        let last = statement.rsplit_once("::").map_or(statement, |(_, last)| last);
        let list = statement.split_once('{').map_or(last, |(_, list)| list.trim_end().trim_end_matches('}'));
        names.extend(list.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()));
    }
    for line in text.lines() {
        let mut words = line.split([' ', '(', '<', ':', '{']);
        let is_item = |kind: &str| ["fn", "struct", "enum", "trait", "type", "const"].contains(&kind);
        if words.next() == Some("pub") && words.next().is_some_and(is_item) {
            names.extend(words.next().map(str::to_owned));
        }
    }
    names
}
