//! Texts with places to fill in: `Hello {name}`, `{/json/pointer}`.

use serde_json::Value;

/// Fills in what `value` knows; other braces stay as they are.
pub fn fill(template: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        out.push_str(&rest[..start]);
        let inner = &rest[start + 1..];
        match inner.find('}').and_then(|end| Some((value(&inner[..end])?, end))) {
            Some((filled, end)) => {
                out.push_str(&filled);
                rest = &inner[end + 1..];
            }
            None => {
                out.push('{');
                rest = inner;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Fills in every text of a JSON value.
pub fn fill_all(template: &Value, value: &dyn Fn(&str) -> Option<String>) -> Value {
    match template {
        Value::String(text) => Value::from(fill(text, value)),
        Value::Array(items) => items.iter().map(|item| fill_all(item, value)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, field)| (name.clone(), fill_all(field, value))).collect()
        }
        other => other.clone(),
    }
}

/// What is at a JSON pointer, as text; nothing for what is no pointer.
pub fn pointed(body: &Value, pointer: &str) -> Option<String> {
    pointer.starts_with('/').then(|| text_at(body, pointer))
}

/// What is at a JSON pointer, as text. Empty when there is nothing, or no pointer.
pub fn text_at(body: &Value, pointer: &str) -> String {
    match body.pointer(pointer).filter(|_| !pointer.is_empty()) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_filled_in() {
        let body = json!({"a": {"b": "x", "n": 7}, "list": [1, "y"], "null": null, "evil": "{/a/b}"});
        let filled = |template: &str| fill(template, &|name| pointed(&body, name));
        for (template, expected) in [
            ("{/a/b} and {/list/1}", "x and y"),
            ("{/a/n}{/null}{/missing}", "7"),
            ("{other} {", "{other} {"),
            ("{/evil}", "{/a/b}"),
            ("{/list}", "[1,\"y\"]"),
            ("{{/a/b}}", "{x}"),
        ] {
            assert_eq!(filled(template), expected, "{template}");
        }
        let template = json!({"text": "<{/a/b}>", "deep": [{"n": 1, "t": "{/a/n}"}]});
        let expected = json!({"text": "<x>", "deep": [{"n": 1, "t": "7"}]});
        assert_eq!(fill_all(&template, &|name| pointed(&body, name)), expected);
    }
}
