//! What is to be done at the service, with names and addresses filled in.

use std::io::{self, IsTerminal as _};

use serde_json::{Map, Value};

use super::target::{SetupTarget, concerns};
use crate::capability::SetupStep;
use crate::cli::config::Settings;

/// One thing to do.
pub struct OperatorStep {
    /// What, and where.
    pub text: String,
    /// What to paste there.
    pub json: Option<Value>,
}

/// The steps before the questions.
pub fn before(settings: &Settings, target: &SetupTarget) -> Vec<OperatorStep> {
    steps(settings, target, false, &Value::Null)
}

/// The steps that are left when everything is known; `response` is what the service said.
pub fn after(settings: &Settings, target: &SetupTarget, response: &Value) -> Vec<OperatorStep> {
    steps(settings, target, true, response)
}

fn steps(settings: &Settings, target: &SetupTarget, is_after: bool, response: &Value) -> Vec<OperatorStep> {
    let values = values(settings, target);
    let secret = |name: &str| generated_secret(settings, target, name);
    let fill = |text: &str| fill(text, &values, response, &secret);
    let steps = target.setup().steps.into_iter();
    let wanted = steps.filter(|step| {
        step.after == is_after && concerns(settings, step.when) && !lacks_response(step, response)
    });
    wanted
        .map(|SetupStep { text, json, .. }| OperatorStep {
            text: fill(&text),
            json: json.map(|json| fill_all(json, &fill)),
        })
        .collect()
}

/// What can be filled in: addresses, the channel's name, its settings.
fn values(settings: &Settings, target: &SetupTarget) -> Map<String, Value> {
    let mut values = target.config(settings);
    values.insert("name".to_owned(), Value::from(target.name().as_str()));
    if let Some(url) = settings.public_url() {
        values.insert("public_url".to_owned(), Value::from(url.as_str()));
    }
    if let Some(url) = target.webhook_url(settings) {
        values.insert("webhook_url".to_owned(), Value::from(url));
    }
    values
}

/// A secret that was generated, to be entered at the service. Its value goes to a terminal only.
fn generated_secret(settings: &Settings, target: &SetupTarget, name: &str) -> Option<String> {
    let setup = target.setup();
    let declared = setup.required_secret(name).filter(|secret| secret.auto_generate.is_some())?;
    let stored = target.channel.stored_secret_name(&declared.name);
    let value = settings.secrets.store().ok()?.get(&stored).ok()??;
    match io::stdout().is_terminal() {
        true => Some(value.expose().to_owned()),
        false => Some(format!("(`tinclaw secrets show {stored}` shows it)")),
    }
}

/// Whether a step names something that the service would say and has not said: it was not asked, or does not respond.
fn lacks_response(step: &SetupStep, response: &Value) -> bool {
    let json = step.json.as_ref().map(Value::to_string).unwrap_or_default();
    [step.text.as_str(), json.as_str()].into_iter().any(|text| {
        let names = text.match_indices("{/").filter_map(|(at, _)| text[at + 1..].split('}').next());
        names.into_iter().any(|name| response.pointer(name).is_none())
    })
}

/// Fills in what stands in braces; what is not known stays as it is.
fn fill(
    text: &str,
    values: &Map<String, Value>,
    response: &Value,
    secret: &dyn Fn(&str) -> Option<String>,
) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, (name, after))) =
        rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        filled += before;
        let value = match name.starts_with('/') {
            true => response.pointer(name).map(shown),
            false => values.get(name).map(shown).or_else(|| secret(name)),
        };
        filled += &value.unwrap_or_else(|| format!("{{{name}}}"));
        rest = after;
    }
    filled + rest
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The same for every text of a document.
fn fill_all(json: Value, fill: &dyn Fn(&str) -> String) -> Value {
    match json {
        Value::String(text) => Value::String(fill(&text)),
        Value::Array(items) => items.into_iter().map(|item| fill_all(item, fill)).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, fill_all(value, fill))).collect()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // With the service out of reach, `setup telegram` said "Write to the bot: https://t.me/{/result/username}".
    #[test]
    fn a_step_that_needs_the_services_response_is_left_out_without_it() {
        let step = |text: &str, json: Option<Value>| SetupStep {
            text: text.to_owned(),
            json,
            after: true,
            ..serde_json::from_value(json!({"text": ""})).expect("a step")
        };
        let said = json!({"result": {"username": "ann_bot"}});
        for (step, needs_it) in [
            (step("write to https://t.me/{/result/username}", None), true),
            (step("paste it", Some(json!({"to": ["{/result/username}"]}))), true),
            (step("enter {webhook_url}", Some(json!({"a": {"b": "{name}"}}))), false),
        ] {
            assert_eq!(lacks_response(&step, &Value::Null), needs_it, "{}", step.text);
            assert!(!lacks_response(&step, &said), "{}", step.text);
        }
    }

    #[test]
    fn addresses_settings_responses_and_secrets_are_filled_in() {
        let values = json!({"webhook_url": "https://a.example/w", "number": 5});
        let response = json!({"id": "42"});
        let secret = |name: &str| (name == "token").then(|| "abc".to_owned());
        let fill = |text: &str| fill(text, values.as_object().expect("an object"), &response, &secret);
        for (text, expected) in [
            ("paste {webhook_url}, {number} times", "paste https://a.example/w, 5 times"),
            ("client_id={/id}&x={/no}", "client_id=42&x={/no}"),
            ("token {token}", "token abc"),
            ("{unknown} {", "{unknown} {"),
        ] {
            assert_eq!(fill(text), expected);
        }
        let json = json!({"a": [{"url": "{webhook_url}"}, true]});
        assert_eq!(fill_all(json, &fill), json!({"a": [{"url": "https://a.example/w"}, true]}));
    }
}
