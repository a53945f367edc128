//! The names of core imports and exports, and what they stand for.
//!
//! There are two ways to write them. The usual one is `near:agent/channel@0.3.1#on-start`, with `memory`,
//! `cabi_realloc` and `cabi_post_…` beside it. The newer one begins with `cm32p2`, separates with bars and shortens
//! versions to what semantic versioning tells apart: `cm32p2|near:agent/channel@0.3|on-start`
//! (`BuildTargets.md` of the component model).

use crate::abi_version::{NamedAbiVersion, PackageVersion, World};
use crate::exports::{GuestFunc, GuestInterface};
use crate::imports::{HostFunc, HostInterface};

const CHANNEL_HOST: &str = "near:agent/channel-host";
const TOOL_HOST: &str = "near:agent/host";
const TIMERS_HOST: &str = "tinclaw:timers/host";
const TIMERS_HANDLER: &str = "tinclaw:timers/handler";
const SOCKET_HOST: &str = "tinclaw:socket/host";
const SOCKET_HANDLER: &str = "tinclaw:socket/handler";
const TOOL_STATE: &str = "tinclaw:tools/state";

/// The prefix of the newer names.
const STANDARD: &str = "cm32p2|";

/// The host interface of `world` that a core import's module, or a component's import, names.
pub(super) fn host_interface(world: World, name: &str) -> Option<HostInterface> {
    let (standard, path) = split_standard(name);
    let (interface, own) = match world {
        World::Channel => (HostInterface::ChannelHost, CHANNEL_HOST),
        World::Tool => (HostInterface::ToolHost, TOOL_HOST),
    };
    if version_of(world, path, own, standard).is_some() {
        return Some(interface);
    }
    let added = [
        (TIMERS_HOST, HostInterface::Timers),
        (SOCKET_HOST, HostInterface::Socket),
        (TOOL_STATE, HostInterface::ToolState),
    ];
    added_interface(path, standard, added).filter(|interface| interface.world() == world)
}

/// The function that a core import of a guest of `world` names.
pub(super) fn host_func(world: World, module: &str, name: &str) -> Option<HostFunc> {
    HostFunc::named(host_interface(world, module)?, name)
}

/// The interface of a guest of `world` that a component's export names, and its version when it is the world's own.
pub(super) fn guest_interface(world: World, name: &str) -> Option<(GuestInterface, Option<PackageVersion>)> {
    let (standard, path) = split_standard(name);
    let interface = match world {
        World::Channel => GuestInterface::Channel,
        World::Tool => GuestInterface::Tool,
    };
    if let Some(version) = version_of(world, path, world.interface(), standard) {
        return Some((interface, Some(version)));
    }
    let added =
        [(TIMERS_HANDLER, GuestInterface::TimerHandler), (SOCKET_HANDLER, GuestInterface::SocketHandler)];
    let interface = added_interface(path, standard, added).filter(|_| world == World::Channel)?;
    Some((interface, None))
}

/// The function that a core export of a guest of `world` names, and its version when it is one of the world's own.
pub(super) fn guest_func(world: World, name: &str) -> Option<(GuestFunc, Option<PackageVersion>)> {
    let (interface, func) = split_export(name)?;
    let (interface, version) = guest_interface(world, interface)?;
    Some((GuestFunc::named(interface, func)?, version))
}

/// The interface and the function of a core export, the interface still with its `cm32p2|`.
pub(super) fn split_export(name: &str) -> Option<(&str, &str)> {
    let separator = if name.starts_with(STANDARD) { '|' } else { '#' };
    name.rsplit_once(separator)
}

/// The name of the function that frees the result of the callback exported as `name`.
pub(super) fn post_return(name: &str) -> String {
    if name.starts_with(STANDARD) { format!("{name}_post") } else { format!("cabi_post_{name}") }
}

/// The names under which a guest exports what the host needs beside the callbacks, best first. They are those that
/// the component encoder `wit-component` knows.
pub(super) struct Intrinsics {
    pub memory: &'static [&'static str],
    pub realloc_for_arguments: &'static [&'static str],
    pub realloc_for_results: &'static [&'static str],
    pub initialize: &'static [&'static str],
}

pub(super) const INTRINSICS: Intrinsics = Intrinsics {
    memory: &["memory", "cm32p2_memory"],
    realloc_for_arguments: &[
        "cabi_export_realloc",
        "cabi_realloc",
        "canonical_abi_realloc",
        "cm32p2_realloc",
    ],
    realloc_for_results: &["cabi_import_realloc", "cabi_realloc", "canonical_abi_realloc", "cm32p2_realloc"],
    initialize: &["_initialize", "cm32p2_initialize"],
};

fn split_standard(name: &str) -> (bool, &str) {
    match name.strip_prefix(STANDARD) {
        Some(path) => (true, path),
        None => (false, name),
    }
}

fn version_of(world: World, path: &str, interface: &str, standard: bool) -> Option<PackageVersion> {
    let version = PackageVersion::from_suffix(path.strip_prefix(interface)?)?;
    if !NamedAbiVersion::of_world(world).any(|row| version.agrees_with(row.version())) {
        return None;
    }
    let fits = match version {
        PackageVersion::Unversioned => true,
        PackageVersion::V0_2 | PackageVersion::V0_3 => standard,
        PackageVersion::V0_2_0 | PackageVersion::V0_3_0 | PackageVersion::V0_3_1 => !standard,
    };
    fits.then_some(version)
}

/// Which of the interfaces that this host adds to the two worlds `path` names. All are at version 0.1.0.
fn added_interface<T, const N: usize>(path: &str, standard: bool, added: [(&str, T); N]) -> Option<T> {
    let version = if standard { "@0.1" } else { "@0.1.0" };
    let named = |(interface, _): &(&str, T)| path.strip_prefix(interface) == Some(version);
    added.into_iter().find(named).map(|(_, interface)| interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_known_by_their_interface_and_name() {
        let rows = [
            ("near:agent/channel-host", "log", Some(HostFunc::Log)),
            ("near:agent/channel-host@0.2.0", "http-request", Some(HostFunc::HttpRequest)),
            ("near:agent/channel-host@0.3.0", "pairing-is-allowed", Some(HostFunc::PairingIsAllowed)),
            ("near:agent/channel-host@0.3.1", "websocket-send-text", Some(HostFunc::WebsocketSendText)),
            ("cm32p2|near:agent/channel-host@0.3", "log", Some(HostFunc::Log)),
            ("cm32p2|near:agent/channel-host", "log", Some(HostFunc::Log)),
            ("tinclaw:timers/host@0.1.0", "set", Some(HostFunc::TimerSet)),
            ("cm32p2|tinclaw:timers/host@0.1", "cancel", Some(HostFunc::TimerCancel)),
            ("tinclaw:socket/host@0.1.0", "send", Some(HostFunc::SocketSend)),
            ("cm32p2|tinclaw:socket/host@0.1", "send", Some(HostFunc::SocketSend)),
            ("tinclaw:socket/host@0.1.0", "set", None),
            ("tinclaw:tools/state@0.1.0", "read", None),
            ("near:agent/channel-host@0.3", "log", None),
            ("cm32p2|near:agent/channel-host@0.3.1", "log", None),
            ("near:agent/channel-host@0.4.0", "log", None),
            ("near:agent/channel-hosts", "log", None),
            ("near:agent/channel-host", "set", None),
            ("tinclaw:timers/host@0.2.0", "set", None),
            ("env", "log", None),
        ];
        for (module, name, func) in rows {
            assert_eq!(host_func(World::Channel, module, name), func, "{module} {name}");
        }
    }

    #[test]
    fn exports_are_known_by_their_interface_and_name() {
        use PackageVersion::*;
        let rows = [
            ("near:agent/channel#on-start", Some((GuestFunc::OnStart, Some(Unversioned)))),
            ("near:agent/channel@0.3.1#on-broadcast", Some((GuestFunc::OnBroadcast, Some(V0_3_1)))),
            ("cm32p2|near:agent/channel@0.3|on-poll", Some((GuestFunc::OnPoll, Some(V0_3)))),
            ("tinclaw:timers/handler@0.1.0#on-timer", Some((GuestFunc::OnTimer, None))),
            ("tinclaw:socket/handler@0.1.0#on-text", Some((GuestFunc::OnSocketText, None))),
            ("cm32p2|tinclaw:socket/handler@0.1|on-close", Some((GuestFunc::OnSocketClose, None))),
            ("near:agent/channel@0.3.1#on-timer", None),
            ("near:agent/channel@0.9.0#on-start", None),
            ("near:agent/channel-host#log", None),
            ("cabi_post_near:agent/channel#on-start", None),
            ("on-start", None),
        ];
        for (name, func) in rows {
            assert_eq!(guest_func(World::Channel, name), func, "{name}");
        }
    }

    #[test]
    fn the_names_of_tools_are_their_own() {
        use PackageVersion::*;
        let imports = [
            ("near:agent/host", "tool-invoke", Some(HostFunc::ToolInvoke)),
            ("near:agent/host@0.2.0", "http-request", Some(HostFunc::HttpRequest)),
            ("cm32p2|near:agent/host@0.3", "workspace-read", Some(HostFunc::WorkspaceRead)),
            ("tinclaw:tools/state@0.1.0", "read", Some(HostFunc::StateRead)),
            ("cm32p2|tinclaw:tools/state@0.1", "write", Some(HostFunc::StateWrite)),
            ("tinclaw:tools/state@0.2.0", "read", None),
            ("near:agent/host@0.3.0", "read", None),
            ("near:agent/host@0.3.0", "workspace-write", None),
            ("near:agent/host@0.3.0", "emit-message", None),
            ("near:agent/host@0.3.1", "log", None),
            ("near:agent/channel-host@0.3.0", "log", None),
            ("tinclaw:timers/host@0.1.0", "set", None),
            ("tinclaw:socket/host@0.1.0", "send", None),
        ];
        for (module, name, func) in imports {
            assert_eq!(host_func(World::Tool, module, name), func, "{module} {name}");
        }
        assert_eq!(host_func(World::Channel, "near:agent/host", "log"), None);
        let exports = [
            ("near:agent/tool#execute", Some((GuestFunc::Execute, Some(Unversioned)))),
            ("near:agent/tool@0.3.0#schema", Some((GuestFunc::Schema, Some(V0_3_0)))),
            ("cm32p2|near:agent/tool@0.2|description", Some((GuestFunc::Description, Some(V0_2)))),
            ("near:agent/tool@0.3.1#execute", None),
            ("near:agent/tool#on-start", None),
            ("near:agent/channel#on-start", None),
        ];
        for (name, func) in exports {
            assert_eq!(guest_func(World::Tool, name), func, "{name}");
        }
        assert_eq!(guest_func(World::Channel, "near:agent/tool#execute"), None);
    }

    #[test]
    fn post_return_follows_the_way_of_the_name() {
        assert_eq!(post_return("near:agent/channel#on-start"), "cabi_post_near:agent/channel#on-start");
        assert_eq!(
            post_return("cm32p2|near:agent/channel@0.3|on-start"),
            "cm32p2|near:agent/channel@0.3|on-start_post"
        );
    }
}
