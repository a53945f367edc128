//! What is remembered of a conversation, and for how long.

use serde_json::{Value, json};

use super::cli_support::{Place, RunningHost};
use super::fake::{KEY, asked, error, host, last, messages, server, text, whole};
use super::support;

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

/// With the next message of the conversation the results of its calls were dropped, and a dead letter that was replayed by hand called
/// its tools again.
#[test]
fn a_dead_letter_that_is_replayed_does_not_make_its_calls_again() {
    let place = Place::new();
    let server = server(|body, before| match before {
        0 => {
            let call = json!({"id": "a", "function": {"name": "now", "arguments": "{}"}});
            whole(json!({"tool_calls": [call]}), "tool_calls")
        }
        1 => error(422, json!({"message": "not today"})),
        _ => text(&format!("re: {}", body["messages"].as_array().unwrap().len())),
    });
    let host = host(&place, &server, "");
    host.say("1", "when?");
    host.hears("The language model refused this message.");
    host.say("2", "hello");
    host.hears("re: 1");
    place.run(&["messages", "redeliver", "1"]).good();
    // The turn between, the message, its call, the result.
    host.hears("re: 5");
    host.stop();
    let requests = asked(&server);
    let replayed = messages(&requests[3]);
    assert_eq!(replayed[..3], ["user hello", "assistant re: 1", "user when?"]);
    assert_eq!(replayed[4], messages(&requests[1])[2], "the result is the one of the first time");
}
