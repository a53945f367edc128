//! The `openai` agent: a language model behind the chat completions API.

mod cli_support;
mod support;

use cli_support::{Place, RunningHost};
use serde_json::{Value, json};
use support::model_stream::{DONE, ModelStream, Step};
use support::upstream::{Recorded, Response, Upstream};

const KEY: &str = "hunter2-hunter2";

fn kind(value: &str) -> Vec<(String, String)> {
    vec![("content-type".to_owned(), value.to_owned())]
}

fn whole(message: Value, finish: &str) -> Response {
    let body = json!({"choices": [{"index": 0, "message": message, "finish_reason": finish}]});
    (200, kind("application/json"), body.to_string().into_bytes())
}

fn text(content: &str) -> Response {
    whole(json!({"role": "assistant", "content": content}), "stop")
}

/// A stream of these deltas, which ends as it should only when `end` says how.
fn stream(deltas: &[Value], end: &str) -> Response {
    let mut body = String::from(": keep-alive\r\n\r\n");
    for delta in deltas {
        let chunk = json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
        body += &format!("data: {chunk}\r\n\r\n");
    }
    (200, kind("text/event-stream"), (body + end).into_bytes())
}

fn error(status: u16, error: Value) -> Response {
    (status, kind("application/json"), json!({"error": error}).to_string().into_bytes())
}

/// A server with two models; `respond` gets the body of each request and how many there were before.
fn server(respond: impl Fn(&Value, usize) -> Response + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |request, before| match request.target.as_str() {
        "/v1/models" => {
            (200, kind("application/json"), br#"{"data":[{"id":"small"},{"id":"large"}]}"#.to_vec())
        }
        "/v1/chat/completions" => respond(&request.json(), before),
        _ => (404, kind("text/plain"), b"404 page not found".to_vec()),
    })
}

fn asked(server: &Upstream) -> Vec<Recorded> {
    let requests = server.requests().into_iter();
    requests.filter(|request| request.target == "/v1/chat/completions").collect()
}

fn messages(request: &Recorded) -> Vec<String> {
    let body = request.json();
    let messages = body["messages"].as_array().unwrap();
    messages
        .iter()
        .map(|message| {
            format!("{} {}", message["role"].as_str().unwrap(), message["content"].as_str().unwrap())
        })
        .collect()
}

fn host(place: &Place, server: &Upstream, agent: &str) -> RunningHost {
    place.file("tinclaw.toml", format!("[agent]\nmodel = \"small\"\n{agent}"));
    let address = format!("openai:{}/v1", server.url());
    place.host(&["--agent", &address], &[("TINCLAW_SECRET_MODEL_KEY", KEY)])
}

fn last(body: &Value) -> String {
    let messages = body["messages"].as_array().unwrap();
    messages.last().unwrap()["content"].as_str().unwrap().to_owned()
}

#[test]
fn a_conversation_is_remembered_across_a_restart_until_it_is_reset() {
    let place = Place::new();
    let server = server(|body, _| text(&format!("<think>hm</think>re: {}", last(body))));
    let agent = "api_key = \"model_key\"\nsystem_prompt = { file = \"prompt.md\" }\ntemperature = 0.5\nmax_tokens = 99\n";
    place.file("prompt.md", "Be brief.");
    let first = host(&place, &server, agent);
    first.say("1", "one");
    first.hears("re: one");
    first.stop();
    let second = host(&place, &server, agent);
    second.say("2", "two");
    second.hears("re: two");
    second.say("3", " /reset ");
    second.hears("I have forgotten our conversation.");
    second.say("4", "three");
    second.hears("re: three");
    second.stop();
    let requests = asked(&server);
    assert_eq!(requests.len(), 3, "a reset asks nobody");
    assert_eq!(messages(&requests[1]), ["system Be brief.", "user one", "assistant re: one", "user two"]);
    assert_eq!(messages(&requests[2]), ["system Be brief.", "user three"]);
    let body = requests[0].json();
    assert_eq!(
        (&body["model"], &body["temperature"], &body["max_tokens"]),
        (&json!("small"), &json!(0.5), &json!(99))
    );
    assert_eq!(requests[0].header("authorization"), Some(format!("Bearer {KEY}").as_str()));
}

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

#[test]
fn a_server_is_asked_again_so_often_for_one_attempt_and_no_more() {
    let place = Place::new();
    // Each message says how many times it is refused.
    let server = server(|body, _| {
        static SEEN: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
        let said = last(body);
        let (what, count) = said.split_once(' ').expect("two words");
        let mut seen = SEEN.lock().unwrap();
        if seen.iter().filter(|seen| **seen == said).count() == count.parse::<usize>().unwrap() {
            return text(&format!("re: {said}"));
        }
        seen.push(said.clone());
        match what {
            "cut" => stream(&[json!({"content": "hel"})], ""),
            _ => {
                let (status, mut headers, body) = error(429, json!({"message": "slow down"}));
                headers.push(("retry-after".to_owned(), "0".to_owned()));
                (status, headers, body)
            }
        }
    });
    let host = host(&place, &server, "");
    for (id, what) in [("1", "cut 2"), ("2", "cut 3"), ("3", "limited 5"), ("4", "limited 6")] {
        host.say(id, what);
        host.hears(&format!("re: {what}"));
    }
    let log = host.stop();
    let failed = |id: &str| log.contains(&format!("did not reply to message {id}: "));
    assert_eq!(["1", "2", "3", "4"].map(failed), [false, true, false, true], "{log}");
    assert_eq!(asked(&server).len(), 3 + 4 + 6 + 7);
}

/// One message for each oddity: the first response is odd, the second one is fine.
#[test]
fn temporary_errors_are_retried_within_the_same_message() {
    let place = Place::new();
    let hello = json!({"content": "hel"});
    let server = server(move |body, _| {
        let said = last(body);
        let limited = |name: &str, value: &str| {
            let (status, mut headers, body) = error(429, json!({"message": "slow down"}));
            headers.push((name.to_owned(), value.to_owned()));
            (status, headers, body)
        };
        let odd = match said.as_str() {
            "retry-after" => limited("retry-after", "0"),
            "reset" => limited("x-ratelimit-reset-requests", "5ms"),
            "cut stream" => stream(std::slice::from_ref(&hello), ""),
            "cut in an event" => stream(std::slice::from_ref(&hello), "data: {\"cho"),
            "nothing" => text("<think>hm"),
            "limit" => error(
                400,
                json!({"message": "Unsupported parameter: 'max_tokens', use 'max_completion_tokens'"}),
            ),
            "no tools" => error(400, json!({"message": "small does not support tools"})),
            _ => return text(&format!("re: {said}")),
        };
        static SEEN: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
        let mut seen = SEEN.lock().unwrap();
        if seen.contains(&said) {
            return text(&format!("re: {said}"));
        }
        seen.push(said);
        odd
    });
    let host = host(&place, &server, "max_tokens = 9\nmax_attempts = 1\n");
    let oddities = ["retry-after", "reset", "cut stream", "cut in an event", "nothing", "limit", "no tools"];
    for (id, what) in oddities.iter().enumerate() {
        host.say(&id.to_string(), what);
        host.hears(&format!("re: {what}"));
    }
    host.say("last", "last");
    host.hears("re: last");
    host.stop();
    let last = asked(&server).pop().unwrap().json();
    assert_eq!((&last["max_completion_tokens"], &last["max_tokens"]), (&json!(9), &Value::Null));
    assert_eq!(last["tools"], Value::Null);
}

#[test]
fn a_conversation_that_is_too_long_is_shortened_once() {
    let place = Place::new();
    let server = server(|body, _| {
        if body["messages"].as_array().unwrap().len() > 3 || last(body) == "far too long" {
            return error(
                400,
                json!({"message": "maximum context length is 9", "code": "context_length_exceeded"}),
            );
        }
        text(&format!("re: {}", last(body)))
    });
    let host = host(&place, &server, "");
    for (id, what) in ["one", "two", "three"].iter().enumerate() {
        host.say(&id.to_string(), what);
        host.hears(&format!("re: {what}"));
    }
    host.say("9", "far too long");
    host.hears("This message is too long for the language model.");
    host.stop();
    let lengths: Vec<_> = asked(&server).iter().map(|request| messages(request).len()).collect();
    assert_eq!(lengths[..2], [1, 3]);
    assert_eq!(lengths.len(), 1 + 1 + 2 + 2, "{lengths:?}");
}

#[test]
fn permanent_errors_are_reported_to_the_sender_at_once_and_to_the_operator_in_full() {
    let place = Place::new();
    let server = server(|body, _| match last(body).as_str() {
        "no model" => error(404, json!({"message": "model \"small\" not found"})),
        "no key" => error(401, json!({"message": format!("Incorrect API key provided: {KEY}")})),
        "within" => stream(&[], "data: {\"error\":{\"code\":400,\"message\":\"bad temperature\"}}\n\n"),
        _ => text("fine"),
    });
    let host = host(&place, &server, "api_key = \"model_key\"\n");
    let told = [
        (
            "no model",
            "The language model that this bot is set to is not on its server; the operator can change that.",
        ),
        (
            "no key",
            "The language model's server does not accept this bot's key; the operator can change that.",
        ),
        ("within", "The language model refused this message."),
    ];
    for (said, told) in told {
        host.say(said, said);
        host.hears(told);
    }
    host.say("4", "good");
    host.hears("fine");
    let dead = place.run(&["messages", "list", "--state", "dead"]);
    assert!(dead.good().contains("the server has small, large"), "{}", dead.out);
    assert!(dead.out.contains("bad temperature"), "{}", dead.out);
    let log = host.stop();
    assert!(log.contains("Incorrect API key provided: [redacted]"), "{log}");
    assert!(!log.contains(KEY) && !dead.out.contains(KEY), "{log}");
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
    let host = self::host(&place, &server, "");
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
fn a_missing_key_or_server_costs_no_attempt() {
    let place = Place::new();
    let server = server(|_, _| text("fine"));
    let host = host(&place, &server, "api_key = \"other_key\"\nmax_attempts = 1\n");
    host.say("1", "hello");
    support::eventually("it says so", || {
        host.log().contains("the secret other_key is missing").then_some(())
    });
    let messages = place.run(&["messages", "list", "--json"]).json();
    assert_eq!(messages["messages"][0]["state"], "pending", "{messages}");
    assert!(asked(&server).is_empty());
    host.stop();
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

/// The host is killed while the model has the result of a tool and has not replied yet.
#[test]
fn a_tool_call_whose_result_is_on_record_is_not_made_again_after_a_crash() {
    let place = Place::new();
    let server = server(|body, before| match before {
        0 => whole(
            json!({"tool_calls": [{"id": "a", "function": {"name": "now", "arguments": "{}"}}]}),
            "stop",
        ),
        1 => {
            std::thread::sleep(std::time::Duration::from_secs(3600));
            text("nobody hears it")
        }
        _ => text(&format!("{} messages", body["messages"].as_array().unwrap().len())),
    });
    let mut first = host(&place, &server, "");
    first.say("1", "when?");
    support::eventually("the result is sent", || (asked(&server).len() == 2).then_some(()));
    first.signal("KILL");
    first.wait();
    let second = host(&place, &server, "");
    second.hears("3 messages");
    second.stop();
    let requests = asked(&server);
    assert_eq!(requests.len(), 3);
    assert_eq!(messages(&requests[2]), messages(&requests[1]));
}

/// What the web chat shows of a reply that is being written.
fn shows(host: &RunningHost, text: &Value) {
    let target = format!("/chat/messages?session={}&after=0", cli_support::SESSION);
    support::eventually(&format!("the chat shows {text}"), || {
        let news = support::client::request(host.address, "GET", &target, &[], b"").json();
        (news["partial"] == *text).then_some(())
    });
}

/// It begins anew when the stream is cut, goes on over a tool call, and is there once in the end.
#[test]
fn a_reply_grows_in_the_web_chat() {
    let (place, server) = (Place::new(), ModelStream::start());
    place.file("tinclaw.toml", "[agent]\nmodel = \"small\"\n");
    let host = place.host(&["--agent", &format!("openai:{}/v1", server.url)], &[]);
    host.say("1", "hello?");
    let said = Step::text;
    server.does([said("<think>hm</think>Good <thi")]);
    shows(&host, &json!("Good"));
    server.does([Step::Cut, said("Let me see.")]);
    shows(&host, &json!("Let me see."));
    let call =
        json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "now", "arguments": "{}"}}]});
    server.does([Step::Say(call), Step::End, said("Good")]);
    shows(&host, &json!("Good"));
    server.does([said(" morning")]);
    shows(&host, &json!("Good morning"));
    assert!(host.heard().is_empty(), "it is not said yet");
    server.does([said("!"), Step::End]);
    host.hears("Good morning!");
    shows(&host, &Value::Null);
    assert_eq!(host.heard(), ["Good morning!"]);
    host.stop();
}

/// It was read until the time for the whole reply was over.
#[test]
fn a_stream_that_goes_on_after_the_model_is_done_keeps_no_reply_waiting() {
    let (place, server) = (Place::new(), ModelStream::start());
    place.file("tinclaw.toml", "[agent]\nmodel = \"small\"\n");
    let host = place.host(&["--agent", &format!("openai:{}/v1", server.url)], &[]);
    host.say("1", "hello?");
    server.does([Step::text("Good"), Step::Finish]);
    host.hears("Good");
    host.stop();
}

#[test]
fn a_channel_is_told_what_the_agent_does() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let place = Place::new();
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    for file in ["abi_v8.wasm", "abi_v8.capabilities.json"] {
        place.file(&format!("channels/{file}"), std::fs::read(fixtures.join(file)).unwrap());
    }
    // The reply waits until the statuses before it have arrived: a status that is late is dropped.
    let may_reply = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&may_reply);
    let server = server(move |_, before| {
        if before == 0 {
            let call = json!({"id": "a", "function": {"name": "now", "arguments": "{}"}});
            return whole(json!({"tool_calls": [call]}), "tool_calls");
        }
        support::eventually("the channel has heard of the tool", || {
            gate.load(Ordering::SeqCst).then_some(())
        });
        text("noon")
    });
    place.file("tinclaw.toml", "channels = [\"channels\"]\n[agent]\nmodel = \"small\"\n");
    let secrets = [
        ("TINCLAW_SECRET_ABI_TOKEN", "token-of-the-upstream"),
        ("TINCLAW_SECRET_ABI_V8_WEBHOOK_SECRET", "secret-of-webhooks"),
    ];
    let host = place.host(&["--agent", &format!("openai:{}/v1", server.url())], &secrets);
    let path = "/webhook/abi_v8";
    support::eventually("the channel starts", || {
        let body = json!({"user": "ann", "text": "when?"});
        let reply = support::client::webhook(host.address, path, "secret-of-webhooks", &body);
        (reply.status == 200).then_some(())
    });
    // That the agent thinks is said again every few seconds.
    let statuses = |host: &RunningHost| -> Vec<String> {
        let log = host.log();
        let mut said = Vec::new();
        for status in log.lines().filter_map(|line| Some(line.split_once("status ")?.1.to_owned())) {
            if !said.contains(&status) {
                said.push(status);
            }
        }
        said
    };
    support::eventually("the tool is done", || (statuses(&host).len() == 3).then_some(()));
    may_reply.store(true, Ordering::SeqCst);
    support::eventually("it is over", || (statuses(&host).len() >= 4).then_some(()));
    assert_eq!(statuses(&host), ["thinking: ", "tool-started: now", "tool-completed: now", "done: "]);
    host.stop();
}

/// It is set through the model, survives a restart, is listed and taken away, and is said when it is time.
#[test]
fn a_person_is_reminded() {
    let place = Place::new();
    let server = server(|body, _| {
        let messages = body["messages"].as_array().unwrap();
        let last = messages.last().unwrap();
        if last["role"] == "tool" {
            return text(last["content"].as_str().unwrap());
        }
        // The person writes what the model is to call the tool with.
        let arguments = last["content"].as_str().unwrap();
        whole(
            json!({"tool_calls": [{"id": "a", "function": {"name": "remind", "arguments": arguments}}]}),
            "stop",
        )
    });
    let first = host(&place, &server, "");
    let said = |host: &RunningHost, id: &str, arguments: Value| {
        let before = host.heard().len();
        host.say(id, &arguments.to_string());
        support::eventually("the agent replies", || host.heard().get(before).cloned())
    };
    let set = said(&first, "1", json!({"action": "set", "text": "tea", "in_seconds": 4}));
    assert!(set.contains(r#""set":{"id":1,"text":"tea","at":""#), "{set}");
    said(&first, "2", json!({"action": "set", "text": "soup", "at": "2099-01-01T00:00:00Z"}));
    let far = said(&first, "3", json!({"action": "set", "text": "soup", "in_seconds": 3600}));
    assert!(far.contains(r#""id":2"#), "{far}");
    first.stop();
    let second = host(&place, &server, "");
    second.hears("Reminder: tea");
    said(&second, "3b", json!({"action": "list"}));
    let told = asked(&server).pop().unwrap().json()["messages"].to_string();
    assert!(told.contains(r#"{"role":"assistant","content":"Reminder: tea"}"#), "the model knows: {told}");
    let listed = said(&second, "4", json!({"action": "list"}));
    assert!(listed.contains(r#"{"id":2,"text":"soup""#) && !listed.contains("tea"), "{listed}");
    let cancelled = said(&second, "5", json!({"action": "cancel", "id": 2}));
    assert!(cancelled.contains(r#""cancelled":{"id":2"#), "{cancelled}");
    let listed = said(&second, "6", json!({"action": "list"}));
    assert!(listed.contains(r#""reminders":[]"#), "{listed}");
    second.stop();
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
