//! Reading as a whole: what is read, and what is said of what is wrong.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Fields, loosely, strictly, with_comments};

#[derive(Debug, Default, PartialEq)]
struct Outer {
    inner: Option<Inner>,
    list: Vec<Inner>,
    by_name: BTreeMap<String, Inner>,
    free: Option<Map<String, Value>>,
    any: Option<Value>,
    mode: Option<usize>,
    small: Option<u16>,
    flag: Option<bool>,
}

#[derive(Debug, PartialEq)]
struct Inner {
    host: String,
    path_prefix: Option<String>,
}

fn outer(fields: &mut Fields) -> Option<Outer> {
    Some(Outer {
        inner: fields.inner("inner", inner),
        list: fields.inner_list("list", inner),
        by_name: fields.inner_by_name("by_name", inner),
        free: fields.object("free"),
        any: fields.any("any"),
        mode: fields.choice("mode", &["plain", "folded"]),
        small: fields.u16("small"),
        flag: fields.flag("flag"),
    })
}

fn inner(fields: &mut Fields) -> Option<Inner> {
    Some(Inner { host: fields.needed_text("host"), path_prefix: fields.text("path_prefix") })
}

/// Gives up at once when what it needs is not there.
#[derive(Debug, PartialEq, Eq)]
struct Seat {
    row: String,
    number: u32,
    guests: Vec<Seat>,
}

fn seat(fields: &mut Fields) -> Option<Seat> {
    Some(Seat {
        guests: fields.inner_list("guests", seat),
        number: fields.u32("number").unwrap_or(1),
        row: fields.text("row")?,
    })
}

#[test]
fn null_is_no_field_and_others_are_left_when_they_may_be_there() {
    let value = || json!({"row": "c", "number": null, "guests": [{"row": "d", "hat": true}]});
    let guest = Seat { row: "d".into(), number: 1, guests: Vec::new() };
    let expected = Seat { row: "c".into(), number: 1, guests: vec![guest] };
    assert_eq!(loosely(value(), seat), Ok(expected));
    let wrong = strictly(value(), seat).unwrap_err();
    assert_eq!(wrong.to_string(), "unknown field `guests[0].hat`; known here are guests, number, row");
}

#[test]
fn the_first_thing_that_was_read_wrong_is_told() {
    for (value, expected) in [
        (json!({"row": 1, "number": "a"}), "number must be a whole number, not a string"),
        (json!({"row": 1, "colour": "red"}), "row must be a string, not 1"),
        (json!({"colour": "red"}), "`row` is missing"),
        (json!({"row": null}), "`row` is missing"),
        (json!({"row": "c", "guests": [{"row": "d"}, {}]}), "`guests[1].row` is missing"),
        (json!({"row": "c", "guests": [null]}), "guests[0] must be a set of fields, not null"),
    ] {
        assert_eq!(strictly(value.clone(), seat).unwrap_err().to_string(), expected, "{value}");
    }
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
        (json!({"list": [{"host": 1, "hosts": 1}]}), "list[0].host must be a string, not 1"),
        (json!({"by_name": {"a b": {}}}), "`by_name[\"a b\"].host` is missing"),
        (json!({"by_name": {"a": true}}), "by_name.a must be a set of fields, not true"),
        (json!({"inner": 3}), "inner must be a set of fields, not 3"),
        (json!({"inner": ["a", "b"]}), "inner must be a set of fields, not a list"),
        (json!({"small": 65_536}), "small must be at most 65535, not 65536"),
        (json!({"small": -1}), "small must be 0 or more, not -1"),
        (json!({"small": 1.5}), "small must be a whole number, not 1.5"),
        (json!({"flag": "yes"}), "flag must be true or false, not a string"),
        (json!({"mode": "plian"}), r#"mode must be "plain" or "folded", not "plian""#),
        (json!({"mode": {"plain": 1}}), r#"mode must be "plain" or "folded", not a set of fields"#),
        (
            json!({"a\n": 1}),
            r#"unknown field `["a\n"]`; known here are inner, list, by_name, free, any, mode, small, flag"#,
        ),
    ] {
        assert_eq!(strictly(value.clone(), outer).unwrap_err().to_string(), expected, "{value}");
    }
}

#[test]
fn numbers_reach_to_their_bounds() {
    for small in [0, u16::MAX] {
        assert_eq!(strictly(json!({"small": small}), outer).unwrap().small, Some(small));
    }
}

#[test]
fn comments_and_extensions_are_left_and_free_parts_are_kept() {
    let value = json!({
        "$schema": "x", "_comment": 1, "x-vendor": {}, "flag": true, "mode": null,
        "inner": {"_why": "y", "host": "a"},
        "free": {"anything": {"goes": null, "_kept": 3}, "_kept": 1, "x-kept": 2},
        "any": {"_kept": [{"x-kept": null}]},
    });
    let read = with_comments(value.clone(), outer).unwrap();
    assert_eq!(read.inner.unwrap().host, "a");
    assert_eq!(read.free.map(Value::Object).as_ref(), value.get("free"));
    assert_eq!(read.any.as_ref(), value.get("any"));
    assert_eq!(read.flag, Some(true));
    assert!(strictly(value, outer).unwrap_err().to_string().starts_with("unknown field `inner._why`"));
    assert!(with_comments(json!({"inner": {"host": "a", "y": 1}}), outer).is_err());
}

#[test]
fn what_a_text_says_is_not_told() {
    for name in ["small", "flag", "inner", "list", "free"] {
        let wrong = strictly(json!({ name: "hunter2" }), outer).unwrap_err();
        assert!(!format!("{wrong} {wrong:?}").contains("hunter2"), "{name}");
    }
}
