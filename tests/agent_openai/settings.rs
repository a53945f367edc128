//! A server that is tried before the host runs, the first use, and settings that change.

use serde_json::{Value, json};

use super::cli_support::Place;
use super::fake::{asked, error, host, kind, last, messages, server, text, whole};
use super::support;
use super::support::upstream::Upstream;

#[test]
fn the_only_model_of_a_server_is_asked_without_being_named() {
    let place = Place::new();
    let server = Upstream::start(|request, _| match request.target.as_str() {
        "/v1/models" => (200, kind("application/json"), br#"{"data":[{"id":"only"}]}"#.to_vec()),
        _ => text(request.json()["model"].as_str().unwrap()),
    });
    let host = place.host(&["--agent", &format!("openai:{}/v1/", server.url())], &[]);
    host.say("1", "hello");
    host.hears("only");
    host.stop();
}

#[test]
fn a_server_is_tried_before_the_host_runs() {
    let place = Place::new();
    let server = server(|body, _| match body["model"].as_str().unwrap() {
        "small" => text("hello there"),
        _ => error(500, json!({"message": "out of memory"})),
    });
    let agent = format!("openai:{}/v1", server.url());
    let ran = place.run(&["setup", "agent", &agent, "--model", "small"]);
    for part in ["models    small, large", "response  hello there", "model = \"small\""] {
        assert!(ran.good().contains(part), "{}", ran.out);
    }
    let tried = place.run(&["setup", "agent", &agent, "--model", "small", "--json"]).json();
    assert_eq!((&tried["models"], &tried["model"]), (&json!(["small", "large"]), &json!("small")));
    assert_eq!((&tried["response"], &tried["models_error"]), (&json!("hello there"), &Value::Null));
    for (arguments, code, part) in [
        (vec![&*agent], 1, "no model is set as `model` under [agent]: the server has small, large"),
        (vec![&*agent, "--model", "large"], 1, "status 500: {\"error\":{\"message\":\"out of memory\"}}"),
        (vec![], 2, "the agent is no language model"),
    ] {
        let ran = place.run(&[&["setup", "agent"], arguments.as_slice()].concat());
        assert_eq!(ran.code, Some(code), "{}{}", ran.out, ran.err);
        assert!(ran.err.contains(part), "{}{}", ran.out, ran.err);
    }
}

/// What llama.cpp's server streams: a role first, `null` content, timings, one model.
fn llama_server() -> Upstream {
    let chunk = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        let chunk = json!({"choices": [choice], "created": 1, "id": "chatcmpl-1", "model": "small.gguf",
            "system_fingerprint": "b1", "object": "chat.completion.chunk"});
        format!("data: {chunk}\n\n")
    };
    let streamed = move |deltas: Vec<Value>, finish: &str| {
        let mut body = chunk(json!({"role": "assistant", "content": null}), Value::Null);
        deltas.into_iter().for_each(|delta| body += &chunk(delta, Value::Null));
        body += &chunk(json!({}), json!(finish));
        body += "data: {\"choices\":[],\"timings\":{\"predicted_n\":3}}\n\ndata: [DONE]\n\n";
        (200, kind("text/event-stream"), body.into_bytes())
    };
    Upstream::start(move |request, _| {
        if request.target == "/v1/models" {
            let models = json!({"object": "list", "data": [{"id": "small.gguf", "owned_by": "llamacpp"}]});
            return (200, kind("application/json"), models.to_string().into_bytes());
        }
        let body = request.json();
        let last = body["messages"].as_array().unwrap().last().unwrap().clone();
        let said = last["content"].as_str().unwrap_or_default();
        let deltas = match (last["role"].as_str(), said.strip_prefix("remember ")) {
            (Some("tool"), _) => vec![json!({"content": "Noted: "}), json!({"content": said})],
            (_, Some(text)) => {
                let arguments = json!({"action": "add", "text": text}).to_string();
                let (first, rest) = arguments.split_at(9);
                let begin = json!({"index": 0, "id": "x", "type": "function",
                    "function": {"name": "notes", "arguments": first}});
                let more = json!({"index": 0, "function": {"arguments": rest}});
                let deltas = vec![json!({"tool_calls": [begin]}), json!({"tool_calls": [more]})];
                return streamed(deltas, "tool_calls");
            }
            _ => vec![json!({"content": "Good "}), json!({"content": "morning."})],
        };
        streamed(deltas, "stop")
    })
}

/// A tool, the server, the host, the page.
#[test]
fn a_model_with_a_tool_is_in_the_web_chat_after_four_commands() {
    let (place, server) = (Place::new(), llama_server());
    let agent = format!("openai:{}/v1", server.url());
    place.run(&["tools", "install", "notes"]).good();
    let tried = place.run(&["setup", "agent", &agent]);
    assert!(tried.good().contains("small.gguf") && tried.out.contains("Good morning."), "{}", tried.out);
    let first = place.host(&["--agent", &agent], &[]);
    first.say("1", "remember the bike is in the cellar");
    first.hears(r#"Noted: {"added":1}"#);
    let page = support::client::request(first.address, "GET", "/chat", &[], b"");
    assert_eq!(page.status, 200);
    first.say("2", "hello");
    first.hears("Good morning.");
    first.stop();
    let second = place.host(&["--agent", &agent], &[]);
    second.say("3", "remember milk");
    second.hears(r#"Noted: {"added":2}"#);
    second.stop();
}

/// Every field of `[agent]` needed a restart.
#[test]
fn settings_of_the_model_change_while_the_host_runs_and_a_reply_under_way_keeps_the_old_ones() {
    let place = Place::new();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let server = server(move |body, before| {
        if before == 0 {
            let _ = gate.lock().unwrap().recv();
            let call = json!({"id": "a", "function": {"name": "now", "arguments": "{}"}});
            return whole(json!({"tool_calls": [call]}), "tool_calls");
        }
        text(&format!("re: {}", last(body)))
    });
    place.file("prompt.md", "Be brief.");
    let settings = "system_prompt = { file = \"prompt.md\" }\n";
    let host = host(&place, &server, settings);
    host.say("1", "when?");
    support::eventually("the model is asked", || (asked(&server).len() == 1).then_some(()));
    place.file("prompt.md", "Be long.");
    let changed = "model = \"large\"\ntemperature = 0.5\nmax_tokens = 9\ntools = []\nhistory = { messages = 1 }\n\
                   api_key = \"other\"\n";
    // A key is not changed while the host runs, and then nothing else is: it may be for another server.
    place.file("tinclaw.toml", format!("[agent]\n{settings}{changed}"));
    let reloaded = place.run(&["reload", "--json"]).json();
    let waits = reloaded["restart_for"].as_array().unwrap();
    assert!(waits.contains(&json!("agent.api_key")) && waits.contains(&json!("agent.model")), "{reloaded}");
    place
        .file("tinclaw.toml", format!("[agent]\n{settings}{}", changed.replace("api_key = \"other\"\n", "")));
    let reloaded = place.run(&["reload", "--json"]).json();
    let fields = ["history.messages", "max_tokens", "model", "temperature", "tools"];
    let fields = fields.map(|field| json!(format!("agent.{field}")));
    assert!(fields.iter().all(|field| reloaded["changed"].as_array().unwrap().contains(field)), "{reloaded}");
    assert_eq!(reloaded["restart_for"], json!([]), "{reloaded}");
    go.send(()).unwrap();
    support::eventually("a reply", || host.heard().first().map(drop));
    host.say("2", "and now?");
    host.hears("re: and now?");
    host.stop();
    let requests = asked(&server);
    for (request, model, temperature, tools) in
        [(&requests[1], "small", Value::Null, true), (&requests[2], "large", json!(0.5), false)]
    {
        let body = request.json();
        assert_eq!((&body["model"], &body["temperature"]), (&json!(model), &temperature));
        assert_eq!(body["tools"].is_array(), tools, "{body}");
    }
    assert!(messages(&requests[1]).contains(&"system Be brief.".to_owned()));
    assert_eq!(messages(&requests[2]), ["system Be long.", "user and now?"]);
}

/// Neither said a word about the agent: a name that no tool has, a key that is not stored and a server that is down showed when the
/// first message came.
#[test]
fn config_check_and_the_doctor_say_what_the_agent_lacks_and_what_to_do() {
    let place = Place::new();
    let server = server(|_, _| text("fine"));
    let of_agent = |code: i32| {
        let ran = place.run(&["doctor", "--json"]);
        assert_eq!(ran.code, Some(code), "{}", ran.out);
        let checks = ran.json()["checks"].as_array().unwrap().clone();
        let about = checks.into_iter().filter(|check| check["code"] == "agent");
        let told = about.map(|check| {
            let of = |field: &str| check[field].as_str().unwrap_or_default().to_owned();
            format!("{}: {}; {}", of("state"), of("message"), of("help"))
        });
        told.collect::<Vec<_>>().join("\n")
    };
    let configure = |kind: &str, fields: &str| {
        place.file("tinclaw.toml", format!("[agent]\nkind = \"{kind}\"\n{fields}"));
    };
    let openai = format!("openai:{}/v1", server.url());
    configure(&openai, "api_key = \"model_key\"\ntools = [\"now\", \"nope\"]\nmodel = \"small\"\n");
    let checked = place.run(&["config", "check"]);
    let told = of_agent(1);
    for part in [
        "agent.api_key: the secret model_key is not set, so no message gets a reply; store it with `tinclaw secrets set model_key`",
        "agent.tools names \"nope\", and there is no such tool; correct the name (`tinclaw tools list` has all), or `tinclaw \
         tools install nope`",
    ] {
        assert!(checked.good().contains(&format!("warning: {part}")), "{}", checked.out);
        assert!(told.contains(&format!("error: {part}")), "{told}");
    }
    for (kind, fields, code, expected) in [
        (&*openai, "model = \"small\"\n", 0, "responds; the model is small"),
        (
            &openai,
            "model = \"smal\"\n",
            0,
            "does not list the model smal; it has small, large; correct `model`",
        ),
        (&openai, "", 1, "no model is set, and"),
        ("openai:http://127.0.0.1:1/v1", "", 1, "the connection was refused"),
        ("http:http://127.0.0.1:1/a", "", 1, "does not respond: no connection"),
        (&format!("http:{}/a", server.url()), "", 0, "responds (404 to HEAD)"),
        ("echo", "", 0, "replies with the same text"),
    ] {
        configure(kind, fields);
        let told = of_agent(code);
        assert!(told.contains(expected), "{kind} {fields}: {told}");
    }
}
