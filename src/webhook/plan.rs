//! From a capability file's `webhook` object to the checks that requests have to pass, and those checks as plain data.

use std::fmt;

use super::dedupe::{DedupeRule, pointer_path};
use super::error::WebhookConfigError;
use super::freshness::{DEFAULT_TOLERANCE_SECS, MAX_TOLERANCE_SECS, ReplayKey};
use super::presets::{TELEGRAM_SECRET_HEADER, published_checks};
use super::request::{SecretLookup, WebhookRequest, is_media_type_pattern};
use super::template::SignedText;
use super::verify::{AuthFailure, Challenge, SecretProblem, check_shared_secret, is_challenge, usable};
use super::{auth_section, ed25519, feishu, hmac, twilio};
use crate::capability::webhook::{HmacAlgorithm, SignatureEncoding, WebhookCapability, WebhookDedupe};

/// How requests of one channel are authenticated; made once, when the channel is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthPlan {
    requirement: Requirement,
    checks: Checks,
    dedupe: DedupeRule,
    guest_secret: Option<String>,
}

/// What a channel asks of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// Nothing that could authenticate a request is declared, so the channel gets no route at all.
    NoRoute(NoRoute),
    /// `"auth": "none"` is written out: everybody may call it.
    Open,
    /// Every request is checked.
    Checked,
}

/// Why a channel has no route, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No scheme is declared.
    NothingDeclared,
    /// `"managed_by_host": false`, and nothing that says that everybody may call the guest.
    LeftToGuest,
}

impl fmt::Display for NoRoute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NothingDeclared => {
                "no webhook authentication is declared: name a scheme in webhook.auth, or write \"none\" to let \
                 everybody call the channel"
            }
            Self::LeftToGuest => {
                "webhook.managed_by_host is false: write \"auth\": \"none\" to let everybody call the guest, which \
                 then has to check requests itself"
            }
        })
    }
}

/// The checks themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Checks {
    /// For GET requests that carry its parameter, instead of the schemes.
    pub challenge: Option<Challenge>,
    /// Every one of them must pass.
    pub schemes: Vec<Scheme>,
}

impl AuthPlan {
    /// The plan of a channel.
    ///
    /// Without `auth` the published fields decide; with it they add to it, or contradict it, which is an error.
    ///
    /// # Errors
    /// Whatever cannot be meant as it stands; see [`WebhookConfigError`].
    pub fn from(capability: &WebhookCapability, channel: &str) -> Result<Self, WebhookConfigError> {
        let source = PlanSource { capability, channel };
        source.check_plain_fields()?;
        let (requirement, checks) = match &capability.auth {
            None if !capability.managed_by_host => {
                (Requirement::NoRoute(NoRoute::LeftToGuest), Checks::default())
            }
            None => match published_checks(&source)? {
                Some(checks) => (Requirement::Checked, checks),
                None => (Requirement::NoRoute(NoRoute::NothingDeclared), Checks::default()),
            },
            Some(auth) => match auth_section::checks(&source, auth)? {
                Some(checks) => (Requirement::Checked, checks),
                None => (Requirement::Open, Checks::default()),
            },
        };
        let guest_secret = guest_secret(&source, &checks);
        let is_open = requirement == Requirement::Open;
        let dedupe = DedupeRule::of(capability.dedupe.as_ref(), &checks.schemes, is_open);
        Ok(Self { requirement, checks, dedupe, guest_secret })
    }

    /// What this channel asks of its requests.
    pub const fn requirement(&self) -> Requirement {
        self.requirement
    }

    /// Whether a request that passes has `secret-validated` set: what an endpoint with `require-secret` needs. Such an
    /// endpoint of a channel where this is false responds with 503 and shows as unhealthy.
    pub fn validates_secret(&self) -> bool {
        self.requirement == Requirement::Checked
    }

    /// Where the id of a delivery is: declared, or else the provider's.
    pub const fn dedupe(&self) -> &DedupeRule {
        &self.dedupe
    }

    /// Whether trying values could let this request in: nothing but a plain shared secret or a verify token stands in its
    /// way. A signature cannot be guessed.
    pub fn is_guessable(&self, request: &WebhookRequest<'_>) -> bool {
        let checks = &self.checks;
        if checks.challenge.as_ref().is_some_and(|challenge| is_challenge(challenge, request)) {
            return true;
        }
        let is_shared = |scheme: &Scheme| matches!(scheme, Scheme::SharedSecret(_));
        self.requirement == Requirement::Checked && checks.schemes.iter().all(is_shared)
    }

    /// Names of the stored secrets that the checks need, in lower case, each once.
    pub fn secret_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        let schemes = self.checks.schemes.iter().map(Scheme::secret_name);
        for name in
            schemes.chain(self.checks.challenge.iter().map(|challenge| challenge.secret_name.as_str()))
        {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The verify token's secret, when a signature is checked with it too: no provider signs with its verify token.
    pub fn verify_token_as_key(&self) -> Option<&str> {
        let challenge = self.checks.challenge.as_ref()?;
        let is_key = |scheme: &Scheme| {
            !matches!(scheme, Scheme::SharedSecret(_)) && scheme.secret_name() == challenge.secret_name
        };
        self.checks.schemes.iter().any(is_key).then_some(challenge.secret_name.as_str())
    }

    /// Secrets that are missing or cannot be used, for the channel's health. While there is one, every request is
    /// refused with 503.
    pub fn secret_problems(&self, secrets: &SecretLookup<'_>) -> Vec<(String, SecretProblem)> {
        let of_scheme = |scheme: &Scheme| {
            let problem =
                usable(scheme.secret_name(), secrets).and_then(|key| scheme.accepts_key(&key)).err()?;
            Some((scheme.secret_name().to_owned(), problem))
        };
        let mut problems: Vec<_> = self.checks.schemes.iter().filter_map(of_scheme).collect();
        if let Some(challenge) = &self.checks.challenge
            && let Err(problem) = usable(&challenge.secret_name, secrets)
        {
            problems.push((challenge.secret_name.clone(), problem));
        }
        problems.dedup();
        problems
    }

    /// The stored secret that the guest finds as `webhook_secret` in its `on-start` configuration, because it must
    /// hand it to its provider. `None` for most.
    pub fn guest_secret_name(&self) -> Option<&str> {
        self.guest_secret.as_deref()
    }

    pub(super) const fn checks(&self) -> &Checks {
        &self.checks
    }
}

/// By default only Telegram's guests get their secret: they register it with `setWebhook` themselves.
fn guest_secret(source: &PlanSource<'_>, checks: &Checks) -> Option<String> {
    let shared = checks.schemes.iter().find_map(|scheme| match scheme {
        Scheme::SharedSecret(shared) => Some(shared),
        _ => None,
    });
    match source.capability.give_secret_to_guest {
        Some(false) => None,
        Some(true) => Some(
            shared
                .map(|shared| shared.secret_name.clone())
                .or_else(|| source.capability.secret_name.as_deref().map(str::to_ascii_lowercase))
                .or_else(|| checks.schemes.first().map(|scheme| scheme.secret_name().to_owned()))
                .unwrap_or_else(|| source.default_secret_name()),
        ),
        None => shared
            .filter(|shared| shared.header == TELEGRAM_SECRET_HEADER)
            .map(|shared| shared.secret_name.clone()),
    }
}

/// What a signature covers beside the body that tells one delivery from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signed {
    /// The time, and perhaps an id.
    Time,
    /// An id.
    Id,
    /// Neither.
    BodyOnly,
}

/// The object that is being read, with the channel that its errors name.
pub(super) struct PlanSource<'a> {
    pub capability: &'a WebhookCapability,
    pub channel: &'a str,
}

impl PlanSource<'_> {
    pub fn channel(&self) -> String {
        self.channel.to_owned()
    }

    /// The secret that is used where none is named.
    pub fn default_secret_name(&self) -> String {
        format!("{}_webhook_secret", self.channel)
    }

    /// A secret's name in lower case, as secret names are compared.
    pub fn secret_name(&self, field: &'static str, name: &str) -> Result<String, WebhookConfigError> {
        self.not_empty(field, name).map(str::to_ascii_lowercase)
    }

    /// The name of a header in lower case.
    pub fn header_name(&self, field: &'static str, name: &str) -> Result<String, WebhookConfigError> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(WebhookConfigError::HeaderName {
                channel: self.channel(),
                field,
                name: name.to_owned(),
            });
        }
        Ok(name.to_ascii_lowercase())
    }

    /// The challenge of `verify_token_param`, whose token is `secret_name`.
    pub fn challenge(&self, param: &str) -> Result<Challenge, WebhookConfigError> {
        let param = self.not_empty("verify_token_param", param)?.to_owned();
        let secret_name = match &self.capability.secret_name {
            Some(name) => self.secret_name("secret_name", name)?,
            None => self.default_secret_name(),
        };
        Ok(Challenge { param, secret_name })
    }

    /// The tolerance in force. 0 is only for formats that sign no time: there it means that replays run.
    ///
    /// It is the default where neither a time nor an id is signed: two equal bodies may be two messages, and nothing
    /// that is signed tells a replay from the second message.
    pub fn tolerance(&self, asked: Option<u64>, signed: Signed) -> Result<u64, WebhookConfigError> {
        let min = u64::from(signed == Signed::Time);
        let default = if signed == Signed::BodyOnly { 0 } else { DEFAULT_TOLERANCE_SECS };
        let secs = asked.or(self.capability.tolerance_secs).unwrap_or(default);
        if !(min..=MAX_TOLERANCE_SECS).contains(&secs) {
            let channel = self.channel();
            return Err(WebhookConfigError::Tolerance { channel, secs, min, max: MAX_TOLERANCE_SECS });
        }
        Ok(secs)
    }

    fn not_empty<'n>(&self, field: &'static str, name: &'n str) -> Result<&'n str, WebhookConfigError> {
        if name.trim().is_empty() {
            return Err(WebhookConfigError::EmptyName { channel: self.channel(), field });
        }
        Ok(name)
    }

    /// Checks the fields that mean the same whatever the authentication is.
    fn check_plain_fields(&self) -> Result<(), WebhookConfigError> {
        let capability = self.capability;
        if capability.max_body_bytes == Some(0) {
            return Err(WebhookConfigError::NoBodyAllowed { channel: self.channel() });
        }
        let is_method =
            |method: &&String| !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        if let Some(found) = capability.methods.iter().find(|method| !is_method(method)) {
            return Err(WebhookConfigError::Method { channel: self.channel(), found: found.clone() });
        }
        let types = capability.content_types.iter().flatten();
        if let Some(found) = types.clone().find(|text| !is_media_type_pattern(text)) {
            return Err(WebhookConfigError::ContentType { channel: self.channel(), found: found.clone() });
        }
        match &capability.dedupe {
            Some(WebhookDedupe::Header(name)) => self.header_name("dedupe.header", name).map(|_| ()),
            Some(WebhookDedupe::JsonPointer(pointer)) if pointer_path(pointer).is_none() => {
                Err(WebhookConfigError::JsonPointer { channel: self.channel(), pointer: pointer.clone() })
            }
            Some(WebhookDedupe::JsonPointer(_)) | None => Ok(()),
        }
    }
}

/// One check. Secret names are in lower case, as are header names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    SharedSecret(SharedSecret),
    Keyed(HmacCheck),
    Stripe(KeyAndTolerance),
    Standard(KeyAndTolerance),
    Twilio(KeyAndTolerance),
    Feishu(KeyAndTolerance),
    Ed25519(Ed25519),
}

/// A secret that the sender puts into a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SharedSecret {
    pub header: String,
    pub prefix: String,
    pub secret_name: String,
}

/// One HMAC in one header over a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HmacCheck {
    pub algorithm: HmacAlgorithm,
    pub header: String,
    pub prefix: String,
    pub encoding: SignatureEncoding,
    pub signed: SignedText,
    pub tolerance_secs: u64,
    pub secret_name: String,
}

/// What is left to configure where the provider's format is fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyAndTolerance {
    pub tolerance_secs: u64,
    pub secret_name: String,
}

/// One Ed25519 signature in hexadecimal over a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ed25519 {
    pub header: String,
    pub signed: SignedText,
    pub tolerance_secs: u64,
    pub secret_name: String,
}

/// What a check that passed has found out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// What a replay is recognised by; `None` where nothing tells one request from the next.
    pub replay_key: Option<ReplayKey>,
    /// The body, where the scheme encrypts it.
    pub body: Option<Vec<u8>>,
}

/// Why a check did not pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CheckError {
    /// The request's fault.
    Refused(AuthFailure),
    /// The stored secret's fault.
    Secret(SecretProblem),
}

impl From<AuthFailure> for CheckError {
    fn from(refusal: AuthFailure) -> Self {
        Self::Refused(refusal)
    }
}

impl From<SecretProblem> for CheckError {
    fn from(problem: SecretProblem) -> Self {
        Self::Secret(problem)
    }
}

impl Scheme {
    /// The stored secret that this check needs.
    pub fn secret_name(&self) -> &str {
        match self {
            Self::SharedSecret(scheme) => &scheme.secret_name,
            Self::Keyed(scheme) => &scheme.secret_name,
            Self::Stripe(scheme) | Self::Standard(scheme) | Self::Twilio(scheme) | Self::Feishu(scheme) => {
                &scheme.secret_name
            }
            Self::Ed25519(scheme) => &scheme.secret_name,
        }
    }

    /// Whether a stored value can be used as this check's key at all.
    pub fn accepts_key(&self, secret: &[u8]) -> Result<(), SecretProblem> {
        match self {
            Self::Standard(_) => hmac::standard_key(secret).map(|_| ()),
            Self::Ed25519(_) => ed25519::PublicKey::from_hex(secret).map(|_| ()),
            Self::SharedSecret(_) | Self::Keyed(_) | Self::Stripe(_) | Self::Twilio(_) | Self::Feishu(_) => {
                Ok(())
            }
        }
    }

    /// Checks a request.
    pub fn check(&self, secret: &[u8], request: &WebhookRequest<'_>) -> Result<Passed, CheckError> {
        let replay_key = match self {
            Self::SharedSecret(scheme) => check_shared_secret(scheme, secret, request).map(|()| None)?,
            Self::Keyed(scheme) => hmac::check(scheme, secret, request)?,
            Self::Stripe(scheme) => hmac::check_stripe(scheme, secret, request)?,
            Self::Standard(scheme) => hmac::check_standard(scheme, secret, request)?,
            Self::Twilio(scheme) => twilio::check(scheme, secret, request)?,
            Self::Ed25519(scheme) => ed25519::check(scheme, secret, request)?,
            Self::Feishu(scheme) => return Ok(feishu::check(scheme, secret, request)?),
        };
        Ok(Passed { replay_key, body: None })
    }
}
