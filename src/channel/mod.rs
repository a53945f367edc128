//! What a channel is: names, capability files, configuration, loader, manager, bundled channels.

pub mod capabilities;
