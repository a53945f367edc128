//! Requests that must be refused, each one change away from a request that is accepted, and each for its own reason.

use super::*;
use crate::webhook::AuthFailure;

/// What is done to the request, to whose, the change, and how the refusal's debug text starts.
type Row = (&'static str, Provider, fn(&mut Sent), &'static str);

fn refuse_all(rows: &[Row]) {
    for (name, provider, change, reason) in rows {
        let mut sent = provider.request();
        provider.channel().accept(&sent);
        change(&mut sent);
        match provider.channel().verify(&sent) {
            Verdict::Refused(refusal) => {
                let text = format!("{refusal:?}");
                assert!(text.starts_with(reason), "{provider:?}, {name}: {text}, not {reason}");
            }
            other => panic!("{provider:?}, {name}: {other:?}"),
        }
    }
}

#[test]
fn shared_secrets() {
    use Provider::{Bearer, Secret};
    refuse_all(&[
        ("no header", Secret, |sent| sent.headers.clear(), "HeaderMissing"),
        ("empty", Secret, |sent| sent.set("x-webhook-secret", ""), "SecretMismatch"),
        (
            "truncated",
            Secret,
            |sent| {
                sent.header("x-webhook-secret").pop();
            },
            "SecretMismatch",
        ),
        ("one more character", Secret, |sent| sent.header("x-webhook-secret").push('e'), "SecretMismatch"),
        ("trailing blank", Secret, |sent| sent.header("x-webhook-secret").push(' '), "SecretMismatch"),
        ("wrong case", Secret, |sent| sent.set("x-webhook-secret", &KEY.to_uppercase()), "SecretMismatch"),
        ("quoted", Secret, |sent| sent.set("x-webhook-secret", &format!("\"{KEY}\"")), "SecretMismatch"),
        ("NUL at the end", Secret, |sent| sent.header("x-webhook-secret").push('\0'), "SecretMismatch"),
        (
            "look-alike letter",
            Secret,
            |sent| sent.set("x-webhook-secret", &KEY.replace('o', "о")),
            "SecretMismatch",
        ),
        ("huge", Secret, |sent| sent.set("x-webhook-secret", &KEY.repeat(40_000)), "SecretMismatch"),
        ("repeated, equal", Secret, |sent| sent.repeat("x-webhook-secret"), "HeaderRepeated"),
        ("repeated, other case", Secret, |sent| sent.add("X-Webhook-Secret", "guess"), "HeaderRepeated"),
        (
            "two values joined",
            Secret,
            |sent| sent.set("x-webhook-secret", &format!("guess, {KEY}")),
            "SecretMismatch",
        ),
        (
            "in the query",
            Secret,
            |sent| {
                sent.headers.clear();
                sent.query = "secret=correct+horse+battery+staple".to_owned();
            },
            "HeaderMissing",
        ),
        (
            "query named as the header",
            Secret,
            |sent| {
                sent.headers.clear();
                sent.query = "x-webhook-secret=correct+horse+battery+staple".to_owned();
            },
            "HeaderMissing",
        ),
        ("in another header", Secret, |sent| sent.headers[0].0 = "x-secret".to_owned(), "HeaderMissing"),
        (
            "name with underscores",
            Secret,
            |sent| sent.headers[0].0 = "x_webhook_secret".to_owned(),
            "HeaderMissing",
        ),
        ("without its prefix", Bearer, |sent| sent.set("authorization", KEY), "SecretMismatch"),
        (
            "prefix in another case",
            Bearer,
            |sent| sent.set("authorization", &format!("bearer {KEY}")),
            "SecretMismatch",
        ),
        (
            "another prefix",
            Bearer,
            |sent| sent.set("authorization", &format!("Basic {KEY}")),
            "SecretMismatch",
        ),
        ("two blanks", Bearer, |sent| sent.set("authorization", &format!("Bearer  {KEY}")), "SecretMismatch"),
        ("prefix alone", Bearer, |sent| sent.set("authorization", "Bearer "), "SecretMismatch"),
    ]);
}

#[test]
fn signatures_of_slack() {
    use Provider::Slack;
    const SIGNATURE: &str = "x-slack-signature";
    const TIME: &str = "x-slack-request-timestamp";
    refuse_all(&[
        ("no signature", Slack, |sent| sent.remove(SIGNATURE), "HeaderMissing"),
        ("no timestamp", Slack, |sent| sent.remove(TIME), "HeaderMissing"),
        ("empty signature", Slack, |sent| sent.set(SIGNATURE, ""), "SignatureMalformed"),
        ("prefix alone", Slack, |sent| sent.set(SIGNATURE, "v0="), "SignatureMismatch"),
        (
            "prefix in capitals",
            Slack,
            |sent| sent.set(SIGNATURE, &SLACK.replace("v0", "V0")),
            "SignatureMalformed",
        ),
        (
            "another version",
            Slack,
            |sent| sent.set(SIGNATURE, &SLACK.replace("v0", "v1")),
            "SignatureMalformed",
        ),
        ("no prefix", Slack, |sent| sent.set(SIGNATURE, &SLACK[3..]), "SignatureMalformed"),
        (
            "capitals",
            Slack,
            |sent| sent.set(SIGNATURE, &SLACK.to_uppercase().replace("V0", "v0")),
            "SignatureMalformed",
        ),
        (
            "truncated by a byte",
            Slack,
            |sent| sent.set(SIGNATURE, &SLACK[..SLACK.len() - 2]),
            "SignatureMismatch",
        ),
        (
            "truncated by a digit",
            Slack,
            |sent| sent.set(SIGNATURE, &SLACK[..SLACK.len() - 1]),
            "SignatureMalformed",
        ),
        ("one byte more", Slack, |sent| sent.header(SIGNATURE).push_str("00"), "SignatureMismatch"),
        ("blank in front", Slack, |sent| sent.set(SIGNATURE, &format!(" {SLACK}")), "SignatureMalformed"),
        ("blank behind", Slack, |sent| sent.header(SIGNATURE).push(' '), "SignatureMalformed"),
        (
            "blank after the prefix",
            Slack,
            |sent| sent.set(SIGNATURE, &SLACK.replace('=', "= ")),
            "SignatureMalformed",
        ),
        (
            "non-ASCII digits",
            Slack,
            |sent| sent.set(SIGNATURE, &SLACK.replace('4', "４")),
            "SignatureMalformed",
        ),
        ("non-ASCII at an odd place", Slack, |sent| sent.set(SIGNATURE, "v0=aé"), "SignatureMalformed"),
        (
            "all zeros",
            Slack,
            |sent| sent.set(SIGNATURE, &format!("v0={}", "0".repeat(64))),
            "SignatureMismatch",
        ),
        (
            "huge",
            Slack,
            |sent| sent.set(SIGNATURE, &format!("v0={}", "a".repeat(1 << 20))),
            "SignatureMalformed",
        ),
        ("two joined", Slack, |sent| sent.set(SIGNATURE, &format!("{SLACK},{SLACK}")), "SignatureMalformed"),
        ("repeated, equal", Slack, |sent| sent.repeat(SIGNATURE), "HeaderRepeated"),
        ("repeated, other case", Slack, |sent| sent.add("X-Slack-Signature", "v0=00"), "HeaderRepeated"),
        (
            "base64 of the signature",
            Slack,
            |sent| sent.set(SIGNATURE, "v0=qRQtQ0kJ2SVsU8Wjotvpxw=="),
            "SignatureMalformed",
        ),
        ("timestamp repeated", Slack, |sent| sent.repeat(TIME), "HeaderRepeated"),
        ("timestamp changed by a second", Slack, |sent| sent.set(TIME, "1700000001"), "SignatureMismatch"),
        ("timestamp with a leading zero", Slack, |sent| sent.set(TIME, "01700000000"), "SignatureMismatch"),
        ("timestamp with a sign", Slack, |sent| sent.set(TIME, "+1700000000"), "TimestampMalformed"),
        ("timestamp in milliseconds", Slack, |sent| sent.set(TIME, "1700000000000"), "TimestampMalformed"),
        ("timestamp with a fraction", Slack, |sent| sent.set(TIME, "1700000000.0"), "TimestampMalformed"),
        ("timestamp empty", Slack, |sent| sent.set(TIME, ""), "TimestampMalformed"),
        ("timestamp of 40 digits", Slack, |sent| sent.set(TIME, &"9".repeat(40)), "TimestampMalformed"),
        (
            "stale by a millisecond",
            Slack,
            |sent| sent.now_ms += 300_001,
            "TimestampOutsideTolerance { skew_secs: -300",
        ),
        (
            "from the future",
            Slack,
            |sent| sent.now_ms -= 300_001,
            "TimestampOutsideTolerance { skew_secs: 300",
        ),
        ("the clock at zero", Slack, |sent| sent.now_ms = 0, "TimestampOutsideTolerance"),
        ("the clock at its end", Slack, |sent| sent.now_ms = u64::MAX, "TimestampOutsideTolerance"),
        ("body changed", Slack, |sent| sent.body[9] ^= 1, "SignatureMismatch"),
        ("body empty", Slack, |sent| sent.body.clear(), "SignatureMismatch"),
        ("body longer by a line end", Slack, |sent| sent.body.push(b'\n'), "SignatureMismatch"),
        ("a colon moved into the body", Slack, |sent| sent.body.insert(0, b':'), "SignatureMismatch"),
    ]);
}

#[test]
fn signatures_of_the_body_alone() {
    use Provider::{Github, Line};
    const HUB: &str = "x-hub-signature-256";
    const SIGNATURE: &str = "x-line-signature";
    refuse_all(&[
        ("no header", Github, |sent| sent.headers.clear(), "HeaderMissing"),
        (
            "the old SHA-1 header alone",
            Github,
            |sent| {
                sent.headers = vec![(
                    "x-hub-signature".to_owned(),
                    "sha1=5431080846da039dd0731e09f34447ace5bacdbc".to_owned(),
                )]
            },
            "HeaderMissing",
        ),
        (
            "SHA-1 under the new name",
            Github,
            |sent| sent.set(HUB, "sha1=5431080846da039dd0731e09f34447ace5bacdbc"),
            "SignatureMalformed",
        ),
        (
            "SHA-1 said to be SHA-256",
            Github,
            |sent| sent.set(HUB, "sha256=5431080846da039dd0731e09f34447ace5bacdbc"),
            "SignatureMismatch",
        ),
        (
            "prefix in capitals",
            Github,
            |sent| sent.set(HUB, &GITHUB.replace("sha", "SHA")),
            "SignatureMalformed",
        ),
        ("prefix twice", Github, |sent| sent.set(HUB, &format!("sha256={GITHUB}")), "SignatureMalformed"),
        ("base64", Github, |sent| sent.set(HUB, &format!("sha256={LINE}")), "SignatureMalformed"),
        ("another body", Github, |sent| sent.body = b"{}".to_vec(), "SignatureMismatch"),
        (
            "body in another encoding",
            Github,
            |sent| sent.body.splice(0..0, *b"\xef\xbb\xbf").for_each(drop),
            "SignatureMismatch",
        ),
        ("repeated", Github, |sent| sent.repeat(HUB), "HeaderRepeated"),
        ("no header", Line, |sent| sent.headers.clear(), "HeaderMissing"),
        ("no padding", Line, |sent| sent.set(SIGNATURE, LINE.trim_end_matches('=')), "SignatureMalformed"),
        ("too much padding", Line, |sent| sent.header(SIGNATURE).push('='), "SignatureMalformed"),
        (
            "url-safe alphabet",
            Line,
            |sent| sent.set(SIGNATURE, &LINE.replace('+', "-").replace('/', "_")),
            "SignatureMalformed",
        ),
        (
            "non-zero trailing bits",
            Line,
            |sent| sent.set(SIGNATURE, &LINE.replace("8g=", "8h=")),
            "SignatureMalformed",
        ),
        ("line end inside", Line, |sent| sent.header(SIGNATURE).insert(10, '\n'), "SignatureMalformed"),
        ("hexadecimal", Line, |sent| sent.set(SIGNATURE, &GITHUB[7..]), "SignatureMismatch"),
        ("swapped case", Line, |sent| sent.set(SIGNATURE, &LINE.to_lowercase()), "Signature"),
        (
            "SHA-512",
            Line,
            |sent| {
                sent.set(SIGNATURE, "aLzJUchJpe6JIxnJCmE5FgXabio0uZqlWGT/4qpMAc9PhjWOQaGrHKe2Hj3rHZpYjG3phhvWTcLSvhEKZc6d4Q==")
            },
            "SignatureMismatch",
        ),
    ]);
}

#[test]
fn signatures_of_stripe() {
    use Provider::Stripe;
    const SIGNATURE: &str = "stripe-signature";
    refuse_all(&[
        ("no header", Stripe, |sent| sent.headers.clear(), "HeaderMissing"),
        ("empty", Stripe, |sent| sent.set(SIGNATURE, ""), "SignatureMalformed"),
        (
            "no time",
            Stripe,
            |sent| sent.set(SIGNATURE, &STRIPE.replace("t=1700000000,", "")),
            "SignatureMalformed",
        ),
        ("two times", Stripe, |sent| sent.set(SIGNATURE, &format!("t=1,{STRIPE}")), "SignatureMalformed"),
        ("no signature", Stripe, |sent| sent.set(SIGNATURE, "t=1700000000"), "SignatureMalformed"),
        (
            "only the version of test events",
            Stripe,
            |sent| sent.set(SIGNATURE, &STRIPE.replace("v1", "v0")),
            "SignatureMalformed",
        ),
        (
            "a version in capitals",
            Stripe,
            |sent| sent.set(SIGNATURE, &STRIPE.replace("v1", "V1")),
            "SignatureMalformed",
        ),
        (
            "a longer version",
            Stripe,
            |sent| sent.set(SIGNATURE, &STRIPE.replace("v1", "v10")),
            "SignatureMalformed",
        ),
        (
            "blank after the comma",
            Stripe,
            |sent| sent.set(SIGNATURE, &STRIPE.replace(',', ", ")),
            "SignatureMalformed",
        ),
        ("an item without `=`", Stripe, |sent| sent.header(SIGNATURE).push_str(",v1"), "SignatureMalformed"),
        ("comma at the end", Stripe, |sent| sent.header(SIGNATURE).push(','), "SignatureMalformed"),
        (
            "capitals",
            Stripe,
            |sent| sent.set(SIGNATURE, &STRIPE.replace("=4ea5", "=4EA5")),
            "SignatureMismatch",
        ),
        ("truncated", Stripe, |sent| sent.set(SIGNATURE, &STRIPE[..STRIPE.len() - 2]), "SignatureMismatch"),
        (
            "ten thousand bad ones",
            Stripe,
            |sent| sent.set(SIGNATURE, &format!("t=1700000000{}", ",v1=00".repeat(10_000))),
            "SignatureMismatch",
        ),
        (
            "another time",
            Stripe,
            |sent| sent.set(SIGNATURE, &STRIPE.replace("t=1700000000", "t=1700000001")),
            "SignatureMismatch",
        ),
        ("stale", Stripe, |sent| sent.now_ms += 301_000, "TimestampOutsideTolerance"),
        (
            "time with a sign",
            Stripe,
            |sent| sent.set(SIGNATURE, &STRIPE.replace("t=", "t=+")),
            "TimestampMalformed",
        ),
        ("header repeated", Stripe, |sent| sent.repeat(SIGNATURE), "HeaderRepeated"),
        (
            "a digit moved from body to time",
            Stripe,
            |sent| {
                sent.body.insert(0, b'0');
            },
            "SignatureMismatch",
        ),
    ]);
}

#[test]
fn signatures_of_standard_webhooks() {
    use Provider::Standard;
    const ID: &str = "webhook-id";
    const TIME: &str = "webhook-timestamp";
    const SIGNATURE: &str = "webhook-signature";
    refuse_all(&[
        ("no header at all", Standard, |sent| sent.headers.clear(), "HeaderMissing(\"svix-id\")"),
        ("no id", Standard, |sent| sent.remove(ID), "HeaderMissing"),
        ("no timestamp", Standard, |sent| sent.remove(TIME), "HeaderMissing"),
        ("no signature", Standard, |sent| sent.remove(SIGNATURE), "HeaderMissing"),
        (
            "names mixed",
            Standard,
            |sent| {
                sent.remove(ID);
                sent.add("svix-id", "msg_1");
            },
            "HeaderMissing",
        ),
        ("another id", Standard, |sent| sent.set(ID, "msg_2"), "SignatureMismatch"),
        ("empty id", Standard, |sent| sent.set(ID, ""), "IdMalformed"),
        ("id with a blank", Standard, |sent| sent.set(ID, "msg 1"), "IdMalformed"),
        ("non-ASCII id", Standard, |sent| sent.set(ID, "msg_é"), "IdMalformed"),
        ("huge id", Standard, |sent| sent.set(ID, &"m".repeat(257)), "IdMalformed"),
        ("full stop moved into the id", Standard, |sent| sent.set(ID, "msg_1.1700000000"), "IdMalformed"),
        ("id repeated", Standard, |sent| sent.repeat(ID), "HeaderRepeated"),
        ("signature repeated", Standard, |sent| sent.repeat(SIGNATURE), "HeaderRepeated"),
        ("timestamp repeated", Standard, |sent| sent.repeat(TIME), "HeaderRepeated"),
        ("stale", Standard, |sent| sent.now_ms += 300_001, "TimestampOutsideTolerance"),
        ("from the future", Standard, |sent| sent.now_ms -= 300_001, "TimestampOutsideTolerance"),
        (
            "asymmetric version",
            Standard,
            |sent| sent.set(SIGNATURE, &STANDARD.replace("v1,", "v1a,")),
            "SignatureMismatch",
        ),
        ("no version", Standard, |sent| sent.set(SIGNATURE, &STANDARD[3..]), "SignatureMismatch"),
        (
            "version in capitals",
            Standard,
            |sent| sent.set(SIGNATURE, &STANDARD.replace('v', "V")),
            "SignatureMismatch",
        ),
        (
            "several joined by commas",
            Standard,
            |sent| sent.set(SIGNATURE, &format!("v1,AAAA,{STANDARD}")),
            "SignatureMismatch",
        ),
        (
            "blank after the comma",
            Standard,
            |sent| sent.set(SIGNATURE, &STANDARD.replace(',', ", ")),
            "SignatureMismatch",
        ),
        (
            "truncated",
            Standard,
            |sent| sent.set(SIGNATURE, &STANDARD[..STANDARD.len() - 4]),
            "SignatureMismatch",
        ),
        (
            "no padding",
            Standard,
            |sent| sent.set(SIGNATURE, STANDARD.trim_end_matches('=')),
            "SignatureMismatch",
        ),
        ("empty", Standard, |sent| sent.set(SIGNATURE, ""), "SignatureMismatch"),
        (
            "ten thousand bad ones",
            Standard,
            |sent| sent.set(SIGNATURE, &"v1,AAAA ".repeat(10_000)),
            "SignatureMismatch",
        ),
        ("body changed", Standard, |sent| sent.body[3] ^= 0x20, "SignatureMismatch"),
    ]);
}

#[test]
fn signatures_of_twilio() {
    use Provider::{Twilio, TwilioJson};
    const SIGNATURE: &str = "x-twilio-signature";
    refuse_all(&[
        ("no header", Twilio, |sent| sent.remove(SIGNATURE), "HeaderMissing"),
        ("repeated", Twilio, |sent| sent.repeat(SIGNATURE), "HeaderRepeated"),
        ("hexadecimal", Twilio, |sent| sent.set(SIGNATURE, &GITHUB[7..47]), "SignatureMismatch"),
        ("another URL", Twilio, |sent| sent.public_url.push_str("&b=2"), "SignatureMismatch"),
        (
            "another host",
            Twilio,
            |sent| sent.public_url = sent.public_url.replace("bot", "evil"),
            "SignatureMismatch",
        ),
        (
            "http instead of https",
            Twilio,
            |sent| sent.public_url = sent.public_url.replace("https", "http"),
            "SignatureMismatch",
        ),
        (
            "a field changed",
            Twilio,
            |sent| sent.body = b"From=%2B2&Body=h%C3%A9+y%2B".to_vec(),
            "SignatureMismatch",
        ),
        ("a field added", Twilio, |sent| sent.body.extend(b"&Zed=1"), "SignatureMismatch"),
        ("a field removed", Twilio, |sent| sent.body = b"From=%2B1".to_vec(), "SignatureMismatch"),
        (
            "a field repeated with another value",
            Twilio,
            |sent| sent.body.extend(b"&From=%2B2"),
            "SignatureMismatch",
        ),
        ("no body", Twilio, |sent| sent.body.clear(), "SignatureMismatch"),
        (
            "a body of another type",
            Twilio,
            |sent| sent.set("content-type", "application/json"),
            "BodyNotSigned",
        ),
        ("a body without a type", Twilio, |sent| sent.remove("content-type"), "BodyNotSigned"),
        ("two types", Twilio, |sent| sent.add("content-type", "application/json"), "HeaderRepeated"),
        (
            "a type that looks alike",
            Twilio,
            |sent| sent.set("content-type", "application/x-www-form-urlencodedx"),
            "BodyNotSigned",
        ),
        ("JSON changed", TwilioJson, |sent| sent.body[3] ^= 1, "SignatureMismatch"),
        ("JSON removed", TwilioJson, |sent| sent.body.clear(), "SignatureMismatch"),
        (
            "the hash changed with the body",
            TwilioJson,
            |sent| {
                sent.body = b"x".to_vec();
                let hash = "bodySHA256=2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
                sent.query = hash.to_owned();
                sent.public_url = format!("https://mycompany.com/myapp.php?{hash}");
            },
            "SignatureMismatch",
        ),
        ("two hashes", TwilioJson, |sent| sent.query.push_str("&bodySHA256=00"), "SignatureMalformed"),
        (
            "hash in capitals",
            TwilioJson,
            |sent| sent.query = sent.query.replace("0a1f", "0A1F"),
            "SignatureMalformed",
        ),
        ("empty hash", TwilioJson, |sent| sent.query = "bodySHA256=".to_owned(), "SignatureMismatch"),
        (
            "hash under another name",
            TwilioJson,
            |sent| sent.query = sent.query.replace("body", "Body"),
            "BodyNotSigned",
        ),
    ]);
}

#[test]
fn signatures_of_discord() {
    use Provider::Discord;
    const SIGNATURE: &str = "x-signature-ed25519";
    const TIME: &str = "x-signature-timestamp";
    refuse_all(&[
        ("no signature", Discord, |sent| sent.remove(SIGNATURE), "HeaderMissing"),
        ("no timestamp", Discord, |sent| sent.remove(TIME), "HeaderMissing"),
        ("signature repeated", Discord, |sent| sent.repeat(SIGNATURE), "HeaderRepeated"),
        ("timestamp repeated", Discord, |sent| sent.repeat(TIME), "HeaderRepeated"),
        ("capitals", Discord, |sent| sent.set(SIGNATURE, &ED25519.to_uppercase()), "SignatureMalformed"),
        ("truncated", Discord, |sent| sent.set(SIGNATURE, &ED25519[..126]), "SignatureMismatch"),
        ("half of it", Discord, |sent| sent.set(SIGNATURE, &ED25519[..64]), "SignatureMismatch"),
        ("empty", Discord, |sent| sent.set(SIGNATURE, ""), "SignatureMismatch"),
        ("one byte more", Discord, |sent| sent.header(SIGNATURE).push_str("00"), "SignatureMismatch"),
        ("all zeros", Discord, |sent| sent.set(SIGNATURE, &"0".repeat(128)), "SignatureMismatch"),
        (
            "S of the order added: the same signature spelt differently",
            Discord,
            |sent| {
                sent.set(
                    SIGNATURE,
                    "0169dd4c76b42cca14131c0a043c826b41f3f10c9f479bd22ad648793c6d09a7\
             f86ef8e1abdb8355f19a4f787f28fc8ece9a87e5bbbd44e81e76bbc7a72be411",
                )
            },
            "SignatureMismatch",
        ),
        (
            "R of small order, made with the private key",
            Discord,
            |sent| {
                sent.set(
                    SIGNATURE,
                    "0100000000000000000000000000000000000000000000000000000000000000\
             b91f32c53ee9eb8e39a12c871598ad1679d052c50ad6bee7deb9e361da6c3503",
                )
            },
            "SignatureMismatch",
        ),
        ("timestamp changed", Discord, |sent| sent.set(TIME, "1700000001"), "SignatureMismatch"),
        (
            "a digit moved from time to body",
            Discord,
            |sent| {
                sent.set(TIME, "170000000");
                sent.body.insert(0, b'0');
            },
            "TimestampOutsideTolerance",
        ),
        ("stale", Discord, |sent| sent.now_ms += 300_001, "TimestampOutsideTolerance"),
        ("from the future", Discord, |sent| sent.now_ms -= 300_001, "TimestampOutsideTolerance"),
        ("body changed", Discord, |sent| sent.body[5] ^= 2, "SignatureMismatch"),
    ]);
}

#[test]
fn signatures_over_a_template() {
    use Provider::Generic;
    refuse_all(&[
        ("no id", Generic, |sent| sent.remove("x-id"), "HeaderMissing"),
        ("id changed", Generic, |sent| sent.set("x-id", "msg_2"), "SignatureMismatch"),
        ("id that swallows the time", Generic, |sent| sent.set("x-id", "msg_1:1700000000"), "IdMalformed"),
        ("URL changed", Generic, |sent| sent.public_url.push('&'), "SignatureMismatch"),
        (
            "lower case",
            Generic,
            |sent| {
                let lower = sent.header("x-sig").to_lowercase().replace("s:", "S:");
                sent.set("x-sig", &lower);
            },
            "SignatureMalformed",
        ),
        ("half of it", Generic, |sent| sent.header("x-sig").truncate(2 + 64), "SignatureMismatch"),
        (
            "another digest",
            Generic,
            |sent| sent.set("x-sig", &format!("S:{}", GITHUB[7..].to_uppercase())),
            "SignatureMismatch",
        ),
        ("time repeated", Generic, |sent| sent.repeat("x-time"), "HeaderRepeated"),
    ]);
}

#[test]
fn challenges() {
    use Provider::Challenge;
    refuse_all(&[
        ("wrong token", Challenge, |sent| sent.query = "hub.verify_token=guess".to_owned(), "TokenMismatch"),
        ("empty token", Challenge, |sent| sent.query = "hub.verify_token=".to_owned(), "TokenMismatch"),
        (
            "parameter without a value",
            Challenge,
            |sent| sent.query = "hub.verify_token".to_owned(),
            "TokenMismatch",
        ),
        (
            "token in another case",
            Challenge,
            |sent| sent.query = sent.query.replace("tell", "TELL"),
            "TokenMismatch",
        ),
        (
            "token with a blank behind",
            Challenge,
            |sent| sent.query = sent.query.replace("one&", "one%20&"),
            "TokenMismatch",
        ),
        (
            "token twice",
            Challenge,
            |sent| sent.query.push_str("&hub.verify_token=tell%20me+%26%20no%20one"),
            "TokenRepeated",
        ),
        (
            "wrong token first",
            Challenge,
            |sent| sent.query.insert_str(0, "hub.verify_token=guess&"),
            "TokenRepeated",
        ),
        (
            "wrong token escaped and first",
            Challenge,
            |sent| sent.query.insert_str(0, "hub%2Everify_token=guess&"),
            "TokenRepeated",
        ),
        (
            "no token",
            Challenge,
            |sent| sent.query = "hub.challenge=1".to_owned(),
            "HeaderMissing(\"x-hub-signature-256\")",
        ),
        (
            "name in another case",
            Challenge,
            |sent| sent.query = sent.query.replace("verify", "Verify"),
            "HeaderMissing",
        ),
        ("a body beside a good token", Challenge, |sent| sent.body = BODY.to_vec(), "ChallengeWithBody"),
        ("a good token on POST", Challenge, |sent| sent.method = "POST".to_owned(), "HeaderMissing"),
        ("a good token on HEAD", Challenge, |sent| sent.method = "HEAD".to_owned(), "HeaderMissing"),
        ("method in lower case", Challenge, |sent| sent.method = "get".to_owned(), "HeaderMissing"),
        (
            "the token in a header",
            Challenge,
            |sent| {
                sent.query.clear();
                sent.add("hub.verify_token", "tell me & no one");
            },
            "HeaderMissing",
        ),
        (
            "the signing key as token",
            Challenge,
            |sent| sent.query = "hub.verify_token=correct+horse+battery+staple".to_owned(),
            "TokenMismatch",
        ),
        (
            "the token as shared secret on POST",
            Challenge,
            |sent| {
                *sent = Provider::Github.request();
                sent.headers = vec![("x-webhook-secret".to_owned(), "tell me & no one".to_owned())];
            },
            "HeaderMissing",
        ),
    ]);
}

#[test]
fn a_channel_without_authentication_refuses_even_good_requests() {
    for webhook in ["{}", r#"{"managed_by_host": false, "secret_name": "chat_webhook_secret"}"#] {
        let channel = Channel::with_key(webhook, KEY);
        assert_eq!(channel.verify(&Provider::Secret.request()), Verdict::Refused(AuthFailure::NotConfigured));
    }
}

#[test]
fn a_token_alone_lets_nothing_but_its_challenge_in() {
    let channel = Channel::with_key(r#"{"auth": "verify_token", "methods": ["GET"]}"#, KEY);
    channel.accept(&Sent::get("hub.verify_token=correct+horse+battery+staple"));
    for sent in [Sent::get("a=1"), Provider::Secret.request(), Provider::Github.request()] {
        assert_eq!(channel.verify(&sent), Verdict::Refused(AuthFailure::NoSchemeForMethod));
    }
}

#[test]
fn a_signature_for_one_provider_is_none_for_another() {
    for asked in PROVIDERS {
        for made in PROVIDERS.into_iter().filter(|made| *made != asked) {
            let verdict = asked.channel().verify(&made.request());
            // GitHub and Meta have the same format, and here the same key.
            let same_format = (asked, made) == (Provider::Challenge, Provider::Github);
            assert_eq!(
                matches!(verdict, Verdict::Authentic(_)),
                same_format,
                "{asked:?} {made:?}: {verdict:?}"
            );
        }
    }
}
