//! A guest that is kept as a binary must be what its sources make. `fixtures/build.sh` writes the digests of both into
//! `fixtures/digests.txt` when it builds; whoever changes a source and does not build is told so here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

/// One line of `fixtures/guests.list`.
struct Guest {
    name: String,
    package: String,
    is_component: bool,
    wit: Vec<String>,
    /// The line itself, with single spaces.
    row: String,
}

/// The digests that were noted when a guest was built.
struct Noted {
    sources: String,
    binary: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn lines(file: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).map(String::from).collect()
}

fn guests() -> Vec<Guest> {
    lines("fixtures/guests.list")
        .iter()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, package, _features, _target, form, wit @ ..] = words.as_slice() else {
                panic!("fixtures/guests.list: a line is too short: {line}");
            };
            Guest {
                name: (*name).into(),
                package: (*package).into(),
                is_component: *form == "component",
                wit: wit.iter().map(|folder| (*folder).into()).collect(),
                row: words.join(" "),
            }
        })
        .collect()
}

fn noted() -> BTreeMap<String, Noted> {
    lines("fixtures/digests.txt")
        .iter()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, sources, binary] = words.as_slice() else {
                panic!("fixtures/digests.txt: a line is not three words: {line}");
            };
            ((*name).into(), Noted { sources: (*sources).into(), binary: (*binary).into() })
        })
        .collect()
}

fn sha256(bytes: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every file below `path`, or `path` itself, as paths from the root of the repository.
fn files_below(path: &Path, found: &mut Vec<PathBuf>) {
    let full = root().join(path);
    if full.is_file() {
        found.push(path.into());
        return;
    }
    let entries = fs::read_dir(&full).unwrap_or_else(|error| panic!("{}: {error}", full.display()));
    for entry in entries {
        files_below(&path.join(entry.unwrap().file_name()), found);
    }
}

/// The digest that `build.sh` takes of a guest's sources: its line, then digest and path of each file, by path.
fn digest_of_sources(guest: &Guest) -> String {
    let mut paths = vec![
        PathBuf::from("fixtures/guests").join(&guest.package),
        PathBuf::from("fixtures/guests/Cargo.toml"),
        PathBuf::from("fixtures/guests/Cargo.lock"),
    ];
    paths.extend(guest.wit.iter().map(|folder| Path::new("wit-abi/wit").join(folder)));
    if guest.is_component {
        paths.extend(["Cargo.toml", "Cargo.lock", "src"].map(|name| Path::new("fixtures/tool").join(name)));
    }
    let mut files = Vec::new();
    for path in &paths {
        files_below(path, &mut files);
    }
    let mut names: Vec<String> = files.iter().map(|file| file.to_str().unwrap().replace('\\', "/")).collect();
    names.sort();
    let mut text = format!("{}\n", guest.row);
    for name in names {
        text.push_str(&format!("{}  {name}\n", sha256(&fs::read(root().join(&name)).unwrap())));
    }
    sha256(text.as_bytes())
}

#[test]
fn every_built_guest_is_what_its_sources_make() {
    let noted = noted();
    let mut stale = Vec::new();
    for guest in guests() {
        let name = &guest.name;
        let Some(noted) = noted.get(name) else {
            stale.push(format!("{name}: has never been built"));
            continue;
        };
        if digest_of_sources(&guest) != noted.sources {
            stale.push(format!("{name}: its sources have changed since it was built"));
        }
        match fs::read(root().join(format!("fixtures/{name}.wasm"))) {
            Ok(bytes) if sha256(&bytes) == noted.binary => {}
            Ok(_) => stale.push(format!("{name}: fixtures/{name}.wasm is not the file that was built")),
            Err(error) => stale.push(format!("{name}: fixtures/{name}.wasm: {error}")),
        }
    }
    assert!(stale.is_empty(), "run fixtures/build.sh and commit what it writes:\n  {}", stale.join("\n  "));
}

#[test]
fn no_guest_lies_around_that_nothing_builds() {
    let listed: Vec<String> = guests().into_iter().map(|guest| guest.name).collect();
    for entry in fs::read_dir(root().join("fixtures")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(listed.iter().any(|guest| guest == name), "{name} is not in fixtures/guests.list");
        }
    }
}

#[test]
fn every_guest_has_a_capability_file_with_its_name() {
    for guest in guests() {
        let file = root().join(format!("fixtures/{}.capabilities.json", guest.name));
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let name = Path::new(&guest.name).file_name().unwrap();
        assert_eq!(json["name"], name.to_str().unwrap());
    }
}

#[test]
fn all_guests_together_stay_small() {
    let sum: u64 = guests()
        .iter()
        .map(|guest| fs::metadata(root().join(format!("fixtures/{}.wasm", guest.name))).unwrap().len())
        .sum();
    assert!(sum < 3_000_000, "{sum} bytes of binaries are in the repository");
}

#[test]
fn no_guest_carries_a_path_of_the_machine_that_built_it() {
    for guest in guests() {
        let bytes = fs::read(root().join(format!("fixtures/{}.wasm", guest.name))).unwrap();
        for start in ["/home/", "/root/", "/Users/", "C:\\Users\\"] {
            let found = bytes.windows(start.len()).any(|window| window == start.as_bytes());
            assert!(!found, "{} carries a path that begins with {start}", guest.name);
        }
    }
}
