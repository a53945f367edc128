//! The `openai` agent: a language model behind the chat completions API.

mod cli_support;
mod support;

use cli_support::{Place, RunningHost};
use serde_json::{Value, json};
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

const DONE: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n";

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

/// A server of streams that are written in steps: the model's text so far, until the test goes on.
struct Streamed {
    url: String,
    steps: std::sync::mpsc::Sender<Step>,
}

/// What the server does next.
enum Step {
    Say(Value),
    /// The stream ends as it should.
    End,
    /// The connection is lost.
    Cut,
}

fn streamed() -> Streamed {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (steps, next) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            stream.read_exact(&mut body).unwrap();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            loop {
                match next.recv_timeout(std::time::Duration::from_millis(20)) {
                    Ok(Step::Say(delta)) => {
                        let chunk = json!({"choices": [{"index": 0, "delta": delta}]});
                        stream.write_all(format!("data: {chunk}\n\n").as_bytes()).unwrap();
                    }
                    Ok(Step::End) => {
                        stream.write_all(DONE.as_bytes()).unwrap();
                        break;
                    }
                    Ok(Step::Cut) | Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                    Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                        if stream.write_all(b": keep-alive\n\n").is_err() {
                            break;
                        }
                    }
                }
            }
        }
    });
    Streamed { url, steps }
}

impl Streamed {
    fn does(&self, steps: impl IntoIterator<Item = Step>) {
        steps.into_iter().for_each(|step| self.steps.send(step).unwrap());
    }
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
    let (place, server) = (Place::new(), streamed());
    place.file("tinclaw.toml", "[agent]\nmodel = \"small\"\n");
    let host = place.host(&["--agent", &format!("openai:{}/v1", server.url)], &[]);
    host.say("1", "hello?");
    let said = |text: &str| Step::Say(json!({"content": text}));
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

#[test]
fn a_channel_is_told_what_the_agent_does() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let place = Place::new();
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    for file in ["flavour_v8.wasm", "flavour_v8.capabilities.json"] {
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
        ("TINCLAW_SECRET_FLAVOUR_TOKEN", "token-of-the-upstream"),
        ("TINCLAW_SECRET_FLAVOUR_V8_WEBHOOK_SECRET", "secret-of-webhooks"),
    ];
    let host = place.host(&["--agent", &format!("openai:{}/v1", server.url())], &secrets);
    let path = "/webhook/flavour_v8";
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
    let listed = said(&second, "4", json!({"action": "list"}));
    assert!(listed.contains(r#"{"id":2,"text":"soup""#) && !listed.contains("tea"), "{listed}");
    let cancelled = said(&second, "5", json!({"action": "cancel", "id": 2}));
    assert!(cancelled.contains(r#""cancelled":{"id":2"#), "{cancelled}");
    let listed = said(&second, "6", json!({"action": "list"}));
    assert!(listed.contains(r#""reminders":[]"#), "{listed}");
    second.stop();
}
