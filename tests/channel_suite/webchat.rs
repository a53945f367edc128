//! The web chat, as its page uses it.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tinclaw::store::ReplyState;
use tinclaw::{AgentResponse, StatusType, StatusUpdate};

use crate::play::{Play, Setting, file};
use crate::support::client::{self, Reply};
use crate::support::temp_dir::TempDir;

const SESSION: &str = "0123456789abcdef0123";
const OTHER: &str = "another-session-of-somebody";

fn setting() -> Setting<'static> {
    Setting { channel: "webchat", secrets: &[], rewrites: &[], state: None, tunnel_url: None, settings: &[] }
}

fn open() -> Play {
    Play::start(&setting(), |_| {})
}

fn send(play: &Play, session: &str, id: &str, text: &str, files: &Value) -> Reply {
    let body = json!({"session": session, "id": id, "text": text, "files": files});
    play.post("/chat/send", &[], &body.to_string())
}

fn say(play: &Play, id: &str, text: &str) {
    assert_eq!(send(play, SESSION, id, text, &json!([])).status, 200);
}

fn get(play: &Play, path: &str, headers: &[(&str, &str)]) -> Reply {
    client::request(play.address, "GET", path, headers, b"")
}

/// What is new after a cursor; without `typing` the request does not wait.
fn news(play: &Play, session: &str, after: &str) -> Value {
    get(play, &format!("/chat/messages?session={session}&after={after}"), &[]).json()
}

#[test]
fn the_page_allows_its_own_script_and_nothing_else() {
    let play = Play::start(&setting(), |file| file["config"]["title"] = json!("A <b>title</b> {{greeting}}"));
    let page = get(&play, "/chat", &[]);
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'sha256-"), "{policy}");
    let text = String::from_utf8(page.body.clone()).expect("text");
    assert!(text.contains("<h1>A &lt;b&gt;title&lt;/b&gt; &#123;&#123;greeting}}</h1>"), "{text}");
}

#[test]
fn a_message_arrives_once_and_the_agent_does_not_learn_the_session() {
    let play = open();
    say(&play, "m1", "hello");
    say(&play, "m1", "hello");
    let delivery = play.next();
    let message = delivery.message();
    assert_eq!((message.content.as_str(), message.user_id.as_str()), ("hello", "visitor-1"));
    assert!(!message.metadata_json.contains(SESSION), "{}", message.metadata_json);
    let id = play.reply(delivery, "**bold** <script>alert(1)</script> ![cat](https://a.example/c.png)");
    play.until(id, ReplyState::Delivered);
    let found = news(&play, SESSION, "0");
    assert_eq!(found["messages"][0]["text"], "hello");
    let html = found["messages"][1]["html"].as_str().expect("HTML");
    assert!(html.contains("<strong>bold</strong>") && html.contains("&lt;script&gt;"), "{html}");
    assert!(html.contains("<a href=\"https://a.example/c.png\">cat</a>"), "{html}");
    assert_eq!(found["messages"][0]["html"], Value::Null, "a visitor's text is text");
    assert_eq!(news(&play, OTHER, "0")["messages"], json!([]));
    play.hear_nothing();
}

#[test]
fn a_request_for_news_waits_until_the_reply_is_there() {
    let play = open();
    say(&play, "m1", "hello");
    let delivery = play.next();
    let cursor = news(&play, SESSION, "0")["next"].as_str().expect("a cursor").to_owned();
    let address = play.address;
    let waiting = std::thread::spawn(move || {
        let path = format!("/chat/messages?session={SESSION}&after={cursor}&typing=");
        client::request(address, "GET", &path, &[], b"").json()
    });
    crate::support::eventually("the request waits", || (play.health().requests_parked == 1).then_some(()));
    let began = Instant::now();
    play.reply(delivery, "here");
    let found = waiting.join().expect("the request ends");
    assert_eq!(found["messages"][0]["text"], "here");
    assert!(began.elapsed() < Duration::from_secs(20), "it was not woken");
}

#[test]
fn the_agents_work_is_shown_and_goes_out() {
    let play = open();
    say(&play, "m1", "hello");
    let delivery = play.next();
    let metadata_json = delivery.message().metadata_json.clone();
    let tell = |status, message: &str| {
        let update = StatusUpdate { status, message: message.into(), metadata_json: metadata_json.clone() };
        play.host.status_to(&play.channel, update).expect("the host runs");
    };
    tell(StatusType::ToolStarted, "Looking it up");
    crate::support::eventually("the sign is shown", || {
        (news(&play, SESSION, "0")["typing"]["label"] == "Looking it up").then_some(())
    });
    tell(StatusType::ApprovalNeeded, "May I?");
    crate::support::eventually("the notice is shown", || {
        let found = news(&play, SESSION, "0");
        (found["messages"][1]["text"] == "May I?" && found["typing"].is_null()).then_some(())
    });
    let id = play.reply(delivery, "done");
    play.until(id, ReplyState::Delivered);
    let more = AgentResponse { content: "news".into(), ..AgentResponse::default() };
    let id = play.host.broadcast(&play.channel, "visitor-1", more).expect("it is kept");
    play.until(id, ReplyState::Delivered);
    assert_eq!(news(&play, SESSION, "0")["messages"][3]["text"], "news");
    let lost = AgentResponse { content: "news".into(), ..AgentResponse::default() };
    let id = play.host.broadcast(&play.channel, "visitor-9", lost).expect("it is kept");
    assert!(play.until_dead(id).contains("no longer kept"));
}

#[test]
fn files_go_both_ways_and_only_to_their_conversation() {
    let play = open();
    let sent = json!([{"name": "a.txt", "type": "text/html", "data": STANDARD.encode("<b>text")}]);
    assert_eq!(send(&play, SESSION, "m1", "", &sent).status, 200);
    let delivery = play.next();
    assert_eq!(delivery.message().attachments[0].filename.as_deref(), Some("a.txt"));
    let data = delivery.attachment_data(0).expect("the store works").expect("it is kept");
    assert_eq!(&data[..], b"<b>text");
    let files = vec![file("c.png", "image/png", b"PNG"), file("big.bin", "", &vec![0; 760_001])];
    let id = play.reply_with(delivery, "look", files);
    play.until(id, ReplyState::Delivered);
    let found = news(&play, SESSION, "0");
    let (own, shown, big) = (
        &found["messages"][0]["files"][0],
        &found["messages"][1]["files"][0],
        &found["messages"][1]["files"][1],
    );
    assert_eq!((&big["id"], &big["size"]), (&Value::Null, &json!(760_001)), "it is too large to be kept");
    let fetch = |id: &Value, session: &str| {
        get(&play, &format!("/chat/file?id={id}"), &[("x-chat-session", session)])
    };
    let picture = fetch(&shown["id"], SESSION);
    assert_eq!((picture.status, picture.body.as_slice()), (200, &b"PNG"[..]));
    assert_eq!(picture.header("content-type"), Some("image/png"));
    let page = fetch(&own["id"], SESSION);
    assert_eq!(
        page.header("content-type"),
        Some("application/octet-stream"),
        "nothing of a visitor's is a page"
    );
    assert_eq!(page.header("content-disposition"), Some("attachment"));
    say(&play, "m2", "x");
    assert_eq!(send(&play, OTHER, "m1", "who else", &json!([])).status, 200);
    assert_eq!(fetch(&shown["id"], OTHER).status, 404);
    assert_eq!(fetch(&json!(99), SESSION).status, 404);
}

#[test]
fn oversized_requests_are_refused() {
    let play = open();
    let data = |bytes: usize| json!([{"name": "a", "type": "", "data": STANDARD.encode(vec![0; bytes])}]);
    for (case, text, files, status) in [
        ("the longest text", "é".repeat(4_000), json!([]), 200),
        ("one character more", "é".repeat(4_001), json!([]), 413),
        ("nothing", "  ".to_owned(), json!([]), 400),
        ("the largest file", String::new(), data(760_000), 200),
        ("one byte more", String::new(), data(760_001), 413),
        ("no base64", String::new(), json!([{"name": "a", "type": "", "data": "~"}]), 400),
        ("as many files as may be", String::new(), json!(vec![data(1)[0].clone(); 8]), 200),
        ("one file more", String::new(), json!(vec![data(1)[0].clone(); 9]), 413),
    ] {
        assert_eq!(send(&play, SESSION, case, &text, &files).status, status, "{case}");
    }
    let form = [("content-type", "text/plain")];
    assert_eq!(client::request(play.address, "POST", "/chat/send", &form, b"{}").status, 415);
    assert_eq!(send(&play, "short", "m", "x", &json!([])).status, 400);
    assert_eq!(get(&play, "/chat/messages?session=short", &[]).status, 400);
}

#[test]
fn the_history_says_when_it_is_cut_and_survives_a_restart() {
    let scratch = TempDir::new();
    let setting = Setting { state: Some(scratch.path()), ..setting() };
    let play = Play::start(&setting, |_| {});
    for number in 0..11 {
        say(&play, &number.to_string(), &"x".repeat(4_000));
    }
    play.host.shutdown();
    let play = Play::start(&setting, |_| {});
    let found = news(&play, SESSION, "0");
    assert_eq!((found["messages"].as_array().map(Vec::len), &found["cut"]), (Some(10), &json!(true)));
    assert_eq!(news(&play, OTHER, "0")["cut"], Value::Null);
}
