//! Servers that fail, refuse, or are not there.

use serde_json::{Value, json};

use super::cli_support::Place;
use super::fake::{KEY, asked, error, host, last, server, stream, text};
use super::support;

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
    // A server that is too busy is no failed attempt of the message.
    let failed = |id: &str| {
        let lines = [format!("message {id} failed (attempt 1)"), format!("did not reply to message {id}:")];
        lines.iter().any(|line| log.contains(line))
    };
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
fn a_missing_key_or_server_costs_no_attempt() {
    let place = Place::new();
    let server = server(|_, _| text("fine"));
    let host = host(&place, &server, "api_key = \"other_key\"\nmax_attempts = 1\n");
    host.say("1", "hello");
    support::eventually("it says so", || {
        host.log().contains("the secret 'other_key' is not set").then_some(())
    });
    let messages = place.run(&["messages", "list", "--json"]).json();
    assert_eq!(messages["messages"][0]["state"], "pending", "{messages}");
    assert!(asked(&server).is_empty());
    host.stop();
}
