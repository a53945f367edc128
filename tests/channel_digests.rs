//! A channel or tool that is kept as a binary must be what its sources make, and as small as it has to be.
//! `channels/build.sh` writes the digests of both into `channels/digests.txt`, `tools/build.sh` into `tools/digests.txt`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use wit_abi::abi_version::World;
use wit_abi::guest::{GuestKind, ImportKnowledge, read_guest_of};

/// Where guests are, and the most bytes of one.
const PLACES: [(&str, usize); 2] = [("channels", 350 * 1024), ("tools", 250 * 1024)];
/// The stack of a guest, in pages of 64 KiB; its data comes on top.
const STACK_PAGES: u64 = 4;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn names(place: &str) -> Vec<String> {
    let folders = fs::read_dir(root().join(place)).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = folders
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| root().join(format!("{place}/{name}/{name}.capabilities.json")).exists())
        .collect();
    names.sort();
    names
}

fn binary(place: &str, name: &str) -> Vec<u8> {
    let path = root().join(format!("{place}/{name}/{name}.wasm"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sha256(bytes: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every file below `path`, or `path` itself, but binaries and capability files.
fn files_below(path: &Path, found: &mut Vec<PathBuf>) {
    let full = root().join(path);
    if full.is_file() {
        let name = path.to_str().unwrap();
        if !name.ends_with(".wasm") && !name.ends_with(".capabilities.json") {
            found.push(path.into());
        }
        return;
    }
    for entry in fs::read_dir(&full).unwrap_or_else(|error| panic!("{}: {error}", full.display())) {
        files_below(&path.join(entry.unwrap().file_name()), found);
    }
}

/// The digest that `build.sh` takes of a guest's sources: digest and path of each file, by path.
fn digest_of_sources(place: &str, name: &str) -> String {
    let own = [name, "kit", "Cargo.toml", "Cargo.lock", ".cargo/config.toml"];
    let tool = ["fixtures/tool/Cargo.toml", "fixtures/tool/Cargo.lock", "fixtures/tool/src"];
    let mut files = Vec::new();
    own.iter().for_each(|path| files_below(&Path::new(place).join(path), &mut files));
    tool.iter().for_each(|path| files_below(Path::new(path), &mut files));
    let mut names: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    names.sort_unstable();
    let lines: String = names
        .iter()
        .map(|name| format!("{}  {name}\n", sha256(&fs::read(root().join(name)).unwrap())))
        .collect();
    sha256(lines.as_bytes())
}

#[test]
fn every_built_guest_is_what_its_sources_make() {
    for (place, _) in PLACES {
        let stale = stale(place);
        assert!(
            stale.is_empty(),
            "run {place}/build.sh and commit what it writes:\n  {}",
            stale.join("\n  ")
        );
    }
}

/// What is not as it was built.
fn stale(place: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(place).join("digests.txt")).unwrap();
    let noted: BTreeMap<&str, Vec<&str>> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(name, digests)| (name, digests.split(' ').collect()))
        .collect();
    let mut stale = Vec::new();
    for name in names(place) {
        match noted.get(name.as_str()).map(Vec::as_slice) {
            None => stale.push(format!("{name}: has never been built")),
            Some([sources, _]) if *sources != digest_of_sources(place, &name) => {
                stale.push(format!("{name}: its sources have changed since it was built"));
            }
            Some([_, built]) if *built == sha256(&binary(place, &name)) => {}
            Some(_) => {
                stale.push(format!("{name}: {place}/{name}/{name}.wasm is not the file that was built"))
            }
        }
    }
    stale
}

#[test]
fn guests_are_small_components_with_a_small_stack() {
    let names = |(place, most)| names(place).into_iter().map(move |name| (place, most, name));
    for (place, max_bytes, name) in PLACES.into_iter().flat_map(names) {
        let bytes = binary(place, &name);
        assert!(bytes.len() <= max_bytes, "{name}: {} bytes", bytes.len());
        let world = if place == "tools" { World::Tool } else { World::Channel };
        let guest =
            read_guest_of(world, &bytes, &|_| ImportKnowledge::Unknown).expect("a guest without WASI");
        assert_eq!(guest.kind, GuestKind::Component, "{name}");
        assert!(data_start(guest.module) <= STACK_PAGES * 65_536 + 1024, "{name}: its stack is larger");
        for start in ["/home/", "/root/", "/Users/"] {
            let found = bytes.windows(start.len()).any(|window| window == start.as_bytes());
            assert!(!found, "{name} carries a path that begins with {start}");
        }
    }
}

/// Where the first data segment of a module begins: the stack lies below it.
fn data_start(module: &[u8]) -> u64 {
    use wasmparser::{DataKind, Operator, Parser, Payload};
    let mut starts = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::DataSection(section) = payload.expect("a module") {
            for data in section {
                let DataKind::Active { offset_expr, .. } = data.expect("data").kind else { continue };
                if let Ok(Operator::I32Const { value }) = offset_expr.get_operators_reader().read() {
                    starts.push(u64::from(value.cast_unsigned()));
                }
            }
        }
    }
    starts.into_iter().min().expect("a channel has data")
}

/// A kit has its own copy of the interfaces, because it is carried to authors who have no clone of the repository.
#[test]
fn each_kit_has_the_interface_of_this_host() {
    for (own, of_host) in [
        ("channels/kit/wit/world.wit", "0.3.1/world.wit"),
        ("tools/kit/wit/world.wit", "tool-0.3.0/world.wit"),
        ("tools/kit/wit/deps/tinclaw-tools/state.wit", "tinclaw-tools/state.wit"),
    ] {
        let read = |path: PathBuf| fs::read(path).unwrap();
        assert_eq!(read(root().join(own)), read(root().join("wit-abi/wit").join(of_host)), "{own}");
    }
}
