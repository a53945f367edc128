//! `docs/security.md` promises tests by their names: each must be there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The threats that come first, in the order of the table that they were taken from.
const FIRST: [&str; 7] = [
    "Path hijacking",
    "Token exposure",
    "State pollution",
    "Workspace escape",
    "Message spam",
    "Resource exhaustion",
    "Polling abuse",
];

/// A row of any of the tables.
struct Row {
    threat: String,
    proofs: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rows() -> Vec<Row> {
    let page = fs::read_to_string(root().join("docs/security.md")).expect("the page");
    let lines = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| threat |"));
    lines
        .map(|line| {
            let columns: Vec<&str> = line.trim_matches('|').split(" | ").collect();
            let [threat, _, proof] = columns[..] else { panic!("three columns: {line}") };
            let proofs = proof.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            Row { threat: threat.trim().to_owned(), proofs }
        })
        .collect()
}

/// The sources in which the tests of a place are: a file, or everything in a directory.
fn sources(place: &[&str]) -> Vec<PathBuf> {
    let file = |directory: &str, parts: &[&str]| {
        let path = parts.iter().fold(root().join(directory), |path, part| path.join(part));
        [path.with_extension("rs"), path.join("mod.rs")]
    };
    let of_sources = match place {
        ["wit_abi", rest @ ..] => file("wit-abi/src", rest),
        _ => file("src", place),
    };
    let suite = fs::read_dir(root().join("src").join(place.join("/")));
    let suite = suite.into_iter().flatten().flatten().map(|entry| entry.path());
    let all = of_sources.into_iter().chain(file("tests", place)).chain(suite);
    all.filter(|path| path.is_file()).collect()
}

/// Whether a source has a test of this name; between `#[test]` and the function there may be other attributes.
fn has_test(source: &str, name: &str) -> bool {
    let wanted = format!("fn {name}(");
    source.split("#[test]").skip(1).any(|after| {
        let function = after.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("#["));
        function.is_some_and(|function| function.starts_with(&wanted))
    })
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let mut missing = Vec::new();
    let mut texts: BTreeMap<PathBuf, String> = BTreeMap::new();
    for Row { threat, proofs } in rows() {
        assert!(!proofs.is_empty(), "{threat}: no test is named");
        for proof in proofs {
            let parts: Vec<&str> = proof.split("::").collect();
            let Some((name, place)) = parts.split_last().filter(|(_, place)| !place.is_empty()) else {
                missing.push(format!("{threat}: `{proof}` does not say where it is"));
                continue;
            };
            let found = sources(place).into_iter().any(|path| {
                let text =
                    texts.entry(path).or_insert_with_key(|path| fs::read_to_string(path).expect("text"));
                has_test(text, name)
            });
            if !found {
                missing.push(format!("{threat}: there is no `{proof}`"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn the_seven_threats_come_first() {
    let threats: Vec<String> = rows().into_iter().map(|row| row.threat).collect();
    for (threat, first) in threats.iter().zip(FIRST) {
        assert!(threat.starts_with(first), "{threat}, where {first} should be");
    }
    assert!(threats.len() > 60, "{} threats", threats.len());
}

#[test]
fn a_name_in_a_comment_or_of_another_function_is_no_test() {
    let source = "// fn a_test() {\nfn helper() {}\n#[test]\n#[ignore]\nfn a_real_one() {}\n";
    for (name, is_there) in [("a_real_one", true), ("a_test", false), ("helper", false), ("a_real", false)] {
        assert_eq!(has_test(source, name), is_there, "{name}");
    }
}
