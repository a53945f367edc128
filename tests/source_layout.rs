//! The order of the sources: tables of contents name the files that are there, and imports stand in groups.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the project's Rust sources are.
const PLACES: [&str; 9] =
    ["src", "tests", "benches", "examples", "daemon", "fuzz", "wit-abi", "channels", "tools"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The tables had named files that were gone for months, and lacked others.
#[test]
fn tables_of_contents_name_the_files_that_are_there() {
    let tables: Vec<PathBuf> =
        sources().into_iter().filter(|path| path.starts_with(root().join("src"))).collect();
    let (mut count, mut errors) = (0, Vec::new());
    for path in tables.iter().filter(|path| path.file_name().is_some_and(|name| name == "mod.rs")) {
        let text = fs::read_to_string(path).unwrap();
        let Some(named) = contents(&text) else { continue };
        count += 1;
        let directory = path.parent().unwrap();
        let there = listed(directory);
        let place = directory.strip_prefix(root()).unwrap().display();
        errors.extend(named.difference(&there).map(|name| format!("{place} has no `{name}`")));
        errors.extend(there.difference(&named).map(|name| format!("the table of {place} lacks `{name}`")));
    }
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    assert!(count > 15, "only {count} tables were found");
}

#[test]
fn imports_are_std_then_crates_then_our_own() {
    let (files, mut errors) = (sources(), Vec::new());
    assert!(files.len() > 300, "only {} files were found", files.len());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let place = path.strip_prefix(root()).unwrap().display();
        errors
            .extend(misplaced_imports(&text).into_iter().map(|(line, why)| format!("{place}:{line}: {why}")));
    }
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

/// A path is no text: `json!` ended the program with a panic (exit code 101) where one was not UTF-8.
#[test]
fn no_command_puts_a_path_itself_into_json() {
    let commands = root().join("src/cli");
    let mut errors = Vec::new();
    for path in sources().into_iter().filter(|path| path.starts_with(&commands)) {
        let text = fs::read_to_string(&path).unwrap();
        let place = path.strip_prefix(root()).unwrap().display();
        errors.extend(raw_paths(&text).into_iter().map(|name| format!("{place}: {name}: use path_text")));
    }
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    assert_eq!(raw_paths("json!({\"a\": path_text(path), \"file\": settings.file})"), ["settings.file"]);
    assert_eq!(raw_paths("json!([key_file]); json!(removed_files)"), ["key_file", "removed_files"]);
}

/// Values in `json!` that have the name of a path and are used as they are.
fn raw_paths(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for macro_call in text.split("json!(").skip(1) {
        let mut depth = 1;
        let end = macro_call.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        let arguments = &macro_call[..end.unwrap_or(macro_call.len())];
        let values = arguments.split([',', '{', '}', '[', ']', '\n']);
        let values = values.map(|item| item.rsplit(": ").next().unwrap_or(item).trim());
        let is_path = |value: &&str| {
            let last = value.trim_start_matches('&').rsplit(['.', '_']).next().unwrap_or_default();
            ["path", "dir", "directory", "file", "folder", "paths", "dirs", "files"].contains(&last)
        };
        found.extend(values.filter(is_path));
    }
    found
}

/// The names in the first columns of a module's tables of files; none when it has no such table.
fn contents(text: &str) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut is_in_table = false;
    for line in text.lines().map_while(|line| line.strip_prefix("//!").or_else(|| line.strip_prefix("//"))) {
        let Some(row) = line.trim().strip_prefix("| ") else {
            is_in_table &= line.trim().starts_with('|');
            continue;
        };
        if row.starts_with("file |") {
            is_in_table = true;
        } else if is_in_table {
            let first = row.split(" | ").next().unwrap_or_default();
            names.extend(first.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    Some(names).filter(|names| !names.is_empty())
}

/// What a table of contents has to name: `name` for `name.rs`, `name/` for a directory. Tests and fuzz targets are left out.
fn listed(directory: &Path) -> BTreeSet<String> {
    let is_left_out = |name: &str| ["mod", "tests", "fuzz"].contains(&name) || name.ends_with("_tests");
    let mut names = BTreeSet::new();
    for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let ending = path.extension().and_then(|ending| ending.to_str());
        match ending {
            _ if is_left_out(&stem) => {}
            None if path.is_dir() => drop(names.insert(format!("{stem}/"))),
            Some("rs") => drop(names.insert(stem)),
            Some("html") => drop(names.insert(format!("{stem}.html"))),
            _ => {}
        }
    }
    names
}

/// Where imports are not in order, and why: first those of `std`, then those of other crates, then our own, one empty line between.
fn misplaced_imports(text: &str) -> Vec<(usize, &'static str)> {
    let mut errors = Vec::new();
    let (mut last, mut is_apart, mut is_open): (Option<(usize, &str)>, bool, bool) = (None, false, false);
    for (number, line) in text.lines().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        if is_open {
            is_open = !code.ends_with(';');
        } else if let Some(path) = code.strip_prefix("use ") {
            let group = group_of(path);
            match last.filter(|(_, other)| *other == indent) {
                Some((before, _)) if before > group => {
                    errors.push((number + 1, "stands below a later group"))
                }
                Some((before, _)) if before < group && !is_apart => {
                    errors.push((number + 1, "needs an empty line above"));
                }
                Some((before, _)) if before == group && is_apart => {
                    errors.push((number + 1, "belongs to the group above the empty line"));
                }
                _ => {}
            }
            (last, is_apart, is_open) = (Some((group, indent)), false, !code.ends_with(';'));
        } else if code.is_empty() {
            is_apart = true;
        } else if !code.starts_with("#[") && !code.starts_with("// ") {
            (last, is_apart) = (None, false);
        }
    }
    errors
}

fn group_of(path: &str) -> usize {
    match path.split([':', ' ', ';']).next() {
        Some("std" | "core" | "alloc") => 0,
        Some("crate" | "super" | "self") => 2,
        _ => 1,
    }
}

fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    PLACES.iter().for_each(|place| collect(&root().join(place), &mut files));
    files
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn tables_are_read_by_their_first_columns() {
    let names = |text: &str| contents(text).map(|names| names.into_iter().collect::<Vec<_>>());
    let table = "//! Text.\n//!\n//! | file | job |\n//! |---|---|\n//! | `a`, `b/` | `c` |\n\nmod a;\n";
    assert_eq!(names(table), Some(vec!["a".to_owned(), "b/".to_owned()]));
    assert_eq!(names("//! | backend | what for |\n//! |---|---|\n//! | `a` | b |\n"), None);
    assert_eq!(names("//! Text.\n"), None);
}

#[test]
fn imports_that_are_out_of_order_are_found() {
    let rows = [
        ("use std::fs;\n\nuse url::Url;\n\nuse super::a;\nuse crate::b;\n", None),
        ("use std::fs;\n#[cfg(x)]\nuse std::io;\n", None),
        ("use std::{\n    a,\n};\n\nuse url::{\n    b,\n};\n", None),
        ("use crate::a;\npub use url::Url;\nuse std::fs;\n", None),
        ("use crate::a;\n\nmod tests {\n    use std::fs;\n", None),
        ("use crate::a;\nuse std::fs;\n", Some(2)),
        ("use crate::a;\n\nuse std::fs;\n", Some(3)),
        ("use std::fs;\nuse url::Url;\n", Some(2)),
        ("use crate::a;\n\nuse super::b;\n", Some(3)),
        ("    use super::*;\n    use url::Url;\n", Some(2)),
    ];
    for (text, expected) in rows {
        assert_eq!(misplaced_imports(text).first().map(|(line, _)| *line), expected, "{text}");
    }
}
