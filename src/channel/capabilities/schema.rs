//! Makes `docs/capabilities.schema.json` from the types, and fails when the file is not what the types say.
//!
//! `TINCLAW_WRITE_SCHEMA=1 cargo test schema` writes it anew.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::ChannelCapabilitiesFile;
use crate::channel::limits::LIMITS;

const FILE: &str = "docs/capabilities.schema.json";

/// What the types say, and what they cannot say themselves.
fn schema() -> Value {
    let mut schema = schemars::schema_for!(ChannelCapabilitiesFile).to_value();
    tidy(&mut schema);
    schema["title"] = json!("Capability file of a tinclaw channel");
    schema["description"] =
        json!("NAME.capabilities.json, beside NAME.wasm. Without it a channel has no rights.");
    add_limits(&mut schema);
    add_second_name_of_header(&mut schema);
    schema
}

/// Closes every object as the reader does, and takes out what only helps in Rust.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(tidy);
            if fields.get("properties").is_some_and(is_closed) {
                close(fields);
            }
            if fields.get("default") == Some(&Value::Null) {
                fields.remove("default");
            }
            if fields
                .get("format")
                .is_some_and(|format| format.as_str().is_some_and(|name| name.starts_with("uint")))
            {
                fields.remove("format");
            }
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = without_links(text);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// Whether this is the list of an object's fields, and not a field that is called `properties`.
fn is_closed(properties: &Value) -> bool {
    properties.as_object().is_some_and(|fields| fields.values().all(Value::is_object))
}

fn close(object: &mut Map<String, Value>) {
    object["properties"]["$schema"] = json!({});
    object.insert("patternProperties".into(), json!({ "^(_|x-)": {} }));
    object.insert("additionalProperties".into(), json!(false));
}

/// `[`Name`](path)` and `[`Name`]` to `` `Name` ``, and lines to one line.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((name, after)) = link.split_once("`]") else { break };
        plain.push_str(&format!("{before}`{name}`"));
        rest = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    plain.push_str(rest);
    plain.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}

/// Defaults and least values, from the table that the host applies.
fn add_limits(schema: &mut Value) {
    for limit in LIMITS {
        let steps: Vec<&str> = limit.field.split('.').collect();
        let (definition, field) = match steps[..] {
            ["channel", "emit_rate_limit", field] => ("EmitRateLimitConfig", field),
            ["channel", field] => ("ChannelSection", field),
            ["http", field] => ("HttpCapability", field),
            _ => panic!("a limit at a place that is not known here: {}", limit.field),
        };
        let property = schema["$defs"][definition]["properties"].get_mut(field).expect(limit.field);
        property["default"] = json!(limit.default);
        property["minimum"] = json!(limit.least);
    }
}

/// Some published files call the header's name `header_name`.
fn add_second_name_of_header(schema: &mut Value) {
    let variants = schema["$defs"]["CredentialLocation"]["oneOf"].as_array_mut().expect("an enum");
    let is_header = |variant: &&mut Value| variant["properties"]["type"]["const"] == "header";
    let header = variants.iter_mut().find(is_header).expect("the variant");
    header["properties"]["header_name"] = header["properties"]["name"].clone();
    header["required"] = json!(["type"]);
    header["oneOf"] = json!([{ "required": ["name"] }, { "required": ["header_name"] }]);
}

#[test]
fn the_schema_in_the_repository_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let expected = format!("{:#}\n", schema());
    if std::env::var_os("TINCLAW_WRITE_SCHEMA").is_some() {
        std::fs::create_dir_all(path.parent().expect("docs")).unwrap();
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{FILE} is old: write it anew with TINCLAW_WRITE_SCHEMA=1 cargo test schema");
}

/// Whether a value is what a schema says. Knows the words that the schema here is made of, and fails on others.
fn is_valid(root: &Value, schema: &Value, value: &Value) -> bool {
    let Some(rules) = schema.as_object() else { return schema.as_bool().expect("a schema") };
    rules.iter().all(|(word, rule)| match word.as_str() {
        "$schema" | "title" | "description" | "default" | "$defs" => true,
        "$ref" => {
            let pointer =
                rule.as_str().and_then(|target| target.strip_prefix('#')).expect("a reference in this file");
            is_valid(root, root.pointer(pointer).expect("a definition"), value)
        }
        "type" => match rule {
            Value::Array(types) => types.iter().any(|name| is_of_type(name, value)),
            name => is_of_type(name, value),
        },
        "const" => rule == value,
        "enum" => rule.as_array().expect("a list").contains(value),
        "minimum" => value.as_u64().is_none_or(|number| number >= rule.as_u64().expect("a number")),
        "maximum" => value.as_u64().is_none_or(|number| number <= rule.as_u64().expect("a number")),
        "anyOf" => rule.as_array().expect("a list").iter().any(|one| is_valid(root, one, value)),
        "oneOf" => {
            rule.as_array().expect("a list").iter().filter(|one| is_valid(root, one, value)).count() == 1
        }
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| is_valid(root, rule, item))),
        "required" => {
            let names = rule.as_array().expect("a list");
            value
                .as_object()
                .is_none_or(|object| names.iter().all(|name| object.contains_key(name.as_str().unwrap())))
        }
        "properties" => value.as_object().is_none_or(|object| {
            object
                .iter()
                .all(|(name, value)| rule.get(name).is_none_or(|schema| is_valid(root, schema, value)))
        }),
        "patternProperties" => rule == &json!({ "^(_|x-)": {} }),
        "additionalProperties" => value.as_object().is_none_or(|object| {
            let is_declared =
                |name: &str| rules.get("properties").is_some_and(|known| known.get(name).is_some());
            let is_comment =
                |name: &str| rules.contains_key("patternProperties") && super::strict::is_skipped(name);
            let is_extra = |name: &str| !is_declared(name) && !is_comment(name);
            object.iter().all(|(name, value)| !is_extra(name) || is_valid(root, rule, value))
        }),
        other => panic!("the schema has a word that this test does not know: {other}"),
    })
}

fn is_of_type(name: &Value, value: &Value) -> bool {
    match name.as_str().expect("a type's name") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        other => panic!("unknown type {other}"),
    }
}

#[test]
fn published_files_are_valid_by_the_schema() {
    let schema = schema();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/published_capabilities");
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let document: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert!(is_valid(&schema, &schema, &document), "{}", path.display());
    }
}

#[test]
fn schema_and_reader_agree_on_what_is_wrong() {
    let schema = schema();
    let name = crate::channel::ChannelName::new("a").unwrap();
    let channel = |fields: Value| json!({"capabilities": {"channel": fields}});
    let location = |location: Value| json!({"capabilities": {"http": {"credentials": {"a": {"secret_name": "a", "location": location}}}}});
    let table: &[(&str, Value, bool)] = &[
        ("nothing", json!({}), true),
        ("comments", json!({"_a": 1, "x-b": 2, "$schema": "c"}), true),
        ("unknown", json!({"capabilites": {}}), false),
        ("unknown below", channel(json!({"allowed_path": []})), false),
        ("comment below", channel(json!({"_why": "x"})), true),
        ("wrong type", channel(json!({"allow_polling": 1})), false),
        ("below the least", channel(json!({"inbound_concurrency": 0})), false),
        ("at the least", channel(json!({"inbound_concurrency": 1})), true),
        ("free-form", json!({"config": {"anything": [null]}}), true),
        ("not an object", json!({"config": []}), false),
        ("a tool", json!({"type": "tool"}), false),
        ("header", location(json!({"type": "header", "name": "X"})), true),
        ("header by its second name", location(json!({"type": "header", "header_name": "X"})), true),
        (
            "header with both names",
            location(json!({"type": "header", "name": "X", "header_name": "X"})),
            false,
        ),
        ("header without a name", location(json!({"type": "header"})), false),
        ("header with more", location(json!({"type": "header", "name": "X", "username": "u"})), false),
        ("comment in a location", location(json!({"type": "bearer", "_why": 1})), true),
        ("authentication by name", channel(json!({"webhook": {"auth": "github"}})), true),
        ("authentication misspelt", channel(json!({"webhook": {"auth": "githup"}})), false),
        (
            "authentication in detail",
            channel(json!({"webhook": {"auth": {"preset": "slack", "_why": 1}}})),
            true,
        ),
        ("unknown detail", channel(json!({"webhook": {"auth": {"preset": "slack", "why": 1}}})), false),
    ];
    for (case, document, expected) in table {
        assert_eq!(is_valid(&schema, &schema, document), *expected, "the schema: {case}");
        let read = ChannelCapabilitiesFile::parse("a", &name, document.to_string().as_bytes());
        assert_eq!(read.is_ok(), *expected, "the reader: {case}: {read:?}");
    }
}

#[test]
fn links_of_the_documentation_become_plain_names() {
    assert_eq!(without_links("see [`A`](b::c), [`D`] and `E`\nhere"), "see `A`, `D` and `E` here");
}
