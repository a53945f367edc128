use tinclaw_tool_kit::fake::{FakeHost, response};

use super::*;

const STATES: &str = r#"[
    {"entity_id": "light.kitchen", "state": "on", "attributes": {"friendly_name": "Kitchen lamp"}},
    {"entity_id": "sensor.outside", "state": "4.5",
     "attributes": {"friendly_name": "Outside", "unit_of_measurement": "°C"}},
    {"entity_id": "light.hall", "state": "off", "attributes": {}}
]"#;

fn call(params: Value) -> Result<String, String> {
    let params = serde_json::from_value(params).expect("they fit");
    HomeAssistant::call(params, &Call::with_settings(json!({"url": "http://ha.lan:8123/"})))
}

#[test]
fn states_are_listed_by_domain_and_by_words() {
    let host = FakeHost::new().responding(|_| response(200, "application/json", STATES));
    assert_eq!(
        call(json!({"action": "states"})).unwrap(),
        "light.kitchen: on (Kitchen lamp)\nsensor.outside: 4.5 °C (Outside)\nlight.hall: off"
    );
    assert_eq!(
        call(json!({"action": "states", "domain": "sensor"})).unwrap(),
        "sensor.outside: 4.5 °C (Outside)"
    );
    assert_eq!(
        call(json!({"action": "states", "words": "LAMP kit"})).unwrap(),
        "light.kitchen: on (Kitchen lamp)"
    );
    assert_eq!(call(json!({"action": "states", "words": "attic"})).unwrap(), "no such entity");
    assert_eq!(host.requests()[0].url, "http://ha.lan:8123/api/states");
}

#[test]
fn a_list_ends_at_its_limit_and_says_so() {
    let of = |count: usize| {
        let states: Vec<Value> =
            (0..count).map(|n| json!({"entity_id": format!("a.b{n}"), "state": "on"})).collect();
        text::states(&json!(states), None, None, MAX_LINES)
    };
    assert_eq!(of(MAX_LINES).lines().count(), MAX_LINES);
    assert!(of(MAX_LINES + 1).ends_with("and 1 more: name a domain or words"));
}

#[test]
fn a_service_is_called_with_its_entity_and_data() {
    let host = FakeHost::new().responding(|_| {
        response(
            200,
            "application/json",
            r#"[{"entity_id": "light.kitchen", "state": "on", "attributes": {}}]"#,
        )
    });
    let params = json!({"action": "call", "domain": "light", "service": "turn_on", "entity_id": "light.kitchen",
        "data": {"brightness_pct": 40}});
    assert_eq!(call(params).unwrap(), "light.kitchen: on");
    let sent = &host.requests()[0];
    assert_eq!(
        (sent.method.as_str(), sent.url.as_str()),
        ("POST", "http://ha.lan:8123/api/services/light/turn_on")
    );
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(body, json!({"brightness_pct": 40, "entity_id": "light.kitchen"}));
}

#[test]
fn services_are_listed_with_their_fields() {
    let _host = FakeHost::new().responding(|_| {
        let services = r#"[{"domain": "light", "services": {"turn_on": {"fields": {"brightness_pct": {}, "flash": {}}}}},
            {"domain": "lock", "services": {"lock": {}}}]"#;
        response(200, "application/json", services)
    });
    let listed = |params| call(params).unwrap();
    assert_eq!(
        listed(json!({"action": "services", "domain": "light"})),
        "light.turn_on: brightness_pct, flash"
    );
    assert_eq!(listed(json!({"action": "services"})).lines().count(), 2);
    assert_eq!(listed(json!({"action": "services", "domain": "x"})), "no such domain");
}

/// A path in a name would reach another part of the API.
#[test]
fn names_have_no_other_characters_and_nothing_is_sent() {
    let host = FakeHost::new();
    for (params, part) in [
        (json!({"action": "state"}), "`entity_id`"),
        (json!({"action": "state", "entity_id": "light"}), "is none"),
        (json!({"action": "state", "entity_id": "light.a/../../config"}), "is none"),
        (json!({"action": "call", "domain": "light"}), "`service` is needed"),
        (json!({"action": "call", "domain": "li/ght", "service": "a"}), "`domain`"),
        (json!({"action": "call", "domain": "light", "service": "a?b"}), "`service`"),
        (json!({"action": "call", "domain": "light", "service": "a", "entity_id": "x"}), "is none"),
    ] {
        let error = call(params).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    assert!(host.requests().is_empty());
}

#[test]
fn what_is_wrong_is_said_to_whoever_can_change_it() {
    for (status, part) in
        [(401, "home_assistant_token"), (404, "knows no such"), (500, "responded with 500: down")]
    {
        let _host = FakeHost::new().responding(move |_| response(status, "text/plain", "down"));
        let error = call(json!({"action": "states"})).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    let params = serde_json::from_value(json!({"action": "states"})).unwrap();
    let error = HomeAssistant::call(params, &Call::default()).unwrap_err();
    assert!(error.contains("[tool.home_assistant.config]"), "{error}");
}
