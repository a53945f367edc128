//! A server of models, and a host that asks it.

use serde_json::{Value, json};

use super::cli_support::{Place, RunningHost};
use super::support::upstream::{Recorded, Response, Upstream};

pub const KEY: &str = "hunter2-hunter2";

pub fn kind(value: &str) -> Vec<(String, String)> {
    vec![("content-type".to_owned(), value.to_owned())]
}

pub fn whole(message: Value, finish: &str) -> Response {
    let body = json!({"choices": [{"index": 0, "message": message, "finish_reason": finish}]});
    (200, kind("application/json"), body.to_string().into_bytes())
}

pub fn text(content: &str) -> Response {
    whole(json!({"role": "assistant", "content": content}), "stop")
}

/// A stream of these deltas, which ends as it should only when `end` says how.
pub fn stream(deltas: &[Value], end: &str) -> Response {
    let mut body = String::from(": keep-alive\r\n\r\n");
    for delta in deltas {
        let chunk = json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
        body += &format!("data: {chunk}\r\n\r\n");
    }
    (200, kind("text/event-stream"), (body + end).into_bytes())
}

pub fn error(status: u16, error: Value) -> Response {
    (status, kind("application/json"), json!({"error": error}).to_string().into_bytes())
}

/// A server with two models; `respond` gets the body of each request and how many there were before.
pub fn server(respond: impl Fn(&Value, usize) -> Response + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |request, before| match request.target.as_str() {
        "/v1/models" => {
            (200, kind("application/json"), br#"{"data":[{"id":"small"},{"id":"large"}]}"#.to_vec())
        }
        "/v1/chat/completions" => respond(&request.json(), before),
        _ => (404, kind("text/plain"), b"404 page not found".to_vec()),
    })
}

pub fn asked(server: &Upstream) -> Vec<Recorded> {
    let requests = server.requests().into_iter();
    requests.filter(|request| request.target == "/v1/chat/completions").collect()
}

pub fn messages(request: &Recorded) -> Vec<String> {
    let body = request.json();
    let messages = body["messages"].as_array().unwrap();
    messages
        .iter()
        .map(|message| {
            format!("{} {}", message["role"].as_str().unwrap(), message["content"].as_str().unwrap())
        })
        .collect()
}

pub fn host(place: &Place, server: &Upstream, agent: &str) -> RunningHost {
    place.file("tinclaw.toml", format!("[agent]\nmodel = \"small\"\n{agent}"));
    let address = format!("openai:{}/v1", server.url());
    place.host(&["--agent", &address], &[("TINCLAW_SECRET_MODEL_KEY", KEY)])
}

pub fn last(body: &Value) -> String {
    let messages = body["messages"].as_array().unwrap();
    messages.last().unwrap()["content"].as_str().unwrap().to_owned()
}
