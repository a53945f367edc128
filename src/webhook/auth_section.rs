//! What `auth` means, alone and together with the published fields.

use super::error::WebhookConfigError;
use super::plan::{Checks, Ed25519, HmacCheck, PlanSource, Scheme, SharedSecret};
use super::presets::{
    DEFAULT_SECRET_HEADER, META_VERIFY_TOKEN, kind_of, published_checks, scheme_named, signed_by,
};
use super::template::{SignedText, Template};
use crate::capability::webhook::{
    AuthName, AuthScheme, Ed25519Auth, FixedAuth, HmacAlgorithm, HmacAuth, SharedSecretAuth,
    SignatureEncoding, WebhookAuth,
};

/// The checks that `auth` asks for, or `None` for `"none"`.
pub(super) fn checks(
    source: &PlanSource<'_>,
    auth: &WebhookAuth,
) -> Result<Option<Checks>, WebhookConfigError> {
    let kind = kind(source, auth)?;
    let reader = AuthReader { source, kind, auth };
    reader.refuse_contradictions()?;
    match kind {
        AuthKind::Named(AuthName::None) => Ok(None),
        AuthKind::Named(AuthName::VerifyToken) => reader.verify_token().map(Some),
        _ => reader.scheme_with_challenge().map(Some),
    }
}

/// What `auth` names: a preset, or a bare scheme that is described in full.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AuthKind {
    Named(AuthName),
    Bare(AuthScheme),
}

impl AuthKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Named(name) => name.as_str(),
            Self::Bare(scheme) => scheme.as_str(),
        }
    }

    const fn scheme(self) -> Option<AuthScheme> {
        match self {
            Self::Named(name) => kind_of(name),
            Self::Bare(scheme) => Some(scheme),
        }
    }
}

fn kind(source: &PlanSource<'_>, auth: &WebhookAuth) -> Result<AuthKind, WebhookConfigError> {
    match (auth.scheme(), auth.preset()) {
        (None, None) => Err(WebhookConfigError::NoScheme { channel: source.channel() }),
        (Some(AuthScheme::Secret), None) => Ok(AuthKind::Named(AuthName::Secret)),
        (Some(scheme), None) => Ok(AuthKind::Bare(scheme)),
        (None, Some(name)) => Ok(AuthKind::Named(name)),
        (Some(scheme), Some(name)) if kind_of(name) == Some(scheme) => Ok(AuthKind::Named(name)),
        (Some(_), Some(name)) => Err(WebhookConfigError::Contradiction {
            channel: source.channel(),
            auth: name.as_str(),
            field: "auth.scheme",
        }),
    }
}

struct AuthReader<'a> {
    source: &'a PlanSource<'a>,
    kind: AuthKind,
    auth: &'a WebhookAuth,
}

impl AuthReader<'_> {
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
            AuthKind::Named(AuthName::None) => {
                field == "managed_by_host"
                    || !self.source.capability.managed_by_host
                    || (field == "secret_name" && self.source.capability.give_secret_to_guest == Some(true))
            }
            // The token is for GET, the published fields for the rest.
            AuthKind::Named(AuthName::VerifyToken) => field != "managed_by_host",
            _ => match field {
                "secret_name" | "verify_token_param" => true,
                "secret_header" => self.kind.scheme() == Some(AuthScheme::Secret),
                "hmac_secret_name" => self.kind.scheme() == Some(AuthScheme::Hmac),
                "signature_key_secret_name" => self.kind.scheme() == Some(AuthScheme::Ed25519),
                "tolerance_secs" => {
                    self.kind.scheme() != Some(AuthScheme::Secret) && self.auth.tolerance_secs().is_none()
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
            ("auth.secret_name", self.auth.secret_name()),
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
                ("auth.secret_name", self.auth.secret_name()),
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
        match self.auth {
            WebhookAuth::Secret(auth) => self.shared_secret(auth, secret_name),
            WebhookAuth::Hmac(auth) => self.hmac(auth, secret_name),
            WebhookAuth::Ed25519(auth) => self.ed25519(auth, secret_name),
            WebhookAuth::Fixed(auth) => self.fixed(auth, secret_name),
            // They were dealt with before.
            WebhookAuth::None(_) | WebhookAuth::VerifyToken(_) => Err(self.no_scheme()),
        }
    }

    /// The scheme of the named preset, from which the details of `auth` start; none where a bare scheme is described in full.
    /// Its tolerance is read after the details are applied, since those may sign a time that the preset does not.
    fn preset(&self, secret_name: &str) -> Option<Scheme> {
        match self.kind {
            AuthKind::Named(name) => scheme_named(name, secret_name.to_owned(), 0),
            AuthKind::Bare(_) => None,
        }
    }

    fn shared_secret(
        &self,
        auth: &SharedSecretAuth,
        secret_name: String,
    ) -> Result<Scheme, WebhookConfigError> {
        let header = self.secret_header(auth)?.unwrap_or_else(|| DEFAULT_SECRET_HEADER.to_owned());
        let prefix = auth.prefix.clone().unwrap_or_default();
        Ok(Scheme::SharedSecret(SharedSecret { header, prefix, secret_name }))
    }

    fn hmac(&self, auth: &HmacAuth, secret_name: String) -> Result<Scheme, WebhookConfigError> {
        let mut scheme = match self.preset(&secret_name) {
            Some(Scheme::Keyed(preset)) => preset,
            Some(_) => return Err(self.no_scheme()),
            None => HmacCheck {
                algorithm: HmacAlgorithm::default(),
                header: self.needed_header(auth.header.as_deref())?,
                prefix: String::new(),
                encoding: SignatureEncoding::default(),
                signed: unnamed_text("{body}"),
                tolerance_secs: 0,
                secret_name,
            },
        };
        scheme.algorithm = auth.algorithm.unwrap_or(scheme.algorithm);
        scheme.encoding = auth.encoding.unwrap_or(scheme.encoding);
        scheme.prefix = auth.prefix.clone().unwrap_or(scheme.prefix);
        if let Some(header) = &auth.header {
            scheme.header = self.source.header_name("auth.header", header)?;
        }
        let (timestamp, id) = (auth.timestamp_header.as_deref(), auth.id_header.as_deref());
        scheme.signed = self.signed_text(scheme.signed, auth.template.as_deref(), timestamp, id)?;
        scheme.tolerance_secs =
            self.source.tolerance(auth.tolerance_secs, scheme.signed.template.signed())?;
        Ok(Scheme::Keyed(scheme))
    }

    fn ed25519(&self, auth: &Ed25519Auth, secret_name: String) -> Result<Scheme, WebhookConfigError> {
        let mut scheme = match self.preset(&secret_name) {
            Some(Scheme::Ed25519(preset)) => preset,
            Some(_) => return Err(self.no_scheme()),
            None => Ed25519 {
                header: self.needed_header(auth.header.as_deref())?,
                signed: unnamed_text("{timestamp}{body}"),
                tolerance_secs: 0,
                secret_name,
            },
        };
        if let Some(header) = &auth.header {
            scheme.header = self.source.header_name("auth.header", header)?;
        }
        let (timestamp, id) = (auth.timestamp_header.as_deref(), auth.id_header.as_deref());
        scheme.signed = self.signed_text(scheme.signed, auth.template.as_deref(), timestamp, id)?;
        scheme.tolerance_secs =
            self.source.tolerance(auth.tolerance_secs, scheme.signed.template.signed())?;
        Ok(Scheme::Ed25519(scheme))
    }

    /// A provider's format in which nothing but the key and the tolerance can be chosen.
    fn fixed(&self, auth: &FixedAuth, secret_name: String) -> Result<Scheme, WebhookConfigError> {
        let AuthKind::Named(name) = self.kind else { return Err(self.no_scheme()) };
        let tolerance_secs = self.source.tolerance(auth.tolerance_secs, signed_by(name))?;
        scheme_named(name, secret_name, tolerance_secs).ok_or_else(|| self.no_scheme())
    }

    fn needed_header(&self, header: Option<&str>) -> Result<String, WebhookConfigError> {
        header.map(str::to_owned).ok_or_else(|| self.missing("header", "it carries the signature"))
    }

    /// The template and its headers. A header whose value is not signed proves nothing and is refused.
    fn signed_text(
        &self,
        base: SignedText,
        template: Option<&str>,
        timestamp_header: Option<&str>,
        id_header: Option<&str>,
    ) -> Result<SignedText, WebhookConfigError> {
        let template = match template {
            Some(text) => Template::parse(text).map_err(|error| WebhookConfigError::Template {
                channel: self.source.channel(),
                problem: error.to_string(),
            })?,
            None => base.template,
        };
        let of_preset = base.timestamp_header.as_deref().filter(|_| template.has_timestamp());
        let timestamp_header = self.placeholder_header(
            "timestamp_header",
            timestamp_header.or(of_preset),
            template.has_timestamp(),
        )?;
        let id_header = self.placeholder_header("id_header", id_header, template.has_id())?;
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
                let placeholder = if field == "id_header" { "{id}" } else { "{timestamp}" };
                Err(WebhookConfigError::UnsignedHeader { channel: self.source.channel(), field, placeholder })
            }
            (None, false) => Ok(None),
        }
    }

    /// The header of a shared secret, from either of its two places.
    fn secret_header(&self, auth: &SharedSecretAuth) -> Result<Option<String>, WebhookConfigError> {
        match (&auth.header, &self.source.capability.secret_header) {
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

    fn no_scheme(&self) -> WebhookConfigError {
        WebhookConfigError::NoScheme { channel: self.source.channel() }
    }

    fn missing(&self, field: &'static str, why: &'static str) -> WebhookConfigError {
        WebhookConfigError::MissingField { channel: self.source.channel(), field, why }
    }
}

/// What a bare scheme signs unless its file says something else.
fn unnamed_text(template: &str) -> SignedText {
    let template = Template::parse(template).expect("`{body}` and `{timestamp}{body}` are templates");
    SignedText { template, timestamp_header: None, id_header: None }
}
