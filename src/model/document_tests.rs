//! Reading as a whole: what is read, and what is said of what is wrong.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::*;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Outer {
    inner: Option<Inner>,
    list: Vec<Inner>,
    by_name: BTreeMap<String, Inner>,
    free: Option<Map<String, Value>>,
    any: Option<Value>,
    mode: Option<Mode>,
    small: Option<u16>,
    flag: Option<bool>,
    place: Option<Place>,
    check: Option<Check>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Inner {
    host: String,
    path_prefix: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Plain,
    Folded,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    Bearer {},
    Header {
        #[serde(alias = "header_name")]
        name: String,
    },
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Check {
    Open(Details),
    Signed(Details),
}

#[derive(Debug, PartialEq, Deserialize)]
struct Details {
    preset: Option<String>,
    header: Option<String>,
}

fn read_without_comments<T: DeserializeOwned>(value: Value) -> Result<T, DocumentError> {
    read(value, Comments::Refused)
}

#[test]
fn errors_name_the_place_and_what_is_accepted() {
    for (value, expected) in [
        (json!([]), "it must be a set of fields, not a list"),
        (json!({"inner": {"hots": "a"}}), "unknown field `inner.hots`; did you mean `host`?"),
        (json!({"inner": {"colour": "a"}}), "unknown field `inner.colour`; known here are host, path_prefix"),
        (
            json!({"inner": {"host": "a", "path-prefix": "a"}}),
            "unknown field `inner.path-prefix`; did you mean `path_prefix`?",
        ),
        (
            json!({"list": [{"host": "a"}, {"host": "a", "hosts": 1}]}),
            "unknown field `list[1].hosts`; did you mean `host`?",
        ),
        (json!({"list": [{}]}), "`list[0].host` is missing"),
        (json!({"list": [{"host": null}]}), "`list[0].host` is missing"),
        (json!({"list": [null]}), "list[0] must be a set of fields, not null"),
        (json!({"list": [{"host": 1}]}), "list[0].host must be a string, not 1"),
        (json!({"by_name": {"a b": {}}}), "`by_name[\"a b\"].host` is missing"),
        (json!({"by_name": {"a": true}}), "by_name.a must be a set of fields, not true"),
        (json!({"inner": 3}), "inner must be a set of fields, not 3"),
        (json!({"inner": ["a", "b"]}), "inner must be a set of fields, not a list"),
        (json!({"small": 65_536}), "small must be at most 65535, not 65536"),
        (json!({"small": -1}), "small must be 0 or more, not -1"),
        (json!({"small": 1.5}), "small must be a whole number, not 1.5"),
        (json!({"flag": "yes"}), "flag must be true or false, not a string"),
        (json!({"mode": "plian"}), r#"mode must be "plain" or "folded", not "plian"; did you mean "plain"?"#),
        (json!({"mode": {"plain": 1}}), r#"mode must be "plain" or "folded", not a set of fields"#),
        (json!({"mode": {"type": "plain"}}), r#"mode must be "plain" or "folded", not a set of fields"#),
        (json!({"place": {}}), "`place.type` is missing"),
        (json!({"place": "bearer"}), "place must be a set of fields, not a string"),
        (json!({"place": {"type": "cookie"}}), r#"place.type must be "bearer" or "header", not "cookie""#),
        (json!({"place": {"type": 3}}), r#"place.type must be "bearer" or "header", not 3"#),
        (json!({"place": {"type": "header"}}), "`place.name` is missing"),
        (json!({"place": {"type": "header", "name": 1}}), "place.name must be a string, not 1"),
        (
            json!({"place": {"type": "bearer", "name": "a"}}),
            "unknown field `place.name`; known here are type",
        ),
        (
            json!({"place": {"type": "header", "name": "a", "header_name": "a"}}),
            "place.name is given under two names; remove one",
        ),
        (json!({"check": "shut"}), r#"check must be "open" or "signed", not "shut""#),
        (json!({"check": 7}), "check must be a name or an object, not 7"),
        (json!({"check": {"header": "a"}}), "`check.preset` is missing"),
        (json!({"check": {"preset": "open", "header": 1}}), "check.header must be a string, not 1"),
        (
            json!({"a\n": 1}),
            r#"unknown field `["a\n"]`; known here are inner, list, by_name, free, any, mode, small, flag, place, check"#,
        ),
    ] {
        assert_eq!(
            read_without_comments::<Outer>(value.clone()).unwrap_err().to_string(),
            expected,
            "{value}"
        );
    }
}

#[test]
fn an_object_names_its_variant_and_a_name_alone_stands_for_an_object() {
    let outer: Outer = read_without_comments(json!({
        "place": {"type": "header", "header_name": "X"},
        "check": {"preset": "signed", "header": "X"},
    }))
    .unwrap();
    assert_eq!(outer.place, Some(Place::Header { name: "X".into() }));
    let open = |value: Value| read_without_comments::<Outer>(json!({ "check": value })).unwrap().check;
    assert_eq!(open(json!("open")), open(json!({"preset": "open"})));
    assert_eq!(
        read_without_comments::<Outer>(json!({"place": {"type": "bearer"}})).unwrap().place,
        Some(Place::Bearer {})
    );
}

#[test]
fn numbers_reach_to_their_bounds() {
    for small in [0, u16::MAX] {
        assert_eq!(read_without_comments::<Outer>(json!({ "small": small })).unwrap().small, Some(small));
    }
}

#[test]
fn comments_and_extensions_are_skipped_and_free_parts_are_kept() {
    let value = json!({
        "$schema": "x", "_comment": 1, "x-vendor": {}, "flag": true, "mode": null,
        "inner": {"_why": "y", "host": "a"}, "place": {"type": "bearer", "_why": 1},
        "free": {"anything": {"goes": null, "_kept": 3}, "_kept": 1, "x-kept": 2},
        "any": {"_kept": [{"x-kept": null, "number": -1.5, "large": 18446744073709551615u64}]},
    });
    let outer: Outer = read(value.clone(), Comments::Skipped).unwrap();
    assert_eq!(outer.inner.unwrap().host, "a");
    assert_eq!(outer.free.map(Value::Object).as_ref(), value.get("free"));
    assert_eq!(outer.any.as_ref(), value.get("any"));
    assert_eq!((outer.flag, outer.mode), (Some(true), None));
    let error = read_without_comments::<Outer>(value).unwrap_err().to_string();
    assert!(error.starts_with("unknown field `$schema`"), "{error}");
    assert!(read::<Outer>(json!({"inner": {"host": "a", "y": 1}}), Comments::Skipped).is_err());
}

#[test]
fn errors_do_not_quote_the_text_of_a_value() {
    for name in ["small", "flag", "inner", "list", "free", "place"] {
        let error = read_without_comments::<Outer>(json!({ name: "hunter2" })).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{name}");
    }
}

#[test]
fn the_nearest_word_is_one_that_may_have_been_meant() {
    let known = ["host", "path_prefix", "channel-config", "ports"];
    for (written, expected) in [
        ("hots", Some("host")),
        ("HOST", Some("host")),
        ("path-prefix", Some("path_prefix")),
        ("channel_conf", Some("channel-config")),
        ("colour", None),
        ("", None),
    ] {
        assert_eq!(nearest(written, &known), expected, "{written}");
    }
    assert_eq!(nearest("host", &[]), None);
    assert_eq!(nearest(&"h".repeat(129), &known), None);
}
