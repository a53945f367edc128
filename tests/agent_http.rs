//! The `http` agent: a server that is asked for each message.

mod cli_support;
mod support;

use cli_support::Place;
use serde_json::json;
use support::upstream::Upstream;

fn kind(value: &str) -> Vec<(String, String)> {
    vec![("content-type".to_owned(), value.to_owned())]
}

#[test]
fn a_response_is_the_reply_and_an_empty_one_is_none() {
    let place = Place::new();
    let server = Upstream::start(|request, _| {
        let message = request.json();
        match message["content"].as_str().unwrap() {
            "plain" => (200, kind("text/plain"), b"said plainly".to_vec()),
            "silence" => (204, Vec::new(), Vec::new()),
            other => {
                (200, kind("application/json"), format!(r#"{{"content":"json for {other}"}}"#).into_bytes())
            }
        }
    });
    let host = place.host(&["--agent", &format!("http:{}/agent", server.url())], &[]);
    for (id, text) in [("1", "plain"), ("2", "silence"), ("3", "more")] {
        host.say(id, text);
    }
    host.hears("json for more");
    assert_eq!(host.heard(), ["said plainly", "json for more"]);
    let request = server.requests()[0].clone();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/agent"));
    assert_eq!(request.json()["type"], "message");
    host.stop();
}

/// A redirect was a `status 307` without a word of where to, and a password in the URL stood in every line about the agent.
#[test]
fn a_redirect_is_named_and_neither_password_nor_secret_is_shown() {
    let place = Place::new();
    let server = Upstream::start(|request, before| match before {
        0 => (307, vec![("location".to_owned(), "/there?a=pa55word-pa55word".to_owned())], Vec::new()),
        _ => (200, kind("text/plain"), request.header("authorization").unwrap_or_default().into()),
    });
    let address = server.url().replace("http://", "http://ann:pa55word-pa55word@");
    let host = place.host(&["--agent", &format!("http:{address}/agent?key=1")], &[]);
    host.say("1", "hello");
    host.hears("Basic [redacted]");
    assert_eq!(server.requests()[0].target, "/agent?key=1");
    let log = host.stop();
    let expected = "status 307: it redirects to /there?a=[redacted], and redirects are not followed";
    assert!(log.contains(expected) && !log.contains("pa55word"), "{log}");
}

#[test]
fn an_agent_that_fails_is_asked_again_and_its_secret_stays_out_of_the_log() {
    let place = Place::new();
    let server = Upstream::start(|_, before| match before {
        0 => (500, kind("text/plain"), b"not now, Bearer hunter2-hunter2".to_vec()),
        _ => (200, kind("text/plain"), b"now".to_vec()),
    });
    place.file("tinclaw.toml", "[agent]\nauth_secret = \"agent_token\"\nheaders = { x-team = \"blue\" }\n");
    let environment = [("TINCLAW_SECRET_AGENT_TOKEN", "hunter2-hunter2")];
    let host = place.host(&["--agent", &format!("http:{}", server.url())], &environment);
    host.say("1", "hello");
    host.hears("now");
    assert_eq!(host.heard(), ["now"]);
    let request = server.requests()[1].clone();
    assert_eq!(request.json()["attempt"], 2);
    assert_eq!(request.header("authorization"), Some("Bearer hunter2-hunter2"));
    assert_eq!(request.header("x-team"), Some("blue"));
    let log = host.stop();
    let expected = "channel webchat: message 1 failed (attempt 1), next attempt in 2 s: status 500: not now, Bearer [redacted]";
    assert!(log.contains(expected), "{log}");
    // One failure was two lines, and neither named the channel.
    assert_eq!(log.matches("status 500").count(), 1, "{log}");
}

/// An agent that is restarted for a minute must not make dead letters of all that is said meanwhile.
#[test]
fn a_server_that_is_not_there_costs_no_attempt() {
    let place = Place::new();
    place.file("tinclaw.toml", "[agent]\nmax_attempts = 1\n");
    // Nobody listens at the first port. A port that was free a moment ago was another test's by now.
    let host = place.host(&["--agent", "http:http://ann:pa55word-pa55word@127.0.0.1:1/"], &[]);
    host.say("1", "hello");
    support::eventually("it failed", || host.log().contains("did not reply to message 1").then_some(()));
    support::eventually("health says so", || {
        place.run(&["health"]).out.contains("agent     http, no success yet, last error").then_some(())
    });
    let messages = place.run(&["messages", "list", "--json"]).json();
    assert_eq!(messages["messages"][0]["state"], "pending", "{messages}");
    // Nothing but "accepted" was on record, and no line said which try it was and when the next one is.
    support::eventually("each try is on record", || {
        let stories = place.run(&["trace", "1", "--json"]).json();
        let steps = stories["traces"][0]["steps"].as_array().unwrap().clone();
        let tries = steps.iter().filter(|step| step["what"] == "agent_unavailable");
        let tries: Vec<_> = tries.map(|step| (step["attempt"].clone(), step["text"].clone())).collect();
        let [(first, text), (second, _), ..] = tries.as_slice() else { return None };
        assert_eq!((first, second), (&json!(1), &json!(2)));
        assert!(text.as_str().unwrap().ends_with("; next try in 2 s"), "{text}");
        Some(())
    });
    let log = host.stop();
    for part in [
        "(try 1, next try in 2 s)",
        "(try 2, next try in 4 s)",
        "(attempt 1, could not be asked once before)",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[test]
fn an_agent_that_refuses_a_message_for_good_gets_it_so_often_and_the_conversation_goes_on() {
    let place = Place::new();
    place.file("tinclaw.toml", "[agent]\nmax_attempts = 2\ndead_letter_text = \"I gave up\"\n");
    let server = Upstream::start(|request, _| match request.json()["content"].as_str().unwrap() {
        "bad" => (400, kind("text/plain"), b"never".to_vec()),
        _ => (200, kind("text/plain"), b"fine".to_vec()),
    });
    let host = place.host(&["--agent", &format!("http:{}", server.url())], &[]);
    host.say("1", "bad");
    host.say("2", "good");
    host.hears("fine");
    assert_eq!(host.heard(), ["I gave up", "fine"]);
    assert_eq!(server.requests().len(), 3);
    let messages = place.run(&["messages", "list", "--state", "dead"]);
    assert!(messages.good().contains("status 400: never"), "{}", messages.out);
    host.stop();
}

/// Such a response was taken for "no reply": the message was acknowledged, and nobody was told.
#[test]
fn a_2xx_response_without_content_is_an_error_that_quotes_it() {
    let place = Place::new();
    let server = Upstream::start(|_, before| match before {
        0 => (200, kind("application/json"), br#"{"reply":"x"}"#.to_vec()),
        _ => (200, kind("application/json"), br#"{"content":"understood"}"#.to_vec()),
    });
    let host = place.host(&["--agent", &format!("http:{}", server.url())], &[]);
    host.say("1", "hello");
    host.hears("understood");
    let log = host.stop();
    assert!(
        log.contains("message 1 failed (attempt 1), next attempt in 2 s: the response is not understood"),
        "{log}"
    );
    assert!(log.contains(r#"neither `content` nor `attachments`: {"reply":"x"}"#), "{log}");
}

#[test]
fn a_response_of_32_mib_is_read_and_a_longer_one_is_an_error() {
    let place = Place::new();
    let server = Upstream::start(|request, before| {
        let content = request.json()["content"].as_str().unwrap().to_owned();
        let bytes = (32 << 20) + usize::from(content == "longer" && before == 1);
        let mut json = format!(r#"{{"content":"re: {content}"}}"#).into_bytes();
        json.resize(bytes, b' ');
        (200, kind("application/json"), json)
    });
    let host = place.host(&["--agent", &format!("http:{}", server.url())], &[]);
    host.say("1", "long");
    host.hears("re: long");
    host.say("2", "longer");
    host.hears("re: longer");
    assert_eq!(server.requests().len(), 3);
    let log = host.stop();
    assert!(!log.contains("message 1 failed") && log.contains("message 2 failed"), "{log}");
}

/// The host waited for the agent and left it behind; a request that it cuts off must not count as an attempt.
#[test]
fn a_slow_agent_does_not_keep_the_host_from_ending() {
    let place = Place::new();
    let server = Upstream::start(|_, _| {
        std::thread::sleep(std::time::Duration::from_secs(3600));
        (200, Vec::new(), Vec::new())
    });
    let host = place.host(&["--agent", &format!("http:{}", server.url())], &[]);
    host.say("1", "hello");
    server.wait_for("the message arrives", |_| true);
    let log = host.stop();
    assert!(!log.contains("did not reply to message"), "{log}");
    let host = place.host(&["--agent", "echo"], &[]);
    host.hears("hello");
    let story = place.run(&["trace", "1"]);
    assert!(!story.good().contains("failed"), "{}", story.out);
    host.stop();
}
