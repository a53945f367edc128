//! Replies that are shown while they are written, and what a channel is told meanwhile.

use serde_json::{Value, json};

use super::cli_support::{self, Place, RunningHost};
use super::fake::{server, text, whole};
use super::support;
use super::support::model_stream::{DONE, ModelStream, Step, read_request};

/// What the web chat shows of a reply that is being written.
fn shows(host: &RunningHost, text: &Value) {
    let target = format!("/chat/messages?session={}&after=0", cli_support::SESSION);
    support::eventually(&format!("the chat shows {text}"), || {
        let news = support::client::request(host.address, "GET", &target, &[], b"").json();
        (news["partial"] == *text).then_some(())
    });
}

/// It begins again when the stream is cut, goes on over a tool call, and is there once in the end.
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

/// A network cuts a stream anywhere: in a line, between CR and LF, in a character.
#[test]
fn a_stream_that_arrives_byte_by_byte_is_one_reply() {
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::Write as _;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            read_request(&mut stream);
            stream.set_nodelay(true).unwrap();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            let event = json!({"choices": [{"index": 0, "delta": {"content": "höflich 🙂"}}]});
            let text = format!("{head}: hi\r\n\r\ndata:{event}\r\n\r\n{DONE}");
            for byte in text.bytes() {
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
            }
        }
    });
    place.file("tinclaw.toml", "[agent]\nmodel = \"small\"\n");
    let host = place.host(&["--agent", &format!("openai:http://{address}/v1")], &[]);
    host.say("1", "hello");
    host.hears("höflich 🙂");
    host.stop();
}
