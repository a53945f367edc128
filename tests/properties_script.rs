//! `tests/properties.sh` names its properties by their paths in the test binaries; each of these has to be there.

use std::path::{Path, PathBuf};

/// The script named paths of modules that had moved, so seven of its eight targets ended without a single case.
#[test]
fn every_property_that_the_script_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = std::fs::read_to_string(root.join("tests/properties.sh")).unwrap();
    let mut binary = "";
    let mut checked = 0;
    for line in script.lines().skip_while(|line| !line.starts_with("declare -A PROPERTIES")).skip(1) {
        if line == ")" {
            break;
        }
        if let Some((_, name)) = line.split_once("]=\"") {
            binary = name;
            continue;
        }
        let property = line.trim().trim_end_matches('"');
        let (modules, function) = property.rsplit_once("::").unwrap_or(("", property));
        let sources = sources(root, binary, modules);
        let found = sources.iter().any(|path| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.contains(&format!("fn {function}("))
        });
        assert!(found, "{binary}: none of {sources:?} has {property}");
        checked += 1;
    }
    assert!(checked > 20, "only {checked} properties were read");
}

/// The files that a module may be in.
fn sources(root: &Path, binary: &str, modules: &str) -> Vec<PathBuf> {
    let src = match binary {
        "tinclaw" => root.join("src"),
        "wit_abi" => root.join("wit-abi/src"),
        test => return vec![root.join("tests").join(format!("{test}.rs"))],
    };
    let place = src.join(modules.replace("::", "/")).display().to_string();
    let parent = place.strip_suffix("/tests").unwrap_or(&place);
    ["", "/mod", "_tests"]
        .iter()
        .flat_map(|end| [&*place, parent].map(|start| PathBuf::from(format!("{start}{end}.rs"))))
        .collect()
}
