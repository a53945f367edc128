//! The rules of a schema, one by one.

use serde_json::{Map, Value};

use super::pattern;
use super::report::{MAX_PROBLEMS, Place, Problem, one_of, shown, type_of};
use crate::model::document::nearest;

/// How deep schemas may lead into each other, `$ref` included. What is deeper is not checked.
const MAX_DEPTH: u32 = 64;
/// Rules that are looked at for one call. What is beyond is not checked: a schema whose alternatives multiply would
/// otherwise keep the host busy without paying for it.
const MAX_STEPS: u32 = 100_000;

/// What is wrong with `params`.
pub(super) fn problems(schema: &Value, params: &Value) -> Vec<Problem> {
    let mut checker = Checker { root: schema, steps: MAX_STEPS };
    let mut found = Vec::new();
    checker.check(schema, params, &Place::Whole, 0, &mut found);
    // What was begun when the steps ran out is no finding.
    if checker.steps == 0 {
        return Vec::new();
    }
    found.truncate(MAX_PROBLEMS);
    found
}

struct Checker<'a> {
    root: &'a Value,
    steps: u32,
}

impl<'a> Checker<'a> {
    fn step(&mut self) -> bool {
        self.steps = self.steps.saturating_sub(1);
        self.steps > 0
    }

    fn check(
        &mut self,
        schema: &'a Value,
        value: &Value,
        place: &Place<'_>,
        depth: u32,
        found: &mut Vec<Problem>,
    ) {
        if depth >= MAX_DEPTH || !self.step() {
            return;
        }
        let rules = match schema {
            Value::Object(rules) => rules,
            Value::Bool(false) => return found.push(place.problem("it must not be there")),
            _ => return,
        };
        if value.is_null() && rules.get("nullable") == Some(&Value::Bool(true)) {
            return;
        }
        let before = found.len();
        self.check_kind(rules, value, place, found);
        // A value of the wrong type breaks many rules; the first one says it all.
        if found.len() > before {
            return;
        }
        match value {
            Value::Number(_) => check_number(rules, value, place, found),
            Value::String(text) => check_text(rules, text, place, found),
            Value::Array(items) => self.check_array(rules, items, place, depth, found),
            Value::Object(object) => self.check_object(rules, object, place, depth, found),
            Value::Null | Value::Bool(_) => {}
        }
        self.check_combinations(rules, value, place, depth, found);
    }

    fn check_kind(
        &self,
        rules: &Map<String, Value>,
        value: &Value,
        place: &Place<'_>,
        found: &mut Vec<Problem>,
    ) {
        if let Some(kind) = rules.get("type") {
            let names: Vec<&str> = match kind {
                Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
                kind => kind.as_str().into_iter().collect(),
            };
            if !names.is_empty() && !names.iter().any(|name| is_of_type(name, value)) {
                let (expected, is) = (names.join(" or "), type_of(value));
                return found.push(place.problem(format!("it must be of type {expected}, and is {is}")));
            }
        }
        if let Some(Value::Array(values)) = rules.get("enum")
            && !values.iter().any(|allowed| is_equal(allowed, value))
        {
            found.push(place.problem(format!("it must be one of {}", one_of(values))));
        }
        if let Some(allowed) = rules.get("const")
            && !is_equal(allowed, value)
        {
            found.push(place.problem(format!("it must be {}", shown(allowed))));
        }
    }

    fn check_array(
        &mut self,
        rules: &'a Map<String, Value>,
        items: &[Value],
        place: &Place<'_>,
        depth: u32,
        found: &mut Vec<Problem>,
    ) {
        check_count(rules, ("minItems", "maxItems"), items.len(), "items", place, found);
        // Draft 7 has the first items' schemas in `items` and the others' in `additionalItems`.
        let listed = rules.get("items").and_then(Value::as_array);
        let first = rules.get("prefixItems").and_then(Value::as_array).or(listed);
        let first = first.map(Vec::as_slice).unwrap_or_default();
        let others = if listed.is_some() { rules.get("additionalItems") } else { rules.get("items") };
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(index).or(others) {
                self.check(schema, item, &Place::Item(place, index), depth + 1, found);
            }
        }
        if rules.get("uniqueItems") == Some(&Value::Bool(true)) {
            let repeated = (1..items.len()).find(|index| {
                items[..*index].iter().any(|other| self.step() && is_equal(other, &items[*index]))
            });
            if let Some(index) = repeated {
                found.push(Place::Item(place, index).problem("it is there twice, and items must differ"));
            }
        }
        if let Some(schema) = rules.get("contains") {
            let count = items.iter().filter(|item| self.fits(schema, item, place, depth)).count();
            let least = rules.get("minContains").and_then(Value::as_u64).unwrap_or(1);
            if (count as u64) < least {
                found.push(place.problem("too few of its items are of the kind that must be in it"));
            }
        }
    }

    fn check_object(
        &mut self,
        rules: &'a Map<String, Value>,
        object: &Map<String, Value>,
        place: &Place<'_>,
        depth: u32,
        found: &mut Vec<Problem>,
    ) {
        check_count(rules, ("minProperties", "maxProperties"), object.len(), "fields", place, found);
        let required = rules.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                found.push(Place::Field(place, name).problem("it is missing"));
            }
        }
        let known = rules.get("properties").and_then(Value::as_object);
        for (name, value) in object {
            let place = Place::Field(place, name);
            let own = known.and_then(|known| known.get(name));
            if let Some(schema) = own {
                self.check(schema, value, &place, depth + 1, found);
            }
            let by_pattern = self.check_patterns(rules, name, value, &place, depth, found);
            if own.is_none() && !by_pattern {
                self.check_additional(rules, known, name, value, &place, depth, found);
            }
            if let Some(schema) = rules.get("propertyNames") {
                self.check(schema, &Value::String(name.clone()), &place, depth + 1, found);
            }
        }
        let dependent = rules.get("dependentRequired").and_then(Value::as_object);
        for (name, others) in dependent.into_iter().flatten().filter(|(name, _)| object.contains_key(*name)) {
            for other in others.as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !object.contains_key(other) {
                    found.push(
                        Place::Field(place, other).problem(format!("it is missing, and `{name}` needs it")),
                    );
                }
            }
        }
    }

    /// Whether `patternProperties` may know the field.
    fn check_patterns(
        &mut self,
        rules: &'a Map<String, Value>,
        name: &str,
        value: &Value,
        place: &Place<'_>,
        depth: u32,
        found: &mut Vec<Problem>,
    ) -> bool {
        let mut known = false;
        for (pattern, schema) in
            rules.get("patternProperties").and_then(Value::as_object).into_iter().flatten()
        {
            match pattern::is_match(pattern, name) {
                Some(true) => {
                    known = true;
                    self.check(schema, value, place, depth + 1, found);
                }
                Some(false) => {}
                None => known = true,
            }
        }
        known
    }

    #[allow(clippy::too_many_arguments)]
    fn check_additional(
        &mut self,
        rules: &'a Map<String, Value>,
        known: Option<&'a Map<String, Value>>,
        name: &str,
        value: &Value,
        place: &Place<'_>,
        depth: u32,
        found: &mut Vec<Problem>,
    ) {
        match rules.get("additionalProperties") {
            Some(Value::Bool(false)) => {
                let names: Vec<&str> = known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                let reason = match nearest(name, &names) {
                    Some(nearest) => format!("it is not known; did you mean `{nearest}`?"),
                    None if names.is_empty() => "it is not known; no field is".to_owned(),
                    None => format!("it is not known; known are {}", names.join(", ")),
                };
                found.push(place.problem(reason));
            }
            Some(schema) => self.check(schema, value, place, depth + 1, found),
            None => {}
        }
    }

    fn check_combinations(
        &mut self,
        rules: &'a Map<String, Value>,
        value: &Value,
        place: &Place<'_>,
        depth: u32,
        found: &mut Vec<Problem>,
    ) {
        let list =
            |word: &str| rules.get(word).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if let Some(target) = rules.get("$ref").and_then(Value::as_str).and_then(|text| self.target(text)) {
            self.check(target, value, place, depth + 1, found);
        }
        for schema in list("allOf") {
            self.check(schema, value, place, depth + 1, found);
        }
        if !list("anyOf").is_empty() {
            self.check_any(list("anyOf"), value, place, depth, found);
        }
        if !list("oneOf").is_empty() {
            let fitting =
                list("oneOf").iter().filter(|schema| self.fits(schema, value, place, depth)).count();
            match fitting {
                0 => self.check_any(list("oneOf"), value, place, depth, found),
                1 => {}
                _ => found.push(place.problem("it fits more than one of the alternatives, and must fit one")),
            }
        }
        if let Some(schema) = rules.get("not")
            && self.fits(schema, value, place, depth)
        {
            found.push(place.problem("it is of a kind that it must not be"));
        }
        if let Some(schema) = rules.get("if") {
            let word = if self.fits(schema, value, place, depth) { "then" } else { "else" };
            if let Some(schema) = rules.get(word) {
                self.check(schema, value, place, depth + 1, found);
            }
        }
    }

    /// Of alternatives none of which fits, what is wrong with the nearest is told: the one with the fewest problems, where a
    /// value deep inside is nearer than another type.
    fn check_any(
        &mut self,
        schemas: &'a [Value],
        value: &Value,
        place: &Place<'_>,
        depth: u32,
        found: &mut Vec<Problem>,
    ) {
        let mut nearest: Option<Vec<Problem>> = None;
        let here = place.problem("").path;
        let rank = |problems: &[Problem]| {
            (problems.iter().filter(|problem| problem.path == here).count(), problems.len())
        };
        for schema in schemas {
            let mut of_this = Vec::new();
            self.check(schema, value, place, depth + 1, &mut of_this);
            if of_this.is_empty() {
                return;
            }
            if nearest.as_ref().is_none_or(|best| rank(&of_this) < rank(best)) {
                nearest = Some(of_this);
            }
        }
        found.extend(nearest.unwrap_or_default());
    }

    fn fits(&mut self, schema: &'a Value, value: &Value, place: &Place<'_>, depth: u32) -> bool {
        let mut found = Vec::new();
        self.check(schema, value, place, depth + 1, &mut found);
        found.is_empty()
    }

    /// The schema that a reference within the document names.
    fn target(&self, reference: &str) -> Option<&'a Value> {
        let pointer = reference.strip_prefix('#')?;
        let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8().ok()?;
        self.root.pointer(&pointer)
    }
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        name => type_of(value) == name,
    }
}

/// Numbers are equal by their value: 1 is 1.0.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(_), Value::Number(_)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

fn check_number(rules: &Map<String, Value>, value: &Value, place: &Place<'_>, found: &mut Vec<Problem>) {
    let Some(number) = value.as_f64() else { return };
    let rule = |word: &str| rules.get(word).and_then(Value::as_f64);
    // Draft 4 makes a bound exclusive with a boolean.
    let is_exclusive = |word: &str| rules.get(word) == Some(&Value::Bool(true));
    let least = rule("minimum").filter(|_| !is_exclusive("exclusiveMinimum"));
    let above = rule("exclusiveMinimum").or(rule("minimum").filter(|_| is_exclusive("exclusiveMinimum")));
    let most = rule("maximum").filter(|_| !is_exclusive("exclusiveMaximum"));
    let below = rule("exclusiveMaximum").or(rule("maximum").filter(|_| is_exclusive("exclusiveMaximum")));
    let broken = [
        (least.filter(|bound| number < *bound), "at least"),
        (above.filter(|bound| number <= *bound), "more than"),
        (most.filter(|bound| number > *bound), "at most"),
        (below.filter(|bound| number >= *bound), "less than"),
    ];
    for (bound, words) in broken {
        if let Some(bound) = bound {
            found.push(place.problem(format!("it must be {words} {bound}, and is {number}")));
        }
    }
    if let Some(step) = rule("multipleOf").filter(|step| *step > 0.0) {
        let quotient = number / step;
        if (quotient - quotient.round()).abs() > 1e-9 * quotient.abs().max(1.0) {
            found.push(place.problem(format!("it must be a multiple of {step}, and is {number}")));
        }
    }
}

fn check_text(rules: &Map<String, Value>, text: &str, place: &Place<'_>, found: &mut Vec<Problem>) {
    if rules.contains_key("minLength") || rules.contains_key("maxLength") {
        let count = text.chars().count();
        check_count(rules, ("minLength", "maxLength"), count, "characters", place, found);
    }
    if let Some(rule) = rules.get("pattern").and_then(Value::as_str)
        && pattern::is_match(rule, text) == Some(false)
    {
        found.push(place.problem(format!("it does not match the pattern {}", shown(&Value::from(rule)))));
    }
}

fn check_count(
    rules: &Map<String, Value>,
    (least, most): (&str, &str),
    count: usize,
    what: &str,
    place: &Place<'_>,
    found: &mut Vec<Problem>,
) {
    let rule = |word: &str| rules.get(word).and_then(Value::as_u64);
    if let Some(least) = rule(least).filter(|least| (count as u64) < *least) {
        found.push(place.problem(format!("it must have at least {least} {what}, and has {count}")));
    }
    if let Some(most) = rule(most).filter(|most| (count as u64) > *most) {
        found.push(place.problem(format!("it must have at most {most} {what}, and has {count}")));
    }
}
