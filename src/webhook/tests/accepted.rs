//! Requests that must be accepted: the providers' own examples, key rotation, and what follows for replays and guests.

use super::*;
use crate::webhook::{AuthFailure, visible_headers, visible_query};

#[test]
fn a_request_of_every_provider_is_accepted() {
    for provider in PROVIDERS {
        let authenticated = provider.channel().accept(&provider.request());
        assert!(authenticated.secret_validated(), "{provider:?}");
    }
}

#[test]
fn githubs_documented_example_verifies() {
    // docs.github.com, "Validating webhook deliveries", "Testing the webhook payload validation"
    let channel = Channel::with_key(r#"{"auth": "github"}"#, "It's a Secret to Everybody");
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    channel.accept(&Sent::post(&[("x-hub-signature-256", signature)], b"Hello, World!"));
}

#[test]
fn slacks_documented_example_verifies() {
    // docs.slack.dev, "Verifying requests from Slack"
    let channel = Channel::with_key(
        r#"{"hmac_secret_name": "CHAT_webhook_secret"}"#,
        "8f742231b10e8888abcd99yyyzzz85a5",
    );
    let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
        channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
        response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&\
        trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    let headers = [("x-slack-request-timestamp", "1531420618"), ("x-slack-signature", signature)];
    channel.accept(&Sent { now_ms: 1_531_420_618_999, ..Sent::post(&headers, body) });
}

#[test]
fn twilios_documented_example_verifies() {
    // The example of twilio.com/docs/usage/security and of Twilio's libraries.
    let channel = Channel::with_key(r#"{"auth": "twilio"}"#, "12345");
    let body =
        b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212";
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-twilio-signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
    ];
    let url = "https://mycompany.com/myapp.php?foo=1&bar=2".to_owned();
    channel.accept(&Sent { public_url: url, query: "foo=1&bar=2".to_owned(), ..Sent::post(&headers, body) });
}

#[test]
fn the_example_of_the_standard_webhooks_libraries_verifies_under_both_names() {
    let channel = Channel::with_key(r#"{"auth": "standard-webhooks"}"#, STANDARD_KEY);
    for names in [
        ["webhook-id", "webhook-timestamp", "webhook-signature"],
        ["svix-id", "svix-timestamp", "svix-signature"],
    ] {
        let values =
            ["msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="];
        let headers = [(names[0], values[0]), (names[1], values[1]), (names[2], values[2])];
        let sent = Sent::post(&headers, br#"{"test": 2432232314}"#);
        channel.accept(&Sent { now_ms: 1_614_265_330_000, ..sent });
    }
}

#[test]
fn the_digests_are_those_of_the_hmac_standards() {
    // RFC 2202 and RFC 4231, test case 2: key "Jefe".
    let cases = [
        ("sha1", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        ("sha256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            "sha512",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
             9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ];
    for (algorithm, signature) in cases {
        let webhook =
            format!(r#"{{"auth": {{"scheme": "hmac", "algorithm": "{algorithm}", "header": "X-Sig"}}}}"#);
        let channel = Channel::with_key(&webhook, "Jefe");
        channel.accept(&Sent::post(&[("x-sig", signature)], b"what do ya want for nothing?"));
    }
}

#[test]
fn while_a_key_is_rotated_one_good_signature_among_others_is_enough() {
    let stripe = Provider::Stripe;
    let mut sent = stripe.request();
    let other = "85ddc730f5fdcc16fc247886c01ba52019c73dde324a4f48c36f4a4b50969774";
    let good = "4ea585a72548ac57503ac7643dc2ba10aa0c8b0e9e629d263c87a0c30ae92fc3";
    for header in [
        format!("t=1700000000,v1={other},v1={good}"),
        format!("t=1700000000,v1={good},v1={other}"),
        format!("v1={good},v0={other},t=1700000000"),
        format!("t=1700000000,v1=nonsense,v1={good}"),
    ] {
        sent.set("stripe-signature", &header);
        stripe.channel().accept(&sent);
    }

    let standard = Provider::Standard;
    let mut sent = standard.request();
    let other = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    for header in [
        format!("{other} {STANDARD}"),
        format!("{STANDARD} {other}"),
        format!(
            "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg== {STANDARD}"
        ),
    ] {
        sent.set("webhook-signature", &header);
        standard.channel().accept(&sent);
    }
}

#[test]
fn twilios_url_may_be_signed_with_its_default_port() {
    let channel = Provider::Twilio.channel();
    let mut sent = Provider::Twilio.request();
    sent.set("x-twilio-signature", "BPbXXJzjYZmzsPqkDlsYriUv5jc=");
    channel.accept(&sent);
    sent.public_url = "https://bot.example:443/webhook/x?a=1".to_owned();
    channel.accept(&sent);
}

#[test]
fn a_twilio_request_without_a_body_signs_its_url_alone() {
    let mut sent = Provider::Twilio.request();
    sent.set("x-twilio-signature", "Qkm2HJg2l5td8wbldfFUNxorz7s=");
    sent.body.clear();
    Provider::Twilio.channel().accept(&sent);
    sent.method = "GET".to_owned();
    sent.remove("content-type");
    Provider::Twilio.channel().accept(&sent);
}

#[test]
fn a_clock_that_drifts_is_tolerated_as_far_as_configured() {
    let channel = Channel::with_key(r#"{"auth": "slack", "tolerance_secs": 7200}"#, KEY);
    let sent = |now_ms| Sent { now_ms, ..Provider::Slack.request() };
    for (drift_secs, accepted) in [(7200_i64, true), (7201, false), (-7200, true), (-7201, false)] {
        let verdict = channel.verify(&sent((1_700_000_000 + drift_secs) as u64 * 1000));
        assert_eq!(matches!(verdict, Verdict::Authentic(_)), accepted, "{drift_secs}: {verdict:?}");
    }
}

#[test]
fn every_declared_scheme_must_pass() {
    let channel = Channel::new(
        r#"{"hmac_secret_name": "signing", "secret_header": "X-Gateway", "secret_name": "gateway"}"#,
        &[("signing", KEY.as_bytes()), ("gateway", b"let me pass")],
    );
    let mut sent = Provider::Slack.request();
    assert_eq!(channel.verify(&sent), Verdict::Refused(AuthFailure::HeaderMissing("x-gateway".to_owned())));
    sent.add("x-gateway", "let me pass");
    channel.accept(&sent);
    sent.set("x-slack-signature", "v0=00");
    assert_eq!(channel.verify(&sent), Verdict::Refused(AuthFailure::SignatureMismatch));
}

#[test]
fn the_signature_on_post_and_the_token_on_get_stand_beside_each_other() {
    let channel = Provider::Challenge.channel();
    channel.accept(&Provider::Github.request());
    let authenticated = channel.accept(&Provider::Challenge.request());
    let query = visible_query(&Provider::Challenge.request().query, authenticated.hidden());
    assert_eq!(
        query, r#"{"hub.mode":"subscribe","hub.challenge":"1158201444"}"#,
        "the guest responds, without the token"
    );
    assert_eq!(authenticated.replay_key(), None);
}

#[test]
fn without_authentication_nothing_is_validated_or_hidden() {
    let channel = Channel::new(r#"{"auth": "none"}"#, &[]);
    let authenticated = channel.accept(&Provider::Secret.request());
    assert!(!authenticated.secret_validated());
    assert_eq!(authenticated.replay_key(), None);
    assert!(authenticated.hidden().headers().is_empty());
}

#[test]
fn a_replay_is_recognised_however_its_header_is_dressed_up() {
    let key = |provider: Provider, change: fn(&mut Sent)| {
        let mut sent = provider.request();
        change(&mut sent);
        provider.channel().accept(&sent).replay_key().map(|replay| replay.key)
    };
    let unchanged: fn(&mut Sent) = |_| {};
    type Dressing = (Provider, fn(&mut Sent));
    let dressings: [Dressing; 4] = [
        (Provider::Stripe, |sent| sent.header("stripe-signature").push_str(",v1=00,v0=1")),
        (Provider::Standard, |sent| sent.header("webhook-signature").push_str(" v1,AAAA")),
        (Provider::Standard, |sent| sent.now_ms += 1000),
        (Provider::Discord, |sent| sent.add("x-request-id", "another")),
    ];
    for (provider, dressing) in dressings {
        let first = key(provider, unchanged);
        assert!(first.is_some());
        assert_eq!(first, key(provider, dressing), "{provider:?}");
    }
}

#[test]
fn a_body_that_is_sent_again_is_a_replay_where_the_capability_file_asks_for_it() {
    let key = |webhook: &str, provider: Provider, change: fn(&mut Sent)| {
        let mut sent = provider.request();
        change(&mut sent);
        Channel::with_key(webhook, KEY).accept(&sent).replay_key().expect("a window").key
    };
    let github = r#"{"auth": "github", "tolerance_secs": 300}"#;
    let twilio = r#"{"auth": "twilio", "tolerance_secs": 300}"#;
    let another_id: fn(&mut Sent) = |sent| sent.add("x-github-delivery", "another");
    let with_port: fn(&mut Sent) =
        |sent| sent.public_url = "https://bot.example:443/webhook/x?a=1".to_owned();
    assert_eq!(key(github, Provider::Github, |_| {}), key(github, Provider::Github, another_id));
    assert_eq!(key(twilio, Provider::Twilio, |_| {}), key(twilio, Provider::Twilio, with_port));
}

/// A second message with the same body used to be taken for a replay of the first, and got a response without running:
/// where nothing but the body is signed, nothing tells the two apart.
#[test]
fn only_schemes_that_sign_a_time_or_an_id_have_a_replay_key() {
    for provider in PROVIDERS {
        let replay = provider.channel().accept(&provider.request()).replay_key();
        let expected = matches!(
            provider,
            Provider::Slack | Provider::Stripe | Provider::Standard | Provider::Discord | Provider::Generic
        );
        assert_eq!(replay.is_some(), expected, "{provider:?}");
        assert!(replay.is_none_or(|replay| replay.expires_ms == NOW_MS + 300_000), "{provider:?}");
    }
}

#[test]
fn a_signed_id_has_a_window_by_default_and_a_body_alone_has_none() {
    let replay = |template: &str, id: &str, rest: &str| {
        let webhook =
            format!(r#"{{"auth": {{"scheme": "hmac", "header": "x-sig", "template": "{template}"{rest}}}}}"#);
        let channel = Channel::with_key(&webhook, KEY);
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, KEY.as_bytes());
        let signed = [id.as_bytes(), BODY].concat();
        let tag = ring::hmac::sign(&key, &signed);
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        channel.accept(&Sent::post(&[("x-sig", &hex), ("x-id", "m1")], BODY)).replay_key()
    };
    assert!(replay("{id}.{body}", "m1.", r#", "id_header": "x-id""#).is_some());
    assert_eq!(replay("{body}", "", ""), None);
    assert!(replay("{body}", "", r#", "tolerance_secs": 1"#).is_some());
}

#[test]
fn each_scheme_brings_its_providers_id() {
    let key = |webhook: &str, header: Option<(&str, &str)>, body: &str| {
        let plan = AuthPlan::from(&capability(webhook), "chat").expect("a plan");
        let headers: Vec<_> =
            header.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        plan.dedupe().key(&headers, body.as_bytes()).is_some()
    };
    let feishu = r#"{"schema": "2.0", "header": {"event_id": "a"}}"#;
    let telegram = r#"{"secret_header": "X-Telegram-Bot-Api-Secret-Token"}"#;
    for (webhook, header, body, found) in [
        (r#"{"auth": "slack"}"#, None, r#"{"event_id": "Ev1"}"#, true),
        (r#"{"hmac_secret_name": "slack_signing_secret"}"#, None, r#"{"event_id": "Ev1"}"#, true),
        (r#"{"auth": "github"}"#, Some(("x-github-delivery", "a")), "{}", true),
        (
            r#"{"auth": "whatsapp"}"#,
            None,
            r#"{"entry":[{"changes":[{"value":{"messages":[{"id":"a"}]}}]}]}"#,
            true,
        ),
        (r#"{"auth": "line"}"#, None, r#"{"events": [{"webhookEventId": "a"}]}"#, true),
        (r#"{"auth": "stripe"}"#, None, r#"{"id": "evt_1"}"#, true),
        (r#"{"auth": "standard-webhooks"}"#, Some(("webhook-id", "a")), "{}", true),
        (r#"{"auth": "twilio"}"#, Some(("i-twilio-idempotency-token", "a")), "", true),
        (r#"{"auth": "discord"}"#, None, r#"{"id": "1"}"#, true),
        (r#"{"signature_key_secret_name": "discord_public_key"}"#, None, r#"{"id": "1"}"#, true),
        (telegram, None, r#"{"update_id": 7}"#, true),
        (r#"{"auth": "none"}"#, None, feishu, true),
        // Another place is declared, or the scheme is nobody's.
        (r#"{"auth": "slack", "dedupe": {"header": "x-id"}}"#, None, r#"{"event_id": "Ev1"}"#, false),
        (r#"{"auth": "secret"}"#, None, r#"{"update_id": 7, "event_id": "Ev1", "id": "1"}"#, false),
        (r#"{"auth": {"scheme": "hmac", "header": "x-sig"}}"#, Some(("x-github-delivery", "a")), "{}", false),
        (
            r#"{"auth": {"scheme": "ed25519", "header": "x-sig", "template": "{body}"}}"#,
            None,
            r#"{"id": "1"}"#,
            false,
        ),
        (r#"{"auth": "slack"}"#, None, feishu, false),
    ] {
        assert_eq!(key(webhook, header, body), found, "{webhook} {body}");
    }
}

#[test]
fn only_an_encrypted_body_is_another_one_for_the_guest() {
    // `{"type":"url_verification","challenge":"c"}`, encrypted by OpenSSL for the key "test key".
    let encrypted =
        "AAECAwQFBgcICQoLDA0OD0nVfUSk5vZiFpeYmJps9c6K/CQWbys36yh60ze6mzSk+EhUXCPoLT3eKcfLarJJ3g==";
    let sent = Sent::post(&[], format!(r#"{{"encrypt":"{encrypted}"}}"#).as_bytes());
    let plan = AuthPlan::from(&capability(r#"{"auth": "feishu"}"#), "chat").expect("a plan");
    let verdict = verify(&plan, &sent.request(), &|_| Ok(Some(Zeroizing::new(b"test key".to_vec()))));
    let Verdict::Authentic(authenticated) = verdict else { panic!("{verdict:?}") };
    let text = br#"{"type":"url_verification","challenge":"c"}"#;
    assert_eq!(authenticated.body(), Some(text.as_slice()));
    assert_eq!(Provider::Github.channel().accept(&Provider::Github.request()).body(), None);
}

#[test]
fn the_guest_sees_signatures_but_no_header_or_parameter_with_the_secret() {
    let mut sent = Provider::Secret.request();
    sent.add("x-copy", &format!("Bearer {KEY}"));
    sent.add("X-Other", "fine");
    sent.query = "token=correct+horse%20battery+staple&b=1".to_owned();
    let authenticated = Provider::Secret.channel().accept(&sent);
    let headers = visible_headers(&sent.headers, authenticated.hidden());
    assert_eq!(headers, r#"{"x-other":"fine"}"#);
    assert_eq!(visible_query(&sent.query, authenticated.hidden()), r#"{"b":"1"}"#);

    let github = Provider::Github.channel().accept(&Provider::Github.request());
    let headers = visible_headers(&Provider::Github.request().headers, github.hidden());
    assert_eq!(headers, format!(r#"{{"x-hub-signature-256":"{GITHUB}"}}"#));
}
