//! What follows from what is known of a channel, in the order in which a message travels. Pure.

use serde_json::Value;

use super::facts::Facts;
use crate::capability::StatusQuery;
use crate::cli::held_channels::{HeldChannel, HeldState};
use crate::cli::output::age;
use crate::host::ServiceVerdict;

/// How far something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    /// It works.
    Good,
    /// It does not work, and nothing gets further.
    Error,
    /// Worth knowing.
    Note,
    /// Nobody knows.
    Unknown,
}

impl StepState {
    /// The word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Error => "error",
            Self::Note => "note",
            Self::Unknown => "unknown",
        }
    }

    /// The mark for people.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Error => "error",
            Self::Note => "note",
            Self::Unknown => "?",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusStep {
    /// What.
    pub label: &'static str,
    /// How far it is.
    pub state: StepState,
    /// What was found.
    pub text: String,
    /// What to do.
    pub help: Option<String>,
}

impl StatusStep {
    fn new(label: &'static str, state: StepState, text: impl Into<String>) -> Self {
        Self { label, state, text: text.into(), help: None }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// Everything that was looked at.
pub fn steps(facts: &Facts, now_ms: u64) -> Vec<StatusStep> {
    let mut steps = vec![loaded(facts), secrets(facts)];
    steps.extend(facts.held.iter().map(held));
    steps.extend(host(facts));
    steps.extend(problems(facts));
    steps.push(receiving(facts, now_ms));
    steps.push(last_message(facts, now_ms));
    steps.extend(last_error(facts, now_ms));
    steps.extend(replies(facts));
    steps.extend(pairing(facts));
    steps.extend(facts.verdicts.iter().map(|(query, response)| service(facts, query, response)));
    steps
}

/// Why it, or a package of it, is held back. One that is disabled is not wrong, and does not work.
fn held(held: &HeldChannel) -> StatusStep {
    let is_error = held.state.is_error() || held.state == HeldState::Disabled;
    let state = if is_error { StepState::Error } else { StepState::Note };
    StatusStep::new("held", state, &held.text).help(&held.help)
}

fn loaded(facts: &Facts) -> StatusStep {
    let name = &facts.name;
    let waits = facts.held.iter().any(|held| matches!(held.state, HeldState::Waiting | HeldState::Approved));
    match (&facts.load_error, facts.is_set_up, facts.health.is_null()) {
        (Some(error), ..) => StatusStep::new("loaded", StepState::Error, error),
        (None, true, _) | (None, _, false) => {
            StatusStep::new("loaded", StepState::Good, "its files can be loaded")
        }
        (None, false, true) if waits => {
            StatusStep::new("loaded", StepState::Error, "it is not installed yet")
        }
        (None, false, true) => StatusStep::new("loaded", StepState::Error, "it is not set up")
            .help(format!("`tinclaw setup {name}` sets it up")),
    }
}

fn secrets(facts: &Facts) -> StatusStep {
    let Facts { name, stored_secrets, missing_secrets, .. } = facts;
    if !missing_secrets.is_empty() {
        return StatusStep::new(
            "secrets",
            StepState::Error,
            format!("{} cannot be used or is not stored", missing_secrets.join(", ")),
        )
        .help(format!("`tinclaw setup {name}` asks for what is missing"));
    }
    let stored =
        if stored_secrets.is_empty() { "none is needed".to_owned() } else { stored_secrets.join(", ") };
    StatusStep::new("secrets", StepState::Good, stored)
}

/// How the host has it; nothing where it is said already why the host does not.
fn host(facts: &Facts) -> Option<StatusStep> {
    if !facts.is_running {
        return Some(
            StatusStep::new("started", StepState::Error, "no host runs").help("start it with `tinclaw run`"),
        );
    }
    if facts.health.is_null() && !facts.held.is_empty() {
        return None;
    }
    let name = &facts.name;
    let display_name = facts.health["display_name"].as_str().unwrap_or(name);
    Some(match facts.health["state"].as_str() {
        None => {
            StatusStep::new("started", StepState::Error, "the running host does not have it").help(format!(
                "`tinclaw setup {name}` puts it into the running host, and so does a restart of the host"
            ))
        }
        Some("ready") => StatusStep::new("started", StepState::Good, format!("it runs, as {display_name}")),
        Some("starting") => {
            StatusStep::new("started", StepState::Error, "it has not started yet; it is tried again")
        }
        Some(state) => StatusStep::new("started", StepState::Error, format!("it is {state}")),
    })
}

/// Errors and warnings of the running channel. Missing secrets have been said.
fn problems(facts: &Facts) -> Vec<StatusStep> {
    let problems = facts.health["diagnostics"].as_array().map(Vec::as_slice).unwrap_or_default();
    let wanted = problems.iter().filter(|problem| problem["code"] != "missing-secret");
    let step = |problem: &Value| {
        let state = if problem["severity"] == "error" { StepState::Error } else { StepState::Note };
        let step = StatusStep::new("problem", state, problem["message"].as_str().unwrap_or_default());
        match (problem["help"].as_str(), problem["code"].as_str()) {
            (Some(help), _) => step.help(help),
            (None, Some("refused-credential")) => {
                step.help(format!("`tinclaw setup {}` asks for the token again", facts.name))
            }
            (None, _) => step,
        }
    };
    wanted.map(step).collect()
}

fn receiving(facts: &Facts, now_ms: u64) -> StatusStep {
    let health = &facts.health;
    if health.is_null() {
        return StatusStep::new(
            "receives",
            StepState::Unknown,
            format!("it would receive {}", facts.receives),
        );
    }
    let ago = |field: &str| Some(age(&health[field], now_ms)).filter(|ago| !ago.is_empty());
    let mut ways = Vec::new();
    let mut state = StepState::Good;
    if let Some(link) = health["link"].as_object() {
        let text = |field: &str| link.get(field).and_then(Value::as_str).unwrap_or_default();
        if text("state") != "ready" {
            state = StepState::Error;
        }
        ways.push(format!("websocket to {}: {}", text("host"), text("state").replace('_', " ")));
    }
    if let Some(ms) = health["poll_interval_ms"].as_u64() {
        let last =
            ago("last_poll_at").map_or("none has ended well yet".to_owned(), |ago| format!("the last {ago}"));
        ways.push(format!("polls every {} s, {last}", ms.div_ceil(1000)));
    }
    let paths: Vec<&str> =
        health["paths"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !paths.is_empty() {
        let last =
            ago("last_request_at").map_or("none since the start".to_owned(), |ago| format!("the last {ago}"));
        ways.push(format!("requests to {}, {last}", paths.join(" ")));
    }
    match ways.is_empty() {
        true if health["state"] == "ready" => {
            StatusStep::new("receives", StepState::Note, "it neither polls, nor has paths or a websocket")
        }
        true => {
            StatusStep::new("receives", StepState::Unknown, format!("it would receive {}", facts.receives))
        }
        false => StatusStep::new("receives", state, ways.join("; ")),
    }
}

fn last_message(facts: &Facts, now_ms: u64) -> StatusStep {
    let text = |field: &str| facts.message[field].as_str().unwrap_or_default();
    match age(&facts.message["received_at"], now_ms) {
        ago if ago.is_empty() => StatusStep::new("message", StepState::Note, "none has arrived yet"),
        ago => StatusStep::new(
            "message",
            StepState::Good,
            format!("the last one {ago}, from {}: {} ({})", text("user_id"), text("excerpt"), text("state")),
        ),
    }
}

/// The last error, unless something has ended well since.
fn last_error(facts: &Facts, now_ms: u64) -> Option<StatusStep> {
    let health = &facts.health;
    let (error, at) = (health["last_error"].as_str()?, &health["last_error_at"]);
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let since = ["last_message_at", "last_request_at", "recovered_at"]
        .into_iter()
        .filter_map(|field| time(&health[field]))
        .max();
    let state = if since > time(at) { StepState::Note } else { StepState::Error };
    Some(StatusStep::new("last error", state, format!("{}: {error}", age(at, now_ms))))
}

fn replies(facts: &Facts) -> Vec<StatusStep> {
    let in_state =
        |state: &str| facts.replies.iter().filter(|reply| reply["state"] == state).collect::<Vec<_>>();
    let error_of = |replies: &[&Value]| {
        let error = replies.iter().find_map(|reply| reply["error"].as_str());
        error.map(|error| format!(": {error}")).unwrap_or_default()
    };
    let (pending, dead) = (in_state("pending"), in_state("dead"));
    let mut steps = Vec::new();
    if !pending.is_empty() {
        let text = format!("{} not delivered yet{}", pending.len(), error_of(&pending));
        steps.push(StatusStep::new("replies", StepState::Note, text));
    }
    if !dead.is_empty() {
        let text = format!("{} given up{}", dead.len(), error_of(&dead));
        steps.push(StatusStep::new("replies", StepState::Note, text).help(format!(
            "`tinclaw replies list --channel {} --state dead` lists what was given up, `tinclaw replies retry ID` tries again",
            facts.name
        )));
    }
    steps
}

fn pairing(facts: &Facts) -> Vec<StatusStep> {
    let step = |pending: &Value| {
        let text = |field: &str| pending[field].as_str().unwrap_or_default();
        let meta: Value = serde_json::from_str(text("meta_json")).unwrap_or_default();
        let who = meta["name"].as_str().map(|name| format!(" ({name})")).unwrap_or_default();
        StatusStep::new(
            "pairing",
            StepState::Note,
            format!("{}{who} waits for approval", text("external_id")),
        )
        .help(format!(
            "`tinclaw pairing approve {} {}` lets {}{who} in",
            facts.name,
            text("code"),
            text("external_id")
        ))
    };
    facts.pending.iter().map(step).collect()
}

/// What the service itself says.
fn service(facts: &Facts, query: &StatusQuery, response: &ServiceVerdict) -> StatusStep {
    match response {
        ServiceVerdict::Accepted(response) => {
            let shown = query.show.iter().filter_map(|(label, place)| {
                let value = response.pointer(place.as_str()?)?;
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let is_said = !value.is_null() && !text.is_empty();
                is_said.then(|| format!("{label} {text}"))
            });
            let shown: Vec<String> = shown.collect();
            let text =
                if shown.is_empty() { "it accepts the channel's token".to_owned() } else { shown.join(", ") };
            StatusStep::new("service", StepState::Good, text)
        }
        ServiceVerdict::Refused(words) => {
            StatusStep::new("service", StepState::Error, format!("it refuses: {words}"))
                .help(format!("`tinclaw setup {}` asks for what it needs again", facts.name))
        }
        ServiceVerdict::Unavailable(words) => {
            StatusStep::new("service", StepState::Unknown, format!("it does not respond: {words}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 100_000;

    fn facts() -> Facts {
        let health = json!({
            "name": "telegram", "display_name": "Telegram", "state": "ready", "diagnostics": [], "missing_secrets": [],
            "paths": [], "link": null, "poll_interval_ms": 30_000, "last_poll_at": "1970-01-01T00:01:35Z",
            "last_message_at": null, "last_request_at": null, "last_error_at": null, "last_error": null,
        });
        Facts {
            name: "telegram".to_owned(),
            is_set_up: true,
            is_running: true,
            stored_secrets: vec!["telegram_bot_token".to_owned()],
            health,
            ..Facts::default()
        }
    }

    fn found(facts: &Facts) -> Vec<(&'static str, StepState, String)> {
        steps(facts, NOW).into_iter().map(|step| (step.label, step.state, step.text)).collect()
    }

    fn has(facts: &Facts, label: &str, state: StepState, part: &str) {
        let all = found(facts);
        assert!(
            all.iter().any(|row| row.0 == label && row.1 == state && row.2.contains(part)),
            "{label} {part}: {all:?}"
        );
    }

    #[test]
    fn working_steps_are_listed_in_the_order_of_delivery() {
        let mut facts = facts();
        facts.message =
            json!({"received_at": "1970-01-01T00:01:30Z", "user_id": "7", "excerpt": "hi", "state": "acked"});
        let query = StatusQuery {
            show: json!({"account": "/result/username", "no": "/no"})
                .as_object()
                .cloned()
                .unwrap_or_default(),
            ..StatusQuery::default()
        };
        facts.verdicts = vec![(query, ServiceVerdict::Accepted(json!({"result": {"username": "tin_bot"}})))];
        let all = found(&facts);
        let labels: Vec<&str> = all.iter().map(|row| row.0).collect();
        assert_eq!(labels, ["loaded", "secrets", "started", "receives", "message", "service"]);
        assert!(all.iter().all(|row| row.1 == StepState::Good), "{all:?}");
        assert_eq!(all[3].2, "polls every 30 s, the last 5 s ago");
        assert_eq!(all[4].2, "the last one 10 s ago, from 7: hi (acked)");
        assert_eq!(all[5].2, "account tin_bot");
    }

    #[test]
    fn missing_parts_are_reported_with_a_remedy() {
        let mut facts = facts();
        facts.missing_secrets = vec!["telegram_bot_token".to_owned()];
        has(&facts, "secrets", StepState::Error, "telegram_bot_token");
        facts.health["diagnostics"] = json!([
            {"code": "missing-secret", "severity": "warning", "message": "twice"},
            {"code": "refused-credential", "severity": "error", "message": "401 from api.telegram.org"},
        ]);
        has(&facts, "problem", StepState::Error, "401 from");
        assert!(steps(&facts, NOW).iter().all(|step| step.text != "twice"));
        facts.pending = vec![
            json!({"channel": "telegram", "code": "ABCD", "external_id": "7", "meta_json": "{\"name\": \"Ann\"}"}),
        ];
        has(&facts, "pairing", StepState::Note, "7 (Ann) waits");
        let helps: Vec<String> = steps(&facts, NOW).into_iter().filter_map(|step| step.help).collect();
        assert!(helps.iter().any(|help| help.contains("tinclaw pairing approve telegram ABCD")), "{helps:?}");
        facts.replies = vec![json!({"state": "dead", "error": "Forbidden: bot was blocked"})];
        has(&facts, "replies", StepState::Note, "1 given up: Forbidden");
        facts.verdicts = vec![(StatusQuery::default(), ServiceVerdict::Refused("Unauthorized".to_owned()))];
        has(&facts, "service", StepState::Error, "Unauthorized");
        facts.verdicts = vec![(StatusQuery::default(), ServiceVerdict::Unavailable("timed out".to_owned()))];
        has(&facts, "service", StepState::Unknown, "timed out");
    }

    #[test]
    fn an_error_is_wrong_until_something_arrived_after_it() {
        let mut facts = facts();
        facts.health["last_error"] = json!("Conflict: terminated by other getUpdates request");
        facts.health["last_error_at"] = json!("1970-01-01T00:01:30Z");
        has(&facts, "last error", StepState::Error, "10 s ago: Conflict");
        facts.health["last_message_at"] = json!("1970-01-01T00:01:31Z");
        has(&facts, "last error", StepState::Note, "Conflict");
        facts.health["last_message_at"] = Value::Null;
        facts.health["recovered_at"] = json!("1970-01-01T00:01:31Z");
        has(&facts, "last error", StepState::Note, "Conflict");
    }

    #[test]
    fn a_stopped_host_and_a_missing_channel_are_reported() {
        let without = |is_running| Facts { is_running, health: Value::Null, ..facts() };
        has(&without(false), "started", StepState::Error, "no host runs");
        has(&without(true), "started", StepState::Error, "does not have it");
        let absent = Facts { is_set_up: false, health: Value::Null, ..facts() };
        has(&absent, "loaded", StepState::Error, "not set up");
        let broken = Facts { load_error: Some("no guest".to_owned()), ..facts() };
        has(&broken, "loaded", StepState::Error, "no guest");
    }

    /// `setup` and a restart were advised for a channel that was disabled or not approved, which did not help.
    #[test]
    fn held_channels_are_reported_with_the_one_command_that_helps() {
        for (state, expected) in [
            (HeldState::Disabled, StepState::Error),
            (HeldState::NotApproved, StepState::Error),
            (HeldState::Waiting, StepState::Note),
        ] {
            let held = HeldChannel {
                name: "telegram".parse().expect("a name"),
                state,
                text: "why".to_owned(),
                help: "do this".to_owned(),
            };
            let is_set_up = state != HeldState::Waiting;
            let facts = Facts { held: vec![held], health: Value::Null, is_set_up, ..facts() };
            has(&facts, "held", expected, "why");
            let helps: Vec<String> = steps(&facts, NOW).into_iter().filter_map(|step| step.help).collect();
            assert_eq!(helps, ["do this"], "{state:?}");
        }
    }

    #[test]
    fn every_way_in_is_named() {
        let mut facts = facts();
        facts.health["link"] = json!({"host": "gateway.example", "state": "waiting"});
        facts.health["paths"] = json!(["/webhook/a"]);
        has(&facts, "receives", StepState::Error, "websocket to gateway.example: waiting; polls every 30 s");
        has(&facts, "receives", StepState::Error, "requests to /webhook/a, none since the start");
        facts.health["link"]["state"] = json!("ready");
        has(&facts, "receives", StepState::Good, "websocket");
        let mut deaf = self::facts();
        deaf.health["poll_interval_ms"] = Value::Null;
        has(&deaf, "receives", StepState::Note, "neither polls");
    }
}
