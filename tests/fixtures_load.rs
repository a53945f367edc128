//! Every channel among the fixtures loads with its capability file, and is of the form and ABI version that it is there for.

use std::fs;
use std::path::{Path, PathBuf};

use tinclaw::{LoadResults, WasmChannelLoader, WasmChannelRuntime, WasmChannelRuntimeConfig};
use wit_abi::abi_version::{NamedAbiVersion, PackageVersion};
use wit_abi::guest::{GuestKind, ImportKnowledge, ImportName, read_guest};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn load_all() -> LoadResults {
    let runtime = WasmChannelRuntime::new(WasmChannelRuntimeConfig::for_testing()).unwrap();
    WasmChannelLoader::new(runtime).load_from_dir(&fixtures()).unwrap()
}

/// Takes every import for known: which of WASI the host has is tested by loading.
fn known(_: &ImportName<'_>) -> ImportKnowledge {
    ImportKnowledge::AnyType
}

/// Kind, nearest named ABI version, and the modules that the main module imports from.
fn shape(name: &str) -> (GuestKind, NamedAbiVersion, Vec<String>) {
    let bytes = fs::read(fixtures().join(format!("{name}.wasm"))).unwrap();
    let guest = read_guest(&bytes, &known).unwrap_or_else(|error| panic!("{name}: {error}"));
    let modules = guest.imports.iter().map(|import| import.module.clone()).collect();
    (guest.kind, guest.abi_version.nearest(), modules)
}

#[test]
fn every_fixture_loads_with_its_capability_file() {
    let results = load_all();
    let failed: Vec<String> = results.failed.iter().map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(results.warnings.is_empty(), "{:?}", results.warnings);
    assert_eq!(results.loaded.len(), 17);
}

#[test]
fn the_abi_versions_are_those_of_their_rows_oldest_first() {
    let rows = [
        ("abi_v1", NamedAbiVersion::Unversioned1),
        ("abi_v2", NamedAbiVersion::Unversioned2),
        ("abi_v3", NamedAbiVersion::Unversioned3),
        ("abi_v4", NamedAbiVersion::Unversioned4),
        ("abi_v5", NamedAbiVersion::Unversioned5),
        ("abi_v6", NamedAbiVersion::V0_2_0),
        ("abi_v7", NamedAbiVersion::V0_3_0First),
        ("abi_v8", NamedAbiVersion::V0_3_0Second),
    ];
    for (name, abi_version) in rows {
        let (kind, found, _) = shape(name);
        assert_eq!((kind, found), (GuestKind::Component, abi_version), "{name}");
    }
}

#[test]
fn the_forms_are_components_and_modules_with_each_kind_of_wasi() {
    let rows = [
        ("echo", GuestKind::Component, "wasi_snapshot_preview1"),
        ("echo_plain", GuestKind::Module, ""),
        ("everything", GuestKind::Component, ""),
        ("feed", GuestKind::Component, ""),
        ("large", GuestKind::Component, "wasi_snapshot_preview1"),
        ("preview1", GuestKind::Module, "wasi_snapshot_preview1"),
        ("preview2", GuestKind::Component, "wasi:"),
        ("reminder", GuestKind::Component, ""),
    ];
    for (name, form, wasi) in rows {
        let (kind, abi_version, modules) = shape(name);
        assert_eq!(kind, form, "{name}");
        assert_eq!(abi_version.version(), PackageVersion::V0_3_1, "{name} is {abi_version:?}");
        let has_wasi = modules.iter().any(|module| module.starts_with("wasi"));
        let has_this = modules.iter().any(|module| module.starts_with(wasi));
        assert_eq!(has_wasi, !wasi.is_empty(), "{name} imports from {modules:?}");
        assert!(has_this, "{name} imports from {modules:?}");
    }
}

#[test]
fn a_guest_that_wants_initialize_is_among_them() {
    let bytes = fs::read(fixtures().join("preview2.wasm")).unwrap();
    assert!(read_guest(&bytes, &known).unwrap().initialize.is_some());
}
