//! What a guest may not do: go elsewhere, write secrets, exceed its limits. Each refusal says why and quotes nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use super::{
    FakeResolver, KEY, Setup, TOKEN, Upstream, assert_no_secret, channel, get, request, response, send, until,
};
use crate::egress::{
    OutboundCall, OutboundError, OutboundHttp, OutboundHttpSettings, OutboundRequest, RequestPurpose,
};
use crate::secrets::{MemorySecrets, Secret, SecretError, SecretStore};

const URL: &str = "https://api.example.com/x";

fn percent(value: &str) -> String {
    value.bytes().map(|b| format!("%{b:02x}")).collect()
}

fn hex(value: &str) -> String {
    value.bytes().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn hosts_off_the_allow_list_are_never_contacted() {
    let upstream = Upstream::fixed(response(200, "", ""));
    let http =
        json!({"allowlist": [{"host": "api.example.com", "path_prefix": "/api/", "methods": ["GET"]}]});
    let resolver = FakeResolver::new(&[&["127.0.0.1"]]);
    let channel = Setup::new(http).rewrite("api.example.com", &upstream).resolver(resolver.clone()).build();
    let rows = [
        ("another host", "GET", "https://evil.example/api/"),
        ("subdomain", "GET", "https://x.api.example.com/api/"),
        ("parent domain", "GET", "https://example.com/api/"),
        ("host as suffix", "GET", "https://evilapi.example.com/api/"),
        ("host as prefix", "GET", "https://api.example.com.evil.example/api/"),
        ("user name trick", "GET", "https://api.example.com@evil.example/api/"),
        ("backslash trick", "GET", "https://evil.example\\@api.example.com/api/"),
        ("question mark trick", "GET", "https://evil.example?@api.example.com/api/"),
        ("fragment trick", "GET", "https://evil.example#@api.example.com/api/"),
        ("another scheme", "GET", "http://api.example.com/api/"),
        ("another port", "GET", "https://api.example.com:8443/api/"),
        ("another path", "GET", "https://api.example.com/admin"),
        ("out of the path", "GET", "https://api.example.com/api/../admin"),
        ("out of the path, encoded", "GET", "https://api.example.com/api/%2e%2e/admin"),
        ("out of the path, encoded slash", "GET", "https://api.example.com/api/..%2fadmin"),
        ("out of the path, parameters", "GET", "https://api.example.com/api/..;/admin"),
        ("out of the path, backslash", "GET", "https://api.example.com/api/..\\admin"),
        ("another method", "POST", "https://api.example.com/api/"),
        ("tunnel", "CONNECT", "https://api.example.com/api/"),
        ("trace", "TRACE", "https://api.example.com/api/"),
        ("method with a line break", "GET / HTTP/1.1\r\nX: y\r\n\r\nGET", "https://api.example.com/api/"),
        ("trailing dot", "GET", "https://api.example.com./api/"),
        ("line break", "GET", "https://api.example.com/api/\r\nX: y"),
    ];
    for (what, method, url) in rows {
        let error = send(&channel, request(method, url, "{}", None)).unwrap_err();
        assert!(
            matches!(error, OutboundError::NotAllowed(_) | OutboundError::Url(_) | OutboundError::Method),
            "{what}: {error:?}"
        );
    }
    assert_eq!(resolver.count(), 0);
    assert_eq!(upstream.connections(), 0);
    send(&channel, get("https://api.example.com/api/x")).unwrap();
}

#[test]
fn a_channel_without_an_allow_list_can_send_no_request() {
    let channel = Setup::new(json!({})).build();
    assert!(matches!(send(&channel, get(URL)), Err(OutboundError::NotAllowed(_))));
}

#[test]
fn every_encoding_of_a_secret_is_stopped_wherever_it_stands() {
    let upstream = Upstream::fixed(response(200, "", ""));
    let channel = channel(&upstream);
    let forms = [
        ("raw", KEY.to_owned()),
        ("inside", format!("xx{KEY}yy")),
        ("percent", percent(KEY)),
        ("percent in capitals", percent(KEY).to_uppercase()),
        ("partly percent", KEY.replace('0', "%30")),
        ("percent twice", percent(KEY).replace('%', "%25")),
        ("base64", STANDARD.encode(KEY)),
        ("base64 shifted by one", STANDARD.encode(format!("a{KEY}"))),
        ("base64 shifted by two", STANDARD.encode(format!("ab{KEY}c"))),
        ("base64 of a pair", STANDARD.encode(format!("user:{KEY}"))),
        ("base64 URL-safe", URL_SAFE_NO_PAD.encode(format!("??{KEY}??"))),
        ("hex", hex(KEY)),
        ("hex in capitals", hex(KEY).to_uppercase()),
    ];
    for (what, form) in &forms {
        let places = [
            ("query", request("GET", &format!("{URL}?q={form}"), "{}", None)),
            ("path", request("GET", &format!("https://api.example.com/{form}"), "{}", None)),
            ("header", request("GET", URL, &json!({"x-data": form}).to_string(), None)),
        ];
        for (place, request) in places {
            let error = send(&channel, request).expect_err(&format!("{what} in {place}"));
            // A path with per cent signs encoded twice is refused for that already.
            let fits = matches!(&error, OutboundError::Leak { secret, .. } if secret == "key");
            assert!(fits || matches!(error, OutboundError::Url(_)), "{what} in {place}: {error}");
            assert_no_secret(&format!("{error} {error:?}"));
        }
    }
    let in_other_places = [
        ("header name", request("GET", URL, &json!({KEY: "x"}).to_string(), None)),
        ("dropped header", request("GET", URL, &json!({"Host": KEY}).to_string(), None)),
        ("fragment", request("GET", &format!("{URL}#{KEY}"), "{}", None)),
        (
            "JSON escapes in headers",
            request("GET", URL, &format!(r#"{{"x": "{}"}}"#, KEY.replace('k', "\\u006b")), None),
        ),
    ];
    for (what, request) in in_other_places {
        let error = send(&channel, request).expect_err(what);
        assert!(matches!(error, OutboundError::Leak { .. }), "{what}: {error}");
        assert_no_secret(&format!("{error} {error:?}"));
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn refusals_before_the_search_for_secrets_quote_none_either() {
    let upstream = Upstream::fixed(response(200, "", ""));
    let channel = channel(&upstream);
    let twice = format!(r#"{{"{KEY}": "a", "{KEY}": "b"}}"#);
    let rows = [
        ("host", request("GET", &format!("https://{KEY}.evil.example/"), "{}", None)),
        ("user", request("GET", &format!("https://{KEY}@api.example.com/"), "{}", None)),
        ("port", request("GET", &format!("https://api.example.com:99/{KEY}"), "{}", None)),
        ("method", request(KEY, URL, "{}", None)),
        ("header name twice", request("GET", URL, &twice, None)),
        ("header value", request("GET", URL, &json!({KEY: format!("{KEY}\n")}).to_string(), None)),
        ("header name", request("GET", URL, &json!({format!("{KEY} x"): "a"}).to_string(), None)),
        ("no JSON", request("GET", URL, &format!("{{{KEY}"), None)),
    ];
    for (what, request) in rows {
        let error = send(&channel, request).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains(KEY), "{what}: {text}");
    }
    assert_eq!(upstream.connections(), 0);
}

// A person who pasted a token, or used a word that was somebody's verify token, got no reply: the guest's request was
// refused with the reply in it. What stands in a body is replaced, and the reply arrives.
#[test]
fn a_secret_in_a_body_is_replaced_in_every_encoding_and_the_request_is_sent() {
    let upstream = Upstream::fixed(response(200, "", ""));
    let channel = channel(&upstream);
    let form = url::form_urlencoded::Serializer::new(String::new()).append_pair("t", TOKEN).finish();
    let bodies = [
        ("raw", KEY.as_bytes().to_vec()),
        ("percent", percent(KEY).into_bytes()),
        ("partly percent", KEY.replace('0', "%30").into_bytes()),
        ("base64", STANDARD.encode(KEY).into_bytes()),
        ("base64 of a pair", STANDARD.encode(format!("user:{KEY}")).into_bytes()),
        ("hex in capitals", hex(KEY).to_uppercase().into_bytes()),
        ("JSON", json!({"text": KEY}).to_string().into_bytes()),
        ("JSON escapes", KEY.replace('k', "\\u006b").into_bytes()),
        ("binary", [b"\xff\xfe\0", KEY.as_bytes(), b"\xff"].concat()),
        ("odd secret in JSON", json!([TOKEN]).to_string().into_bytes()),
        ("odd secret in a form", form.into_bytes()),
    ];
    for (what, body) in &bodies {
        send(&channel, request("POST", URL, "{}", Some(body))).expect(what);
        let received = upstream.received().pop().unwrap();
        let text = String::from_utf8_lossy(&received.body).into_owned();
        assert!(text.contains("[redacted]"), "{what}: {text}");
        assert_no_secret(&text);
        assert!(!text.contains("k3y-"), "{what}: {text}");
    }
    let json = &upstream.received()[6];
    assert_eq!(json.body, br#"{"text":"[redacted]"}"#);
}

// With the verify token `hello`, every reply that contained "hello" was refused, and every response was redacted.
#[test]
fn a_short_word_that_only_checks_inbound_requests_is_an_ordinary_word() {
    let upstream = Upstream::fixed(response(200, "", "hello"));
    let random = "v3rify-0123456789";
    let channel = |credentials: serde_json::Value| {
        let secrets = MemorySecrets::from([
            ("app_verify_token", "hello"),
            ("app_random_verify_token", random),
            ("app_pin", "12345"),
            ("other_password", "swordfish"),
        ]);
        Setup::new(json!({"allowlist": [{"host": "api.example.com"}], "credentials": credentials}))
            .secrets(secrets)
            .allowed(&["app_*"])
            .inbound_secret("APP_VERIFY_TOKEN")
            .inbound_secret("app_random_verify_token")
            .rewrite("api.example.com", &upstream)
            .build()
    };
    let check_only = channel(json!({}));
    let put_in = json!({"c": {
        "secret_name": "app_verify_token", "location": {"type": "bearer"}, "host_patterns": ["api.example.com"],
    }});
    let rows = [
        ("the verify token", &check_only, "hello", true),
        ("another channel's password", &check_only, "swordfish", true),
        ("a random verify token", &check_only, random, false),
        ("a short secret that is a placeholder", &check_only, "12345", false),
        ("the verify token where it is a credential", &channel(put_in), "hello", false),
    ];
    for (what, channel, word, passes) in rows {
        let url = format!("https://api.example.com/?q={word}");
        let got = send(channel, request("POST", &url, "{}", Some(word.as_bytes())));
        assert_eq!(got.is_ok(), passes, "{what}");
        if passes {
            assert_eq!(upstream.received().pop().unwrap().body, word.as_bytes(), "{what}");
            assert_eq!(got.unwrap().response.body, b"hello", "{what}");
        }
    }
}

#[test]
fn a_secret_that_the_guest_was_given_may_be_written() {
    let upstream = Upstream::fixed(response(200, "", KEY));
    let http = json!({"allowlist": [{"host": "api.example.com"}]});
    let channel = Setup::new(http).rewrite("api.example.com", &upstream).given_to_guest("KEY").build();
    let got = send(&channel, request("POST", URL, "{}", Some(KEY.as_bytes()))).unwrap();
    assert_eq!(got.response.body, KEY.as_bytes());
    send(&channel, request("POST", URL, "{}", Some(TOKEN.as_bytes()))).unwrap();
    assert_eq!(upstream.received().pop().unwrap().body, b"[redacted]");
}

// A guest that logs its configuration wrote the secrets in it to the host's log.
#[test]
fn secrets_given_to_a_guest_are_redacted_in_its_log_lines() {
    let upstream = Upstream::fixed(response(200, "", ""));
    let secrets =
        Arc::new(MemorySecrets::from([("key", KEY), ("key_previous", "old-value-0815"), ("token", TOKEN)]));
    let http = json!({"allowlist": []});
    let setup = || Setup::new(http.clone()).secrets(Arc::clone(&secrets)).rewrite("a.example", &upstream);
    let channel = setup().given_to_guest("Key").build();
    let shown = |text: &str| channel.without_given_secrets(text, 200).into_owned();
    assert_eq!(
        shown(&format!("config: {KEY}, before: old-value-0815.")),
        "config: [redacted], before: [redacted]."
    );
    assert!(shown(&STANDARD.encode(KEY)).starts_with("[redacted]"));
    assert_eq!(shown("nothing"), "nothing");
    secrets.set("key", Secret::from("another-value")).unwrap();
    assert_eq!(shown("another-value"), "[redacted]");
    let not_given = setup().build();
    assert_eq!(not_given.without_given_secrets(KEY, 200), KEY);
}

#[test]
fn a_secret_that_was_just_stored_is_guarded_at_once() {
    let upstream = Upstream::fixed(response(200, "", ""));
    let secrets = Arc::new(MemorySecrets::new());
    let http = json!({"allowlist": [{"host": "api.example.com"}]});
    let channel =
        Setup::new(http).secrets(Arc::clone(&secrets)).rewrite("api.example.com", &upstream).build();
    let write = || send(&channel, get(&format!("{URL}?the-new-value-4711")));
    assert!(write().is_ok());
    secrets.set("fresh", Secret::from("the-new-value-4711")).unwrap();
    assert!(matches!(write(), Err(OutboundError::Leak { .. })));
}

#[test]
fn headers_that_are_no_object_of_strings_are_an_error() {
    let upstream = Upstream::fixed(response(200, "", ""));
    let channel = channel(&upstream);
    for headers in ["", "null", "[]", "\"x\"", r#"{"a": 1}"#, r#"{"a": "b\r\nc: d"}"#, r#"{"a b": "c"}"#, "{"]
    {
        let error = send(&channel, request("GET", URL, headers, None)).unwrap_err();
        assert!(matches!(error, OutboundError::Headers(_)), "{headers}: {error}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_body_at_the_limit_goes_and_one_byte_more_does_not() {
    let upstream = Upstream::fixed(response(200, "", ""));
    let http = json!({"allowlist": [{"host": "api.example.com"}], "max_request_bytes": 100});
    let channel = Setup::new(http).rewrite("api.example.com", &upstream).build();
    send(&channel, request("POST", URL, "{}", Some(&[b'x'; 100]))).unwrap();
    let error = send(&channel, request("POST", URL, "{}", Some(&[b'x'; 101]))).unwrap_err();
    assert!(matches!(error, OutboundError::RequestTooLarge { size: 101, limit: 100 }), "{error}");
    assert_eq!(upstream.only().body.len(), 100);
}

#[test]
fn a_callback_has_fifty_requests_by_default() {
    let upstream = Upstream::fixed(response(200, "", ""));
    let channel = channel(&upstream);
    let deadline = || Instant::now() + Duration::from_secs(90);
    channel.request(get(URL), OutboundCall { calls_before: 49, ..until(deadline()) }, &mut |_| true).unwrap();
    let error = channel
        .request(get(URL), OutboundCall { calls_before: 50, ..until(deadline()) }, &mut |_| true)
        .unwrap_err();
    assert!(matches!(error, OutboundError::TooManyInCallback { limit: 50 }), "{error}");
}

#[test]
fn requests_are_limited_and_refused_ones_do_not_count() {
    let upstream = Upstream::fixed(response(200, "", ""));
    let http = json!({"allowlist": [{"host": "api.example.com"}], "max_request_bytes": 10,
        "rate_limit": {"requests_per_minute": 100, "requests_per_hour": 2}});
    let channel = Setup::new(http).rewrite("api.example.com", &upstream).build();
    for _ in 0..5 {
        assert!(send(&channel, request("POST", URL, "{}", Some(&[b'x'; 11]))).is_err());
        assert!(send(&channel, get("https://evil.example/")).is_err());
        assert!(send(&channel, get(&format!("{URL}?{KEY}"))).is_err());
    }
    send(&channel, get(URL)).unwrap();
    send(&channel, get(URL)).unwrap();
    let error = send(&channel, get(URL)).unwrap_err();
    assert!(
        matches!(error, OutboundError::RateLimited { retry_after } if retry_after <= Duration::from_secs(30 * 60)),
        "{error:?}"
    );
}

// A reply of three pieces near the limit arrived five times in part: the second piece was an error, and the whole reply was
// tried again.
#[test]
fn a_request_over_the_rate_waits_for_its_turn_within_the_callbacks_time() {
    let upstream = Upstream::fixed(response(200, "", ""));
    let http = json!({"allowlist": [{"host": "api.example.com"}],
        "max_requests_per_callback": 1000,
        "rate_limit": {"requests_per_minute": 120, "requests_per_hour": 100_000}});
    let channel = Setup::new(http).rewrite("api.example.com", &upstream).build();
    for _ in 0..123 {
        send(&channel, get(URL)).unwrap();
    }
    assert_eq!(upstream.received().len(), 123);
    let error = channel.request(get(URL), until(Instant::now()), &mut |_| true).unwrap_err();
    assert!(matches!(error, OutboundError::RateLimited { .. }), "{error:?}");
}

// Typing indicators used up the requests of the replies that they announced.
#[test]
fn typing_stops_at_half_of_the_rate_and_a_quarter_is_for_replies() {
    let upstream = Upstream::fixed(response(200, "", ""));
    let http = json!({"allowlist": [{"host": "api.example.com"}],
        "rate_limit": {"requests_per_minute": 8, "requests_per_hour": 1000}});
    let channel = Setup::new(http).rewrite("api.example.com", &upstream).build();
    let sent = |purpose| {
        let call = || OutboundCall { purpose, ..until(Instant::now() + Duration::from_secs(5)) };
        (0..8).take_while(|_| channel.request(get(URL), call(), &mut |_| true).is_ok()).count()
    };
    for (purpose, expected) in [
        (RequestPurpose::Status, 4),
        (RequestPurpose::Poll, 2),
        (RequestPurpose::Other, 0),
        (RequestPurpose::Status, 0),
        (RequestPurpose::Reply, 2),
    ] {
        assert_eq!(sent(purpose), expected, "{purpose:?}");
    }
}

// All secrets were read and some 250 patterns built for every request.
#[test]
fn secrets_are_read_for_the_search_only_when_they_have_changed() {
    struct Counted(MemorySecrets, AtomicUsize);
    impl SecretStore for Counted {
        fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
            self.0.get(name)
        }
        fn names(&self) -> Result<Vec<String>, SecretError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.names()
        }
        fn revision(&self) -> Option<u64> {
            self.0.revision()
        }
    }
    let upstream = Upstream::fixed(response(200, "", ""));
    let secrets = Arc::new(Counted(MemorySecrets::from([("key", KEY)]), AtomicUsize::new(0)));
    let http = json!({"allowlist": [{"host": "api.example.com"}]});
    let channel =
        Setup::new(http).secrets(Arc::clone(&secrets)).rewrite("api.example.com", &upstream).build();
    for expected in 1..=3 {
        for _ in 0..5 {
            send(&channel, get(URL)).unwrap();
        }
        assert_eq!(secrets.1.load(Ordering::Relaxed), expected);
        secrets.0.set("key", Secret::from(format!("k3y-0123456789-{expected}").as_str())).unwrap();
    }
}

#[test]
fn concurrent_requests_of_a_channel_are_limited_and_released() {
    let (arrived, has_arrived) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let (arrived, gate) = (Mutex::new(arrived), Mutex::new(gate));
    let upstream = Upstream::start(move |_, stream| {
        use std::io::Write as _;
        arrived.lock().unwrap().send(()).unwrap();
        gate.lock().unwrap().recv().unwrap();
        stream.write_all(&response(200, "", "")).is_ok()
    });
    let http = json!({"allowlist": [{"host": "api.example.com"}], "max_concurrent_requests": 1});
    let channel = Setup::new(http).rewrite("api.example.com", &upstream).build();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| send(&channel, get(URL)));
        has_arrived.recv().unwrap();
        let error = send(&channel, get(URL)).unwrap_err();
        assert!(matches!(error, OutboundError::TooManyAtOnce { limit: 1 }), "{error}");
        go.send(()).unwrap();
        first.join().unwrap().unwrap();
        go.send(()).unwrap();
        send(&channel, get(URL)).unwrap();
    });
}

#[test]
fn checks_run_in_the_documented_order() {
    let resolver = FakeResolver::new(&[&["10.0.0.1"]]);
    let http = json!({
        "allowlist": [{"host": "api.example.com"}], "max_request_bytes": 0,
        "credentials": {"g": {"secret_name": "gone", "location": {"type": "bearer"}, "host_patterns": ["api.example.com"]}}
    });
    let make = |http: serde_json::Value| Setup::new(http).resolver(resolver.clone()).build();
    let worst = || request("POST", &format!("https://evil.example/?{KEY}"), "not json", Some(b"harmless"));
    let channel = make(http.clone());
    assert!(matches!(send(&channel, worst()), Err(OutboundError::NotAllowed(_))));
    let step_2 = OutboundRequest { url: format!("{URL}?{KEY}"), ..worst() };
    assert!(matches!(send(&channel, step_2.clone()), Err(OutboundError::Headers(_))));
    let step_3 = OutboundRequest { headers_json: "{}".to_owned(), ..step_2 };
    assert!(matches!(send(&channel, step_3.clone()), Err(OutboundError::Leak { .. })));
    let step_4 = OutboundRequest { url: URL.to_owned(), ..step_3 };
    assert!(matches!(send(&channel, step_4.clone()), Err(OutboundError::RequestTooLarge { .. })));
    assert_eq!(resolver.count(), 0);
    let step_5 = OutboundRequest { body: None, ..step_4 };
    assert!(matches!(send(&channel, step_5.clone()), Err(OutboundError::Address { .. })));
    assert_eq!(resolver.count(), 1);
    let public = FakeResolver::new(&[&["192.0.1.1"]]);
    let channel = Setup::new(http).resolver(public).build();
    assert!(matches!(send(&channel, step_5), Err(OutboundError::MissingSecret { .. })));
}

#[test]
fn settings_that_cannot_be_meant_are_refused_at_start() {
    let with = |change: fn(&mut OutboundHttpSettings)| {
        let mut settings = OutboundHttpSettings::default();
        change(&mut settings);
        OutboundHttp::new(&settings).map(|_| ()).unwrap_err().to_string()
    };
    let rewrite = |base: &str| {
        let mut settings = OutboundHttpSettings::default();
        settings.http_rewrite.insert("api.example.com".to_owned(), base.to_owned());
        OutboundHttp::new(&settings).map(|_| ())
    };
    assert!(with(|s| s.allow_private_hosts = vec!["10.0.0.0/99".into()]).contains("10.0.0.0/99"));
    assert!(with(|s| s.proxy = Some("not a proxy".into())).contains("proxy"));
    assert!(with(|s| s.root_certificates_pem = Some("no pem".into())).contains("root_certificates_pem"));
    for base in ["", "127.0.0.1:80", "ftp://h", "http://u:p@h", "http://h/?q", "http://h/#f", "http://h:0"] {
        assert!(rewrite(base).is_err(), "{base}");
    }
    assert!(rewrite("http://127.0.0.1:8081/base/").is_ok());
}
