//! Credentials: put in by the host, for the declared hosts and paths only, and only after every check.

use serde_json::{Value, json};

use super::{KEY, Received, Setup, TOKEN, Upstream, assert_no_secret, get, request, response, send};
use crate::egress::OutboundError;
use crate::secrets::MemorySecrets;

fn ok_upstream() -> Upstream {
    Upstream::fixed(response(200, "", "ok"))
}

/// What the upstream got when the channel had this credential.
fn sent_with(credential: Value, url: &str, headers: &str) -> Result<Received, OutboundError> {
    let upstream = ok_upstream();
    let http = json!({"allowlist": [{"host": "*.example.com"}], "credentials": {"c": credential}});
    let channel = Setup::new(http).rewrite("*.example.com", &upstream).build();
    send(&channel, request("GET", url, headers, None))?;
    Ok(upstream.only())
}

fn credential(location: Value) -> Value {
    json!({"secret_name": "key", "location": location, "host_patterns": ["api.example.com"]})
}

const URL: &str = "https://api.example.com/v1/x?a=1";

#[test]
fn each_location_puts_the_secret_where_it_says() {
    let basic = "Basic dXNlcjprM3ktMDEyMzQ1Njc4OWFiY2RlZg==";
    let rows = [
        ("bearer", json!({"type": "bearer"}), "authorization", format!("Bearer {KEY}")),
        ("basic", json!({"type": "basic", "username": "user"}), "authorization", basic.to_owned()),
        ("header", json!({"type": "header", "name": "X-Api-Key"}), "x-api-key", KEY.to_owned()),
        (
            "prefix",
            json!({"type": "header", "header_name": "Auth", "prefix": "Bot "}),
            "auth",
            format!("Bot {KEY}"),
        ),
    ];
    for (what, location, header, expected) in rows {
        let received = sent_with(credential(location), URL, "{}").unwrap();
        assert_eq!(received.header(header), Some(expected.as_str()), "{what}");
        assert_eq!(received.line, "GET /v1/x?a=1 HTTP/1.1", "{what}");
    }
    let received = sent_with(credential(json!({"type": "query_param", "name": "key"})), URL, "{}").unwrap();
    assert_eq!(received.line, format!("GET /v1/x?a=1&key={KEY} HTTP/1.1"));
}

#[test]
fn a_guest_cannot_override_what_the_host_puts_in() {
    let bearer = credential(json!({"type": "bearer"}));
    let received = sent_with(bearer, URL, r#"{"AUTHORIZATION": "Bearer mine"}"#).unwrap();
    assert_eq!(received.headers.iter().filter(|(name, _)| name == "authorization").count(), 1);
    assert_eq!(received.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    let query = credential(json!({"type": "query_param", "name": "key"}));
    let received = sent_with(query, "https://api.example.com/?key=mine&k%65y=mine&a=1", "{}").unwrap();
    assert_eq!(received.line, format!("GET /?a=1&key={KEY} HTTP/1.1"));
}

#[test]
fn a_field_of_a_json_body_is_put_in_by_the_host() {
    let upstream = ok_upstream();
    let field = json!({"secret_name": "key", "location": {"type": "json_field", "name": "app_secret"},
        "host_patterns": ["api.example.com"], "path_patterns": ["/token"]});
    let http = json!({"allowlist": [{"host": "*.example.com"}], "credentials": {"c": field}});
    let channel = Setup::new(http).rewrite("*.example.com", &upstream).build();
    let post = |path: &str, body: &str| {
        let url = format!("https://api.example.com{path}");
        send(&channel, request("POST", &url, "{}", Some(body.as_bytes())))
    };
    for (path, body, expected) in [
        ("/token", r#"{"app_id":"a"}"#, format!(r#"{{"app_id":"a","app_secret":"{KEY}"}}"#)),
        ("/token", r#"{"app_secret":"mine"}"#, format!(r#"{{"app_secret":"{KEY}"}}"#)),
        ("/other", r#"{"app_id":"a"}"#, r#"{"app_id":"a"}"#.to_owned()),
    ] {
        let before = upstream.received().len();
        post(path, body).unwrap();
        let received = upstream.received().remove(before);
        assert_eq!(String::from_utf8_lossy(&received.body), expected, "{path} {body}");
    }
    for body in ["", "[]", "app_id=a", r#"{"app_id":"a"} {}"#] {
        let refused = post("/token", body).unwrap_err();
        assert!(matches!(refused, OutboundError::CredentialUnfit { place: "body", .. }), "{body}: {refused}");
        assert_no_secret(&refused.to_string());
    }
}

#[test]
fn another_host_port_or_path_gets_no_credential() {
    let upstream = ok_upstream();
    let http = json!({
        "allowlist": [{"host": "*.example.com"}, {"host": "api.example.com", "port": 8443}],
        "credentials": {"c": {"secret_name": "key", "location": {"type": "bearer"},
            "host_patterns": ["api.example.com"], "path_patterns": ["/v1/", "/files/*/raw"]}}
    });
    let channel = Setup::new(http)
        .rewrite("*.example.com", &upstream)
        .rewrite("api.example.com:8443", &upstream)
        .build();
    let rows = [
        ("https://api.example.com/v1/x", true),
        ("https://api.example.com/files/7/raw", true),
        ("https://api.example.com/files/7/meta", false),
        ("https://api.example.com/v2/x", false),
        ("https://api.example.com/v1", false),
        ("https://api.example.com/v1/../v2/x", false),
        ("https://www.example.com/v1/x", false),
        ("https://xapi.example.com/v1/x", false),
        ("https://api.example.com:8443/v1/x", false),
    ];
    for (url, expected) in rows {
        send(&channel, get(url)).unwrap();
        let received = upstream.received().pop().unwrap();
        assert_eq!(received.header("authorization").is_some(), expected, "{url}");
    }
}

fn telegram() -> Value {
    json!({
        "allowlist": [{"host": "api.telegram.org", "path_prefix": "/bot"}],
        "credentials": {"bot": {"secret_name": "token", "host_patterns": ["api.telegram.org"],
            "location": {"type": "url_path", "placeholder": "{TELEGRAM_BOT_TOKEN}"}}}
    })
}

#[test]
fn telegrams_polling_url_arrives_as_telegram_wants_it() {
    let upstream = ok_upstream();
    let token = "123456789:AAEhBP0av28-q_w";
    let channel = Setup::new(telegram())
        .secrets(MemorySecrets::from([("token", token)]))
        .rewrite("api.telegram.org", &upstream)
        .build();
    let url = r#"https://api.telegram.org/bot{TELEGRAM_BOT_TOKEN}/getUpdates?offset=1&timeout=30&allowed_updates=["message","edited_message"]"#;
    send(&channel, get(url)).unwrap();
    assert_eq!(
        upstream.only().line,
        format!(
            "GET /bot{token}/getUpdates?offset=1&timeout=30&allowed_updates=[%22message%22,%22edited_message%22] HTTP/1.1"
        )
    );
}

#[test]
fn placeholders_are_filled_in_url_and_header_values_and_never_in_a_body() {
    let upstream = ok_upstream();
    let http = json!({
        "allowlist": [{"host": "api.example.com"}],
        "credentials": {"k": {"secret_name": "key", "location": {"type": "url_path", "placeholder": "{MY_KEY}"},
            "host_patterns": ["api.example.com"]}}
    });
    let channel = Setup::new(http).rewrite("api.example.com", &upstream).build();
    let url = "https://api.example.com/{MY_KEY}/{KEY}?q={KEY}&t=%7BKEY%7D&u={UNKNOWN}&l={key}#{KEY}";
    let headers = r#"{"X-A": "a {KEY} b {MY_KEY}", "X-Unknown": "{UNKNOWN} {key}"}"#;
    send(&channel, request("POST", url, headers, Some(b"{KEY} {MY_KEY}"))).unwrap();
    let received = upstream.only();
    assert_eq!(
        received.line,
        format!("POST /{KEY}/{KEY}?q={KEY}&t=%7BKEY%7D&u={{UNKNOWN}}&l={{key}} HTTP/1.1")
    );
    assert_eq!(received.header("x-a"), Some(format!("a {KEY} b {KEY}").as_str()));
    assert_eq!(received.header("x-unknown"), Some("{UNKNOWN} {key}"));
    assert_eq!(received.body, b"{KEY} {MY_KEY}");
}

#[test]
fn a_value_is_encoded_for_the_place_where_it_stands() {
    let upstream = ok_upstream();
    let value = "a b+c&d=e%f#g?h\"ü:@";
    let http = json!({
        "allowlist": [{"host": "api.example.com"}],
        "credentials": {"q": {"secret_name": "odd", "location": {"type": "query_param", "name": "the key"},
            "host_patterns": ["api.example.com"]}}
    });
    let channel = Setup::new(http)
        .secrets(MemorySecrets::from([("odd", value)]))
        .rewrite("api.example.com", &upstream)
        .build();
    send(&channel, get("https://api.example.com/x")).unwrap();
    let line = upstream.only().line;
    let url = url::Url::parse(&format!("http://h{}", line.split(' ').nth(1).unwrap())).unwrap();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    assert_eq!(pairs, [("the key".to_owned(), value.to_owned())]);
    let result = send(&channel, get("https://api.example.com/p/{ODD}/x"));
    assert!(result.is_ok(), "{result:?}");
    let line = upstream.received().pop().unwrap().line;
    assert!(line.starts_with("GET /p/a%20b+c&d=e%25f%23g%3Fh%22%C3%BC:@/x?"), "{line}");
}

#[test]
fn a_value_that_would_change_the_request_is_refused_by_name_only() {
    let rows = [
        ("slash in a path", "aa/bbbbbbbb", "https://api.example.com/{ODD}/x", "{}"),
        ("backslash in a path", "aa\\bbbbbbbb", "https://api.example.com/{ODD}/x", "{}"),
        ("dot segment", "..", "https://api.example.com/{ODD}/x", "{}"),
        ("half a dot segment", ".", "https://api.example.com/.{ODD}/x", "{}"),
        ("line break in a header", "aaaa\r\nX-Evil: 1", "https://api.example.com/", r#"{"x": "{ODD}"}"#),
        ("line break in a path", "aaaa\nbbbbbb", "https://api.example.com/{ODD}", "{}"),
        ("NUL in a header", "aaaaaaaa\0b", "https://api.example.com/", r#"{"x": "{ODD}"}"#),
    ];
    for (what, value, url, headers) in rows {
        let upstream = ok_upstream();
        let http = json!({
            "allowlist": [{"host": "api.example.com"}],
            "credentials": {"o": {"secret_name": "odd", "location": {"type": "url_path", "placeholder": "{ODD}"},
                "host_patterns": ["api.example.com"]}}
        });
        let channel = Setup::new(http)
            .secrets(MemorySecrets::from([("odd", value)]))
            .rewrite("api.example.com", &upstream)
            .build();
        let error = send(&channel, request("GET", url, headers, None)).unwrap_err();
        assert!(
            matches!(&error, OutboundError::CredentialUnfit { secret, .. } if secret == "odd"),
            "{what}: {error}"
        );
        assert!(upstream.received().is_empty(), "{what}");
    }
}

#[test]
fn a_placeholder_for_another_host_is_an_error_and_nothing_is_sent() {
    let upstream = ok_upstream();
    let mut http = telegram();
    http["allowlist"].as_array_mut().unwrap().push(json!({"host": "evil.example.com"}));
    let channel = Setup::new(http)
        .rewrite("api.telegram.org", &upstream)
        .rewrite("evil.example.com", &upstream)
        .allowed(&["*"])
        .build();
    let rows = [
        ("in the path", "https://evil.example.com/{TELEGRAM_BOT_TOKEN}", "{}"),
        ("in the query", "https://evil.example.com/?t={TELEGRAM_BOT_TOKEN}", "{}"),
        ("by the secret's own name", "https://evil.example.com/{TOKEN}", "{}"),
        ("in a header", "https://evil.example.com/", r#"{"x": "{TELEGRAM_BOT_TOKEN}"}"#),
        ("inside of a header", "https://evil.example.com/", r#"{"x": "a{{TOKEN}}b"}"#),
    ];
    for (what, url, headers) in rows {
        let error = send(&channel, request("GET", url, headers, None)).unwrap_err();
        assert!(matches!(error, OutboundError::CredentialNotForHost { .. }), "{what}: {error}");
    }
    assert!(upstream.received().is_empty());
}

#[test]
fn placeholders_cannot_move_the_request_to_another_place() {
    let upstream = ok_upstream();
    let channel = Setup::new(telegram()).rewrite("api.telegram.org", &upstream).build();
    let rows = [
        "https://{TELEGRAM_BOT_TOKEN}.api.telegram.org/bot",
        "https://api.telegram.org:{TELEGRAM_BOT_TOKEN}/bot",
        "https://{TELEGRAM_BOT_TOKEN}@api.telegram.org/bot",
        "https://api.telegram.org/{TELEGRAM_BOT_TOKEN}/bot",
        "https://api.telegram.org/bot/../{TELEGRAM_BOT_TOKEN}",
        "{TELEGRAM_BOT_TOKEN}://api.telegram.org/bot",
    ];
    for url in rows {
        assert!(send(&channel, get(url)).is_err(), "{url}");
    }
    assert!(upstream.received().is_empty());
}

#[test]
fn a_secret_without_an_entry_needs_an_allowed_name() {
    let upstream = ok_upstream();
    let http = json!({"allowlist": [{"host": "api.example.com"}]});
    let allowed =
        Setup::new(http.clone()).allowed(&["key", "absent*"]).rewrite("api.example.com", &upstream).build();
    send(&allowed, request("GET", "https://api.example.com/", r#"{"x": "{KEY}"}"#, None)).unwrap();
    assert_eq!(upstream.received().pop().unwrap().header("x"), Some(KEY));
    let error = send(&allowed, get("https://api.example.com/{ABSENT_ONE}")).unwrap_err();
    assert!(matches!(&error, OutboundError::MissingSecret { secret } if secret == "absent_one"), "{error}");
    send(&allowed, request("GET", "https://api.example.com/", r#"{"x": "{TOKEN}"}"#, None)).unwrap();
    assert_eq!(upstream.received().pop().unwrap().header("x"), Some("{TOKEN}"));

    let not_allowed = Setup::new(http).rewrite("api.example.com", &upstream).build();
    send(&not_allowed, request("GET", "https://api.example.com/", r#"{"x": "{KEY}"}"#, None)).unwrap();
    assert_eq!(upstream.received().pop().unwrap().header("x"), Some("{KEY}"));
}

#[test]
fn a_missing_secret_is_named_unless_it_is_optional() {
    let location = |kind: &str| match kind {
        "bearer" => json!({"type": "bearer"}),
        _ => json!({"type": "url_path", "placeholder": "{GONE}"}),
    };
    for (optional, kind, url, headers, expected) in [
        (false, "bearer", "https://api.example.com/", "{}", Err(())),
        (true, "bearer", "https://api.example.com/", "{}", Ok(None)),
        (true, "bearer", "https://api.example.com/", r#"{"Authorization": "own"}"#, Ok(Some("own"))),
        (false, "path", "https://api.example.com/", "{}", Ok(None)),
        (false, "path", "https://api.example.com/{GONE}", "{}", Err(())),
        (true, "path", "https://api.example.com/{GONE}", "{}", Err(())),
        (true, "path", "https://api.example.com/", r#"{"Authorization": "Bearer {GONE}"}"#, Ok(None)),
        (false, "path", "https://api.example.com/", r#"{"Authorization": "Bearer {GONE}"}"#, Err(())),
    ] {
        let upstream = ok_upstream();
        let http = json!({
            "allowlist": [{"host": "api.example.com"}],
            "credentials": {"c": {"secret_name": "gone", "location": location(kind), "optional": optional,
                "host_patterns": ["api.example.com"]}}
        });
        let channel = Setup::new(http).rewrite("api.example.com", &upstream).build();
        match (send(&channel, request("GET", url, headers, None)), expected) {
            (Ok(_), Ok(authorization)) => {
                assert_eq!(upstream.only().header("authorization"), authorization, "{url}")
            }
            (Err(OutboundError::MissingSecret { secret }), Err(())) => assert_eq!(secret, "gone"),
            (result, _) => panic!("{url} {headers} {optional}: {result:?}"),
        }
    }
}

// Feishu's published file declares a bearer that its guest fetches itself and that nobody can store, so no request left the
// host.
#[test]
fn a_missing_credential_that_the_setup_does_not_require_leaves_the_guests_own_header() {
    let bearer = json!({"secret_name": "tenant_token", "location": {"type": "bearer"},
        "host_patterns": ["api.example.com"]});
    let received = sent_with(bearer.clone(), URL, r#"{"Authorization": "Bearer t-1"}"#).unwrap();
    assert_eq!(received.header("authorization"), Some("Bearer t-1"));
    assert_eq!(sent_with(bearer.clone(), URL, "{}").unwrap().header("authorization"), None);
    // Once it is stored, it is the host's.
    let upstream = ok_upstream();
    let http = json!({"allowlist": [{"host": "api.example.com"}], "credentials": {"c": bearer}});
    let channel = Setup::new(http)
        .secrets(MemorySecrets::from([("tenant_token", "t-2")]))
        .rewrite("api.example.com", &upstream)
        .build();
    send(&channel, request("GET", URL, r#"{"Authorization": "Bearer t-1"}"#, None)).unwrap();
    assert_eq!(upstream.only().header("authorization"), Some("Bearer t-2"));
}

#[test]
fn refusals_come_before_any_secret_is_put_in_and_show_none() {
    let upstream = Upstream::fixed("nonsense");
    let http = json!({
        "allowlist": [{"host": "api.example.com"}],
        "credentials": {"t": {"secret_name": "token", "location": {"type": "bearer"}, "host_patterns": ["api.example.com"]},
                        "k": {"secret_name": "key", "location": {"type": "query_param", "name": "k"}, "host_patterns": ["api.example.com"]}}
    });
    let channel = Setup::new(http).rewrite("api.example.com", &upstream).build();
    let error = send(&channel, get("https://api.example.com/")).unwrap_err();
    assert!(matches!(error, OutboundError::Connection { .. }), "{error:?}");
    assert_no_secret(&format!("{error} {error:?}"));
    assert!(upstream.only().line.contains(KEY));
    assert!(upstream.only().header("authorization").unwrap().contains(TOKEN));
}
