//! The words by which whoever knows systems of this kind finds their way: all of them are at the top of the crate.

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
        let dir = std::env::temp_dir().join(format!("tinclaw-names-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        install_bundled_channel(name, &dir, false).unwrap();
        assert_eq!(discover_channels(&dir).unwrap().channels.len(), 1);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
