//! What `cargo publish` would send: a package that is built from it alone needs every file that its sources read.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

/// The package lacked the page of the admin API and the units of systemd: `cargo install tinclaw` would not have built the daemon. Cargo verifies
/// a package without the features that are off, so it did not say so.
#[test]
fn every_file_that_the_sources_include_is_published() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (package, at_least) in [("tinclaw", 10), ("wit-abi", 0)] {
        let directory = if package == "tinclaw" { root.to_owned() } else { root.join(package) };
        let published = published(root, package);
        let included: Vec<(PathBuf, PathBuf)> = published
            .iter()
            .filter(|path| path.extension().is_some_and(|ending| ending == "rs") && !is_test(path))
            .flat_map(|path| includes(&directory, path).into_iter().map(|file| (path.clone(), file)))
            .collect();
        let missing: Vec<_> = included.iter().filter(|(_, file)| !published.contains(file)).collect();
        assert!(
            missing.is_empty(),
            "`include` in the Cargo.toml of {package} lacks (source, file): {missing:#?}"
        );
        assert!(included.len() >= at_least, "{package}: only {} files were found", included.len());
    }
}

/// What `cargo package` packs, without building it.
fn published(root: &Path, package: &str) -> BTreeSet<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline", "--package", package])
        .current_dir(root)
        .output()
        .expect("cargo runs this test");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).expect("names are UTF-8").lines().map(PathBuf::from).collect()
}

/// Tests are not built from the package.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| {
        part.as_os_str().to_str().is_some_and(|name| name.trim_end_matches(".rs").ends_with("tests"))
    })
}

/// The files that a source names in `include_str!("…")` and `include_bytes!("…")`, from the root of the package.
fn includes(directory: &Path, source: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(directory.join(source)).expect("the file is listed");
    ["include_str!(\"", "include_bytes!(\""]
        .iter()
        .flat_map(|start| text.split(start).skip(1))
        .filter_map(|rest| rest.split_once("\")"))
        .map(|(name, _)| flat(&source.parent().expect("a file has a directory").join(name)))
        .collect()
}

/// The path without `..`.
fn flat(path: &Path) -> PathBuf {
    let mut flat = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            flat.pop();
        } else {
            flat.push(part);
        }
    }
    flat
}
