//! The hostile guests assemble, say what they do, and are as hostile as they say: those that a host must refuse at load
//! are refused for the reason that they are made for, and all others get past the reader, so that what they do is met by
//! the sandbox and not by an accident of their form.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use wit_abi::guest::{ImportKnowledge, ImportName, read_guest};

/// The guests that the reader refuses, and a part of its reason.
const REFUSED: &[(&str, &str)] = &[
    ("feature_memory64", "memory64"),
    ("feature_shared_memory", "shared"),
    ("missing_any_memory", "memory"),
    ("missing_cabi_realloc", "cabi_realloc"),
    ("missing_everything", "this is no channel"),
    ("missing_memory", "memory"),
    ("missing_on_http_request", "on-http-request"),
    ("missing_on_start", "on-start"),
    ("unknown_export_version", "this is no channel"),
    ("unknown_import_global", "__stack_pointer"),
    ("unknown_import_memory", "memory"),
    ("unknown_import_table", "__indirect_function_table"),
    ("unknown_import_version", "near:agent/channel-host@9.0.0"),
    ("unknown_imports", "run-command"),
    ("wrong_kind_export", "on-poll"),
    ("wrong_kind_memory", "memory"),
    ("wrong_signature_export", "on-poll"),
    ("wrong_signature_export_result", "on-respond"),
    ("wrong_signature_import", "log"),
    ("wrong_signature_import_type", "now-millis"),
    ("wrong_signature_realloc", "cabi_realloc"),
];

/// Every hostile guest: its name, its text and what it assembles to.
fn hostile_guests() -> BTreeMap<String, (String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hostile");
    let mut guests = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "wat") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let bytes = wat::parse_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        guests.insert(path.file_stem().unwrap().to_str().unwrap().into(), (text, bytes));
    }
    guests
}

/// What a host knows besides the channel's own imports: here WASI preview 1, whatever its types.
fn known(import: &ImportName<'_>) -> ImportKnowledge {
    match import.module {
        "wasi_snapshot_preview1" => ImportKnowledge::AnyType,
        _ => ImportKnowledge::Unknown,
    }
}

#[test]
fn every_hostile_guest_begins_with_what_it_does() {
    let guests = hostile_guests();
    assert!(guests.len() >= 150, "only {} hostile guests", guests.len());
    for (name, (text, _)) in guests {
        assert!(text.starts_with(&format!(";; {name}: ")), "{name} does not say what it does");
    }
}

#[test]
fn guests_that_must_not_load_are_refused_for_their_reason() {
    let guests = hostile_guests();
    let mut wrong = Vec::new();
    for (name, reason) in REFUSED {
        let (_, bytes) = guests.get(*name).unwrap_or_else(|| panic!("there is no {name}.wat"));
        match read_guest(bytes, &known) {
            Ok(_) => wrong.push(format!("{name} is read as a channel")),
            Err(error) if error.to_string().contains(reason) => {}
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_unknown_imports_are_listed_at_once() {
    let guests = hostile_guests();
    let error = read_guest(&guests["unknown_imports"].1, &known).unwrap_err().to_string();
    for name in ["puts", "run-command", "[method]tcp-socket.start-connect", "near:agent/tool-host@0.3.0"] {
        assert!(error.contains(name), "{name} is not named: {error}");
    }
}

#[test]
fn every_other_hostile_guest_is_read_as_a_channel() {
    let mut wrong = Vec::new();
    for (name, (_, bytes)) in hostile_guests() {
        let is_refused = REFUSED.iter().any(|(refused, _)| *refused == name);
        if let Err(error) = read_guest(&bytes, &known)
            && !is_refused
        {
            wrong.push(format!("{name}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_payload_is_one_request() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/payloads");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        count += 1;
        let name = path.display();
        let text = fs::read_to_string(&path).unwrap();
        let payload: serde_json::Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(payload["method"].is_string(), "{name} has no method");
        let headers = payload["headers"].as_object().unwrap_or_else(|| panic!("{name} has no headers"));
        for (header, value) in headers {
            assert!(value.is_string() && *header == header.to_lowercase(), "{name}: {header}");
        }
        let bodies = [&payload["body"], &payload["body_text"]].iter().filter(|body| !body.is_null()).count();
        assert_eq!(bodies, 1, "{name} must have either body or body_text");
    }
    assert!(count >= 25, "only {count} payloads");
}
