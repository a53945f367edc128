//! Makes `docs/capabilities.schema.json` from the types, and fails when the file is not what the types say.
//!
//! `TINCLAW_WRITE_SCHEMA=1 cargo test schema` regenerates it.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::webhook::{
    AuthName, Ed25519Auth, FixedAuth, HmacAuth, NoAuth, SharedSecretAuth, VerifyTokenAuth, WebhookAuth,
};
use super::{CapabilityError, ChannelCapabilitiesFile};
use crate::capability::limits::LIMITS;
use crate::model::document::{self, Comments};

const FILE: &str = "docs/capabilities.schema.json";

/// What the types say, and what they cannot say themselves.
fn schema() -> Value {
    let mut schema = schemars::schema_for!(ChannelCapabilitiesFile).to_value();
    simplify(&mut schema);
    schema["title"] = json!("Capability file of a tinclaw channel");
    schema["description"] =
        json!("NAME.capabilities.json, beside NAME.wasm. Without it a channel has no rights.");
    add_limits(&mut schema);
    add_second_names(&mut schema);
    require_one_place_of_the_id(&mut schema);
    name_the_presets(&mut schema);
    schema
}

/// `auth` by name, or as an object of one of its kinds.
impl schemars::JsonSchema for WebhookAuth {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WebhookAuth".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"anyOf": [
            generator.subschema_for::<AuthName>(),
            generator.subschema_for::<NoAuth>(),
            generator.subschema_for::<SharedSecretAuth>(),
            generator.subschema_for::<HmacAuth>(),
            generator.subschema_for::<Ed25519Auth>(),
            generator.subschema_for::<FixedAuth>(),
            generator.subschema_for::<VerifyTokenAuth>(),
        ]})
    }
}

/// Which presets and schemes stand in an object of each kind; one of the two names the kind.
const AUTH_KINDS: [(&str, &[&str], Option<&str>); 6] = [
    ("NoAuth", &["none"], None),
    ("SharedSecretAuth", &["secret"], Some("secret")),
    ("HmacAuth", &["slack", "github", "whatsapp", "line"], Some("hmac")),
    ("Ed25519Auth", &["discord"], Some("ed25519")),
    ("FixedAuth", &["stripe", "standard-webhooks", "twilio", "feishu"], None),
    ("VerifyTokenAuth", &["verify_token"], None),
];

fn name_the_presets(schema: &mut Value) {
    for (definition, presets, scheme) in AUTH_KINDS {
        let object = &mut schema["$defs"][definition];
        object["properties"]["preset"] = json!({ "enum": presets });
        let by_preset = json!({ "required": ["preset"] });
        match scheme {
            Some(scheme) => {
                object["properties"]["scheme"] = json!({ "enum": [scheme] });
                object["anyOf"] = json!([by_preset, { "required": ["scheme"] }]);
            }
            None => object["required"] = json!(["preset"]),
        }
    }
    let fixed = &mut schema["$defs"]["FixedAuth"]["properties"];
    fixed["scheme"] = json!({ "enum": ["hmac"] });
}

/// An id has one place.
fn require_one_place_of_the_id(schema: &mut Value) {
    schema["$defs"]["DedupeFields"]["oneOf"] =
        json!([{ "required": ["header"] }, { "required": ["json_pointer"] }]);
}

/// Closes every object as the reader does, and takes out what only helps in Rust.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(simplify);
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
        Value::Array(items) => items.iter_mut().for_each(simplify),
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
        // Tools have a file of their own kind.
        if steps[0].starts_with("tool") {
            continue;
        }
        let (definition, field) = match steps[..] {
            ["channel", "emit_rate_limit", field] => ("EmitRateLimitConfig", field),
            ["channel", field] => ("ChannelSection", field),
            ["http", "rate_limit", field] => ("HttpRateLimit", field),
            ["http", field] => ("HttpCapability", field),
            _ => panic!("a limit at a place that is not known here: {}", limit.field),
        };
        let property = schema["$defs"][definition]["properties"].get_mut(field).expect(limit.field);
        property["default"] = json!(limit.default);
        property["minimum"] = json!(limit.min);
    }
}

/// Fields that have a second name in some published files, and protocols that are written with `_` there.
fn add_second_names(schema: &mut Value) {
    let variants = schema["$defs"]["CredentialLocation"]["oneOf"].as_array_mut().expect("an enum");
    let is_header = |variant: &&mut Value| variant["properties"]["type"]["const"] == "header";
    let header = variants.iter_mut().find(is_header).expect("the variant");
    header["properties"]["header_name"] = header["properties"]["name"].clone();
    header["required"] = json!(["type"]);
    header["oneOf"] = json!([{ "required": ["name"] }, { "required": ["header_name"] }]);

    let websocket = &mut schema["$defs"]["WebsocketCapability"];
    let password = websocket["properties"]["bot_secret_name"].clone();
    websocket["properties"]["bot_secret_secret_name"] = password;
    websocket["not"] = json!({ "required": ["bot_secret_name", "bot_secret_secret_name"] });
    let protocols = schema["$defs"]["WebsocketProtocol"]["oneOf"].as_array_mut().expect("an enum");
    for mut protocol in protocols.clone() {
        let name = protocol["const"].as_str().expect("a name").replace('-', "_");
        if protocol["const"] != json!(name) {
            protocol["const"] = json!(name);
            protocols.push(protocol);
        }
    }
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
    assert!(found == expected, "{FILE} is old: regenerate it with TINCLAW_WRITE_SCHEMA=1 cargo test schema");
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
        "not" => !is_valid(root, rule, value),
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
                |name: &str| rules.contains_key("patternProperties") && document::is_comment(name);
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

/// A field of the schema, and how a document that has it is made.
struct SchemaPlace<'a> {
    path: String,
    schema: &'a Value,
    around: Box<dyn Fn(Value) -> Value + 'a>,
}

/// The same schema with its reference followed; of a choice with `null`, the other.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let choices = schema.get("anyOf").and_then(Value::as_array);
    if let Some([one, null]) = choices.map(Vec::as_slice)
        && null["type"] == "null"
    {
        return resolved(root, one);
    }
    match schema.get("$ref").and_then(Value::as_str) {
        Some(target) => resolved(root, root.pointer(&target[1..]).expect("a definition")),
        None => schema,
    }
}

/// The least value that a schema accepts, for fields that must be there.
fn least(root: &Value, schema: &Value) -> Value {
    let schema = resolved(root, schema);
    match schema.get("const") {
        Some(value) => value.clone(),
        None if schema.get("oneOf").is_some() => least_object(root, &schema["oneOf"][0], ""),
        None if schema.get("enum").is_some() => schema["enum"][0].clone(),
        None if schema["type"] == "string" => json!("a"),
        None if schema["type"] == "object" => json!({}),
        None => panic!("a field of this kind was not needed before: {schema}"),
    }
}

/// An object with nothing but what must be there. Of fields of which one is enough, it has the wanted one.
fn least_object(root: &Value, schema: &Value, wanted: &str) -> Value {
    let choices = schema.get("oneOf").or(schema.get("anyOf")).and_then(Value::as_array);
    let has_wanted = |choice: &&Value| {
        choice["required"].as_array().is_some_and(|names| names.iter().any(|name| name == wanted))
    };
    let choice = choices.and_then(|choices| choices.iter().find(has_wanted).or(choices.first()));
    let required = [Some(schema), choice].into_iter().flatten().filter_map(|one| one["required"].as_array());
    let names = required.flatten().map(|name| name.as_str().expect("a name"));
    names.map(|name| (name.to_owned(), least(root, &schema["properties"][name]))).collect()
}

/// Holds the names that the reader knows in an object against those of the schema, and looks at each of its fields.
fn compare_object<'a>(root: &'a Value, place: &SchemaPlace<'a>, seen: &mut Vec<String>) {
    let choices = place.schema.get("oneOf").or(place.schema.get("anyOf")).and_then(Value::as_array);
    let objects: Vec<&Value> = match choices {
        Some(choices) if place.schema.get("properties").is_none() => {
            choices.iter().map(|one| resolved(root, one)).collect()
        }
        _ => vec![place.schema],
    };
    for object in objects.into_iter().filter(|one| one.get("properties").is_some()) {
        let fields = object["properties"].as_object().expect("fields");
        let mut expected: Vec<&str> = fields.keys().map(String::as_str).collect();
        expected.retain(|name| *name != "$schema");
        expected.sort_unstable();
        let mut surprising = least_object(root, object, "");
        surprising["surprise"] = json!(1);
        let mut known = match read(&(place.around)(surprising)) {
            Err(CapabilityError::UnknownField { known, .. }) => known,
            other => panic!("{}: {other:?}", place.path),
        };
        known.sort_unstable();
        assert_eq!(known, expected, "{}", place.path);
        for (name, field) in object["properties"].as_object().expect("fields") {
            if name == "$schema" || field.get("const").is_some() {
                continue;
            }
            let least = least_object(root, object, name);
            let path = if place.path.is_empty() { name.clone() } else { format!("{}.{name}", place.path) };
            let around = |value: Value| {
                let mut object = least.clone();
                object[name] = value;
                (place.around)(object)
            };
            let place = SchemaPlace { path, schema: resolved(root, field), around: Box::new(around) };
            compare_value(root, &place, seen);
        }
    }
}

/// Sees that the reader gives a value of the schema's type to the field of its name, and refuses one of another type.
fn compare_value<'a>(root: &'a Value, place: &SchemaPlace<'a>, seen: &mut Vec<String>) {
    seen.push(place.path.clone());
    let schema = place.schema;
    if schema.get("oneOf").or(schema.get("anyOf")).or(schema.get("properties")).is_some() {
        compare_object(root, place, seen);
    }
    let Some(kind) = schema.get("type").map(|kind| kind.as_array().map_or(kind, |kinds| &kinds[0])) else {
        return;
    };
    let (good, wrong) = match kind.as_str().expect("a type") {
        "string" => (json!("told apart"), json!(1)),
        "integer" => (json!(4321), json!("1")),
        "boolean" => (json!(true), json!(1)),
        "array" => (json!([]), json!(1)),
        "object" => (json!({}), json!(1)),
        other => panic!("{}: {other}", place.path),
    };
    match read(&(place.around)(wrong)) {
        Err(CapabilityError::Invalid { path, .. }) => assert_eq!(path, place.path),
        other => panic!("{}: {other:?}", place.path),
    }
    let name = place
        .path
        .rsplit('.')
        .next()
        .expect("a name")
        .replace("header_name", "name")
        .replace("secret_secret", "secret");
    if good.is_string() || good.is_u64() {
        let (document, value) = ((place.around)(good.clone()), good.to_string());
        let shown =
            format!("{:?}", read(&document).unwrap_or_else(|error| panic!("{}: {error}", place.path)));
        let is_there = [format!("{name}: {value}"), format!("{name}: Some({value})")];
        let is_there = is_there.iter().any(|part| shown.contains(part));
        assert!(is_there || place.path.contains(".dedupe."), "{}: {shown}", place.path);
    }
    if let Some(items) = schema.get("items").map(|items| resolved(root, items))
        && items.get("properties").is_some()
    {
        let around = |value: Value| (place.around)(json!([value]));
        let path = format!("{}[0]", place.path);
        compare_object(root, &SchemaPlace { path, schema: items, around: Box::new(around) }, seen);
    }
    if let Some(named) = schema.get("additionalProperties").filter(|named| named.is_object()) {
        let around = |value: Value| (place.around)(json!({ "a": value }));
        let path = format!("{}.a", place.path);
        let place = SchemaPlace { path, schema: resolved(root, named), around: Box::new(around) };
        compare_object(root, &place, seen);
    }
}

/// Reads a document without looking at what its values mean together.
fn read(document: &Value) -> Result<ChannelCapabilitiesFile, CapabilityError> {
    document::read(document.clone(), Comments::Skipped).map_err(|error| CapabilityError::of("a", error))
}

#[test]
fn the_reader_knows_the_fields_of_the_schema_and_no_others() {
    let schema = schema();
    let mut seen = Vec::new();
    let whole = SchemaPlace { path: String::new(), schema: &schema, around: Box::new(|document| document) };
    compare_object(&schema, &whole, &mut seen);
    for path in [
        "config",
        "setup.required_secrets[0].auto_generate.length",
        "capabilities.http.credentials.a.location.header_name",
        "capabilities.channel.webhook.auth.scheme",
        "capabilities.channel.webhook.dedupe.json_pointer",
        "capabilities.websocket.identify",
    ] {
        assert!(seen.iter().any(|seen| seen == path), "{path} was not looked at: {seen:?}");
    }
}

#[test]
fn links_of_the_documentation_become_plain_names() {
    assert_eq!(without_links("see [`A`](b::c), [`D`] and `E`\nhere"), "see `A`, `D` and `E` here");
}
