//! What `auth` means, alone and together with the published fields.

use super::error::WebhookConfigError;
use super::plan::{Checks, Ed25519, Keyed, Scheme, Source};
use super::presets::{META_VERIFY_TOKEN, kind_of, published_checks, scheme_named, signed_by};
use super::template::{SignedText, Template};
use crate::capability::webhook::{
    AuthDetails, AuthName, AuthScheme, HmacAlgorithm, SignatureEncoding, WebhookAuth,
};

/// The checks that `auth` asks for, or `None` for `"none"`.
pub(super) fn checks(source: &Source<'_>, auth: &WebhookAuth) -> Result<Option<Checks>, WebhookConfigError> {
    let details = auth.details();
    let kind = kind(source, &details)?;
    let reader = Reader { source, kind, details: &details };
    reader.refuse_contradictions()?;
    match kind {
        Kind::Named(AuthName::None) => Ok(None),
        Kind::Named(AuthName::VerifyToken) => reader.verify_token().map(Some),
        _ => reader.scheme_with_challenge().map(Some),
    }
}

/// What `auth` names: a preset, or a bare scheme that is described in full.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Named(AuthName),
    Bare(AuthScheme),
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Named(name) => name.as_str(),
            Self::Bare(AuthScheme::Secret) => "secret",
            Self::Bare(AuthScheme::Hmac) => "hmac",
            Self::Bare(AuthScheme::Ed25519) => "ed25519",
        }
    }

    const fn scheme(self) -> Option<AuthScheme> {
        match self {
            Self::Named(name) => kind_of(name),
            Self::Bare(scheme) => Some(scheme),
        }
    }
}

fn kind(source: &Source<'_>, details: &AuthDetails) -> Result<Kind, WebhookConfigError> {
    match (details.scheme, details.preset) {
        (None, None) => Err(WebhookConfigError::NoScheme { channel: source.channel() }),
        (Some(AuthScheme::Secret), None) => Ok(Kind::Named(AuthName::Secret)),
        (Some(scheme), None) => Ok(Kind::Bare(scheme)),
        (None, Some(name)) => Ok(Kind::Named(name)),
        (Some(scheme), Some(name)) if kind_of(name) == Some(scheme) => Ok(Kind::Named(name)),
        (Some(_), Some(name)) => Err(WebhookConfigError::Contradiction {
            channel: source.channel(),
            auth: name.as_str(),
            field: "auth.scheme",
        }),
    }
}

struct Reader<'a> {
    source: &'a Source<'a>,
    kind: Kind,
    details: &'a AuthDetails,
}

impl Reader<'_> {
    /// Refuses published fields that say something else than `auth`.
    fn refuse_contradictions(&self) -> Result<(), WebhookConfigError> {
        let contradicting =
            self.published_fields().into_iter().find(|(field, set)| *set && !self.goes_with(field));
        if let Some((field, _)) = contradicting {
            return Err(self.contradiction(field));
        }
        Ok(())
    }

    /// The fields beside `auth`, and whether they are set.
    fn published_fields(&self) -> [(&'static str, bool); 7] {
        let capability = self.source.capability;
        [
            ("secret_header", capability.secret_header.is_some()),
            ("secret_name", capability.secret_name.is_some()),
            ("signature_key_secret_name", capability.signature_key_secret_name.is_some()),
            ("hmac_secret_name", capability.hmac_secret_name.is_some()),
            ("managed_by_host", !capability.managed_by_host),
            ("verify_token_param", capability.verify_token_param.is_some()),
            ("tolerance_secs", capability.tolerance_secs.is_some()),
        ]
    }

    fn goes_with(&self, field: &str) -> bool {
        match self.kind {
            // A guest that checks requests itself may be given the secret that it checks them with; what the file says
            // about checks is the guest's business when it says that they are not the host's.
            Kind::Named(AuthName::None) => {
                field == "managed_by_host"
                    || !self.source.capability.managed_by_host
                    || (field == "secret_name" && self.source.capability.give_secret_to_guest == Some(true))
            }
            // The token is for GET, the published fields for the rest.
            Kind::Named(AuthName::VerifyToken) => field != "managed_by_host",
            _ => match field {
                "secret_name" | "verify_token_param" => true,
                "secret_header" => self.kind.scheme() == Some(AuthScheme::Secret),
                "hmac_secret_name" => self.kind.scheme() == Some(AuthScheme::Hmac),
                "signature_key_secret_name" => self.kind.scheme() == Some(AuthScheme::Ed25519),
                "tolerance_secs" => {
                    self.kind.scheme() != Some(AuthScheme::Secret) && self.details.tolerance_secs.is_none()
                }
                _ => false,
            },
        }
    }

    /// `verify_token`: GET by its token, everything else by what the published fields declare.
    fn verify_token(&self) -> Result<Checks, WebhookConfigError> {
        let capability = self.source.capability;
        let param = capability.verify_token_param.as_deref().unwrap_or(META_VERIFY_TOKEN);
        let mut challenge = self.source.challenge(param)?;
        if let Some(name) = self.named_once(&[
            ("auth.secret_name", self.details.secret_name.as_deref()),
            ("secret_name", capability.secret_name.as_deref()),
        ])? {
            challenge.secret_name = name;
        }
        let others =
            [&capability.hmac_secret_name, &capability.signature_key_secret_name, &capability.secret_header];
        let schemes = match others.iter().any(|field| field.is_some()) {
            true => published_checks(self.source)?.map(|checks| checks.schemes).unwrap_or_default(),
            false => Vec::new(),
        };
        // An empty list means POST.
        let unchecked = match capability.methods.as_slice() {
            [] => Some("POST"),
            methods => methods.iter().map(String::as_str).find(|method| *method != "GET"),
        };
        match unchecked {
            Some(method) if schemes.is_empty() => Err(WebhookConfigError::MethodWithoutScheme {
                channel: self.source.channel(),
                method: method.to_owned(),
            }),
            _ => self.keep_token_apart(Checks { challenge: Some(challenge), schemes }),
        }
    }

    /// One scheme, and the GET challenge beside it where `verify_token_param` asks for it.
    fn scheme_with_challenge(&self) -> Result<Checks, WebhookConfigError> {
        let capability = self.source.capability;
        let challenge =
            capability.verify_token_param.as_deref().map(|param| self.source.challenge(param)).transpose()?;
        // Beside a challenge, `secret_name` is the token.
        let secret_name = capability.secret_name.as_deref().filter(|_| challenge.is_none());
        let key_name = self
            .named_once(&[
                ("auth.secret_name", self.details.secret_name.as_deref()),
                ("hmac_secret_name", capability.hmac_secret_name.as_deref()),
                ("signature_key_secret_name", capability.signature_key_secret_name.as_deref()),
                ("secret_name", secret_name),
            ])?
            .unwrap_or_else(|| self.source.default_secret_name());
        let scheme = self.scheme(key_name)?;
        self.keep_token_apart(Checks { challenge, schemes: vec![scheme] })
    }

    /// The one name that these fields agree on.
    fn named_once(
        &self,
        fields: &[(&'static str, Option<&str>)],
    ) -> Result<Option<String>, WebhookConfigError> {
        let mut agreed: Option<String> = None;
        for (field, name) in fields {
            let Some(name) = name else { continue };
            let name = self.source.secret_name(field, name)?;
            match agreed {
                Some(first) if first != name => {
                    let channel = self.source.channel();
                    return Err(WebhookConfigError::TwoSecretNames { channel, first, second: name });
                }
                _ => agreed = Some(name),
            }
        }
        Ok(agreed)
    }

    /// A token travels in URLs, which are logged everywhere; whoever reads one must not be able to sign with it.
    fn keep_token_apart(&self, checks: Checks) -> Result<Checks, WebhookConfigError> {
        let token = checks.challenge.as_ref().map(|challenge| challenge.secret_name.as_str());
        match checks.schemes.iter().find(|scheme| Some(scheme.secret_name()) == token) {
            Some(scheme) => Err(WebhookConfigError::TokenIsKey {
                channel: self.source.channel(),
                name: scheme.secret_name().to_owned(),
            }),
            None => Ok(checks),
        }
    }

    fn scheme(&self, secret_name: String) -> Result<Scheme, WebhookConfigError> {
        let Kind::Named(name) = self.kind else { return self.bare_scheme(secret_name) };
        let asked = self.details.tolerance_secs;
        // The tolerance is read after the details are applied, since those may sign a time that the preset does not.
        let preset = scheme_named(name, secret_name, 0);
        Ok(match preset {
            Some(Scheme::SharedSecret(mut shared)) => {
                shared.header = self.secret_header()?.unwrap_or(shared.header);
                shared.prefix = self.details.prefix.clone().unwrap_or(shared.prefix);
                Scheme::SharedSecret(shared)
            }
            Some(Scheme::Keyed(keyed)) => Scheme::Keyed(self.keyed(keyed)?),
            Some(Scheme::Ed25519(ed25519)) => Scheme::Ed25519(self.ed25519(ed25519)?),
            Some(Scheme::Stripe(mut fixed)) => {
                fixed.tolerance_secs = self.source.tolerance(asked, signed_by(name))?;
                Scheme::Stripe(fixed)
            }
            Some(Scheme::Standard(mut fixed)) => {
                fixed.tolerance_secs = self.source.tolerance(asked, signed_by(name))?;
                Scheme::Standard(fixed)
            }
            Some(Scheme::Twilio(mut fixed)) => {
                fixed.tolerance_secs = self.source.tolerance(asked, signed_by(name))?;
                Scheme::Twilio(fixed)
            }
            // `none` and `verify_token` were dealt with before.
            None => return Err(WebhookConfigError::NoScheme { channel: self.source.channel() }),
        })
    }

    fn bare_scheme(&self, secret_name: String) -> Result<Scheme, WebhookConfigError> {
        let header = || match &self.details.header {
            Some(_) => Ok(String::new()),
            None => Err(self.missing("header", "it carries the signature")),
        };
        let default_text = |template: &str| SignedText {
            template: Template::parse(template).expect("`{body}` and `{timestamp}{body}` are templates"),
            timestamp_header: None,
            id_header: None,
        };
        match self.kind.scheme() {
            Some(AuthScheme::Ed25519) => Ok(Scheme::Ed25519(self.ed25519(Ed25519 {
                header: header()?,
                signed: default_text("{timestamp}{body}"),
                tolerance_secs: 0,
                secret_name,
            })?)),
            _ => Ok(Scheme::Keyed(self.keyed(Keyed {
                algorithm: HmacAlgorithm::default(),
                header: header()?,
                prefix: String::new(),
                encoding: SignatureEncoding::default(),
                signed: default_text("{body}"),
                tolerance_secs: 0,
                secret_name,
            })?)),
        }
    }

    /// Puts the details into an HMAC scheme.
    fn keyed(&self, mut scheme: Keyed) -> Result<Keyed, WebhookConfigError> {
        let details = self.details;
        scheme.algorithm = details.algorithm.unwrap_or(scheme.algorithm);
        scheme.encoding = details.encoding.unwrap_or(scheme.encoding);
        scheme.prefix = details.prefix.clone().unwrap_or(scheme.prefix);
        if let Some(header) = &details.header {
            scheme.header = self.source.header_name("auth.header", header)?;
        }
        scheme.signed = self.signed_text(scheme.signed)?;
        scheme.tolerance_secs =
            self.source.tolerance(details.tolerance_secs, scheme.signed.template.signed())?;
        Ok(scheme)
    }

    /// Puts the details into an Ed25519 scheme.
    fn ed25519(&self, mut scheme: Ed25519) -> Result<Ed25519, WebhookConfigError> {
        if let Some(header) = &self.details.header {
            scheme.header = self.source.header_name("auth.header", header)?;
        }
        scheme.signed = self.signed_text(scheme.signed)?;
        let signed = scheme.signed.template.signed();
        scheme.tolerance_secs = self.source.tolerance(self.details.tolerance_secs, signed)?;
        Ok(scheme)
    }

    /// The template and its headers. A header whose value is not signed proves nothing and is refused.
    fn signed_text(&self, base: SignedText) -> Result<SignedText, WebhookConfigError> {
        let details = self.details;
        let template = match &details.template {
            Some(text) => Template::parse(text).map_err(|error| WebhookConfigError::Template {
                channel: self.source.channel(),
                problem: error.to_string(),
            })?,
            None => base.template,
        };
        let timestamp_header = self.placeholder_header(
            "timestamp_header",
            details
                .timestamp_header
                .as_deref()
                .or(base.timestamp_header.as_deref().filter(|_| template.has_timestamp())),
            template.has_timestamp(),
        )?;
        let id_header =
            self.placeholder_header("id_header", details.id_header.as_deref(), template.has_id())?;
        Ok(SignedText { template, timestamp_header, id_header })
    }

    fn placeholder_header(
        &self,
        field: &'static str,
        header: Option<&str>,
        signed: bool,
    ) -> Result<Option<String>, WebhookConfigError> {
        match (header, signed) {
            (Some(header), true) => self.source.header_name(field, header).map(Some),
            (None, true) => Err(self.missing(field, "the template has its placeholder")),
            (Some(_), false) => {
                Err(self.missing("template", "a timestamp or id that it leaves out is not signed"))
            }
            (None, false) => Ok(None),
        }
    }

    /// The header of a shared secret, from either of its two places.
    fn secret_header(&self) -> Result<Option<String>, WebhookConfigError> {
        match (&self.details.header, &self.source.capability.secret_header) {
            (Some(one), Some(other)) if !one.eq_ignore_ascii_case(other) => {
                Err(self.contradiction("secret_header"))
            }
            (Some(header), _) => self.source.header_name("auth.header", header).map(Some),
            (None, Some(header)) => self.source.header_name("secret_header", header).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn contradiction(&self, field: &'static str) -> WebhookConfigError {
        WebhookConfigError::Contradiction { channel: self.source.channel(), auth: self.kind.as_str(), field }
    }

    fn missing(&self, field: &'static str, why: &'static str) -> WebhookConfigError {
        WebhookConfigError::MissingField { channel: self.source.channel(), field, why }
    }
}
