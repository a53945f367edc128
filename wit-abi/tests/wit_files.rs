//! The `.wit` files parse, and name the packages and worlds that guests are built against.

use std::path::Path;

use wit_parser::Resolve;

fn package_name(directory: &str) -> String {
    let mut resolve = Resolve::default();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("wit").join(directory);
    let (package, _) = resolve.push_dir(&path).unwrap();
    resolve.packages[package].name.to_string()
}

#[test]
fn every_abi_version_has_its_package_name() {
    let rows = [
        ("unversioned-1", "near:agent"),
        ("unversioned-2", "near:agent"),
        ("unversioned-3", "near:agent"),
        ("unversioned-4", "near:agent"),
        ("unversioned-5", "near:agent"),
        ("0.2.0", "near:agent@0.2.0"),
        ("0.3.0-first", "near:agent@0.3.0"),
        ("0.3.0-second", "near:agent@0.3.0"),
        ("0.3.1", "near:agent@0.3.1"),
        ("tinclaw-timers", "tinclaw:timers@0.1.0"),
        ("tool-unversioned-1", "near:agent"),
        ("tool-unversioned-2", "near:agent"),
        ("tool-unversioned-3", "near:agent"),
        ("tool-0.2.0", "near:agent@0.2.0"),
        ("tool-0.3.0", "near:agent@0.3.0"),
    ];
    for (directory, name) in rows {
        assert_eq!(package_name(directory), name, "{directory}");
    }
}
