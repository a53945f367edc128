//! Responses as servers really write them.

use serde_json::json;

use super::*;

fn call(id: &str, name: &str, arguments: &str) -> CallRequest {
    CallRequest { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned() }
}

fn said(text: &str) -> ChatCompletion {
    ChatCompletion { text: text.to_owned(), ..ChatCompletion::default() }
}

fn streamed(events: &[&str]) -> Result<ChatCompletion, DraftError> {
    let mut draft = Draft::default();
    events.iter().try_for_each(|event| draft.add(event))?;
    draft.finish()
}

#[test]
fn whole_responses_are_read() {
    let with_calls = |calls: Vec<CallRequest>| ChatCompletion { calls, ..ChatCompletion::default() };
    for (what, message, finish, expected) in [
        ("text", json!({"content": "hi"}), "stop", said("hi")),
        (
            "thoughts in a field of their own",
            json!({"content": "hi", "reasoning_content": "hm", "reasoning": "hm"}),
            "stop",
            said("hi"),
        ),
        ("thoughts in the text", json!({"content": "<think>hm</think>\nhi"}), "stop", said("hi")),
        (
            "text as parts",
            json!({"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "hi"}]}),
            "stop",
            said("hi"),
        ),
        ("cut", json!({"content": "hi"}), "length", ChatCompletion { finish: Finish::Length, ..said("hi") }),
        (
            "held back",
            json!({"content": null}),
            "content_filter",
            ChatCompletion { finish: Finish::Filtered, ..said("") },
        ),
        (
            "a call",
            json!({"content": null, "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "now", "arguments": "{\"a\":1}"}}]}),
            "tool_calls",
            with_calls(vec![call("a", "now", "{\"a\":1}")]),
        ),
        (
            "arguments as an object, `stop` after a call, no id",
            json!({"tool_calls": [{"function": {"name": "now", "arguments": {"b": 2, "a": 1}}}]}),
            "stop",
            with_calls(vec![call("call00000", "now", "{\"b\":2,\"a\":1}")]),
        ),
        (
            "no arguments at all, and one id twice",
            json!({"tool_calls": [
                {"id": "a", "index": 0, "function": {"name": "x"}},
                {"id": "a", "index": 1, "function": {"name": "y", "arguments": ""}}]}),
            "stop",
            with_calls(vec![call("a", "x", "{}"), call("call00001", "y", "{}")]),
        ),
        (
            "text before the call",
            json!({"content": "let me look", "tool_calls": [{"id": "a", "function": {"name": "x"}}]}),
            "tool_calls",
            ChatCompletion { calls: vec![call("a", "x", "{}")], ..said("let me look") },
        ),
    ] {
        let json = json!({"choices": [{"index": 0, "message": message, "finish_reason": finish}]});
        assert_eq!(Draft::of_response(&json.to_string()), Ok(expected), "{what}");
    }
}

#[test]
fn unusable_responses_are_refused_with_a_reason() {
    let not_understood = |reason: &str| DraftError::NotUnderstood(reason.to_owned());
    for (json, expected) in [
        (r#"{"error":{"message":"no"}}"#, DraftError::Refused(json!({"message": "no"}))),
        (r#"{"error":"no","choices":[]}"#, DraftError::Refused(json!("no"))),
        (r#"{"code":500,"message":"no"}"#, DraftError::Refused(json!({"code": 500, "message": "no"}))),
        ("{}", not_understood("it has no `choices`")),
        ("hi", not_understood("not JSON: expected value at line 1 column 1")),
        (r#"{"choices":[]}"#, DraftError::Empty),
        (r#"{"choices":[{"message":{"content":"<think>hm</think>"}}]}"#, DraftError::Empty),
        (
            r#"{"choices":[{"message":{"tool_calls":[{"id":"a"}]}}]}"#,
            not_understood("it has a tool call without a name"),
        ),
    ] {
        assert_eq!(Draft::of_response(json), Err(expected), "{json}");
    }
}

fn delta(delta: serde_json::Value, finish: Option<&str>) -> String {
    json!({"choices": [{"delta": delta, "finish_reason": finish}]}).to_string()
}

fn calls_of(deltas: &[serde_json::Value]) -> Vec<CallRequest> {
    let mut events: Vec<String> =
        deltas.iter().map(|calls| delta(json!({"tool_calls": calls}), None)).collect();
    events.push("[DONE]".to_owned());
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    streamed(&events).unwrap().calls
}

#[test]
fn tool_calls_are_put_together_from_their_pieces() {
    let two = vec![call("a", "x", "{\"n\":1}"), call("b", "y", "{}")];
    for (what, deltas, expected) in [
        (
            "by index, pieces of two calls mixed",
            vec![
                json!([{"index": 0, "id": "a", "function": {"name": "x", "arguments": ""}}]),
                json!([{"index": 1, "id": "b", "function": {"name": "y", "arguments": "{"}}]),
                json!([{"index": 0, "function": {"arguments": "{\"n\""}}]),
                json!([{"index": 0, "function": {"arguments": ":1}"}}, {"index": 1, "function": {"arguments": "}"}}]),
            ],
            two.clone(),
        ),
        (
            "without index, by id",
            vec![
                json!([{"id": "a", "function": {"name": "x", "arguments": "{\"n\":"}}]),
                json!([{"id": "a", "function": {"arguments": "1}"}}]),
                json!([{"id": "b", "function": {"name": "y", "arguments": {}}}]),
            ],
            two.clone(),
        ),
        (
            "the same index for every call",
            vec![
                json!([{"index": 0, "id": "a", "function": {"name": "x", "arguments": "{\"n\":1}"}}]),
                json!([{"index": 0, "id": "b", "function": {"name": "y", "arguments": "{}"}}]),
            ],
            two,
        ),
        (
            "the same index for every call, and no ids",
            vec![
                json!([{"index": 0, "id": "", "function": {"name": "x", "arguments": "{\"n\":1}"}}]),
                json!([{"index": 0, "id": "", "function": {"name": "x", "arguments": "{}"}}]),
            ],
            vec![call("call00000", "x", "{\"n\":1}"), call("call00001", "x", "{}")],
        ),
        (
            "the name again after whole arguments",
            vec![
                json!([{"index": 0, "function": {"name": "x", "arguments": "{}"}}]),
                json!([{"index": 0, "function": {"name": "x", "arguments": ""}}]),
            ],
            vec![call("call00000", "x", "{}")],
        ),
        (
            "an empty object before the pieces",
            vec![
                json!([{"index": 0, "id": "a", "function": {"name": "x", "arguments": {}}}]),
                json!([{"index": 0, "function": {"arguments": "{\"n\""}}]),
                json!([{"index": 0, "function": {"arguments": ":1}"}}]),
            ],
            vec![call("a", "x", "{\"n\":1}")],
        ),
        (
            "neither index nor id",
            vec![
                json!([{"function": {"name": "x", "arguments": "{\"n\":"}}]),
                json!([{"function": {"arguments": "1}"}}]),
                json!([{"function": {"name": "x", "arguments": {"n": 2}}}]),
            ],
            vec![call("call00000", "x", "{\"n\":1}"), call("call00001", "x", "{\"n\":2}")],
        ),
        (
            "id and name in every piece",
            vec![
                json!([{"index": 0, "id": "a", "function": {"name": "x", "arguments": "{"}}]),
                json!([{"index": 0, "id": "a", "function": {"name": "x", "arguments": "}"}}]),
            ],
            vec![call("a", "x", "{}")],
        ),
    ] {
        assert_eq!(calls_of(&deltas), expected, "{what}");
    }
}

#[test]
fn a_stream_is_a_response_only_when_it_says_that_it_ended() {
    let piece = |text: &str| delta(json!({"content": text}), None);
    let (first, second) = (piece("hel"), piece("lo"));
    let end = delta(json!({}), Some("stop"));
    let usage = r#"{"choices":[],"usage":{"total_tokens":3}}"#;
    let thought = delta(json!({"reasoning_content": "hm", "content": null}), None);
    let other = json!({"choices": [{"index": 1, "delta": {"content": "x"}}]}).to_string();
    for (what, events, expected) in [
        ("`[DONE]`", vec![&*first, &*second, "[DONE]"], Ok(said("hello"))),
        ("`finish_reason` alone", vec![&*first, &*second, &*end], Ok(said("hello"))),
        (
            "usage after the end",
            vec![&*thought, &*first, &*second, &*end, usage, "[DONE]"],
            Ok(said("hello")),
        ),
        (
            "usage and signs of life without `choices`",
            vec![
                r#"{"object":"chat.completion.chunk"}"#,
                &*first,
                r#"{"type":"ping"}"#,
                &*second,
                &*end,
                r#"{"usage":{"total_tokens":3}}"#,
            ],
            Ok(said("hello")),
        ),
        (
            "something else without `choices`",
            vec![&*first, r#"{"detail":"oh"}"#],
            Err(DraftError::NotUnderstood("it has no `choices`".to_owned())),
        ),
        ("another choice beside it", vec![&*first, &*other, &*second, &*end], Ok(said("hello"))),
        ("cut", vec![&*first, &*second], Err(DraftError::Cut)),
        ("nothing", vec![], Err(DraftError::Cut)),
        ("nothing but the end", vec!["[DONE]"], Err(DraftError::Empty)),
        ("an error within", vec![&*first, r#"{"error":"oh"}"#], Err(DraftError::Refused(json!("oh")))),
    ] {
        assert_eq!(streamed(&events), expected, "{what}");
    }
}

#[test]
fn the_size_of_a_response_is_bounded() {
    let piece = |bytes: usize| delta(json!({"content": "a".repeat(bytes)}), None);
    let mut draft = Draft::default();
    assert_eq!(draft.add(&piece(MAX_RESPONSE_BYTES)), Ok(()));
    assert!(matches!(draft.add(&piece(1)), Err(DraftError::NotUnderstood(_))));
    let calls = |count: usize| {
        let calls: Vec<_> = (0..count).map(|at| json!({"index": at, "function": {"name": "x"}})).collect();
        delta(json!({"tool_calls": calls}), None)
    };
    assert_eq!(Draft::default().add(&calls(MAX_CALLS)), Ok(()));
    assert!(matches!(Draft::default().add(&calls(MAX_CALLS + 1)), Err(DraftError::NotUnderstood(_))));
}
