//! Senders that mean no good, over HTTP: each request is one change away from one that is taken, every refusal looks alike,
//! and no guest ever runs for one.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use support::upstream::Upstream;
use support::{client, eventually, fixtures};
use tinclaw::host::ChannelState;
use tinclaw::secrets::{MemorySecrets, Secret};
use tinclaw::{Host, HostBuilder, RecvError};

const PATH: &str = "/webhook/everything";
const KEY: &str = "correct horse battery staple";
const SEED: [u8; 32] = [7; 32];
/// What the guest would do.
const BODY: &str = r#"{"do":"emit-message","user_id":"x","content":"got in"}"#;
const FORM: &str = "Body=hi&From=%2B1";

/// A request that a test changes before it is sent.
#[derive(Clone)]
struct Sent {
    method: &'static str,
    query: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Sent {
    fn post(body: &str, headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { method: "POST", query: String::new(), headers, body: body.to_owned() }
    }

    /// The value of a header, to be changed.
    fn header(&mut self, name: &str) -> &mut String {
        &mut self.headers.iter_mut().find(|(other, _)| other == name).expect("the header").1
    }

    /// Sends it through the proxy, from an address of its own.
    fn send(&self, address: SocketAddr, from: &str) -> client::Reply {
        let mut headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.push(("x-forwarded-for", from));
        client::request(
            address,
            self.method,
            &format!("{PATH}{}", self.query),
            &headers,
            self.body.as_bytes(),
        )
    }
}

/// A scheme, its capability, the stored secret, and a good request of a moment (in Unix seconds) with a key and a body.
struct Scheme {
    name: &'static str,
    webhook: Value,
    secret: String,
    /// Carries the signature or the secret.
    header: &'static str,
    /// Carries the time, where it stands alone.
    time_header: Option<&'static str>,
    signs_body: bool,
    body: &'static str,
    good: fn(&str, &str, u64) -> Sent,
}

fn mac(algorithm: hmac::Algorithm, key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(key: &str, text: &str) -> Vec<u8> {
    mac(hmac::HMAC_SHA256, key.as_bytes(), text)
}

fn slack(key: &str, body: &str, now: u64) -> Sent {
    let signature = format!("v0={}", hex(&sha256(key, &format!("v0:{now}:{body}"))));
    Sent::post(body, &[("x-slack-signature", &signature), ("x-slack-request-timestamp", &now.to_string())])
}

fn schemes() -> Vec<Scheme> {
    let plain = |name, header, good| Scheme {
        name,
        webhook: json!({ "auth": name }),
        secret: KEY.to_owned(),
        header,
        time_header: None,
        signs_body: true,
        body: BODY,
        good,
    };
    let discord_key = Ed25519KeyPair::from_seed_unchecked(&SEED).expect("a key");
    vec![
        Scheme {
            signs_body: false,
            ..plain("secret", "x-webhook-secret", |key, body, _| {
                Sent::post(body, &[("x-webhook-secret", key)])
            })
        },
        plain("github", "x-hub-signature-256", |key, body, _| {
            let signature = format!("sha256={}", hex(&sha256(key, body)));
            Sent::post(body, &[("x-hub-signature-256", &signature)])
        }),
        plain("line", "x-line-signature", |key, body, _| {
            Sent::post(body, &[("x-line-signature", &STANDARD.encode(sha256(key, body)))])
        }),
        Scheme {
            time_header: Some("x-slack-request-timestamp"),
            ..plain("slack", "x-slack-signature", slack)
        },
        plain("stripe", "stripe-signature", |key, body, now| {
            let signature = hex(&sha256(key, &format!("{now}.{body}")));
            Sent::post(body, &[("stripe-signature", &format!("t={now},v1={signature}"))])
        }),
        Scheme {
            secret: format!("whsec_{}", STANDARD.encode(KEY)),
            time_header: Some("webhook-timestamp"),
            ..plain("standard-webhooks", "webhook-signature", |key, body, now| {
                let signature = STANDARD.encode(sha256(key, &format!("msg_1.{now}.{body}")));
                let time = now.to_string();
                Sent::post(
                    body,
                    &[
                        ("webhook-signature", &format!("v1,{signature}")),
                        ("webhook-timestamp", &time),
                        ("webhook-id", "msg_1"),
                    ],
                )
            })
        },
        Scheme {
            body: FORM,
            ..plain("twilio", "x-twilio-signature", |key, body, _| {
                let fields: std::collections::BTreeMap<_, _> =
                    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
                let fields: String = fields.into_iter().map(|(name, value)| name + &value).collect();
                let signed = format!("https://bot.example{PATH}{fields}");
                let signature = mac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes(), &signed);
                let content_type = "application/x-www-form-urlencoded";
                let signature = STANDARD.encode(signature);
                Sent::post(body, &[("x-twilio-signature", &signature), ("content-type", content_type)])
            })
        },
        Scheme {
            secret: hex(discord_key.public_key().as_ref()),
            time_header: Some("x-signature-timestamp"),
            ..plain("discord", "x-signature-ed25519", |key, body, now| {
                let seed = if key == KEY { SEED } else { [8; 32] };
                let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a key");
                let signature = hex(pair.sign(format!("{now}{body}").as_bytes()).as_ref());
                let time = now.to_string();
                Sent::post(body, &[("x-signature-ed25519", &signature), ("x-signature-timestamp", &time)])
            })
        },
    ]
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

/// Requests that must be refused, each with what is wrong with it.
fn hostile(scheme: &Scheme) -> Vec<(&'static str, Sent)> {
    let (header, body) = (scheme.header, scheme.body);
    let good = || (scheme.good)(KEY, body, now());
    let changed = |change: &dyn Fn(&mut Sent)| {
        let mut sent = good();
        change(&mut sent);
        sent
    };
    let mut rows = vec![
        ("no signature", changed(&|sent| sent.headers.retain(|(name, _)| name != header))),
        ("empty", changed(&|sent| sent.header(header).clear())),
        (
            "cut short",
            changed(&|sent| {
                let _ = sent.header(header).pop();
            }),
        ),
        ("one character more", changed(&|sent| sent.header(header).push('A'))),
        (
            "one character changed",
            changed(&|sent| {
                let value = sent.header(header);
                let middle = value.len() - value.len() / 4;
                let other = if value.as_bytes()[middle] == b'0' { "1" } else { "0" };
                value.replace_range(middle..=middle, other);
            }),
        ),
        ("another key", (scheme.good)("a wrong key", body, now())),
        ("no key", (scheme.good)("", body, now())),
        (
            "twice",
            changed(&|sent| {
                let again = (header.to_owned(), "guess".to_owned());
                sent.headers.push(again);
            }),
        ),
        (
            "another header",
            changed(&|sent| {
                for (name, _) in &mut sent.headers {
                    name.insert_str(0, "x-original-");
                }
            }),
        ),
        (
            "in the query",
            changed(&|sent| {
                let fields = sent.headers.drain(..).map(|(name, value)| format!("{name}={value}"));
                let query = fields.collect::<Vec<_>>().join("&");
                sent.query = format!("?{}", query.replace(' ', "+"));
            }),
        ),
        ("a very long one", changed(&|sent| *sent.header(header) = "0".repeat(12_000))),
    ];
    if scheme.signs_body {
        rows.push(("another body", changed(&|sent| sent.body = sent.body.replace('i', "o"))));
        rows.push(("no body", changed(&|sent| sent.body.clear())));
        rows.push(("a longer body", changed(&|sent| sent.body.push_str("&a=b"))));
    }
    if let Some(time) = scheme.time_header {
        rows.push(("an old one", (scheme.good)(KEY, body, now() - 3600)));
        rows.push(("one from the future", (scheme.good)(KEY, body, now() + 3600)));
        rows.push(("an old one made new", {
            let mut sent = (scheme.good)(KEY, body, now() - 3600);
            *sent.header(time) = now().to_string();
            sent
        }));
        rows.push(("no time", changed(&|sent| sent.headers.retain(|(name, _)| name != time))));
        rows.push(("a time that is no number", changed(&|sent| sent.header(time).insert(0, '+'))));
    }
    rows
}

/// A host with `everything`, whose webhooks are as `webhook` says, behind a proxy on this machine.
fn guarded(webhook: &Value, secrets: &[(&str, &str)], config: Value) -> HostBuilder {
    let runtime = fixtures::runtime();
    let store = MemorySecrets::new();
    for (name, value) in secrets {
        store.set(name, Secret::new((*value).to_owned())).expect("a secret");
    }
    fixtures::host(&[], &[])
        .trusted_proxies(&["127.0.0.1"])
        .expect("a proxy")
        .configure(|settings| {
            settings.secrets = Arc::new(store);
            settings.public_url = Some("https://bot.example".parse().unwrap());
        })
        .channel(fixtures::channel_with(&runtime, "everything", |file| {
            file["capabilities"]["channel"]["webhook"] = webhook.clone();
            file["config"] = config;
        }))
}

fn start(builder: HostBuilder) -> (Host, SocketAddr) {
    let host = builder.start().expect("the host starts");
    let address = host.local_addr().expect("an address");
    eventually("the channel starts", || {
        let health = host.health().expect("health");
        (health.channels[0].state == ChannelState::Ready).then_some(())
    });
    (host, address)
}

fn assert_nothing_came(host: &Host, what: &str) {
    assert_eq!(host.messages().try_recv().err(), Some(RecvError::TimedOut), "{what}");
}

#[test]
fn unauthenticated_requests_are_refused_alike_and_run_no_guest() {
    let mut count = 0;
    for scheme in schemes() {
        let secrets = [("everything_webhook_secret", scheme.secret.as_str())];
        let (host, address) = start(guarded(&scheme.webhook, &secrets, json!({})));
        for (index, (what, sent)) in hostile(&scheme).into_iter().enumerate() {
            let reply = sent.send(address, &format!("203.0.113.{index}"));
            let what = format!("{}, {what}", scheme.name);
            assert_eq!((reply.status, reply.json()), (401, json!({"error": "unauthorized"})), "{what}");
            let names: Vec<&str> = reply.headers.keys().map(|name| name.as_str()).collect();
            assert!(
                !names.contains(&"www-authenticate") && !names.contains(&"retry-after"),
                "{what}: {names:?}"
            );
            count += 1;
        }
        assert_nothing_came(&host, scheme.name);
        let ran = host.health().expect("health").channels[0].succeeded;
        // The guest cannot read a form, and says so.
        let good = (scheme.good)(KEY, scheme.body, now()).send(address, "198.51.100.1");
        assert_eq!(good.status, if scheme.body == FORM { 400 } else { 200 }, "{}", scheme.name);
        eventually("it ran once", || {
            let now = host.health().expect("health").channels[0].succeeded;
            (now == ran + 1).then_some(())
        });
        host.shutdown();
    }
    assert!(count >= 110, "{count} hostile requests");
}

#[test]
fn a_challenge_without_its_token_is_refused() {
    let webhook = json!({"auth": "whatsapp", "verify_token_param": "hub.verify_token", "secret_name": "token",
        "hmac_secret_name": "key", "methods": ["GET", "POST"]});
    let (host, address) = start(guarded(
        &webhook,
        &[("token", "the token"), ("key", KEY)],
        json!({"methods": ["GET", "POST"]}),
    ));
    let get = |query: &str, headers: &[(&str, &str)]| {
        let mut sent = Sent { method: "GET", query: format!("?{query}"), ..Sent::post("", headers) };
        sent.body.clear();
        sent
    };
    let rows = [
        ("no token", get("hub.mode=subscribe&hub.challenge=1", &[])),
        ("an empty one", get("hub.mode=subscribe&hub.challenge=1&hub.verify_token=", &[])),
        ("a wrong one", get("hub.mode=subscribe&hub.challenge=1&hub.verify_token=the+toke", &[])),
        ("a longer one", get("hub.mode=subscribe&hub.challenge=1&hub.verify_token=the+token+", &[])),
        (
            "twice",
            get("hub.verify_token=the+token&hub.verify_token=x&hub.mode=subscribe&hub.challenge=1", &[]),
        ),
        ("in a header", get("hub.mode=subscribe&hub.challenge=1", &[("hub.verify_token", "the token")])),
        ("another name", get("hub.mode=subscribe&hub.challenge=1&verify_token=the+token", &[])),
        (
            "the key instead",
            get("hub.mode=subscribe&hub.challenge=1&hub.verify_token=correct+horse+battery+staple", &[]),
        ),
        ("a message with the token", {
            Sent { query: "?hub.verify_token=the+token".to_owned(), ..Sent::post(BODY, &[]) }
        }),
    ];
    for (index, (what, sent)) in rows.into_iter().enumerate() {
        let reply = sent.send(address, &format!("203.0.113.{index}"));
        assert_eq!((reply.status, reply.json()), (401, json!({"error": "unauthorized"})), "{what}");
    }
    let good = get("hub.mode=subscribe&hub.challenge=1&hub.verify_token=the+token", &[]);
    assert_ne!(good.send(address, "198.51.100.1").status, 401);
    assert_nothing_came(&host, "challenges");
}

#[test]
fn a_channel_is_closed_unless_its_file_opens_it_and_its_secret_is_there() {
    let forged = Sent::post(BODY, &[("x-webhook-secret", KEY)]);
    let signed = slack(KEY, BODY, now());
    type Row = (&'static str, Value, &'static [(&'static str, &'static str)], Value, u16);
    let rows: [Row; 6] = [
        ("nothing declared", json!({}), &[("everything_webhook_secret", KEY)], json!({}), 404),
        ("not the host's, and nothing else", json!({"managed_by_host": false}), &[], json!({}), 404),
        ("a scheme without its secret", json!({"auth": "secret"}), &[], json!({}), 503),
        ("a signature without its key", json!({"auth": "slack"}), &[], json!({}), 503),
        (
            "an endpoint that requires a secret, and none is declared",
            json!({"auth": "none"}),
            &[],
            json!({"require_secret": true}),
            503,
        ),
        (
            "a key of another form",
            json!({"auth": "discord"}),
            &[("everything_webhook_secret", KEY)],
            json!({}),
            503,
        ),
    ];
    for (what, webhook, secrets, config, status) in rows {
        let (host, address) = start(guarded(&webhook, secrets, config));
        for sent in [&forged, &signed, &Sent::post(BODY, &[])] {
            assert_eq!(sent.send(address, "203.0.113.1").status, status, "{what}");
        }
        assert_nothing_came(&host, what);
        let channel = host.health().expect("health").channels.remove(0);
        assert!(!channel.problems.is_empty(), "{what}");
        let expects_missing = what.starts_with("a ");
        assert_eq!(!channel.missing_secrets.is_empty(), expects_missing, "{what}: {:?}", channel.problems);
    }
}

#[test]
fn a_captured_request_runs_once_however_it_is_dressed_up() {
    let webhook = json!({"auth": "slack"});
    let (host, address) = start(guarded(&webhook, &[("everything_webhook_secret", KEY)], json!({})));
    let captured = slack(KEY, BODY, now());
    let mut dressed_up = captured.clone();
    dressed_up.query = "?again".to_owned();
    dressed_up.headers.push(("x-request-id".to_owned(), "another".to_owned()));
    for sent in [&captured, &captured, &dressed_up] {
        assert_eq!(sent.send(address, "198.51.100.1").status, 200);
    }
    let delivery = host.messages().recv_timeout(Duration::from_secs(90)).expect("a message");
    assert_eq!(delivery.message().content, "got in");
    delivery.ack();
    assert_nothing_came(&host, "a duplicate");
}

/// With the GitHub preset a second delivery with the same body got an empty 200 and never ran. Slack's retries are signed
/// again, and ran twice.
#[test]
fn equal_bodies_with_different_delivery_ids_both_run() {
    let (host, address) =
        start(guarded(&json!({"auth": "github"}), &[("everything_webhook_secret", KEY)], json!({})));
    let signature = format!("sha256={}", hex(&sha256(KEY, BODY)));
    let send = |delivery: &str| {
        let headers = [("x-hub-signature-256", signature.as_str()), ("x-github-delivery", delivery)];
        Sent::post(BODY, &headers).send(address, "198.51.100.1").status
    };
    for delivery in ["one", "two", "one"] {
        assert_eq!(send(delivery), 200);
    }
    for _ in 0..2 {
        let delivery = host.messages().recv_timeout(Duration::from_secs(60)).expect("a message");
        assert_eq!(delivery.message().content, "got in");
        delivery.ack();
    }
    assert_nothing_came(&host, "a duplicate");
}

/// Twilio signs the URL as it was configured, also where a `?` stands at its end.
#[test]
fn a_signed_url_with_a_bare_question_mark_is_authentic() {
    let (host, address) =
        start(guarded(&json!({"auth": "twilio"}), &[("everything_webhook_secret", KEY)], json!({})));
    let send = |signed_end: &str, query: &str| {
        let signed = format!("https://bot.example{PATH}{signed_end}BodyhiFrom+1");
        let signature = STANDARD.encode(mac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, KEY.as_bytes(), &signed));
        let content_type = "application/x-www-form-urlencoded";
        let headers = [("x-twilio-signature", signature.as_str()), ("content-type", content_type)];
        Sent { query: query.to_owned(), ..Sent::post(FORM, &headers) }.send(address, "198.51.100.1").status
    };
    // The guest cannot read a form, and responds with 400.
    assert_eq!(send("?", "?"), 400);
    assert_eq!(send("", ""), 400);
    assert_eq!(send("", "?"), 401);
    assert_eq!(send("?", ""), 401);
    host.shutdown();
}

#[test]
fn a_retry_that_is_signed_again_runs_once() {
    let (host, address) =
        start(guarded(&json!({"auth": "slack"}), &[("everything_webhook_secret", KEY)], json!({})));
    let body = format!("{},\"event_id\":\"Ev1\"}}", BODY.trim_end_matches('}'));
    let first = slack(KEY, &body, now() - 60).send(address, "198.51.100.1");
    let retry = slack(KEY, &body, now()).send(address, "198.51.100.1");
    assert_eq!((first.status, retry.status), (200, 200));
    host.messages().recv_timeout(Duration::from_secs(60)).expect("a message").ack();
    assert_nothing_came(&host, "a retry");
}

/// An unauthenticated client behind the proxy, which writes another address in front of each request, and a provider at
/// the same address.
#[test]
fn an_authentic_request_is_taken_from_the_address_of_ten_thousand_forged_ones() {
    let webhook = json!({"auth": "slack"});
    let (host, address) = start(guarded(&webhook, &[("everything_webhook_secret", KEY)], json!({})));
    let began = Instant::now();
    let (threads, each) = (4, 2_500);
    let run = |thread: usize| -> Vec<u16> {
        (0..each).map(|number| bad_signature(address, thread * each + number)).collect()
    };
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        runs.into_iter().flat_map(|run| run.join().expect("a run")).collect()
    });
    // Twenty at once, and one more every six seconds.
    let allowed = 21 + usize::try_from(began.elapsed().as_secs() / 6).expect("a short test");
    let refused = statuses.iter().filter(|status| **status == 401).count();
    assert!((20..=allowed).contains(&refused), "{refused} got 401, {allowed} may be");
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429)));
    // The provider itself is not locked out, not even at the address that the forged ones came from.
    assert_eq!(slack(KEY, BODY, now()).send(address, "203.0.113.9").status, 200);
    host.shutdown();
}

fn bad_signature(address: SocketAddr, number: usize) -> u16 {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.{}.{}, 203.0.113.9\r\nX-Slack-Signature: v0={number:064x}\r\n\
         X-Slack-Request-Timestamp: {}\r\nContent-Length: {}\r\n\r\n{BODY}",
        number / 256,
        number % 256,
        now(),
        BODY.len()
    );
    stream.write_all(head.as_bytes()).expect("it is sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    response.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{response}"))
}

#[test]
fn a_forwarded_address_is_not_believed_without_a_proxy() {
    let webhook = json!({"auth": "secret"});
    let builder = guarded(&webhook, &[("everything_webhook_secret", KEY)], json!({}));
    let (host, address) = start(builder.trusted_proxies::<&str>(&[]).expect("no proxies"));
    let wrong = Sent::post(BODY, &[("x-webhook-secret", "a guess")]);
    let mut last = 0;
    for number in 0..60 {
        last = wrong.send(address, &format!("203.0.113.{number}")).status;
        if last == 429 {
            break;
        }
    }
    assert_eq!(last, 429);
    assert_nothing_came(&host, "a guess");
}

/// The upstream of no request: what is refused here never leaves the host.
#[test]
fn a_refused_request_sends_nothing_anywhere() {
    let upstream = Upstream::start(|_, _| (200, Vec::new(), Vec::new()));
    let base = upstream.url();
    let builder = guarded(&json!({"auth": "secret"}), &[("everything_webhook_secret", KEY)], json!({}));
    let (_host, address) = start(builder.configure(|settings| {
        settings.outbound.http_rewrite = [("api.everything.example".to_owned(), base)].into();
    }));
    let body = r#"{"do":"http-request","method":"GET","url":"https://api.everything.example/x"}"#;
    let sent = |secret| Sent::post(body, &[("x-webhook-secret", secret)]).send(address, "203.0.113.1").status;
    assert_eq!(sent("a guess"), 401);
    assert!(upstream.requests().is_empty());
    assert_eq!(sent(KEY), 200);
    assert_eq!(upstream.requests().len(), 1);
}
