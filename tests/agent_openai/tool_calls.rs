//! Tool calls, as models and their servers write them.

use serde_json::{Value, json};

use super::cli_support::{Place, RunningHost, SESSION};
use super::fake::{asked, error, host, last, messages, server, stream, text, whole};
use super::support;
use super::support::model_stream::DONE;

#[test]
fn tool_calls_in_pieces_are_made_and_each_gets_its_result_in_order() {
    let place = Place::new();
    let server = server(|body, before| match before {
        0 => {
            assert_eq!(body["tools"][0]["function"]["name"], "now");
            assert_eq!(body["stream"], true);
            let calls = [
                json!({"content": "let me look"}),
                json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "now", "arguments": "{"}}]}),
                json!({"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}),
                json!({"tool_calls": [{"index": 1, "function": {"name": "fly", "arguments": {"to": "Oslo"}}}]}),
            ];
            stream(&calls, DONE)
        }
        _ => stream(
            &[json!({"reasoning_content": "hm"}), json!({"content": "it is "}), json!({"content": "noon"})],
            DONE,
        ),
    });
    let host = host(&place, &server, "");
    host.say("1", "when?");
    host.hears("it is noon");
    host.stop();
    let body = asked(&server)[1].json();
    let messages = body["messages"].as_array().unwrap();
    assert_eq!(messages[1]["content"], "let me look");
    assert_eq!(messages[1]["tool_calls"][1]["function"]["arguments"], "{\"to\":\"Oslo\"}");
    let ids: Vec<_> = messages[1]["tool_calls"].as_array().unwrap().iter().map(|call| &call["id"]).collect();
    assert_eq!(ids, [&messages[2]["tool_call_id"], &messages[3]["tool_call_id"]]);
    assert!(messages[2]["content"].as_str().unwrap().contains("unix_seconds"), "{messages:?}");
    assert_eq!(messages[3]["content"], "error: there is no tool `fly`: there are now, remind");
}

#[test]
fn rounds_of_tool_calls_end() {
    let place = Place::new();
    let server = server(|body, _| {
        let call = json!({"tool_calls": [{"id": "a", "function": {"name": "now", "arguments": "{}"}}]});
        match body["tool_choice"].as_str() {
            Some("none") => whole(json!({"content": "enough", "tool_calls": call["tool_calls"]}), "stop"),
            _ => whole(call, "tool_calls"),
        }
    });
    let host = host(&place, &server, "history = { messages = 4 }\n");
    host.say("1", "when?");
    host.hears("enough");
    host.stop();
    assert_eq!(asked(&server).len(), 11);
}

#[test]
fn sixteen_calls_of_one_response_are_made_and_not_one_more() {
    let place = Place::new();
    let server = server(|body, _| match last(body).parse::<usize>() {
        Ok(count) => {
            let call =
                |at: usize| json!({"id": format!("id{at}"), "function": {"name": "now", "arguments": "{}"}});
            whole(json!({"tool_calls": (0..count).map(call).collect::<Vec<_>>()}), "tool_calls")
        }
        Err(_) => {
            text(&format!("the last of {} said {}", body["messages"].as_array().unwrap().len(), last(body)))
        }
    });
    let host = host(&place, &server, "history = { messages = 1 }\n");
    host.say("1", "16");
    host.say("2", "17");
    let heard = support::eventually("two replies", || Some(host.heard()).filter(|heard| heard.len() == 2));
    host.stop();
    assert!(heard[0].starts_with("the last of 18 said {"), "{heard:?}");
    assert_eq!(heard[1], "the last of 19 said error: not called: at most 16 calls are made at a time");
}

/// Three megabytes of arguments in eight conversations took 605 MB of memory and were stored and sent again with each message.
#[test]
fn arguments_that_no_tool_takes_are_refused_and_not_sent_again() {
    let place = Place::new();
    let server = server(|_, before| match before {
        0 => {
            let call = |id: &str, bytes: usize| {
                let arguments = json!({"text": "x".repeat(bytes)}).to_string();
                json!({"id": id, "function": {"name": "now", "arguments": arguments}})
            };
            let calls = [call("a", 3 << 20), call("b", 1 << 19)];
            whole(json!({"role": "assistant", "tool_calls": calls}), "tool_calls")
        }
        _ => text("done"),
    });
    let host = host(&place, &server, "tools = [\"now\", \"nope\"]\napi_key = \"not_there\"\n");
    // Both were noticed only when a message came.
    host.say("1", "hello");
    support::eventually("the warnings", || {
        host.log().contains("agent.api_key: the secret not_there").then_some(())
    });
    assert!(host.log().contains("agent.tools names \"nope\", and there is no such tool"), "{}", host.log());
    host.stop();
    let host = super::fake::host(&place, &server, "");
    host.hears("done");
    host.stop();
    let request = &asked(&server)[1];
    assert!(request.body.len() < 64 * 1024, "{} bytes", request.body.len());
    let body = request.json();
    let results = ["a", "b"].map(|id| {
        let messages = body["messages"].as_array().unwrap().iter();
        let mut results = messages.filter(|message| message["tool_call_id"] == id);
        results.next().unwrap()["content"].as_str().unwrap().to_owned()
    });
    assert_eq!(results[0], "error: not called: the arguments are longer than 1048576 bytes");
    assert!(results[1].contains("unix_seconds"), "{results:?}");
    let kept = body["messages"][1]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
    assert!(kept.starts_with("{\"cut\":\"these arguments had "), "{kept}");
}

/// Two calls of a tool in the sandbox: one fails, the other one's result is too long for a model.
#[test]
fn a_model_calls_a_tool_of_the_host() {
    let place = Place::new();
    let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tools/tool_v5.wasm");
    place.file("tools/helper.wasm", std::fs::read(fixture).unwrap());
    place.file("tools/helper.capabilities.json", "{}");
    let long = "x".repeat(20_000);
    let server = server(move |body, before| match before {
        0 => {
            let names: Vec<_> =
                body["tools"].as_array().unwrap().iter().map(|tool| &tool["function"]["name"]).collect();
            assert_eq!(names, ["helper"], "{body}");
            let call = |arguments: Value| json!({"function": {"name": "helper", "arguments": arguments}});
            let calls = [call(json!({"do": "echo", "txt": "a"})), call(json!({"do": "echo", "text": long}))];
            whole(json!({"tool_calls": calls}), "tool_calls")
        }
        _ => text("used"),
    });
    place.file("tinclaw.toml", "tools = [\"tools\"]\n[agent]\nmodel = \"small\"\ntools = [\"helper\"]\n");
    let host = place.host(&["--agent", &format!("openai:{}/v1", server.url())], &[]);
    host.say("1", "use it");
    host.hears("used");
    host.stop();
    let said = messages(&asked(&server)[1]);
    assert!(said[2].contains("do not fit its schema: `txt`"), "{}", said[2]);
    assert!(said[3].ends_with("[cut: this is the beginning of 20000 bytes]"), "{}", said[3]);
}

/// Servers write tool calls in many ways, and each comes to the same calls.
#[test]
fn a_tool_call_is_made_however_its_server_writes_it() {
    let place = Place::new();
    let call = |fields: Value| json!({"tool_calls": [fields]});
    let ways: Vec<(&str, Vec<Value>)> = vec![
        (
            "all in one chunk",
            vec![call(json!({"index": 0, "id": "a", "function": {"name": "now", "arguments": "{}"}}))],
        ),
        ("neither index nor id", vec![call(json!({"function": {"name": "now", "arguments": "{}"}}))]),
        (
            "without index, in pieces",
            vec![
                call(json!({"id": "a", "function": {"name": "now", "arguments": "{"}})),
                call(json!({"id": "a", "function": {"arguments": "}"}})),
            ],
        ),
        (
            "an object of arguments",
            vec![call(json!({"index": 0, "function": {"name": "now", "arguments": {}}}))],
        ),
        ("no arguments", vec![call(json!({"index": 0, "id": "a", "function": {"name": "now"}}))]),
        (
            "text and thoughts before it",
            vec![
                json!({"role": "assistant", "content": null}),
                json!({"reasoning_content": "hm", "content": "<think>hm</th"}),
                json!({"content": "ink>let me look"}),
                call(json!({"index": 0, "id": "a", "function": {"name": "now", "arguments": "{}"}})),
            ],
        ),
    ];
    let names: Vec<&str> = ways.iter().map(|(name, _)| *name).collect();
    let server = server(move |body, _| {
        let said = last(body);
        if body["messages"].as_array().unwrap().last().unwrap()["role"] == "tool" {
            return text(&format!(
                "noon, {}",
                if said.contains("unix_seconds") { "it works" } else { &said }
            ));
        }
        let way = ways.iter().find(|(name, _)| *name == said).unwrap_or_else(|| panic!("{said}"));
        stream(&way.1, DONE)
    });
    let host = host(&place, &server, "");
    for (number, name) in names.iter().enumerate() {
        host.say(&number.to_string(), name);
        support::eventually(&format!("{name}: {}", host.log()), || {
            (host.heard().len() == number + 1).then_some(())
        });
    }
    assert!(host.heard().iter().all(|heard| heard == "noon, it works"), "{:?}", host.heard());
    host.stop();
    assert!(
        !asked(&server).iter().any(|request| request.json().to_string().contains("hm")),
        "thoughts stay away"
    );
}

/// A model called tools with half a JSON text, with a list, and by a name that it had made up. Servers whose templates read the
/// calls of the conversation again failed for that at each attempt, so the message became a dead letter.
#[test]
fn a_model_that_calls_badly_is_told_so_and_its_server_can_read_the_conversation() {
    let place = Place::new();
    let server = server(|body, before| {
        let history = body["messages"].as_array().unwrap();
        for call in history.iter().flat_map(|message| message["tool_calls"].as_array().into_iter().flatten())
        {
            let (name, arguments) = (&call["function"]["name"], &call["function"]["arguments"]);
            let is_object = serde_json::from_str::<Value>(arguments.as_str().unwrap())
                .is_ok_and(|arguments| arguments.is_object());
            if !is_object || name.as_str().unwrap().contains(['.', ' ']) {
                return error(500, json!({"message": "Failed to parse tool call arguments as JSON"}));
            }
        }
        let call = |id: &str, name: &str, arguments: &str| json!({"index": 0, "id": id, "function": {"name": name, "arguments": arguments}});
        match before {
            0 => stream(
                &[json!({"tool_calls": [call("a", "remind", "{\"action\": "), call("b", "remind", "[1]"),
                    call("c", "functions.now now", "{}")]})],
                DONE,
            ),
            _ => text("fine"),
        }
    });
    let host = host(&place, &server, "max_attempts = 1\n");
    host.say("1", "when?");
    host.hears("fine");
    host.stop();
    let results = messages(&asked(&server)[1]);
    let starts = [
        "tool error: the parameters are not JSON",
        "tool error: the parameters do not fit",
        "tool error: there is no tool `functions.now now`",
    ];
    for (result, start) in results[2..].iter().zip(starts) {
        assert!(result.starts_with(start), "{result}");
    }
    assert_eq!(results.len(), 5);
}

/// A picture goes to a model that takes them, as it came, and any other file by its name.
#[test]
fn pictures_go_to_a_model_that_takes_them() {
    const PIXEL: &str =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";
    let place = Place::new();
    let server = server(|_, before| text(&format!("seen {before}")));
    let send = |host: &RunningHost, id: &str| {
        let files = json!([{"name": "dot.png", "type": "image/png", "data": PIXEL},
            {"name": "a.txt", "type": "text/plain", "data": "aGk="}]);
        let body = json!({"session": SESSION, "id": id, "text": "look", "files": files}).to_string();
        let headers = [("content-type", "application/json")];
        support::eventually("the web chat takes it", || {
            let reply =
                support::client::request(host.address, "POST", "/chat/send", &headers, body.as_bytes());
            (reply.status == 200).then_some(())
        });
    };
    let first = host(&place, &server, "images = true\n");
    send(&first, "1");
    first.hears("seen 0");
    first.stop();
    let second = host(&place, &server, "");
    send(&second, "2");
    second.hears("seen 1");
    second.stop();
    let content = |request: usize| {
        let body = asked(&server)[request].json();
        body["messages"].as_array().unwrap().last().unwrap()["content"].clone()
    };
    let with_picture = content(0);
    assert_eq!(with_picture[0]["type"], "text");
    assert!(with_picture[0]["text"].as_str().unwrap().contains("a.txt"), "{with_picture}");
    let expected =
        json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PIXEL}")}});
    assert_eq!(with_picture[1], expected);
    assert!(content(1).as_str().is_some_and(|text| text.contains("dot.png")), "{}", content(1));
}
