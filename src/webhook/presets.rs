//! The formats of the providers, each with the page that it comes from, and what the fields of published files mean where nothing
//! is said in `auth`.

use super::error::WebhookConfigError;
use super::plan::{Checks, Ed25519, HmacCheck, KeyAndTolerance, PlanSource, Scheme, SharedSecret, Signed};
use super::template::{SignedText, Template};
use crate::capability::webhook::{AuthName, AuthScheme, HmacAlgorithm, SignatureEncoding};

/// Header of a shared secret when none is named.
pub(super) const DEFAULT_SECRET_HEADER: &str = "x-webhook-secret";

/// The header in which Telegram sends back the `secret_token` of `setWebhook`
/// (<https://core.telegram.org/bots/api#setwebhook>).
pub(super) const TELEGRAM_SECRET_HEADER: &str = "x-telegram-bot-api-secret-token";

/// Query parameter of Meta's GET challenge
/// (<https://developers.facebook.com/docs/graph-api/webhooks/getting-started>).
pub(super) const META_VERIFY_TOKEN: &str = "hub.verify_token";

/// The scheme that a name stands for; `None` for `none` and `verify_token`, which check no signature or secret.
pub(super) fn scheme_named(name: AuthName, secret_name: String, tolerance_secs: u64) -> Option<Scheme> {
    let fixed = KeyAndTolerance { tolerance_secs, secret_name: secret_name.clone() };
    let keyed = |header: &str, prefix: &str, encoding, signed| {
        Scheme::Keyed(HmacCheck {
            algorithm: HmacAlgorithm::Sha256,
            header: header.to_owned(),
            prefix: prefix.to_owned(),
            encoding,
            signed,
            tolerance_secs,
            secret_name: secret_name.clone(),
        })
    };
    Some(match name {
        AuthName::None | AuthName::VerifyToken => return None,
        AuthName::Secret => Scheme::SharedSecret(SharedSecret {
            header: DEFAULT_SECRET_HEADER.to_owned(),
            prefix: String::new(),
            secret_name,
        }),
        // https://docs.slack.dev/authentication/verifying-requests-from-slack
        AuthName::Slack => keyed(
            "x-slack-signature",
            "v0=",
            SignatureEncoding::Hex,
            signed("v0:{timestamp}:{body}", Some("x-slack-request-timestamp")),
        ),
        // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries and
        // https://developers.facebook.com/docs/graph-api/webhooks/getting-started#validate-payloads: the same format.
        AuthName::Github | AuthName::Whatsapp => {
            keyed("x-hub-signature-256", "sha256=", SignatureEncoding::Hex, signed("{body}", None))
        }
        // https://developers.line.biz/en/docs/messaging-api/verify-webhook-signature/
        AuthName::Line => keyed("x-line-signature", "", SignatureEncoding::Base64, signed("{body}", None)),
        AuthName::Stripe => Scheme::Stripe(fixed),
        AuthName::StandardWebhooks => Scheme::Standard(fixed),
        AuthName::Twilio => Scheme::Twilio(fixed),
        AuthName::Feishu => Scheme::Feishu(fixed),
        // https://discord.com/developers/docs/interactions/overview#setting-up-an-endpoint-validating-security-request-headers
        AuthName::Discord => Scheme::Ed25519(Ed25519 {
            header: "x-signature-ed25519".to_owned(),
            signed: signed("{timestamp}{body}", Some("x-signature-timestamp")),
            tolerance_secs,
            secret_name,
        }),
    })
}

/// What kind of scheme a name stands for.
pub(super) const fn kind_of(name: AuthName) -> Option<AuthScheme> {
    match name {
        AuthName::None | AuthName::VerifyToken => None,
        AuthName::Secret => Some(AuthScheme::Secret),
        AuthName::Discord => Some(AuthScheme::Ed25519),
        AuthName::Slack
        | AuthName::Github
        | AuthName::Whatsapp
        | AuthName::Stripe
        | AuthName::StandardWebhooks
        | AuthName::Line
        | AuthName::Twilio
        | AuthName::Feishu => Some(AuthScheme::Hmac),
    }
}

/// What a name's format signs beside the body; where it signs the time, its tolerance cannot be 0.
pub(super) const fn signed_by(name: AuthName) -> Signed {
    match name {
        AuthName::Slack
        | AuthName::Stripe
        | AuthName::StandardWebhooks
        | AuthName::Discord
        | AuthName::Feishu => Signed::Time,
        _ => Signed::BodyOnly,
    }
}

/// The provider whose signatures come in this header: it never carries a shared secret.
pub(super) fn by_signature_header(header: &str) -> Option<AuthName> {
    let known = [
        ("x-hub-signature-256", AuthName::Whatsapp),
        ("x-slack-signature", AuthName::Slack),
        ("x-signature-ed25519", AuthName::Discord),
        ("x-line-signature", AuthName::Line),
        ("x-twilio-signature", AuthName::Twilio),
        ("x-lark-signature", AuthName::Feishu),
        ("stripe-signature", AuthName::Stripe),
        ("webhook-signature", AuthName::StandardWebhooks),
        ("svix-signature", AuthName::StandardWebhooks),
    ];
    known.iter().find(|(name, _)| header.eq_ignore_ascii_case(name)).map(|(_, preset)| *preset)
}

fn signed(template: &str, timestamp_header: Option<&str>) -> SignedText {
    SignedText {
        template: Template::parse(template).expect("the templates in this file are tested"),
        timestamp_header: timestamp_header.map(str::to_owned),
        id_header: None,
    }
}

/// The checks that the published fields ask for, or `None` when they ask for none.
///
/// Every scheme that is declared must pass. A `secret_name` beside a signature is not a scheme of its own: it names
/// the verify token, or is there for people to read.
pub(super) fn published_checks(source: &PlanSource<'_>) -> Result<Option<Checks>, WebhookConfigError> {
    let capability = source.capability;
    let challenge =
        capability.verify_token_param.as_deref().map(|param| source.challenge(param)).transpose()?;
    let mut schemes = signatures(source)?;
    let header_is_signature = signature_header(source).is_some();
    let secret_header = capability.secret_header.as_deref().filter(|_| !header_is_signature);
    let only_a_secret = schemes.is_empty() && (capability.secret_name.is_some() || challenge.is_some());
    if secret_header.is_some() || only_a_secret {
        schemes.push(shared_secret(source, secret_header)?);
    }
    if schemes.is_empty() {
        return Ok(None);
    }
    Ok(Some(Checks { challenge, schemes }))
}

/// The signatures: Ed25519, then an HMAC.
fn signatures(source: &PlanSource<'_>) -> Result<Vec<Scheme>, WebhookConfigError> {
    let capability = source.capability;
    let mut schemes = Vec::new();
    if let Some(name) = &capability.signature_key_secret_name {
        let name = source.secret_name("signature_key_secret_name", name)?;
        schemes.extend(preset(source, AuthName::Discord, name)?);
    }
    if let Some(name) = &capability.hmac_secret_name {
        let name = source.secret_name("hmac_secret_name", name)?;
        schemes.extend(preset(source, hmac_format(source), name)?);
    }
    if let (true, Some(format)) = (schemes.is_empty(), signature_header(source)) {
        let name = match &capability.secret_name {
            Some(name) => source.secret_name("secret_name", name)?,
            None => source.default_secret_name(),
        };
        schemes.extend(preset(source, format, name)?);
    }
    Ok(schemes)
}

fn preset(
    source: &PlanSource<'_>,
    format: AuthName,
    secret_name: String,
) -> Result<Option<Scheme>, WebhookConfigError> {
    Ok(scheme_named(format, secret_name, source.tolerance(None, signed_by(format))?))
}

/// The provider, where `secret_header` names the header of a signature: no secret is ever in it.
fn signature_header(source: &PlanSource<'_>) -> Option<AuthName> {
    source.capability.secret_header.as_deref().and_then(by_signature_header)
}

/// `hmac_secret_name` is Slack's format unless the other fields are those of another provider.
fn hmac_format(source: &PlanSource<'_>) -> AuthName {
    let by_header = signature_header(source).filter(|name| kind_of(*name) == Some(AuthScheme::Hmac));
    let meta_challenge =
        source.capability.verify_token_param.as_deref().is_some_and(|param| param.starts_with("hub."));
    by_header.unwrap_or(if meta_challenge { AuthName::Whatsapp } else { AuthName::Slack })
}

fn shared_secret(source: &PlanSource<'_>, header: Option<&str>) -> Result<Scheme, WebhookConfigError> {
    let header = source.header_name("secret_header", header.unwrap_or(DEFAULT_SECRET_HEADER))?;
    let secret_name = match &source.capability.secret_name {
        Some(name) => source.secret_name("secret_name", name)?,
        None => source.default_secret_name(),
    };
    Ok(Scheme::SharedSecret(SharedSecret { header, prefix: String::new(), secret_name }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [AuthName; 12] = [
        AuthName::None,
        AuthName::Secret,
        AuthName::Slack,
        AuthName::Github,
        AuthName::Whatsapp,
        AuthName::Stripe,
        AuthName::StandardWebhooks,
        AuthName::Line,
        AuthName::Twilio,
        AuthName::Feishu,
        AuthName::Discord,
        AuthName::VerifyToken,
    ];

    #[test]
    fn every_preset_can_be_made_and_agrees_with_its_kind() {
        for name in ALL {
            let scheme = scheme_named(name, "key".to_owned(), 300);
            assert_eq!(scheme.is_some(), kind_of(name).is_some(), "{name:?}");
            let timed = match scheme {
                Some(Scheme::Keyed(keyed)) => keyed.signed.timestamp_header.is_some(),
                Some(Scheme::Ed25519(ed25519)) => ed25519.signed.timestamp_header.is_some(),
                Some(Scheme::Stripe(_) | Scheme::Standard(_) | Scheme::Feishu(_)) => true,
                Some(Scheme::SharedSecret(_) | Scheme::Twilio(_)) | None => false,
            };
            assert_eq!(timed, signed_by(name) == Signed::Time, "{name:?}");
        }
    }
}
