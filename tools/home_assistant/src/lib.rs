//! Home Assistant: the states of its entities, its services, and calling them (its REST API,
//! <https://developers.home-assistant.io/docs/api/rest>).

mod api;
mod text;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tinclaw_tool_kit::{Call, Tool};

/// Lines of a list.
const MAX_LINES: usize = 100;

/// The tool.
pub struct HomeAssistant;

/// What is asked for. Optional fields belong to some actions only.
#[derive(Deserialize)]
pub struct Params {
    action: Action,
    entity_id: Option<String>,
    words: Option<String>,
    domain: Option<String>,
    service: Option<String>,
    #[serde(default)]
    data: Map<String, Value>,
}

/// What is to be done.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    States,
    State,
    Services,
    Call,
}

impl Tool for HomeAssistant {
    type Params = Params;

    fn description() -> String {
        "The home: `states` lists entities and how they are, of a `domain` such as light or with `words` in their name; \
         `state` shows all of one `entity_id`; `services` lists what a `domain` can do; `call` does it: `domain`, \
         `service`, mostly `entity_id`, and `data`, as light, turn_on, light.kitchen, {\"brightness_pct\": 40}."
            .into()
    }

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "action": {"type": "string", "enum": ["states", "state", "services", "call"]},
                "entity_id": {"type": "string", "description": "as light.kitchen"},
                "words": {"type": "string", "description": "for states: parts of the name or id"},
                "domain": {"type": "string", "description": "as light, switch, climate"},
                "service": {"type": "string", "description": "for call, as turn_on"},
                "data": {"type": "object", "description": "for call: the service's fields"},
            },
            "required": ["action"],
            "additionalProperties": false,
        })
    }

    fn call(params: Params, call: &Call) -> Result<String, String> {
        let Params { action, entity_id, words, domain, service, data } = params;
        let server = api::Server::of(call)?;
        match action {
            Action::States => {
                let states = server.get("/api/states")?;
                Ok(text::states(&states, domain.as_deref(), words.as_deref(), MAX_LINES))
            }
            Action::State => {
                let id = api::entity_id(entity_id.as_deref())?;
                Ok(server.get(&format!("/api/states/{id}"))?.to_string())
            }
            Action::Services => {
                let services = server.get("/api/services")?;
                Ok(text::services(&services, domain.as_deref(), MAX_LINES))
            }
            Action::Call => {
                let domain = api::name("domain", domain.as_deref())?;
                let service = api::name("service", service.as_deref())?;
                let mut data = data;
                if entity_id.is_some() {
                    data.insert("entity_id".into(), api::entity_id(entity_id.as_deref())?.into());
                }
                let changed =
                    server.post(&format!("/api/services/{domain}/{service}"), &Value::Object(data))?;
                Ok(text::changed(&changed, MAX_LINES))
            }
        }
    }
}

tinclaw_tool_kit::tool!(HomeAssistant);

#[cfg(test)]
mod tests;
