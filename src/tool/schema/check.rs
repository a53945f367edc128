//! The rules of a schema, one by one.

use serde_json::{Map, Value};

use super::pattern;
use super::report::{MAX_PROBLEMS, ParameterPlace, ParameterProblem, one_of, shown, type_of};
use crate::model::document::{nearest, shortened};

/// How deep schemas may lead into each other, `$ref` included. What is deeper is not checked.
const MAX_DEPTH: u32 = 64;
/// What the check of one call may cost: a step is a rule, a name or a value that is looked at. What is beyond is not checked: a
/// schema whose alternatives multiply would otherwise keep the host busy, and its guest would not pay for it.
const MAX_STEPS: usize = 100_000;
/// How many types JSON Schema has.
const KINDS: usize = 7;
/// Steps of a match with a pattern, besides one for each byte of the text.
const PATTERN_STEPS: usize = 50;
/// Fields that an unknown one is compared with.
const MAX_NAMES: usize = 100;
/// Bytes of a text that one step compares.
const BYTES_PER_STEP: usize = 64;

/// What is wrong with `params`.
pub(super) fn problems(schema: &Value, params: &Value) -> Vec<ParameterProblem> {
    let mut checker = Checker { root: schema, steps: MAX_STEPS };
    let mut found = Vec::new();
    checker.check(schema, params, &ParameterPlace::Whole, 0, &mut found);
    // What was begun when the steps ran out is no finding.
    if checker.steps == 0 { Vec::new() } else { found }
}

/// Adds what is wrong, unless enough is told already.
fn add(found: &mut Vec<ParameterProblem>, problem: impl FnOnce() -> ParameterProblem) {
    if found.len() < MAX_PROBLEMS {
        found.push(problem());
    }
}

struct Checker<'a> {
    root: &'a Value,
    steps: usize,
}

impl<'a> Checker<'a> {
    /// Pays for what comes next; false when nothing is left, and then it is not done.
    fn spend(&mut self, steps: usize) -> bool {
        self.steps = self.steps.saturating_sub(steps);
        self.steps > 0
    }

    /// Whether two values are equal. Numbers are equal by their value: 1 is 1.0.
    fn is_equal(&mut self, a: &Value, b: &Value) -> bool {
        if !self.spend(1) {
            return false;
        }
        match (a, b) {
            (Value::Number(_), Value::Number(_)) => a == b || a.as_f64() == b.as_f64(),
            (Value::String(a), Value::String(b)) => {
                a.len() == b.len() && self.spend(a.len() / BYTES_PER_STEP) && a == b
            }
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.is_equal(a, b))
            }
            (Value::Object(a), Value::Object(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| self.is_equal(a, b)))
            }
            (a, b) => a == b,
        }
    }

    fn is_match(&mut self, pattern: &str, text: &str) -> Option<bool> {
        if self.spend(PATTERN_STEPS + text.len()) { pattern::is_match(pattern, text) } else { None }
    }

    fn check(
        &mut self,
        schema: &'a Value,
        value: &Value,
        place: &ParameterPlace<'_>,
        depth: u32,
        found: &mut Vec<ParameterProblem>,
    ) {
        if depth >= MAX_DEPTH || !self.spend(1) {
            return;
        }
        let rules = match schema {
            Value::Object(rules) => rules,
            Value::Bool(false) => return add(found, || place.problem("must not be there")),
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
            Value::String(text) => self.check_text(rules, text, place, found),
            Value::Array(items) => self.check_array(rules, items, place, depth, found),
            Value::Object(object) => self.check_object(rules, object, place, depth, found),
            Value::Null | Value::Bool(_) => {}
        }
        self.check_combinations(rules, value, place, depth, found);
    }

    fn check_kind(
        &mut self,
        rules: &Map<String, Value>,
        value: &Value,
        place: &ParameterPlace<'_>,
        found: &mut Vec<ParameterProblem>,
    ) {
        if let Some(kind) = rules.get("type") {
            let names: Vec<&str> = match kind {
                Value::Array(kinds) => kinds.iter().take(KINDS).filter_map(Value::as_str).collect(),
                kind => kind.as_str().into_iter().collect(),
            };
            if !names.is_empty() && !names.iter().any(|name| is_of_type(name, value)) {
                let (expected, is) = (names.join(" or "), type_of(value));
                return add(found, || place.problem(format!("must be of type {expected}, and is {is}")));
            }
        }
        if let Some(Value::Array(values)) = rules.get("enum")
            && !values.iter().any(|allowed| self.is_equal(allowed, value))
        {
            add(found, || place.problem(format!("must be one of {}", one_of(values))));
        }
        if let Some(allowed) = rules.get("const")
            && !self.is_equal(allowed, value)
        {
            add(found, || place.problem(format!("must be {}", shown(allowed))));
        }
    }

    fn check_array(
        &mut self,
        rules: &'a Map<String, Value>,
        items: &[Value],
        place: &ParameterPlace<'_>,
        depth: u32,
        found: &mut Vec<ParameterProblem>,
    ) {
        check_count(rules, ("minItems", "maxItems"), items.len(), "items", place, found);
        // Draft 7 has the first items' schemas in `items` and the others' in `additionalItems`.
        let listed = rules.get("items").and_then(Value::as_array);
        let first = rules.get("prefixItems").and_then(Value::as_array).or(listed);
        let first = first.map(Vec::as_slice).unwrap_or_default();
        let others = if listed.is_some() { rules.get("additionalItems") } else { rules.get("items") };
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(index).or(others) {
                self.check(schema, item, &ParameterPlace::Item(place, index), depth + 1, found);
            }
        }
        if rules.get("uniqueItems") == Some(&Value::Bool(true))
            && let Some(index) = self.first_repeated(items)
        {
            let problem = "is a duplicate, and items must differ";
            add(found, || ParameterPlace::Item(place, index).problem(problem));
        }
        if let Some(schema) = rules.get("contains") {
            let count = items.iter().filter(|item| self.fits(schema, item, place, depth)).count();
            let least = rules.get("minContains").and_then(Value::as_u64).unwrap_or(1);
            if (count as u64) < least {
                add(found, || place.problem("has too few items of the kind that must be in it"));
            }
        }
    }

    /// The first item that is equal to one before it.
    fn first_repeated(&mut self, items: &[Value]) -> Option<usize> {
        for (index, item) in items.iter().enumerate() {
            for other in &items[..index] {
                if self.is_equal(other, item) {
                    return Some(index);
                }
                if self.steps == 0 {
                    return None;
                }
            }
        }
        None
    }

    fn check_object(
        &mut self,
        rules: &'a Map<String, Value>,
        object: &Map<String, Value>,
        place: &ParameterPlace<'_>,
        depth: u32,
        found: &mut Vec<ParameterProblem>,
    ) {
        check_count(rules, ("minProperties", "maxProperties"), object.len(), "fields", place, found);
        let required = rules.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if self.spend(1) && !object.contains_key(name) {
                add(found, || ParameterPlace::Field(place, name).problem("is missing"));
            }
        }
        let known = rules.get("properties").and_then(Value::as_object);
        for (name, value) in object {
            if self.steps == 0 {
                return;
            }
            let place = ParameterPlace::Field(place, name);
            let own = known.and_then(|known| known.get(name));
            if let Some(schema) = own {
                self.check(schema, value, &place, depth + 1, found);
            }
            let by_pattern = self.check_patterns(rules, (name, value), &place, depth, found);
            if own.is_none() && !by_pattern {
                self.check_additional(rules, (name, value), &place, depth, found);
            }
            if let Some(schema) = rules.get("propertyNames") {
                self.check(schema, &Value::String(name.clone()), &place, depth + 1, found);
            }
        }
        let dependent = rules.get("dependentRequired").and_then(Value::as_object);
        for (name, others) in dependent.into_iter().flatten() {
            if self.spend(1) && object.contains_key(name) {
                self.check_dependent(others, name, object, place, found);
            }
        }
    }

    fn check_dependent(
        &mut self,
        others: &Value,
        name: &str,
        object: &Map<String, Value>,
        place: &ParameterPlace<'_>,
        found: &mut Vec<ParameterProblem>,
    ) {
        for other in others.as_array().into_iter().flatten().filter_map(Value::as_str) {
            if self.spend(1) && !object.contains_key(other) {
                let problem = || format!("is missing, and `{}` needs it", shortened(name));
                add(found, || ParameterPlace::Field(place, other).problem(problem()));
            }
        }
    }

    /// Whether `patternProperties` may know the field.
    fn check_patterns(
        &mut self,
        rules: &'a Map<String, Value>,
        (name, value): (&str, &Value),
        place: &ParameterPlace<'_>,
        depth: u32,
        found: &mut Vec<ParameterProblem>,
    ) -> bool {
        let mut known = false;
        let patterns = rules.get("patternProperties").and_then(Value::as_object);
        for (pattern, schema) in patterns.into_iter().flatten() {
            match self.is_match(pattern, name) {
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

    /// A field that neither `properties` nor `patternProperties` knows.
    fn check_additional(
        &mut self,
        rules: &'a Map<String, Value>,
        (name, value): (&str, &Value),
        place: &ParameterPlace<'_>,
        depth: u32,
        found: &mut Vec<ParameterProblem>,
    ) {
        match rules.get("additionalProperties") {
            Some(Value::Bool(false)) => {
                let known = rules.get("properties").and_then(Value::as_object);
                let names: Vec<&str> =
                    known.into_iter().flatten().take(MAX_NAMES).map(|(name, _)| name.as_str()).collect();
                if self.spend(names.len()) {
                    add(found, || place.problem(unknown_field(name, &names)));
                }
            }
            Some(schema) => self.check(schema, value, place, depth + 1, found),
            None => {}
        }
    }

    fn check_combinations(
        &mut self,
        rules: &'a Map<String, Value>,
        value: &Value,
        place: &ParameterPlace<'_>,
        depth: u32,
        found: &mut Vec<ParameterProblem>,
    ) {
        let list =
            |word: &str| rules.get(word).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let reference = rules.get("$ref").and_then(Value::as_str);
        if let Some(target) = reference.and_then(|reference| self.target(reference)) {
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
                _ => {
                    let problem = "fits more than one of the alternatives, and must fit one";
                    add(found, || place.problem(problem));
                }
            }
        }
        if let Some(schema) = rules.get("not")
            && self.fits(schema, value, place, depth)
        {
            add(found, || place.problem("is of a kind that it must not be"));
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
        place: &ParameterPlace<'_>,
        depth: u32,
        found: &mut Vec<ParameterProblem>,
    ) {
        let mut nearest: Option<Vec<ParameterProblem>> = None;
        let here = place.problem("").path;
        let rank = |problems: &[ParameterProblem]| {
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
        nearest.into_iter().flatten().for_each(|problem| add(found, || problem));
    }

    fn fits(&mut self, schema: &'a Value, value: &Value, place: &ParameterPlace<'_>, depth: u32) -> bool {
        let mut found = Vec::new();
        self.check(schema, value, place, depth + 1, &mut found);
        found.is_empty()
    }

    /// The schema that a reference within the document names.
    fn target(&mut self, reference: &str) -> Option<&'a Value> {
        if !self.spend(reference.len() / BYTES_PER_STEP) {
            return None;
        }
        let pointer = reference.strip_prefix('#')?;
        let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8().ok()?;
        self.root.pointer(&pointer)
    }

    fn check_text(
        &mut self,
        rules: &Map<String, Value>,
        text: &str,
        place: &ParameterPlace<'_>,
        found: &mut Vec<ParameterProblem>,
    ) {
        if rules.contains_key("minLength") || rules.contains_key("maxLength") {
            let count = if self.spend(text.len() / BYTES_PER_STEP) { text.chars().count() } else { 0 };
            check_count(rules, ("minLength", "maxLength"), count, "characters", place, found);
        }
        if let Some(rule) = rules.get("pattern").and_then(Value::as_str)
            && self.is_match(rule, text) == Some(false)
        {
            let problem = || format!("does not match the pattern {}", shown(&Value::from(rule)));
            add(found, || place.problem(problem()));
        }
    }
}

fn unknown_field(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(nearest) => format!("is not a known field; did you mean `{}`?", shortened(nearest)),
        None if known.is_empty() => "is not a known field; no field is".to_owned(),
        None => format!("is not a known field; known are {}", shortened(&known.join(", "))),
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

fn check_number(
    rules: &Map<String, Value>,
    value: &Value,
    place: &ParameterPlace<'_>,
    found: &mut Vec<ParameterProblem>,
) {
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
            add(found, || place.problem(format!("must be {words} {bound}, and is {number}")));
        }
    }
    if let Some(step) = rule("multipleOf").filter(|step| *step > 0.0) {
        let quotient = number / step;
        if (quotient - quotient.round()).abs() > 1e-9 * quotient.abs().max(1.0) {
            add(found, || place.problem(format!("must be a multiple of {step}, and is {number}")));
        }
    }
}

fn check_count(
    rules: &Map<String, Value>,
    (least, most): (&str, &str),
    count: usize,
    what: &str,
    place: &ParameterPlace<'_>,
    found: &mut Vec<ParameterProblem>,
) {
    let rule = |word: &str| rules.get(word).and_then(Value::as_u64);
    if let Some(least) = rule(least).filter(|least| (count as u64) < *least) {
        add(found, || place.problem(format!("must have at least {least} {what}, and has {count}")));
    }
    if let Some(most) = rule(most).filter(|most| (count as u64) > *most) {
        add(found, || place.problem(format!("must have at most {most} {what}, and has {count}")));
    }
}
