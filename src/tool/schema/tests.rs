use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn problems(schema: &Value, params: &Value) -> Vec<String> {
    let schema = ParameterSchema::parse(&schema.to_string()).unwrap();
    schema.problems(params).iter().map(ParameterProblem::to_string).collect()
}

#[test]
fn each_rule_accepts_and_refuses() {
    let table: &[(&str, Value, Value, Value, &str)] = &[
        (
            "type",
            json!({"type": "string"}),
            json!("a"),
            json!(1),
            "the parameters must be of type string, and is number",
        ),
        (
            "types",
            json!({"type": ["string", "null"]}),
            json!(null),
            json!([]),
            "of type string or null, and is array",
        ),
        ("integer", json!({"type": "integer"}), json!(2.0), json!(2.5), "of type integer, and is number"),
        ("enum", json!({"enum": ["a", 1]}), json!(1.0), json!("b"), r#"one of "a", 1"#),
        ("const", json!({"const": "a"}), json!("a"), json!("b"), r#"must be "a""#),
        ("minimum", json!({"minimum": 1}), json!(1), json!(0), "at least 1, and is 0"),
        ("maximum", json!({"maximum": 1}), json!(1), json!(2), "at most 1, and is 2"),
        ("exclusive", json!({"exclusiveMaximum": 1}), json!(0.5), json!(1), "less than 1"),
        ("draft 4", json!({"minimum": 1, "exclusiveMinimum": true}), json!(2), json!(1), "more than 1"),
        ("multiple", json!({"multipleOf": 0.1}), json!(0.3), json!(0.35), "a multiple of 0.1"),
        (
            "length",
            json!({"minLength": 2, "maxLength": 3}),
            json!("äöü"),
            json!("a"),
            "at least 2 characters, and has 1",
        ),
        ("pattern", json!({"pattern": "^[a-z]+$"}), json!("ab"), json!("1"), "the pattern"),
        ("look-around is not checked", json!({"pattern": "^(?!a)"}), json!("a"), json!(false), ""),
        (
            "items",
            json!({"items": {"type": "string"}}),
            json!(["a"]),
            json!(["a", 1]),
            "`[1]` must be of type string",
        ),
        (
            "tuple",
            json!({"prefixItems": [{"type": "string"}], "items": false}),
            json!(["a"]),
            json!(["a", 1]),
            "`[1]` must not be there",
        ),
        ("draft 7 tuple", json!({"items": [{"type": "string"}]}), json!(["a", 1]), json!([1]), "`[0]`"),
        ("count", json!({"maxItems": 1}), json!([1]), json!([1, 2]), "at most 1 items, and has 2"),
        ("unique", json!({"uniqueItems": true}), json!([1, 2]), json!([1, 2, 1.0]), "`[2]` is a duplicate"),
        ("contains", json!({"contains": {"const": 1}}), json!([2, 1]), json!([2]), "too few"),
        ("required", json!({"required": ["a"]}), json!({"a": 1}), json!({}), "`a` is missing"),
        (
            "below",
            json!({"properties": {"a": {"properties": {"b": {"type": "string"}}}}}),
            json!({"a": {"b": "x"}}),
            json!({"a": {"b": 1}}),
            "`a.b` must be of type string",
        ),
        (
            "unknown",
            json!({"properties": {"city": {}}, "additionalProperties": false}),
            json!({"city": 1}),
            json!({"citty": 1}),
            "`citty` is not a known field; did you mean `city`?",
        ),
        (
            "others",
            json!({"additionalProperties": {"type": "string"}}),
            json!({"a": "b"}),
            json!({"a": 1}),
            "`a`",
        ),
        (
            "patterns",
            json!({"patternProperties": {"^x": {"type": "string"}}, "additionalProperties": false}),
            json!({"xa": "b"}),
            json!({"xa": 1}),
            "`xa`",
        ),
        ("names", json!({"propertyNames": {"maxLength": 1}}), json!({"a": 1}), json!({"ab": 1}), "`ab`"),
        (
            "dependent",
            json!({"dependentRequired": {"a": ["b"]}}),
            json!({"b": 1}),
            json!({"a": 1}),
            "`b` is missing, and `a` needs it",
        ),
        ("all", json!({"allOf": [{"minimum": 1}, {"maximum": 2}]}), json!(1), json!(3), "at most 2"),
        (
            "any",
            json!({"anyOf": [{"type": "string"}, {"type": "number"}]}),
            json!(1),
            json!([]),
            "type string",
        ),
        ("one", json!({"oneOf": [{"minimum": 1}, {"maximum": 3}]}), json!(5), json!(2), "more than one"),
        ("not", json!({"not": {"type": "string"}}), json!(1), json!("a"), "must not be"),
        (
            "if",
            json!({"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}}),
            json!({"c": 1}),
            json!({"a": 1}),
            "`b` is missing",
        ),
        (
            "reference",
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}),
            json!("a"),
            json!(1),
            "type string",
        ),
        ("a reference to nothing is not checked", json!({"$ref": "#/$defs/b"}), json!("a"), json!(1), ""),
        ("nullable", json!({"type": "string", "nullable": true}), json!(null), json!(1), "type string"),
        ("never", json!(false), json!(1), json!(1), "must not be there"),
        ("format is not checked", json!({"format": "email"}), json!("a"), json!("b"), ""),
    ];
    for (case, schema, good, bad, part) in table {
        if *schema != json!(false) {
            assert_eq!(problems(schema, good), [""; 0], "{case}");
        }
        let found = problems(schema, bad);
        assert_eq!(found.is_empty(), part.is_empty(), "{case}: {found:?}");
        assert!(found.first().is_none_or(|text| text.contains(part)), "{case}: {found:?}");
    }
}

#[test]
fn of_alternatives_the_nearest_is_explained() {
    let schema = json!({"oneOf": [
        {"properties": {"action": {"const": "read"}, "path": {"type": "string"}}, "required": ["action", "path"]},
        {"properties": {"action": {"const": "write"}, "text": {"type": "string"}}, "required": ["action", "text"]},
    ]});
    assert_eq!(problems(&schema, &json!({"action": "write", "text": "a"})), [""; 0]);
    assert_eq!(problems(&schema, &json!({"action": "write"})), ["`text` is missing"]);
}

#[test]
fn the_cost_of_checking_a_schema_is_bounded() {
    // A schema that leads to itself, one whose alternatives multiply, and patterns that would take long.
    let endless = json!({"$ref": "#"});
    assert_eq!(problems(&endless, &json!({})), [""; 0]);
    let mut doubling = json!({"type": "string"});
    for _ in 0..40 {
        doubling = json!({"$defs": {}, "allOf": [doubling, {"type": "object"}]});
    }
    assert!(problems(&doubling, &json!({})).len() <= report::MAX_PROBLEMS);
    let tree = json!({"oneOf": [{"$ref": "#"}, {"$ref": "#"}, {"not": {}}]});
    assert_eq!(problems(&tree, &json!({})), [""; 0], "not checked to the end, so not refused");
    // Long lists that are looked at for each of many values, as a tool that invokes itself may have them.
    let names: Vec<String> = (0..20_000).map(|index| format!("f{index}")).collect();
    let many: Vec<Value> = (0..20_000).map(|_| json!({})).collect();
    assert_eq!(problems(&json!({"items": {"required": names}}), &json!(many)), [""; 0]);
    assert_eq!(problems(&json!({"items": {"enum": names}}), &json!(names)), [""; 0]);
    let numbers: Vec<usize> = (0..200_000).collect();
    assert_eq!(problems(&json!({"uniqueItems": true}), &json!(numbers)), [""; 0]);
    let fields: serde_json::Map<String, Value> = names.iter().map(|name| (name.clone(), json!(1))).collect();
    assert_eq!(problems(&json!({"patternProperties": fields}), &Value::Object(fields.clone())), [""; 0]);
    let dear = json!({"pattern": "(a{1000}){1000}"});
    assert_eq!(problems(&dear, &json!("a")), [""; 0]);
}

#[test]
fn problems_are_reported_up_to_their_limit() {
    let names: Vec<String> = (0..report::MAX_PROBLEMS + 1).map(|index| format!("f{index}")).collect();
    let found = problems(&json!({"required": names[1..]}), &json!({}));
    assert_eq!(found.len(), report::MAX_PROBLEMS);
    assert_eq!(problems(&json!({"required": names}), &json!({})).len(), report::MAX_PROBLEMS);
}

#[test]
fn a_schema_is_an_object_or_a_boolean() {
    for (text, is_good) in
        [("{}", true), ("true", true), ("", false), ("{", false), ("[]", false), ("\"a\"", false)]
    {
        assert_eq!(ParameterSchema::parse(text).is_ok(), is_good, "{text}");
    }
}

/// Any JSON, whose names are often words of JSON Schema, so that it often is a schema that says something.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "type",
        "enum",
        "const",
        "properties",
        "required",
        "items",
        "prefixItems",
        "additionalProperties",
        "anyOf",
        "oneOf",
        "allOf",
        "not",
        "if",
        "then",
        "else",
        "$ref",
        "pattern",
        "patternProperties",
        "minimum",
        "multipleOf",
        "uniqueItems",
        "contains",
        "maxLength",
        "dependentRequired",
        "propertyNames",
        "a",
        "b",
    ]);
    let text = prop::sample::select(vec!["#", "#/a", "object", "string", "integer", "a", "^a+$", "ä", ""]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..4).prop_map(Value::from),
        (-2.0f64..2.0).prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..6).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_schema_and_no_parameters_panic(schema in any_json(), params in any_json()) {
        if let Ok(schema) = ParameterSchema::parse(&schema.to_string()) {
            let found = schema.problems(&params);
            prop_assert!(found.len() <= report::MAX_PROBLEMS);
            prop_assert_eq!(&found, &schema.problems(&params));
        }
    }
}
