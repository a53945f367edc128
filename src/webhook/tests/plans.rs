//! What capability files mean: published ones as they are, new ones, and contradictions.

use super::*;
use crate::webhook::plan::NoRoute;
use crate::webhook::{Requirement, WebhookConfigError};

fn plan(webhook: &str) -> Result<AuthPlan, WebhookConfigError> {
    AuthPlan::from(&capability(webhook), "chat")
}

#[test]
fn published_fields_keep_their_meaning() {
    let meta = r#""verify_token_param": "hub.verify_token", "methods": ["GET", "POST"]"#;
    let cases: [(&str, String, &[&str]); 14] = [
        ("the default name", r#"{"secret_header": "X-T"}"#.into(), &["chat_webhook_secret"]),
        ("a named secret", r#"{"secret_name": "A_Secret"}"#.into(), &["a_secret"]),
        (
            "telegram",
            r#"{"secret_header": "X-Telegram-Bot-Api-Secret-Token", "secret_name": "tg"}"#.into(),
            &["tg"],
        ),
        ("discord", r#"{"signature_key_secret_name": "discord_public_key"}"#.into(), &["discord_public_key"]),
        ("slack", r#"{"hmac_secret_name": "slack_signing_secret"}"#.into(), &["slack_signing_secret"]),
        (
            "slack, with a secret to read about",
            r#"{"hmac_secret_name": "k", "secret_name": "s"}"#.into(),
            &["k"],
        ),
        (
            "slack and a gateway's secret",
            r#"{"hmac_secret_name": "k", "secret_name": "s", "secret_header": "X-G"}"#.into(),
            &["k", "s"],
        ),
        (
            "signature header named as secret header",
            r#"{"hmac_secret_name": "k", "secret_header": "X-Slack-Signature"}"#.into(),
            &["k"],
        ),
        (
            "two signatures",
            r#"{"hmac_secret_name": "k", "signature_key_secret_name": "p"}"#.into(),
            &["p", "k"],
        ),
        ("token alone", format!("{{{meta}}}"), &["chat_webhook_secret"]),
        ("token and its name", format!(r#"{{"secret_name": "t", {meta}}}"#), &["t"]),
        (
            "token and signature",
            format!(r#"{{"secret_name": "t", "hmac_secret_name": "k", {meta}}}"#),
            &["k", "t"],
        ),
        (
            "meta's header as secret header",
            format!(r#"{{"secret_header": "X-Hub-Signature-256", "secret_name": "t", {meta}}}"#),
            &["t"],
        ),
        (
            "meta with everything",
            format!(
                r#"{{"secret_header": "X-Hub-Signature-256", "secret_name": "t", "hmac_secret_name": "k", {meta}}}"#
            ),
            &["k", "t"],
        ),
    ];
    for (name, webhook, secrets) in cases {
        let plan = plan(&webhook).unwrap();
        assert_eq!(plan.requirement(), Requirement::Checked, "{name}");
        assert!(plan.validates_secret(), "{name}");
        assert_eq!(plan.secret_names(), secrets, "{name}");
    }
}

#[test]
fn a_published_hmac_beside_metas_challenge_is_metas() {
    let meta = Channel::new(
        r#"{"hmac_secret_name": "key", "secret_name": "token", "verify_token_param": "hub.verify_token"}"#,
        &[("key", KEY.as_bytes()), ("token", b"t0ken")],
    );
    meta.accept(&Provider::Github.request());
    meta.accept(&Sent::get("hub.verify_token=t0ken"));
    let slack = Channel::new(
        r#"{"hmac_secret_name": "key", "secret_name": "token", "verify_token_param": "token"}"#,
        &[("key", KEY.as_bytes()), ("token", b"t0ken")],
    );
    slack.accept(&Provider::Slack.request());
    slack.accept(&Sent::get("token=t0ken"));
}

#[test]
fn no_route_without_a_scheme() {
    let cases = [
        ("{}", NoRoute::NothingDeclared),
        (r#"{"methods": ["GET", "POST"]}"#, NoRoute::NothingDeclared),
        (r#"{"managed_by_host": true, "content_types": ["application/json"]}"#, NoRoute::NothingDeclared),
        (r#"{"managed_by_host": false}"#, NoRoute::LeftToGuest),
        (r#"{"managed_by_host": false, "secret_header": "X-T", "secret_name": "s"}"#, NoRoute::LeftToGuest),
    ];
    for (webhook, reason) in cases {
        let plan = plan(webhook).unwrap();
        assert_eq!(plan.requirement(), Requirement::NoRoute(reason), "{webhook}");
        assert!(!plan.validates_secret());
        assert!(plan.secret_names().is_empty());
        assert!(reason.to_string().contains("\"none\""), "the reason says what to write");
    }
}

#[test]
fn open_only_when_it_is_written_out() {
    for webhook in [
        r#"{"auth": "none"}"#,
        r#"{"auth": "none", "managed_by_host": false}"#,
        r#"{"auth": {"preset": "none"}}"#,
        r#"{"auth": "none", "secret_name": "s", "give_secret_to_guest": true}"#,
        // `check` advises "none" for a published file like these, and it was refused beside what the guest checks itself.
        r#"{"auth": "none", "managed_by_host": false, "secret_name": "s"}"#,
        r#"{"auth": "none", "managed_by_host": false, "secret_header": "X-Token", "hmac_secret_name": "k"}"#,
    ] {
        let plan = plan(webhook).unwrap();
        assert_eq!(plan.requirement(), Requirement::Open, "{webhook}");
        assert!(!plan.validates_secret(), "an endpoint that requires a secret cannot be open");
    }
}

#[test]
fn every_scheme_names_its_secret() {
    let cases: [(&str, &[&str]); 16] = [
        (r#"{"auth": "slack"}"#, &["chat_webhook_secret"]),
        (r#"{"auth": "slack", "hmac_secret_name": "k"}"#, &["k"]),
        (r#"{"auth": "slack", "secret_name": "K"}"#, &["k"]),
        (r#"{"auth": "slack", "secret_name": "K", "hmac_secret_name": "k"}"#, &["k"]),
        (r#"{"auth": {"preset": "slack", "secret_name": "k"}, "secret_name": "k"}"#, &["k"]),
        (r#"{"auth": {"scheme": "hmac", "preset": "stripe", "secret_name": "k"}}"#, &["k"]),
        (r#"{"auth": "discord", "signature_key_secret_name": "p"}"#, &["p"]),
        (r#"{"auth": "secret", "secret_header": "X-A", "secret_name": "s"}"#, &["s"]),
        (
            r#"{"auth": {"scheme": "secret", "header": "x-a", "prefix": "T "}, "secret_header": "X-A"}"#,
            &["chat_webhook_secret"],
        ),
        (r#"{"auth": {"scheme": "hmac", "header": "X-Sig"}}"#, &["chat_webhook_secret"]),
        (
            r#"{"auth": {"scheme": "ed25519", "header": "X-Sig", "template": "{body}"}}"#,
            &["chat_webhook_secret"],
        ),
        (
            r#"{"auth": {"scheme": "ed25519", "header": "X-Sig", "timestamp_header": "X-T"}}"#,
            &["chat_webhook_secret"],
        ),
        (
            r#"{"auth": "whatsapp", "verify_token_param": "hub.verify_token", "secret_name": "t", "hmac_secret_name": "k"}"#,
            &["k", "t"],
        ),
        (
            r#"{"auth": "whatsapp", "verify_token_param": "hub.verify_token", "secret_name": "t"}"#,
            &["chat_webhook_secret", "t"],
        ),
        (r#"{"auth": "verify_token", "methods": ["GET"], "secret_name": "t"}"#, &["t"]),
        (
            r#"{"auth": "verify_token", "methods": ["GET", "POST"], "secret_name": "t", "hmac_secret_name": "k"}"#,
            &["k", "t"],
        ),
    ];
    for (webhook, secrets) in cases {
        let plan = plan(webhook).unwrap_or_else(|error| panic!("{webhook}: {error}"));
        assert_eq!(plan.requirement(), Requirement::Checked, "{webhook}");
        assert_eq!(plan.secret_names(), secrets, "{webhook}");
    }
}

#[test]
fn contradicting_fields_are_refused_with_a_reason() {
    let cases = [
        (r#"{"auth": "none", "secret_header": "X-T"}"#, "contradicts `secret_header`"),
        (r#"{"auth": "none", "secret_name": "s"}"#, "contradicts `secret_name`"),
        (r#"{"auth": "none", "hmac_secret_name": "s"}"#, "contradicts `hmac_secret_name`"),
        (r#"{"auth": "none", "signature_key_secret_name": "s"}"#, "contradicts `signature_key_secret_name`"),
        (r#"{"auth": "none", "verify_token_param": "t"}"#, "contradicts `verify_token_param`"),
        (r#"{"auth": "none", "tolerance_secs": 5}"#, "contradicts `tolerance_secs`"),
        (r#"{"auth": "slack", "managed_by_host": false}"#, "contradicts `managed_by_host`"),
        (
            r#"{"auth": "verify_token", "methods": ["GET"], "managed_by_host": false}"#,
            "contradicts `managed_by_host`",
        ),
        (r#"{"auth": "slack", "secret_header": "X-T"}"#, "contradicts `secret_header`"),
        (r#"{"auth": "slack", "signature_key_secret_name": "s"}"#, "contradicts `signature_key_secret_name`"),
        (r#"{"auth": "discord", "hmac_secret_name": "s"}"#, "contradicts `hmac_secret_name`"),
        (r#"{"auth": "secret", "hmac_secret_name": "s"}"#, "contradicts `hmac_secret_name`"),
        (r#"{"auth": "secret", "tolerance_secs": 5}"#, "contradicts `tolerance_secs`"),
        (
            r#"{"auth": {"preset": "slack", "tolerance_secs": 5}, "tolerance_secs": 5}"#,
            "contradicts `tolerance_secs`",
        ),
        (
            r#"{"auth": {"scheme": "secret", "header": "X-A"}, "secret_header": "X-B"}"#,
            "contradicts `secret_header`",
        ),
        (r#"{"auth": {"scheme": "hmac"}}"#, "webhook.auth.header is missing"),
        (r#"{"auth": {"scheme": "ed25519"}}"#, "webhook.auth.header is missing"),
        (r#"{"auth": {"scheme": "ed25519", "header": "X"}}"#, "webhook.auth.timestamp_header is missing"),
        (
            r#"{"auth": {"scheme": "hmac", "header": "X", "template": "{timestamp}.{body}"}}"#,
            "webhook.auth.timestamp_header is missing",
        ),
        (
            r#"{"auth": {"scheme": "hmac", "header": "X", "timestamp_header": "T"}}"#,
            "webhook.auth.timestamp_header has no effect, because the template has no {timestamp}",
        ),
        // It was "template is missing: a timestamp or id that it leaves out is not signed".
        (
            r#"{"auth": {"preset": "github", "timestamp_header": "X-T"}}"#,
            "webhook.auth.timestamp_header has no effect, because the template has no {timestamp}",
        ),
        (
            r#"{"auth": {"scheme": "hmac", "header": "X", "id_header": "I"}}"#,
            "webhook.auth.id_header has no effect, because the template has no {id}",
        ),
        (
            r#"{"auth": {"scheme": "hmac", "header": "X", "template": "{id}.{body}"}}"#,
            "webhook.auth.id_header is missing",
        ),
        (r#"{"auth": {"scheme": "hmac", "header": "X", "template": "{url}"}}"#, "leaves out {body}"),
        (
            r#"{"auth": {"scheme": "hmac", "header": "X", "template": "{nonce}{body}"}}"#,
            "`{nonce}` is unknown",
        ),
        (r#"{"auth": {"scheme": "hmac", "header": "X Sig"}}"#, "`X Sig` in webhook.auth.header"),
        (r#"{"auth": {"scheme": "hmac", "header": ""}}"#, "in webhook.auth.header is not the name"),
        (r#"{"secret_header": "X:T"}"#, "`X:T` in webhook.secret_header"),
        (r#"{"secret_name": " "}"#, "webhook.secret_name is empty"),
        (r#"{"hmac_secret_name": ""}"#, "webhook.hmac_secret_name is empty"),
        (r#"{"verify_token_param": ""}"#, "webhook.verify_token_param is empty"),
        (
            r#"{"auth": "slack", "secret_name": "a", "hmac_secret_name": "b"}"#,
            "two secrets for one key, `b` and `a`",
        ),
        (
            r#"{"auth": {"preset": "line", "secret_name": "a"}, "secret_name": "b"}"#,
            "two secrets for one key",
        ),
        (r#"{"auth": "whatsapp", "verify_token_param": "hub.verify_token"}"#, "both the verify token"),
        (
            r#"{"auth": "whatsapp", "verify_token_param": "hub.verify_token", "secret_name": "a", "hmac_secret_name": "A"}"#,
            "both the verify token",
        ),
        (
            r#"{"auth": "verify_token", "methods": ["GET", "POST"], "secret_name": "a", "hmac_secret_name": "a"}"#,
            "both the verify token",
        ),
        (r#"{"auth": "verify_token"}"#, "authenticates GET only, but webhook.methods has POST"),
        (r#"{"auth": "verify_token", "methods": []}"#, "authenticates GET only"),
        (
            r#"{"auth": "verify_token", "methods": ["GET", "PUT"]}"#,
            "authenticates GET only, but webhook.methods has PUT",
        ),
        (r#"{"methods": ["post"]}"#, "webhook.methods has `post`"),
        (r#"{"methods": ["POST "]}"#, "webhook.methods has `POST `"),
        (r#"{"auth": "slack", "tolerance_secs": 0}"#, "it must be 1 to 604800"),
        (r#"{"auth": "slack", "tolerance_secs": 604801}"#, "webhook.tolerance_secs is 604801"),
        (r#"{"auth": "github", "tolerance_secs": 604801}"#, "it must be 0 to 604800"),
        (
            r#"{"auth": {"preset": "stripe", "tolerance_secs": 18446744073709551615}}"#,
            "it must be 1 to 604800",
        ),
        (
            r#"{"auth": {"preset": "github", "template": "{timestamp}{body}", "timestamp_header": "T", "tolerance_secs": 0}}"#,
            "it must be 1 to",
        ),
        (r#"{"max_body_bytes": 0}"#, "webhook.max_body_bytes is 0"),
        (r#"{"dedupe": {"json_pointer": "update_id"}}"#, "webhook.dedupe.json_pointer `update_id`"),
        (r#"{"dedupe": {"header": "X Id"}}"#, "`X Id` in webhook.dedupe.header"),
        (r#"{"content_types": ["json"]}"#, "`json` in webhook.content_types"),
    ];
    for (webhook, part) in cases {
        let error = plan(webhook).unwrap_err().to_string();
        assert!(error.contains(part), "{webhook}: {error}");
        assert!(error.contains("channel chat: "), "{error}");
    }
}

#[test]
fn a_tolerance_holds_at_its_limit() {
    for webhook in [
        r#"{"auth": "slack", "tolerance_secs": 604800}"#,
        r#"{"auth": "slack", "tolerance_secs": 1}"#,
        r#"{"auth": "github", "tolerance_secs": 0}"#,
        r#"{"hmac_secret_name": "k", "tolerance_secs": 604800}"#,
    ] {
        assert!(plan(webhook).is_ok(), "{webhook}");
    }
}

#[test]
fn a_preset_can_be_bent_to_a_provider_that_copied_it() {
    // Slack's format under other names, as another provider may have taken it over.
    let channel = Channel::with_key(
        r#"{"auth": {"preset": "slack", "header": "X-Copy-Signature", "timestamp_header": "X-Copy-Time"}}"#,
        KEY,
    );
    channel.accept(&Sent::post(&[("x-copy-time", "1700000000"), ("x-copy-signature", SLACK)], BODY));
    // GitHub's old header, SHA-1 because it is named.
    let channel = Channel::with_key(
        r#"{"auth": {"preset": "github", "header": "X-Hub-Signature", "algorithm": "sha1", "prefix": "sha1="}}"#,
        KEY,
    );
    let sent = Sent::post(&[("x-hub-signature", "sha1=5431080846da039dd0731e09f34447ace5bacdbc")], BODY);
    channel.accept(&sent);
}

#[test]
fn the_guest_gets_a_secret_only_where_it_must_register_it() {
    let cases = [
        (r#"{"secret_header": "X-Telegram-Bot-Api-Secret-Token"}"#, Some("chat_webhook_secret")),
        (r#"{"secret_header": "X-TELEGRAM-bot-api-secret-token", "secret_name": "TG"}"#, Some("tg")),
        (r#"{"secret_header": "X-Telegram-Bot-Api-Secret-Token", "give_secret_to_guest": false}"#, None),
        (
            r#"{"auth": {"scheme": "secret", "header": "X-Telegram-Bot-Api-Secret-Token"}}"#,
            Some("chat_webhook_secret"),
        ),
        (r#"{"secret_header": "X-Other"}"#, None),
        (r#"{"secret_name": "s"}"#, None),
        (r"{}", None),
        (r#"{"secret_header": "X-Other", "secret_name": "s", "give_secret_to_guest": true}"#, Some("s")),
        (r#"{"auth": "slack"}"#, None),
        (r#"{"auth": "none", "secret_name": "s", "give_secret_to_guest": true}"#, Some("s")),
        (r#"{"auth": "github", "hmac_secret_name": "k", "give_secret_to_guest": true}"#, Some("k")),
        (r#"{"managed_by_host": false, "secret_header": "X-Telegram-Bot-Api-Secret-Token"}"#, None),
    ];
    for (webhook, name) in cases {
        assert_eq!(plan(webhook).unwrap().guest_secret_name(), name, "{webhook}");
    }
}
