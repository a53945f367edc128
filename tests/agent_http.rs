//! The `http` agent: a server that is asked for each message.

mod cli_support;
mod support;

use cli_support::Place;
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
    let expected =
        format!("agent {}/ did not reply to message 1: status 500: not now, Bearer [redacted]", server.url());
    assert!(log.contains(&expected), "{log}");
}

/// An agent that is restarted for a minute must not make dead letters of all that is said meanwhile.
#[test]
fn a_server_that_is_not_there_costs_no_attempt() {
    let place = Place::new();
    place.file("tinclaw.toml", "[agent]\nmax_attempts = 1\n");
    // Nobody listens here while the port is only reserved.
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let host = place.host(&["--agent", &format!("http:http://{address}/")], &[]);
    host.say("1", "hello");
    support::eventually("it failed", || host.log().contains("did not reply to message 1").then_some(()));
    support::eventually("health says so", || {
        place.run(&["health"]).out.contains("agent     http, no success yet, last error").then_some(())
    });
    let messages = place.run(&["messages", "list", "--json"]).json();
    assert_eq!(messages["messages"][0]["state"], "pending", "{messages}");
    host.stop();
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
    assert!(log.contains(r#"did not reply to message 1: the response is not understood"#), "{log}");
    assert!(log.contains(r#"neither `content` nor `attachments`: {"reply":"x"}"#), "{log}");
}

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
    assert!(host.stop().contains("still busy"));
}

#[test]
fn a_second_signal_ends_the_host_at_once() {
    let place = Place::new();
    let server = Upstream::start(|_, _| {
        std::thread::sleep(std::time::Duration::from_secs(3600));
        (200, Vec::new(), Vec::new())
    });
    let mut host = place.host(&["--agent", &format!("http:{}", server.url())], &[]);
    host.say("1", "hello");
    server.wait_for("the message arrives", |_| true);
    host.signal("INT");
    support::eventually("the host begins to stop", || host.log().contains("stopping").then_some(()));
    host.signal("TERM");
    assert_eq!(host.wait().code(), Some(130));
    assert!(!host.log().contains("still busy"));
}
