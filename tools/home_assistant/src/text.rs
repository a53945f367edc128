//! What Home Assistant responds with, in as few words as a model needs. No I/O.

use serde_json::Value;

/// A line for each entity: `light.kitchen: on (Kitchen)`.
pub fn states(states: &Value, domain: Option<&str>, words: Option<&str>, most: usize) -> String {
    let words: Vec<String> = words.unwrap_or_default().split_whitespace().map(str::to_lowercase).collect();
    let all = states.as_array().map(Vec::as_slice).unwrap_or_default();
    let lines = all.iter().filter_map(|state| {
        let id = state["entity_id"].as_str()?;
        let name = state["attributes"]["friendly_name"].as_str().unwrap_or_default();
        let is_wanted = domain.is_none_or(|domain| id.split('.').next() == Some(domain));
        let searched = format!("{id} {name}").to_lowercase();
        (is_wanted && words.iter().all(|word| searched.contains(word.as_str())))
            .then(|| line(state, id, name))
    });
    list(lines, "no such entity", most)
}

/// A line for each service: `light.turn_on: brightness_pct, color_name`.
pub fn services(services: &Value, domain: Option<&str>, most: usize) -> String {
    let all = services.as_array().map(Vec::as_slice).unwrap_or_default();
    let wanted = all.iter().filter(|entry| domain.is_none_or(|domain| entry["domain"] == domain));
    let lines = wanted.flat_map(|entry| {
        let domain = entry["domain"].as_str().unwrap_or_default();
        let services = entry["services"].as_object();
        services.into_iter().flatten().map(move |(name, service)| {
            let fields = service["fields"].as_object().into_iter().flatten();
            let fields = fields.map(|(field, _)| field.as_str()).collect::<Vec<_>>().join(", ");
            format!("{domain}.{name}: {fields}")
        })
    });
    list(lines, "no such domain", most)
}

/// The entities that a call has changed.
pub fn changed(states: &Value, most: usize) -> String {
    let all = states.as_array().map(Vec::as_slice).unwrap_or_default();
    let lines = all.iter().filter_map(|state| {
        let name = state["attributes"]["friendly_name"].as_str().unwrap_or_default();
        Some(line(state, state["entity_id"].as_str()?, name))
    });
    list(lines, "done; nothing has changed yet", most)
}

fn line(state: &Value, id: &str, name: &str) -> String {
    let unit = state["attributes"]["unit_of_measurement"].as_str().unwrap_or_default();
    let value = state["state"].as_str().unwrap_or("unknown");
    let (space, open, close) = (
        if unit.is_empty() { "" } else { " " },
        if name.is_empty() { "" } else { " (" },
        if name.is_empty() { "" } else { ")" },
    );
    format!("{id}: {value}{space}{unit}{open}{name}{close}")
}

fn list(lines: impl Iterator<Item = String>, nothing: &str, most: usize) -> String {
    let mut lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return nothing.to_owned();
    }
    let more = lines.len().saturating_sub(most);
    lines.truncate(most);
    if more > 0 {
        lines.push(format!("and {more} more: name a domain or words"));
    }
    lines.join("\n")
}
