//! Whatever bytes arrive, nothing panics; and whatever single bit of an authentic request changes, it is refused.
//! `PROPTEST_CASES=200000` makes a long run of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::capability::webhook::WebhookDedupe;
use crate::webhook::dedupe::DedupeRule;
use crate::webhook::request::Hidden;
use crate::webhook::template::Template;
use crate::webhook::{
    AttemptLimits, DedupeKey, DedupeMemory, FailedAttempts, Known, Requirement, TrustedProxies,
    visible_headers, visible_query,
};

/// Names that some scheme looks at.
const NAMES: [&str; 14] = [
    "x-webhook-secret",
    "authorization",
    "x-slack-signature",
    "x-slack-request-timestamp",
    "x-hub-signature-256",
    "stripe-signature",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "svix-signature",
    "x-line-signature",
    "x-twilio-signature",
    "x-signature-ed25519",
    "content-type",
];

/// Values that come close to a good one, and any others.
fn header_value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("1700000000".to_owned()),
        "(v0=|sha256=|S:)?[0-9a-f]{0,130}",
        "(v1,[A-Za-z0-9+/=]{0,50} ?){0,4}",
        "(t=[0-9]{0,12},?|v1=[0-9a-f]{0,70},?){0,5}",
        ".{0,40}",
    ]
}

proptest! {
    #[test]
    fn invented_requests_never_panic_and_never_pass(
        headers in prop::collection::vec((prop::sample::select(&NAMES[..]), header_value()), 0..8),
        query in ".{0,60}",
        url in ".{0,60}",
        body in prop::collection::vec(any::<u8>(), 0..64),
        get in any::<bool>(),
        now_ms in any::<u64>(),
    ) {
        let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let method = if get { "GET" } else { "POST" }.to_owned();
        let sent = Sent { method, query, public_url: url, headers, body, now_ms };
        for provider in PROVIDERS {
            prop_assert!(!matches!(provider.channel().verify(&sent), Verdict::Authentic(_)), "{provider:?}");
        }
    }

    #[test]
    fn a_flipped_bit_never_verifies(choice in any::<prop::sample::Index>(), bit in any::<prop::sample::Index>()) {
        // A form may be spelt in several ways, and a challenge's other parameters are free.
        let strict = PROVIDERS.into_iter().filter(|p| !matches!(p, Provider::Twilio | Provider::Challenge));
        let strict: Vec<_> = strict.collect();
        let provider = *choice.get(&strict);
        let mut sent = provider.request();
        let signed_body = !matches!(provider, Provider::Secret | Provider::Bearer);
        let body_bits = if signed_body { sent.body.len() * 8 } else { 0 };
        let header_bits: usize = sent.headers.iter().map(|(_, value)| value.len() * 7).sum();
        let at = bit.index(body_bits + header_bits);
        if at < body_bits {
            sent.body[at / 8] ^= 1 << (at % 8);
        } else {
            flip_header_bit(&mut sent, at - body_bits);
        }
        let verdict = provider.channel().verify(&sent);
        prop_assert!(matches!(verdict, Verdict::Refused(_)), "{provider:?} {verdict:?} {sent:?}");
    }

    #[test]
    fn a_changed_field_of_a_form_never_verifies(name in "[A-Za-z]{1,8}", value in ".{0,20}") {
        let mut sent = Provider::Twilio.request();
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("From", "+1").append_pair("Body", "hé y+").append_pair(&name, &value);
        sent.body = form.finish().into_bytes();
        let repeats = [("From", "+1"), ("Body", "hé y+")].contains(&(name.as_str(), value.as_str()));
        let passes = matches!(Provider::Twilio.channel().verify(&sent), Verdict::Authentic(_));
        prop_assert_eq!(passes, repeats);
    }

    #[test]
    fn templates_never_panic_and_always_sign_the_body(text in "([{}a-z.:]|\\{body\\}|\\{id\\}|\\{timestamp\\}|\\{url\\}){0,12}") {
        if Template::parse(&text).is_ok() {
            prop_assert_eq!(text.matches("{body}").count(), 1);
        }
    }

    #[test]
    fn closed_unless_opened(
        fields in prop::sample::subsequence(vec![
            r#""secret_header": "X-T""#, r#""secret_name": "s""#, r#""signature_key_secret_name": "p""#,
            r#""hmac_secret_name": "k""#, r#""managed_by_host": false"#, r#""methods": ["GET", "POST"]"#,
            r#""verify_token_param": "t""#, r#""tolerance_secs": 60"#, r#""give_secret_to_guest": true"#,
            r#""max_body_bytes": 10"#, r#""content_types": []"#, r#""dedupe": {"header": "X-Id"}"#,
        ], 0..=12),
        auth in prop::sample::select(vec![
            "", "secret", "slack", "github", "whatsapp", "stripe", "standard-webhooks", "line", "twilio", "discord",
            "verify_token",
        ]),
    ) {
        let auth = (!auth.is_empty()).then(|| format!(r#""auth": "{auth}""#));
        let all: Vec<&str> = fields.iter().copied().chain(auth.as_deref()).collect();
        let capability = capability(&format!("{{{}}}", all.join(", ")));
        let Ok(plan) = AuthPlan::from(&capability, "chat") else { return Ok(()) };
        prop_assert_ne!(plan.requirement(), Requirement::Open);
        prop_assert_eq!(plan.requirement() == Requirement::Checked, !plan.secret_names().is_empty());
        for sent in PROVIDERS.map(Provider::request) {
            let verdict = verify(&plan, &sent.request(), &|_| Ok(None));
            prop_assert!(!matches!(verdict, Verdict::Authentic(_)), "{all:?}");
        }
    }

    #[test]
    fn forwarded_headers_of_a_client_never_change_its_address(prefix in ".{0,60}", lines in prop::collection::vec(".{0,30}", 0..3)) {
        let trusted = TrustedProxies::parse(&["10.0.0.0/8"]).unwrap();
        let client: IpAddr = "203.0.113.9".parse().unwrap();
        let last = format!("{prefix}, {client}, 10.1.2.3");
        let lines = lines.iter().map(String::as_str).chain([last.as_str()]).collect::<Vec<_>>();
        prop_assert_eq!(trusted.client("10.0.0.1".parse().unwrap(), lines.into_iter()), client);
    }

    #[test]
    fn proxy_entries_never_panic(text in "[0-9a-f:./]{0,24}|.{0,24}") {
        let _ = TrustedProxies::parse(&[&text]);
        let trusted = TrustedProxies::parse(&["10.0.0.1"]).unwrap();
        trusted.client("10.0.0.1".parse().unwrap(), [text.as_str()].into_iter());
    }

    #[test]
    fn headers_for_the_guest_are_an_object_of_strings_without_hidden_headers(
        pairs in prop::collection::vec(("[a-cA-C]{1,2}|.{0,6}", ".{0,12}"), 0..8),
    ) {
        let mut hidden_by = Provider::Secret.request();
        hidden_by.headers.extend(pairs.iter().cloned());
        let hidden = match Provider::Secret.channel().verify(&hidden_by) {
            Verdict::Authentic(authenticated) => authenticated.hidden().clone(),
            _ => Hidden::default(),
        };
        let headers: HashMap<String, String> = serde_json::from_str(&visible_headers(&hidden_by.headers, &hidden)).unwrap();
        prop_assert!(!headers.values().any(|value| value.contains(KEY)));
        prop_assert!(headers.keys().all(|name| *name == name.to_ascii_lowercase()));
        let query = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        let _: HashMap<String, String> = serde_json::from_str(&visible_query(&query, &hidden)).unwrap();
    }

    #[test]
    fn ids_in_bodies_agree_with_a_full_parser(
        body in json(),
        pointer in "(/(a|b|0|1|~0|~1|)){0,3}",
    ) {
        let source = WebhookDedupe::JsonPointer(pointer.clone());
        let expected = body.pointer(&pointer).and_then(|value| match value {
            serde_json::Value::String(text) if !text.is_empty() => Some(text.clone()),
            serde_json::Value::Number(number) if !number.is_f64() => Some(number.to_string()),
            _ => None,
        });
        let key = DedupeRule::of(Some(&source), &[], false).key(&[], body.to_string().as_bytes());
        prop_assert_eq!(key, expected.map(|id| DedupeKey::derive("dedupe", id.as_bytes())));
    }

    #[test]
    fn ids_in_arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..64), pointer in ".{0,8}") {
        let _ = DedupeRule::of(Some(&WebhookDedupe::JsonPointer(pointer)), &[], false).key(&[], &body);
    }

    #[test]
    fn the_dedupe_memory_stays_bounded_and_runs_nothing_twice(
        steps in prop::collection::vec((0..4_u8, 0..6_u32, 0..20_u64), 0..80),
    ) {
        let mut memory = DedupeMemory::new(3);
        let mut running = Vec::new();
        let mut now = 0;
        for (step, number, time) in steps {
            let key = DedupeKey::derive("test", &number.to_le_bytes());
            now += time / 4;
            match step {
                0 | 1 => {
                    if memory.begin(key, now + time, now) == Known::New {
                        prop_assert!(!running.contains(&key));
                        running.push(key);
                    }
                }
                2 => {
                    memory.done(key, number);
                    running.retain(|other| *other != key);
                }
                _ => {
                    memory.forget(key);
                    running.retain(|other| *other != key);
                }
            }
            prop_assert!(memory.len() <= 3);
            prop_assert!(running.len() <= memory.len());
        }
    }

    #[test]
    fn the_memory_of_failures_stays_bounded(addresses in prop::collection::vec((any::<u8>(), 0..5_u64), 0..100)) {
        let limits = AttemptLimits { burst: 2, refill: Duration::from_secs(2), max_sources: 4 };
        let channel: crate::channel::ChannelName = "a".parse().unwrap();
        let mut attempts = FailedAttempts::new(limits);
        let mut now = Instant::now();
        for (last, secs) in addresses {
            now += Duration::from_secs(secs);
            let address = IpAddr::from([192, 0, 2, last]);
            attempts.failed(&channel, address, now);
            prop_assert!(attempts.len() <= 4);
            prop_assert!(attempts.blocked(&channel, address, now).is_none_or(|wait| wait <= limits.refill));
        }
    }
}

/// Flips one of the seven bits of an ASCII header value.
fn flip_header_bit(sent: &mut Sent, mut at: usize) {
    for (_, value) in &mut sent.headers {
        if at < value.len() * 7 {
            let mut bytes = std::mem::take(value).into_bytes();
            bytes[at / 7] ^= 1 << (at % 7);
            *value = String::from_utf8(bytes).expect("a bit below the eighth keeps ASCII");
            return;
        }
        at -= value.len() * 7;
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<u64>().prop_map(serde_json::Value::from),
        (-1e6..1e6).prop_map(serde_json::Value::from),
        ".{0,6}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            prop::collection::hash_map("[ab01~/]?", inner, 0..4)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}
