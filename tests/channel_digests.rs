//! A channel that is kept as a binary must be what its sources make, and as small as channels have to be.
//! `channels/build.sh` writes the digests of both into `channels/digests.txt`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use wit_abi::guest::{GuestKind, ImportKnowledge, read_guest};

/// The most bytes of a channel.
const MAX_BYTES: usize = 350 * 1024;
/// The stack of a channel, in pages of 64 KiB; its data comes on top.
const STACK_PAGES: u64 = 4;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn names() -> Vec<String> {
    let folders = fs::read_dir(root().join("channels")).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = folders
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| root().join(format!("channels/{name}/{name}.capabilities.json")).exists())
        .collect();
    names.sort();
    names
}

fn binary(name: &str) -> Vec<u8> {
    let path = root().join(format!("channels/{name}/{name}.wasm"));
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

/// The digest that `build.sh` takes of a channel's sources: digest and path of each file, by path.
fn digest_of_sources(name: &str) -> String {
    let shared = [
        "channels/kit",
        "channels/Cargo.toml",
        "channels/Cargo.lock",
        "channels/.cargo/config.toml",
        "fixtures/tool/Cargo.toml",
        "fixtures/tool/Cargo.lock",
        "fixtures/tool/src",
    ];
    let mut files = Vec::new();
    files_below(&Path::new("channels").join(name), &mut files);
    shared.iter().for_each(|path| files_below(Path::new(path), &mut files));
    let mut names: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    names.sort_unstable();
    let lines: String = names
        .iter()
        .map(|name| format!("{}  {name}\n", sha256(&fs::read(root().join(name)).unwrap())))
        .collect();
    sha256(lines.as_bytes())
}

#[test]
fn every_built_channel_is_what_its_sources_make() {
    let text = fs::read_to_string(root().join("channels/digests.txt")).unwrap();
    let noted: BTreeMap<&str, Vec<&str>> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(name, digests)| (name, digests.split(' ').collect()))
        .collect();
    let mut stale = Vec::new();
    for name in names() {
        match noted.get(name.as_str()).map(Vec::as_slice) {
            None => stale.push(format!("{name}: has never been built")),
            Some([sources, _]) if *sources != digest_of_sources(&name) => {
                stale.push(format!("{name}: its sources have changed since it was built"));
            }
            Some([_, built]) if *built == sha256(&binary(&name)) => {}
            Some(_) => {
                stale.push(format!("{name}: channels/{name}/{name}.wasm is not the file that was built"))
            }
        }
    }
    assert!(stale.is_empty(), "run channels/build.sh and commit what it writes:\n  {}", stale.join("\n  "));
}

#[test]
fn channels_are_small_components_with_a_small_stack() {
    for name in names() {
        let bytes = binary(&name);
        assert!(bytes.len() <= MAX_BYTES, "{name}: {} bytes", bytes.len());
        let guest = read_guest(&bytes, &|_| ImportKnowledge::Unknown).expect("a guest without WASI");
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

/// The kit has its own copy of the interface, because it is carried to authors who have no clone of the repository.
#[test]
fn the_kit_has_the_interface_of_this_host() {
    let own = fs::read(root().join("channels/kit/wit/world.wit")).unwrap();
    assert_eq!(own, fs::read(root().join("wit-abi/wit/0.3.1/world.wit")).unwrap());
}
