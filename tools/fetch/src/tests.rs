use tinclaw_tool_kit::fake::{FakeHost, Sent, redirect, response, response_bytes};

use super::*;

fn call(params: Value) -> Result<String, String> {
    let params = serde_json::from_value(params).expect("they fit");
    Fetch::call(params, &Call::default())
}

#[test]
fn a_page_comes_as_text_with_its_address() {
    let host = FakeHost::new()
        .responding(|_| response(200, "text/html; charset=utf-8", "<title>T</title><p>a&nbsp;b"));
    assert_eq!(call(json!({"url": "https://a.example/x"})).unwrap(), "https://a.example/x\n\n# T\n\na b");
    assert_eq!(host.requests()[0].method, "GET");
}

#[test]
fn a_long_page_comes_in_parts_that_say_where_they_go_on() {
    let _host = FakeHost::new().responding(|_| response(200, "text/plain", &"ä".repeat(250)));
    let part = |start| call(json!({"url": "https://a.example/", "start": start, "max_chars": 100}));
    assert!(part(0).unwrap().ends_with("ä\n\n[250 characters; go on with start=100]"));
    assert!(part(200).unwrap().ends_with("ä"));
    assert!(part(249).unwrap().ends_with("ä"));
    assert!(part(250).unwrap_err().contains("250 characters"));
}

#[test]
fn redirections_are_followed_so_far_and_each_is_asked_of_the_host() {
    let steps = |most: usize| {
        move |request: &Sent| {
            let step: usize = request.url.rsplit('/').next().unwrap().parse().unwrap();
            if step < most {
                redirect(&format!("{}", step + 1))
            } else {
                response(200, "text/plain", "there")
            }
        }
    };
    let host = FakeHost::new().responding(steps(MAX_REDIRECTS));
    assert_eq!(call(json!({"url": "https://a.example/0"})).unwrap(), "https://a.example/5\n\nthere");
    assert_eq!(host.requests().len(), MAX_REDIRECTS + 1);
    let _host = FakeHost::new().responding(steps(MAX_REDIRECTS + 1));
    assert!(call(json!({"url": "https://a.example/0"})).unwrap_err().contains("more than 5 times"));
    let _host = FakeHost::new().responding(|_| redirect("file:///etc/passwd"));
    assert!(call(json!({"url": "https://a.example/0"})).unwrap_err().contains("leads to no page"));
}

#[test]
fn what_is_no_text_is_said_with_its_kind() {
    for (kind, body, part) in [
        ("image/png", &b"\x89PNG"[..], "image/png, of 4 bytes"),
        ("text/plain", &b"a\0b"[..], "of 3 bytes"),
        ("", &b"\0"[..], "binary"),
    ] {
        let _host = FakeHost::new().responding(move |_| response_bytes(200, kind, body));
        let error = call(json!({"url": "https://a.example/"})).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    for (kind, body) in [("application/json", "{\"a\":1}"), ("application/feed+json", "[]"), ("", "plain")] {
        let _host = FakeHost::new().responding(move |_| response(200, kind, body));
        assert!(call(json!({"url": "https://a.example/"})).unwrap().ends_with(body), "{kind}");
    }
    let _host = FakeHost::new().responding(|_| response(200, "text/html", "<script>x</script>"));
    assert!(call(json!({"url": "https://a.example/"})).unwrap().contains("no text on this page"));
}

#[test]
fn an_error_of_the_server_or_the_host_comes_with_the_address() {
    let _host = FakeHost::new().responding(|_| response(404, "text/html", "<h1>Not\n Found</h1>"));
    let error = call(json!({"url": "https://a.example/x"})).unwrap_err();
    assert_eq!(error, "https://a.example/x: the server responded with 404: <h1>Not Found</h1>");
    let _host = FakeHost::new().responding(|_| Err("not allowed".into()));
    assert_eq!(call(json!({"url": "https://a.example/"})).unwrap_err(), "https://a.example/: not allowed");
}
