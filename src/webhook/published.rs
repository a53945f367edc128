//! What the fields of published files mean where nothing is said in `auth`.

use super::error::WebhookConfigError;
use super::plan::{Checks, Source};
use super::presets::DEFAULT_SECRET_HEADER;
use super::presets::{by_signature_header, kind_of, scheme_named, signed_by};
use super::scheme::{Scheme, SharedSecret};
use crate::capability::webhook::{AuthName, AuthScheme};

/// The checks that the published fields ask for, or `None` when they ask for none.
///
/// Every scheme that is declared must pass. A `secret_name` beside a signature is not a scheme of its own: it names
/// the verify token, or is there for people to read.
pub(super) fn checks(source: &Source<'_>) -> Result<Option<Checks>, WebhookConfigError> {
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
fn signatures(source: &Source<'_>) -> Result<Vec<Scheme>, WebhookConfigError> {
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
    source: &Source<'_>,
    format: AuthName,
    secret_name: String,
) -> Result<Option<Scheme>, WebhookConfigError> {
    Ok(scheme_named(format, secret_name, source.tolerance(None, signed_by(format))?))
}

/// The provider, where `secret_header` names the header of a signature: no secret is ever in it.
fn signature_header(source: &Source<'_>) -> Option<AuthName> {
    source.capability.secret_header.as_deref().and_then(by_signature_header)
}

/// `hmac_secret_name` is Slack's format unless the other fields are those of another provider.
fn hmac_format(source: &Source<'_>) -> AuthName {
    let by_header = signature_header(source).filter(|name| kind_of(*name) == Some(AuthScheme::Hmac));
    let meta_challenge =
        source.capability.verify_token_param.as_deref().is_some_and(|param| param.starts_with("hub."));
    by_header.unwrap_or(if meta_challenge { AuthName::Whatsapp } else { AuthName::Slack })
}

fn shared_secret(source: &Source<'_>, header: Option<&str>) -> Result<Scheme, WebhookConfigError> {
    let header = source.header_name("secret_header", header.unwrap_or(DEFAULT_SECRET_HEADER))?;
    let secret_name = match &source.capability.secret_name {
        Some(name) => source.secret_name("secret_name", name)?,
        None => source.default_secret_name(),
    };
    Ok(Scheme::SharedSecret(SharedSecret { header, prefix: String::new(), secret_name }))
}
