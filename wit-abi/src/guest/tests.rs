//! Guests made by `wit-component` and by hand, and what is read from them.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve, WorldId};

use super::depth::MAX_DEPTH;
use super::*;
use crate::abi_version::{NamedAbiVersion, PackageVersion, StatusCases, World};
use crate::canonical::properties::cases;
use crate::canonical::{CoreFuncType, CoreType};
use crate::exports::GuestFunc;
use crate::imports::HostFunc;

/// The directory of each ABI version's `.wit` file.
pub(crate) const DIRECTORIES: [(&str, NamedAbiVersion); 14] = [
    ("unversioned-1", NamedAbiVersion::Unversioned1),
    ("unversioned-2", NamedAbiVersion::Unversioned2),
    ("unversioned-3", NamedAbiVersion::Unversioned3),
    ("unversioned-4", NamedAbiVersion::Unversioned4),
    ("unversioned-5", NamedAbiVersion::Unversioned5),
    ("0.2.0", NamedAbiVersion::V0_2_0),
    ("0.3.0-first", NamedAbiVersion::V0_3_0First),
    ("0.3.0-second", NamedAbiVersion::V0_3_0Second),
    ("0.3.1", NamedAbiVersion::V0_3_1),
    ("tool-unversioned-1", NamedAbiVersion::ToolUnversioned1),
    ("tool-unversioned-2", NamedAbiVersion::ToolUnversioned2),
    ("tool-unversioned-3", NamedAbiVersion::ToolUnversioned3),
    ("tool-0.2.0", NamedAbiVersion::ToolV0_2_0),
    ("tool-0.3.0", NamedAbiVersion::ToolV0_3_0),
];

const LEGACY: ManglingAndAbi = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);

fn wit(directory: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("wit").join(directory)
}

fn abi_world(directory: &str) -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit(directory)).unwrap();
    let world = resolve.select_world(package, None).unwrap();
    (resolve, world)
}

/// The world `guest` of a package that is written in a test, beside the newest of channels and of tools, and what this host
/// adds to them.
fn written_world(text: &str) -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    resolve.push_dir(wit("0.3.1")).unwrap();
    resolve.push_dir(wit("tinclaw-timers")).unwrap();
    resolve.push_dir(wit("tinclaw-socket")).unwrap();
    resolve.push_dir(wit("tool-0.3.0")).unwrap();
    resolve.push_dir(wit("tinclaw-tools")).unwrap();
    let package = resolve.push_str("test.wit", text).unwrap();
    let world = resolve.select_world(package, Some("guest")).unwrap();
    (resolve, world)
}

/// The world of 0.3.1 with a change in its text.
fn changed_world(from: &str, to: &str) -> (Resolve, WorldId) {
    let text = std::fs::read_to_string(wit("0.3.1").join("world.wit")).unwrap();
    assert!(text.contains(from), "{from}");
    let mut resolve = Resolve::default();
    let package = resolve.push_str("changed.wit", &text.replace(from, to)).unwrap();
    let world = resolve.select_world(package, None).unwrap();
    (resolve, world)
}

/// A core module that imports and exports all of the world, without anything that tells its interface types.
fn bare_module((resolve, world): &(Resolve, WorldId), mangling: ManglingAndAbi) -> Vec<u8> {
    dummy_module(resolve, *world, mangling)
}

/// `module` with the world in a custom section, as `wit-bindgen` leaves it there.
fn with_world(mut module: Vec<u8>, (resolve, world): &(Resolve, WorldId)) -> Vec<u8> {
    embed_component_metadata(&mut module, resolve, *world, StringEncoding::UTF8).unwrap();
    module
}

fn whole_module(world: &(Resolve, WorldId)) -> Vec<u8> {
    with_world(bare_module(world, LEGACY), world)
}

fn component(core: &[u8]) -> Vec<u8> {
    ComponentEncoder::default().validate(true).module(core).unwrap().encode().unwrap()
}

fn read(bytes: &[u8]) -> Result<Guest<'_>, GuestError> {
    read_guest(bytes, &|_| ImportKnowledge::Unknown)
}

/// Reads a guest of the world that `named` is a shape of.
fn read_of(named: NamedAbiVersion, bytes: &[u8]) -> Result<Guest<'_>, GuestError> {
    read_guest_of(named.world(), bytes, &|_| ImportKnowledge::Unknown)
}

fn read_any_wasi(bytes: &[u8]) -> Result<Guest<'_>, GuestError> {
    read_guest(bytes, &|import| match import.module.starts_with("wasi") {
        true => ImportKnowledge::AnyType,
        false => ImportKnowledge::Unknown,
    })
}

#[track_caller]
fn refusal(bytes: &[u8]) -> GuestError {
    read(bytes).map(|guest| guest.abi_version).expect_err("a refusal")
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// A plain core module as one writes it by hand, with what is required of every channel and `more`. The functions
/// have the core types of a guest without attachments.
fn hand_written(interface: &str, more: &str) -> Vec<u8> {
    wat(&format!(
        r#"(module
            {more}
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func (export "{interface}#on-start") (param i32 i32) (result i32) unreachable)
            (func (export "{interface}#on-http-request")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable)
            (func (export "{interface}#on-poll"))
            (func (export "{interface}#on-respond")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable)
            (func (export "{interface}#on-shutdown")))"#
    ))
}

#[test]
fn a_component_of_every_abi_version_is_read() {
    for (directory, named) in DIRECTORIES {
        let bytes = component(&whole_module(&abi_world(directory)));
        let guest = read_of(named, &bytes).unwrap_or_else(|error| panic!("{directory}: {error}"));
        assert_eq!(guest.kind, GuestKind::Component);
        assert_eq!(guest.abi_version, named.abi_version(), "{directory}");
        assert_eq!(guest.abi_version.nearest(), named);
        assert_eq!(guest.imports.len(), HostFunc::ALL.iter().filter(|func| named.imports(**func)).count());
    }
}

#[test]
fn a_core_module_of_every_abi_version_is_read() {
    for (directory, named) in DIRECTORIES {
        let bytes = whole_module(&abi_world(directory));
        let guest = read_of(named, &bytes).unwrap_or_else(|error| panic!("{directory}: {error}"));
        assert_eq!(guest.kind, GuestKind::Module);
        assert_eq!(guest.module, bytes);
        assert_eq!(guest.abi_version, named.abi_version(), "{directory}");
    }
}

#[test]
fn a_core_module_without_interface_types_tells_everything_but_the_status_cases() {
    for (directory, named) in DIRECTORIES {
        let bytes = bare_module(&abi_world(directory), LEGACY);
        let guest = read_of(named, &bytes).unwrap_or_else(|error| panic!("{directory}: {error}"));
        let mut expected = named.abi_version();
        if named == NamedAbiVersion::Unversioned5 {
            expected.status_cases = StatusCases::Five;
        }
        assert_eq!(guest.abi_version, expected, "{directory}");
    }
}

#[test]
fn the_newer_core_names_are_read() {
    for (directory, named) in DIRECTORIES {
        let world = abi_world(directory);
        let module = with_world(bare_module(&world, ManglingAndAbi::Standard32), &world);
        let bytes = component(&module);
        let guest = read_of(named, &bytes).unwrap_or_else(|error| panic!("{directory}: {error}"));
        assert_eq!(guest.abi_version, named.abi_version(), "{directory}");
        assert_eq!(guest.memory, "cm32p2_memory");
        assert_eq!(guest.realloc_for_arguments, "cm32p2_realloc");
        let start = guest.exports.iter().find(|export| export.func.returns_pointer()).unwrap();
        assert_eq!(start.post_return, Some(format!("{}_post", start.name)));

        let guest = read_of(named, &module).unwrap_or_else(|error| panic!("{directory}: {error}"));
        assert_eq!(guest.abi_version.status_cases, named.abi_version().status_cases, "{directory}");
        assert!(guest.abi_version.version.agrees_with(named.version()));
    }
}

#[test]
fn a_guest_of_the_other_world_is_refused_with_what_it_exports() {
    let tool = whole_module(&abi_world("tool-0.3.0"));
    for bytes in [component(&tool), tool] {
        let text = refusal(&bytes).to_string();
        assert!(text.starts_with("this is no channel: it exports `near:agent/tool@0.3.0`"), "{text}");
    }
    let channel = component(&whole_module(&abi_world("0.3.0-second")));
    let text = read_of(NamedAbiVersion::ToolV0_3_0, &channel).unwrap_err().to_string();
    assert!(text.starts_with("this is no tool: it exports `near:agent/channel@0.3.0`"), "{text}");
    assert!(text.ends_with("`near:agent/tool`, without a version or at 0.2.0 or 0.3.0"), "{text}");
}

#[test]
fn a_tool_lacks_what_its_world_has_and_no_more() {
    let named = NamedAbiVersion::ToolUnversioned1;
    let bytes = wat(r#"(module
        (import "near:agent/host" "log" (func (param i32 i32 i32)))
        (import "near:agent/host" "emit-message" (func))
        (import "near:agent/channel-host" "log" (func (param i32 i32 i32)))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "near:agent/tool#execute") (param i32 i32 i32 i32 i32) (result i32) unreachable)
        (func (export "near:agent/tool#schema") (result i32) unreachable)
        (func (export "near:agent/tool#description") (result i32) unreachable))"#);
    let imports = ["near:agent/host emit-message", "near:agent/channel-host log"].map(str::to_owned).to_vec();
    let refused = read_of(named, &bytes).map(|guest| guest.abi_version).unwrap_err();
    assert_eq!(refused, GuestError::UnknownImports { world: World::Tool, imports });

    let bytes = wat(r#"(module (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "near:agent/tool@0.2.0#schema") (result i32) unreachable))"#);
    let names = ["near:agent/tool@0.2.0#execute", "near:agent/tool@0.2.0#description"];
    let refused = read_of(named, &bytes).map(|guest| guest.abi_version).unwrap_err();
    assert_eq!(
        refused,
        GuestError::MissingExport { world: World::Tool, names: names.map(str::to_owned).to_vec() }
    );
}

#[test]
fn facts_of_a_tool_are_read_one_by_one() {
    // Five parameters under the old name of the response's text: each fact is what the binary says.
    let text = std::fs::read_to_string(wit("tool-unversioned-2").join("world.wit")).unwrap();
    let changed =
        text.replace("body: option<list<u8>>,\n    )", "body: option<list<u8>>,\n timeout-ms: option<u32>)");
    assert_ne!(text, changed);
    let mut resolve = Resolve::default();
    let package = resolve.push_str("changed.wit", &changed).unwrap();
    let world = resolve.select_world(package, None).unwrap();
    let bytes = component(&whole_module(&(resolve, world)));
    let abi_version = read_of(NamedAbiVersion::ToolUnversioned2, &bytes).unwrap().abi_version;
    assert!(abi_version.http_timeout && !abi_version.output_named);
}

#[test]
fn a_guest_has_the_exports_needed_to_link_and_call_it() {
    let world = abi_world("0.3.1");
    let bytes = component(&whole_module(&world));
    let guest = read(&bytes).unwrap();
    assert_eq!((guest.memory.as_str(), guest.realloc_for_arguments.as_str()), ("memory", "cabi_realloc"));
    assert_eq!(guest.realloc_for_results, "cabi_realloc");
    let exports: Vec<GuestFunc> = guest.exports.iter().map(|export| export.func).collect();
    assert_eq!(exports, GuestFunc::ALL[..7]);
    let respond = guest.export(GuestFunc::OnRespond).unwrap();
    assert_eq!(respond.name, "near:agent/channel@0.3.1#on-respond");
    assert_eq!(respond.post_return.as_deref(), Some("cabi_post_near:agent/channel@0.3.1#on-respond"));
    assert_eq!(guest.export(GuestFunc::OnPoll).unwrap().post_return, None);
    let request =
        guest.imports.iter().find(|import| import.host_func == Some(HostFunc::HttpRequest)).unwrap();
    assert_eq!(
        (request.module.as_str(), request.name.as_str()),
        ("near:agent/channel-host@0.3.1", "http-request")
    );
    assert_eq!(request.ty, HostFunc::HttpRequest.core_type(&guest.abi_version));
    assert_eq!(guest.initialize.as_deref(), Some("_initialize"));
    assert!(!guest.has_start);
}

#[test]
fn a_guest_with_timers_is_read() {
    let world = written_world(
        "package test:guest;
        world guest {
            include near:agent/sandboxed-channel@0.3.1;
            include tinclaw:timers/timers@0.1.0;
        }",
    );
    let module = whole_module(&world);
    for bytes in [module.clone(), component(&module)] {
        let guest = read(&bytes).unwrap();
        assert!(
            guest.abi_version.imports(HostFunc::TimerSet) && guest.abi_version.imports(HostFunc::TimerCancel)
        );
        assert!(guest.abi_version.exports(GuestFunc::OnTimer));
        assert_eq!(guest.export(GuestFunc::OnTimer).unwrap().name, "tinclaw:timers/handler@0.1.0#on-timer");
        assert_eq!(guest.abi_version.to_string(), "near:agent@0.3.1");
    }
}

#[test]
fn a_guest_with_a_websocket_is_read() {
    let world = written_world(
        "package test:guest;
        world guest {
            include near:agent/sandboxed-channel@0.3.1;
            include tinclaw:socket/socket@0.1.0;
        }",
    );
    let module = whole_module(&world);
    for bytes in [module.clone(), component(&module)] {
        let guest = read(&bytes).unwrap();
        assert!(guest.abi_version.imports(HostFunc::SocketSend));
        for (func, name) in [
            (GuestFunc::OnSocketOpen, "tinclaw:socket/handler@0.1.0#on-open"),
            (GuestFunc::OnSocketText, "tinclaw:socket/handler@0.1.0#on-text"),
            (GuestFunc::OnSocketClose, "tinclaw:socket/handler@0.1.0#on-close"),
        ] {
            assert_eq!(guest.export(func).unwrap().name, name);
        }
        assert_eq!(guest.abi_version.to_string(), "near:agent@0.3.1");
    }
}

#[test]
fn a_tool_with_files_of_its_own_is_read() {
    let world = written_world(
        "package test:guest;
        world guest {
            include near:agent/sandboxed-tool@0.3.0;
            include tinclaw:tools/with-state@0.1.0;
        }",
    );
    let module = whole_module(&world);
    for bytes in [module.clone(), component(&module)] {
        let guest = read_of(NamedAbiVersion::ToolV0_3_0, &bytes).unwrap();
        let imports = |func| guest.abi_version.imports(func);
        assert!(imports(HostFunc::StateRead) && imports(HostFunc::StateWrite));
        assert_eq!(guest.abi_version.to_string(), "near:agent@0.3.0");
        assert_eq!(guest.abi_version.world, World::Tool);
    }
}

#[test]
fn a_component_that_shows_little_is_of_the_oldest_shape_that_has_it() {
    let rows = [
        ("0.3.0-second", "", NamedAbiVersion::V0_3_0First),
        ("0.3.0-second", PAIRING_RESOLVE, NamedAbiVersion::V0_3_0Second),
        ("0.3.0-first", "", NamedAbiVersion::V0_3_0First),
        ("0.2.0", "", NamedAbiVersion::V0_2_0),
        ("unversioned-5", "", NamedAbiVersion::Unversioned5),
        ("unversioned-4", "", NamedAbiVersion::Unversioned2),
        ("unversioned-1", "", NamedAbiVersion::Unversioned1),
    ];
    for (directory, import, nearest) in rows {
        let world = abi_world(directory);
        let bytes = component(&with_world(without_imports(&world, import), &world));
        let guest = read(&bytes).unwrap_or_else(|error| panic!("{directory}: {error}"));
        assert_eq!(guest.abi_version.nearest(), nearest, "{directory}");
        assert_eq!(guest.imports.len(), usize::from(!import.is_empty()));
    }
}

const PAIRING_RESOLVE: &str = r#"(import "near:agent/channel-host@0.3.0" "pairing-resolve-identity"
    (func (param i32 i32 i32 i32 i32)))"#;

/// The module of a world as if the guest called nothing but `import`.
fn without_imports((resolve, world): &(Resolve, WorldId), import: &str) -> Vec<u8> {
    let module = text_of_exports(resolve, *world);
    wat(&module.replacen("(module", &format!("(module {import}"), 1))
}

/// The text of a core module with every export of a world.
fn text_of_exports(resolve: &Resolve, world: WorldId) -> String {
    use wit_parser::abi::{AbiVariant, WasmType};
    let mut text = String::from(
        r#"(module (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)"#,
    );
    for (key, item) in &resolve.worlds[world].exports {
        let wit_parser::WorldItem::Interface { id, .. } = item else { continue };
        let interface = resolve.name_world_key(key);
        for (name, function) in &resolve.interfaces[*id].functions {
            let signature = resolve.wasm_signature(AbiVariant::GuestExport, function);
            let types = |types: &[WasmType]| " i32".repeat(types.len());
            text.push_str(&format!(
                r#"(func (export "{interface}#{name}") (param{}) (result{}) unreachable)"#,
                types(&signature.params),
                types(&signature.results)
            ));
        }
    }
    text + ")"
}

#[test]
fn wasi_of_an_adapter_is_linked_directly() {
    let mut adapter = wat(r#"(module
        (func (export "fd_write") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "random_get") (param i32 i32) (result i32) unreachable))"#);
    let empty = written_world("package test:adapter; world guest {}");
    embed_component_metadata(&mut adapter, &empty.0, empty.1, StringEncoding::UTF8).unwrap();
    let world = abi_world("0.3.1");
    let import =
        r#"(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))"#;
    let module = with_world(without_imports(&world, import), &world);
    let encoder = ComponentEncoder::default().validate(true).module(&module).unwrap();
    let bytes = encoder.adapter("wasi_snapshot_preview1", &adapter).unwrap().encode().unwrap();

    let guest = read_any_wasi(&bytes).unwrap();
    let [import] = guest.imports.as_slice() else { panic!("{:?}", guest.imports) };
    assert_eq!((import.module.as_str(), import.name.as_str()), ("wasi_snapshot_preview1", "fd_write"));
    assert_eq!(import.host_func, None);
    assert_eq!(import.ty, CoreFuncType::new([CoreType::I32; 4], [CoreType::I32]));
}

#[test]
fn wasi_of_preview_2_is_linked_directly() {
    let mut resolve = Resolve::default();
    resolve.push_dir(wit("0.3.1")).unwrap();
    let wasi = "package wasi:io@0.2.3;
        interface streams {
            resource output-stream { blocking-write: func(contents: list<u8>) -> result; }
        }";
    resolve.push_str("wasi.wit", wasi).unwrap();
    let text = "package test:guest;
        world guest { include near:agent/sandboxed-channel@0.3.1; import wasi:io/streams@0.2.3; }";
    let package = resolve.push_str("test.wit", text).unwrap();
    let world = resolve.select_world(package, Some("guest")).unwrap();
    let bytes = component(&whole_module(&(resolve, world)));
    let guest = read_any_wasi(&bytes).unwrap();
    let foreign: Vec<String> = guest
        .imports
        .iter()
        .filter(|import| import.host_func.is_none())
        .map(|import| format!("{} {}", import.module, import.name))
        .collect();
    assert_eq!(
        foreign,
        [
            "wasi:io/streams@0.2.3 [method]output-stream.blocking-write",
            "wasi:io/streams@0.2.3 [resource-drop]output-stream",
        ]
    );
}

#[test]
fn a_module_written_by_hand_is_read() {
    let more = r#"
        (import "near:agent/channel-host" "log" (func (param i32 i32 i32)))
        (func (export "_initialize"))
        (func $start) (start $start)
        (func (export "near:agent/channel#on-status") (param i32 i32 i32 i32 i32))"#;
    let bytes = hand_written("near:agent/channel", more);
    let guest = read(&bytes).unwrap();
    assert_eq!(guest.abi_version.version, PackageVersion::Unversioned);
    assert_eq!(guest.abi_version.status_cases, StatusCases::Five);
    assert_eq!(guest.initialize.as_deref(), Some("_initialize"));
    assert!(guest.has_start);
    assert_eq!(guest.export(GuestFunc::OnStart).unwrap().post_return, None);
    assert_eq!(guest.abi_version.to_string(), "near:agent (second)");
    assert_eq!(read(&hand_written("near:agent/channel", "")).unwrap().initialize, None);
}

#[test]
fn allocators_for_arguments_and_results_may_differ() {
    let more = r#"(func (export "cabi_import_realloc") (param i32 i32 i32 i32) (result i32) unreachable)"#;
    let bytes = hand_written("near:agent/channel", more);
    let guest = read(&bytes).unwrap();
    assert_eq!(guest.realloc_for_arguments, "cabi_realloc");
    assert_eq!(guest.realloc_for_results, "cabi_import_realloc");
}

#[test]
fn files_that_are_not_webassembly_are_refused() {
    let rows: [(&[u8], &str); 3] = [
        (b"", "nothing, it is empty"),
        (b"#!/bin/sh\n", "`23 21 2f 62 69 6e 2f 73`"),
        (b"\0as", "`00 61 73`"),
    ];
    for (bytes, found) in rows {
        assert_eq!(refusal(bytes), GuestError::NotWebAssembly { found: found.to_owned() });
    }
}

#[test]
fn a_file_at_the_limit_is_read_and_one_past_it_is_not() {
    let mut bytes = vec![0; MAX_GUEST_SIZE + 1];
    assert_eq!(refusal(&bytes), GuestError::TooLarge { size: MAX_GUEST_SIZE + 1, limit: MAX_GUEST_SIZE });
    bytes.pop();
    assert!(matches!(refusal(&bytes), GuestError::NotWebAssembly { .. }));
}

#[test]
fn a_damaged_file_is_refused_with_the_place() {
    let whole = component(&whole_module(&abi_world("0.3.1")));
    let cut = refusal(&whole[..whole.len() / 2]);
    assert!(matches!(cut, GuestError::Malformed { offset, .. } if offset > 8), "{cut}");
    let version = refusal(b"\0asm\x63\0\0\0");
    assert!(matches!(version, GuestError::Malformed { .. }), "{version}");
}

#[test]
fn a_program_that_is_no_channel_is_refused_with_what_it_exports() {
    let world = written_world(
        "package test:other; interface greet { hello: func(); } world guest { export greet; export run: func(); }",
    );
    let module = whole_module(&world);
    let exports = vec!["run".to_owned(), "test:other/greet".to_owned()];
    let mut found = [refusal(&component(&module)), refusal(&module)].map(|error| match error {
        GuestError::OtherWorld { exports, .. } => exports,
        other => panic!("{other}"),
    });
    found.iter_mut().for_each(|names| {
        names.retain(|name| !name.starts_with('_'));
        names.sort();
    });
    assert_eq!(found, [exports.clone(), exports]);
    assert_eq!(
        refusal(&wat("(module)")).to_string().split(". ").next(),
        Some("this is no channel: it exports nothing")
    );
}

#[test]
fn a_version_that_is_not_known_is_refused_by_its_name() {
    let world = changed_world("near:agent@0.3.1", "near:agent@0.9.0");
    let module = whole_module(&world);
    for bytes in [module.clone(), component(&module)] {
        let error = refusal(&bytes);
        let GuestError::OtherWorld { exports, .. } = &error else { panic!("{error}") };
        assert!(exports.contains(&"near:agent/channel@0.9.0".to_owned()), "{error}");
    }
}

#[test]
fn everything_that_is_missing_is_named() {
    let bytes = wat(r#"(module (func (export "near:agent/channel@0.2.0#on-poll")))"#);
    let names = [
        "near:agent/channel@0.2.0#on-start",
        "near:agent/channel@0.2.0#on-http-request",
        "near:agent/channel@0.2.0#on-respond",
        "near:agent/channel@0.2.0#on-shutdown",
        "memory",
        "cabi_realloc",
    ];
    assert_eq!(
        refusal(&bytes),
        GuestError::MissingExport { world: World::Channel, names: names.map(str::to_owned).to_vec() }
    );
}

#[test]
fn every_unknown_import_is_named() {
    let more = r#"
        (import "env" "table" (table 1 funcref))
        (import "near:agent/channel-host" "launch-rocket" (func))
        (import "near:agent/channel-host@0.9.0" "log" (func (param i32 i32 i32)))
        (import "near:agent/channel-host@0.2.0" "log" (func (param i32 i32 i32)))
        (import "wasi:sockets/tcp@0.2.0" "[method]tcp-socket.bind" (func))"#;
    let imports = [
        "env table (a table)",
        "near:agent/channel-host launch-rocket",
        "near:agent/channel-host@0.9.0 log",
        "wasi:sockets/tcp@0.2.0 [method]tcp-socket.bind",
    ];
    let bytes = hand_written("near:agent/channel", more);
    assert_eq!(
        refusal(&bytes),
        GuestError::UnknownImports { world: World::Channel, imports: imports.map(str::to_owned).to_vec() }
    );
}

#[test]
fn the_hosts_own_imports_are_checked_against_its_types() {
    let import = r#"(import "wasi_snapshot_preview1" "proc_exit" (func (param i64)))"#;
    let bytes = hand_written("near:agent/channel", import);
    let typed =
        |ty: CoreType| read_guest(&bytes, &move |_| ImportKnowledge::Typed(CoreFuncType::new([ty], [])));
    assert!(typed(CoreType::I64).is_ok());
    let error = typed(CoreType::I32).map(|guest| guest.abi_version).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`wasi_snapshot_preview1 proc_exit` differs from what this host has: its core type is `(i64)`, \
         expected `(i32)`"
    );
}

#[test]
fn a_core_type_that_differs_is_refused() {
    let log = r#"(import "near:agent/channel-host" "log" (func (param i32 i32)))"#;
    let realloc = r#"(func (export "cabi_import_realloc") (param i32) (result i32) unreachable)"#;
    let status = r#"(func (export "near:agent/channel#on-status") (param i64))"#;
    let post = r#"(func (export "cabi_post_near:agent/channel#on-start"))"#;
    let initialize = r#"(func (export "_initialize") (param i32))"#;
    let rows = [
        (log, "near:agent/channel-host#log", "(i32, i32)", "(i32, i32, i32)"),
        (realloc, "cabi_import_realloc", "(i32) -> i32", "(i32, i32, i32, i32) -> i32"),
        (status, "near:agent/channel#on-status", "(i64)", "(i32, i32, i32, i32, i32)"),
        (post, "cabi_post_near:agent/channel#on-start", "()", "(i32)"),
        (initialize, "_initialize", "(i32)", "()"),
    ];
    for (more, name, is, should) in rows {
        match refusal(&hand_written("near:agent/channel", more)) {
            GuestError::SignatureDiffers { function, found, expected, .. } => {
                assert_eq!((function.as_str(), found.as_str(), expected.as_str()), (name, is, should));
            }
            other => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn an_interface_type_that_differs_is_refused_with_the_place() {
    let rows = [
        (
            ("timeout-ms: option<u32>", "timeout-ms: option<u64>"),
            ("near:agent/channel-host@0.3.1#http-request", "the value of parameter timeout-ms", "u64", "u32"),
        ),
        (
            ("on-poll: func();", "on-poll: func() -> bool;"),
            ("near:agent/channel@0.3.1#on-poll", "the function", "func() -> bool", "func()"),
        ),
        (
            ("size-bytes: option<u64>", "size-bytes: option<string>"),
            (
                "near:agent/channel-host@0.3.1#emit-message",
                "the value of field size-bytes of an element of field attachments of parameter msg",
                "string",
                "u64",
            ),
        ),
        (
            ("interval-ms: u32", "interval: u32"),
            (
                "near:agent/channel@0.3.1#on-start",
                "the value of field poll of success in the result",
                "record { interval: u32, enabled: bool }",
                "record { interval-ms: u32, enabled: bool }",
            ),
        ),
        (
            ("        error,\n    }", "        error,\n        fatal,\n    }"),
            (
                "near:agent/channel-host@0.3.1#log",
                "parameter level",
                "enum { trace, debug, info, warn, error, fatal }",
                "enum { trace, debug, info, warn, error }",
            ),
        ),
    ];
    for ((from, to), (name, part, is, should)) in rows {
        let module = whole_module(&changed_world(from, to));
        for bytes in [component(&module), module] {
            match refusal(&bytes) {
                GuestError::SignatureDiffers { function, place, found, expected } => {
                    assert_eq!((function.as_str(), place.as_str()), (name, part));
                    assert_eq!((found.as_str(), expected.as_str()), (is, should));
                }
                other => panic!("{name}: {other}"),
            }
        }
    }
}

#[test]
fn other_names_of_parameters_are_no_difference() {
    let world =
        changed_world("func(level: log-level, message: string)", "func(how: log-level, what: string)");
    assert!(read(&component(&whole_module(&world))).is_ok());
}

#[test]
fn a_core_type_must_be_that_of_the_interface_type() {
    // The section says that the world is the newest, the module has the functions of the first.
    let module = hand_written("near:agent/channel@0.3.1", "");
    let error = refusal(&with_world(module, &abi_world("0.3.1")));
    let GuestError::SignatureDiffers { function, place, .. } = &error else { panic!("{error}") };
    assert_eq!((function.as_str(), place.as_str()), ("near:agent/channel@0.3.1#on-respond", "its core type"));
}

#[test]
fn a_world_that_cannot_be_read_is_as_good_as_none() {
    let mut bytes = hand_written("near:agent/channel", "");
    let name = b"component-type:broken";
    bytes.extend([0, name.len() as u8 + 5, name.len() as u8]);
    bytes.extend(name);
    bytes.extend([1, 2, 3, 4]);
    assert_eq!(read(&bytes).unwrap().abi_version.nearest(), NamedAbiVersion::Unversioned1);
}

#[test]
fn a_composed_component_is_refused() {
    let inner = wat("(component (component (core module)))");
    assert!(matches!(refusal(&inner), GuestError::Composed { .. }));

    let main = r#"(core module (func (export "near:agent/channel#on-poll")))"#;
    let twice = wat(&format!(
        r#"(component {main} {main}
            (core instance $i (instantiate 0))
            (func $f (canon lift (core func $i "near:agent/channel#on-poll")))
            (instance $c (export "on-poll" (func $f)))
            (export "near:agent/channel" (instance $c)))"#
    ));
    let what = "2 core modules in it export the channel's functions".to_owned();
    assert_eq!(refusal(&twice), GuestError::Composed { what });
}

#[test]
fn a_component_without_canonical_core_names_is_refused() {
    let bytes = wat(r#"(component
        (core module $m (func (export "poll")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "poll")))
        (instance $c (export "on-poll" (func $f)))
        (export "near:agent/channel" (instance $c)))"#);
    assert_eq!(refusal(&bytes), GuestError::NoMainModule { world: World::Channel });
}

#[test]
fn another_string_encoding_is_refused() {
    let (resolve, world) = abi_world("0.3.1");
    let rows = [(StringEncoding::UTF16, "UTF-16"), (StringEncoding::CompactUTF16, "Latin-1 or UTF-16")];
    for (encoding, found) in rows {
        let mut module = dummy_module(&resolve, world, LEGACY);
        embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
        assert_eq!(refusal(&component(&module)), GuestError::StringEncoding { found });
    }
}

#[test]
fn memories_that_the_engine_does_not_run_are_refused() {
    let rows = [("(memory i64 1)", "64-bit memories"), ("(memory 1 1 shared)", "threads must be enabled")];
    for (memory, why) in rows {
        let text = format!(r#"(module {memory} (func (export "near:agent/channel#on-poll")))"#);
        match refusal(&wat(&text)) {
            GuestError::Malformed { message, .. } => assert!(message.contains(why), "{message}"),
            other => panic!("{memory}: {other}"),
        }
    }
}

/// A component whose last type has `depth` types around a primitive one, each an option of the one before.
fn options(depth: u32) -> Vec<u8> {
    let mut text = String::from("(component (type $t0 (option u8))");
    for index in 1..depth {
        text.push_str(&format!("(type $t{index} (record (field \"f\" $t{})))", index - 1));
    }
    wat(&(text + ")"))
}

/// A component with a type that is written inside `depth` others; the section by hand, because texts nest no deeper
/// than their own parser allows.
fn nested(depth: u32) -> Vec<u8> {
    // A component type (0x41) with one declaration, a type (0x01); the innermost has none.
    let mut section = vec![1];
    (1..depth).for_each(|_| section.extend([0x41, 1, 1]));
    section.extend([0x41, 0]);
    with_section(7, &section)
}

/// A component with one section.
fn with_section(id: u8, section: &[u8]) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    bytes.push(id);
    let mut len = section.len();
    while len >= 0x80 {
        bytes.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    bytes.push(len as u8);
    bytes.extend(section);
    bytes
}

/// Components inside one another, `depth` of them.
fn components(depth: u32) -> Vec<u8> {
    (1..depth).fold(with_section(0, b"\x01n"), |inner, _| with_section(4, &inner))
}

#[test]
fn nesting_is_followed_up_to_its_limit_and_no_further() {
    type Make = fn(u32) -> Vec<u8>;
    // What encloses counts: the component itself is the first level of what is nested in it.
    let rows: [(&str, Make, u32); 3] = [
        ("options", options, MAX_DEPTH),
        ("nested", nested, MAX_DEPTH - 1),
        ("components", components, MAX_DEPTH),
    ];
    for (name, make, limit) in rows {
        let fits = refusal(&make(limit));
        assert!(matches!(fits, GuestError::OtherWorld { .. }), "{name}: {fits}");
        let deeper = refusal(&make(limit + 1));
        assert!(matches!(deeper, GuestError::TooDeep { limit: MAX_DEPTH, .. }), "{name}: {deeper}");
    }
}

#[test]
fn nesting_that_would_exhaust_the_stack_is_an_error() {
    let deep = refusal(&nested(2_000_000));
    assert!(matches!(deep, GuestError::TooDeep { .. }), "{deep}");
    // A chain through imports and aliases.
    let mut text = String::from("(component (type $t0 (instance (export \"x\" (type (sub resource)))))");
    for index in 1..2_000 {
        text.push_str(&format!(
            "(type $t{index} (instance (alias outer 1 $t{} (type $p)) (export \"i\" (instance (type $p)))))",
            index - 1
        ));
    }
    let chain = refusal(&wat(&(text + ")")));
    assert!(matches!(chain, GuestError::TooDeep { .. }), "{chain}");
}

fn samples() -> Vec<Vec<u8>> {
    let module = whole_module(&abi_world("0.3.1"));
    vec![component(&module), module, nested(20), options(20)]
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn a_mutated_guest_never_panics(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        for mut bytes in SAMPLES.with(Clone::clone) {
            for (at, value) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            let _ = read(&bytes);
        }
    }

    #[test]
    fn a_shortened_guest_never_panics(at in any::<prop::sample::Index>(), gap in 0usize..64) {
        for bytes in SAMPLES.with(Clone::clone) {
            let at = at.index(bytes.len());
            let _ = read(&bytes[..at]);
            let mut hole = bytes[..at].to_vec();
            hole.extend(&bytes[(at + gap).min(bytes.len())..]);
            let _ = read(&hole);
        }
    }
}

thread_local! {
    static SAMPLES: Vec<Vec<u8>> = samples();
}
