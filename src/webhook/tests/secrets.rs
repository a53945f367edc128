//! Stored secrets that are missing or unusable: 503, the same for every request.

use super::*;
use crate::webhook::SecretProblem;

const MISSING: &str = "Missing";
const MALFORMED: &str = "Malformed";

#[test]
fn an_unusable_secret_is_reported_by_name_and_authenticates_no_request() {
    let small_order = "0100000000000000000000000000000000000000000000000000000000000000";
    let not_canonical = "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
    let order_eight = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa";
    let cases: [(&str, Provider, Option<&str>, &str); 22] = [
        ("not stored", Provider::Secret, None, MISSING),
        ("empty", Provider::Secret, Some(""), MISSING),
        ("blank", Provider::Secret, Some(" \n\t"), MISSING),
        ("bearer, empty", Provider::Bearer, Some(""), MISSING),
        ("slack, not stored", Provider::Slack, None, MISSING),
        ("slack, empty", Provider::Slack, Some(""), MISSING),
        ("github, empty", Provider::Github, Some(""), MISSING),
        ("line, empty", Provider::Line, Some(""), MISSING),
        ("stripe, empty", Provider::Stripe, Some(""), MISSING),
        ("twilio, empty", Provider::Twilio, Some(""), MISSING),
        ("generic, blank", Provider::Generic, Some("\r\n"), MISSING),
        ("standard, prefix alone", Provider::Standard, Some("whsec_"), MALFORMED),
        ("standard, no base64", Provider::Standard, Some("whsec_not base64!"), MALFORMED),
        ("standard, url-safe base64", Provider::Standard, Some("whsec_AB-_AB-_"), MALFORMED),
        ("standard, a public key", Provider::Standard, Some("whpk_AAAAAAAA"), MALFORMED),
        ("discord, not stored", Provider::Discord, None, MISSING),
        ("discord, too short", Provider::Discord, Some("03a107bf"), MALFORMED),
        ("discord, too long", Provider::Discord, Some(&concat_twice(ED25519_KEY)), MALFORMED),
        ("discord, no hexadecimal", Provider::Discord, Some(&ED25519_KEY.replace('a', "x")), MALFORMED),
        ("discord, the identity", Provider::Discord, Some(small_order), MALFORMED),
        ("discord, order eight with sign", Provider::Discord, Some(order_eight), MALFORMED),
        ("discord, not canonical", Provider::Discord, Some(not_canonical), MALFORMED),
    ];
    for (name, provider, stored, problem) in cases {
        let mut channel = provider.channel();
        channel.secrets.clear();
        channel
            .secrets
            .extend(stored.map(|value| ("chat_webhook_secret".to_owned(), value.as_bytes().to_vec())));
        let good = provider.request();
        let bad = Sent { headers: Vec::new(), ..good.clone() };
        for sent in [good, bad] {
            let Verdict::SecretUnusable { secret_name, problem: found } = channel.verify(&sent) else {
                panic!("{name}: {:?}", channel.verify(&sent));
            };
            assert_eq!(secret_name, "chat_webhook_secret", "{name}");
            assert!(format!("{found:?}").starts_with(problem), "{name}: {found:?}");
        }
    }
}

fn concat_twice(text: &str) -> String {
    format!("{text}{text}")
}

#[test]
fn an_empty_secret_does_not_match_an_empty_header() {
    let channel = Channel::with_key(r#"{"auth": "secret"}"#, "");
    let sent = Sent::post(&[("x-webhook-secret", "")], BODY);
    assert!(matches!(channel.verify(&sent), Verdict::SecretUnusable { .. }));
}

#[test]
fn a_signature_with_the_empty_key_does_not_pass_for_a_missing_one() {
    // HMAC-SHA256 of the body with the empty key.
    let signature = "sha256=7544100253e1278775ab3efcc67732d6e78c7b4fc4042a49a53dff29408c1a9c";
    let sent = Sent::post(&[("x-hub-signature-256", signature)], BODY);
    let channel = Channel::with_key(r#"{"auth": "github"}"#, "");
    assert!(matches!(channel.verify(&sent), Verdict::SecretUnusable { .. }));
}

#[test]
fn a_challenge_needs_both_of_its_secrets() {
    for missing in ["meta_token", "meta_app_secret"] {
        let mut channel = Provider::Challenge.channel();
        channel.secrets.retain(|(name, _)| name != missing);
        for sent in [Provider::Challenge.request(), Provider::Github.request()] {
            let expected =
                Verdict::SecretUnusable { secret_name: missing.to_owned(), problem: SecretProblem::Missing };
            assert_eq!(channel.verify(&sent), expected);
        }
    }
}

#[test]
fn health_lists_every_secret_that_is_missing_or_unusable() {
    let problems = |channel: &Channel| {
        channel.plan.secret_problems(&|name| {
            let found = channel.secrets.iter().find(|(key, _)| key == name);
            Ok(found.map(|(_, value)| Zeroizing::new(value.clone())))
        })
    };
    let mut channel = Provider::Challenge.channel();
    assert_eq!(problems(&channel), []);
    channel.secrets.clear();
    assert_eq!(
        problems(&channel),
        [
            ("meta_app_secret".to_owned(), SecretProblem::Missing),
            ("meta_token".to_owned(), SecretProblem::Missing)
        ]
    );
    let broken = Channel::with_key(r#"{"auth": "discord"}"#, "not a key");
    assert!(
        matches!(problems(&broken).as_slice(), [(name, SecretProblem::Malformed(_))] if name == "chat_webhook_secret")
    );
}

#[test]
fn no_debug_text_or_refusal_shows_a_secret() {
    for provider in PROVIDERS {
        let channel = provider.channel();
        let mut sent = provider.request();
        let verdict = channel.verify(&sent);
        sent.headers.clear();
        let texts = format!("{:?} {verdict:?} {:?}", channel.plan, channel.verify(&sent));
        for (_, value) in &channel.secrets {
            assert!(!texts.contains(std::str::from_utf8(value).unwrap()), "{provider:?}");
        }
    }
}

#[test]
fn the_previous_secret_is_accepted_while_it_is_stored() {
    for provider in PROVIDERS {
        let sent = provider.request();
        let channel = provider.channel();
        let valid = |value: &[u8]| -> Vec<u8> {
            // Another value of the same form.
            match provider {
                Provider::Discord => {
                    b"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a".to_vec()
                }
                Provider::Standard => b"whsec_AAECAwQFBgcICQoLDA0ODw==".to_vec(),
                _ => [value, b" changed"].concat(),
            }
        };
        let mut rotated = channel.clone();
        for (name, value) in &mut rotated.secrets {
            *value = valid(value);
            assert!(!name.ends_with("_previous"));
        }
        assert!(
            matches!(rotated.verify(&sent), Verdict::Refused(_)),
            "{provider:?} without the previous one"
        );
        let previous =
            channel.secrets.iter().map(|(name, value)| (format!("{name}_previous"), value.clone()));
        rotated.secrets.extend(previous);
        rotated.accept(&sent);
        // Without a current one nothing is accepted: a rotation that was begun by deleting is an error to be seen.
        rotated.secrets.retain(|(name, _)| name.ends_with("_previous"));
        assert!(matches!(rotated.verify(&sent), Verdict::SecretUnusable { .. }), "{provider:?}");
    }
}

#[test]
fn the_guest_does_not_see_the_previous_secret_either() {
    let mut channel = Provider::Secret.channel();
    channel.secrets = vec![
        ("chat_webhook_secret".to_owned(), b"the new secret".to_vec()),
        ("chat_webhook_secret_previous".to_owned(), KEY.as_bytes().to_vec()),
    ];
    let mut sent = Provider::Secret.request();
    sent.add("x-copy", KEY);
    sent.add("x-new", "the new secret");
    let authenticated = channel.accept(&sent);
    assert_eq!(super::super::visible_headers(&sent.headers, authenticated.hidden()), "{}");
}
