//! The decision: is this request authentic? With what a request carries as it is: a shared secret in a header, and the
//! token of the GET challenge of Meta-style providers. Nothing else is taken from a query string, which ends up in the logs of
//! every proxy.
//!
//! Of a challenge the host only checks the token. The response (`hub.challenge` echoed) is the guest's, which sees the query
//! without the token.
use ring::digest::{SHA256, SHA256_OUTPUT_LEN};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use super::freshness::ReplayKey;
use super::plan::{AuthPlan, CheckError, Checks, Passed, Requirement, SharedSecret};
use super::request::{Hidden, SecretLookup, WebhookRequest};

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be handed to the guest.
    Authentic(Authenticated),
    /// It may not. Respond with 401 with the same body whatever the reason was; the reason is for the log.
    Refused(AuthFailure),
    /// It cannot be checked. Respond with 503, and show the channel as unhealthy.
    SecretUnusable {
        /// The stored secret's name.
        secret_name: String,
        /// What is wrong with it.
        problem: SecretProblem,
    },
}

/// An authentic request: only [`verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    secret_validated: bool,
    replay_key: Option<ReplayKey>,
    hidden: Hidden,
    body: Option<Vec<u8>>,
}

impl Authenticated {
    /// What the guest gets as `secret-validated`: false only where the channel said `"auth": "none"`.
    pub const fn secret_validated(&self) -> bool {
        self.secret_validated
    }

    /// What to recognise a replay of this request by; `None` where the scheme offers nothing.
    pub const fn replay_key(&self) -> Option<ReplayKey> {
        self.replay_key
    }

    /// The decrypted body, where the scheme encrypts it; else the body is the one that was sent.
    pub fn body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }

    /// Headers and query parameters that the guest must not see.
    pub const fn hidden(&self) -> &Hidden {
        &self.hidden
    }
}

/// Why a request was refused. Its text goes to the log: it names headers of the configuration and clock
/// differences, never a value that was sent or stored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthFailure {
    /// The channel has no way to authenticate requests.
    #[error("the channel has no authentication configured")]
    NotConfigured,
    /// The verify token authenticates GET requests only, and this is another one.
    #[error("no scheme authenticates this method")]
    NoSchemeForMethod,
    /// A header that the check needs is not there.
    #[error("header {0} is missing")]
    HeaderMissing(String),
    /// A header that must be there once is there several times.
    #[error("header {0} is there more than once")]
    HeaderRepeated(String),
    /// The signature header does not have its format.
    #[error("the signature header is malformed")]
    SignatureMalformed,
    /// The signature is not the one of this request.
    #[error("the signature does not match")]
    SignatureMismatch,
    /// The shared secret is another one.
    #[error("the shared secret does not match")]
    SecretMismatch,
    /// The timestamp is not plain digits.
    #[error("the timestamp is malformed")]
    TimestampMalformed,
    /// The timestamp is too far from the host's clock.
    #[error("the timestamp is {skew_secs} s from this host's clock (positive: ahead), more than tolerated")]
    TimestampOutsideTolerance {
        /// Request's time less host's time, in seconds.
        skew_secs: i64,
    },
    /// The id is empty, too long, or has characters that it cannot have.
    #[error("the id is malformed")]
    IdMalformed,
    /// The verify token is another one.
    #[error("the verify token does not match")]
    TokenMismatch,
    /// The verify token is in the query several times.
    #[error("the verify token is there more than once")]
    TokenRepeated,
    /// A GET challenge has a body, which nothing signs.
    #[error("the challenge has a body")]
    ChallengeWithBody,
    /// The body is not encrypted with the stored key, where the provider encrypts it.
    #[error("the body is not encrypted with the stored key")]
    NotEncrypted,
    /// The body is of a type that the provider's signature does not cover.
    #[error("the body is not covered by the signature")]
    BodyNotSigned,
}

impl AuthFailure {
    /// Whether a value was tried that could have been the secret or the token.
    pub const fn is_guess(&self) -> bool {
        matches!(self, Self::SecretMismatch | Self::TokenMismatch)
    }
}

/// What is wrong with a stored secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SecretProblem {
    /// The place where it is stored cannot be read at present; whether it is there is not known.
    #[error("cannot be read")]
    Unreadable,
    /// It is not stored, or it is empty or blank.
    #[error("is not stored or is empty")]
    Missing,
    /// It does not have the form that its scheme needs.
    #[error("is not {0}")]
    Malformed(&'static str),
}

/// Decides about one request, with the stored secrets that `secrets` gives out.
///
/// The secrets are looked at first, so that an unusable one gives the same response to every request.
pub fn verify(plan: &AuthPlan, request: &WebhookRequest<'_>, secrets: &SecretLookup<'_>) -> Verdict {
    match plan.requirement() {
        Requirement::NoRoute(_) => Verdict::Refused(AuthFailure::NotConfigured),
        Requirement::Open => Verdict::Authentic(Authenticated {
            secret_validated: false,
            replay_key: None,
            hidden: Hidden::default(),
            body: None,
        }),
        Requirement::Checked => decide(plan.checks(), request, secrets).unwrap_or_else(Verdict::from),
    }
}

fn decide(
    checks: &Checks,
    request: &WebhookRequest<'_>,
    secrets: &SecretLookup<'_>,
) -> Result<Verdict, Unverified> {
    let keys = Keys::load(checks, secrets)?;
    let Passed { replay_key, body } = match &checks.challenge {
        Some(challenge) if is_challenge(challenge, request) => {
            keys.token
                .any(|token| check_challenge(challenge, token, request).map_err(Unverified::Refused))?;
            Passed::default()
        }
        _ => check_all(checks, &keys, request)?,
    };
    let hidden = Hidden::after(checks, &keys.carried(), request);
    Ok(Verdict::Authentic(Authenticated { secret_validated: true, replay_key, hidden, body }))
}

/// Every declared scheme must pass.
fn check_all(checks: &Checks, keys: &Keys, request: &WebhookRequest<'_>) -> Result<Passed, Unverified> {
    if checks.schemes.is_empty() {
        return Err(Unverified::Refused(AuthFailure::NoSchemeForMethod));
    }
    let mut all = Passed::default();
    for (scheme, key) in checks.schemes.iter().zip(&keys.schemes) {
        let found = key.any(|key| {
            scheme.check(key, request).map_err(|error| match error {
                CheckError::Refused(refusal) => Unverified::Refused(refusal),
                CheckError::Secret(problem) => Unverified::Secret(scheme.secret_name().to_owned(), problem),
            })
        })?;
        all.replay_key = all.replay_key.or(found.replay_key);
        all.body = all.body.or(found.body);
    }
    Ok(all)
}

/// The other two ways a decision can end.
enum Unverified {
    Refused(AuthFailure),
    Secret(String, SecretProblem),
}

impl From<Unverified> for Verdict {
    fn from(unverified: Unverified) -> Self {
        match unverified {
            Unverified::Refused(refusal) => Self::Refused(refusal),
            Unverified::Secret(secret_name, problem) => Self::SecretUnusable { secret_name, problem },
        }
    }
}

/// The values that one decision needs; erased when it is made.
struct Keys {
    /// One for each scheme, in its order.
    schemes: Vec<Rotating>,
    token: Rotating,
}

/// A stored secret, and the one before it while that is still stored under `NAME_previous`: a provider that is told a new
/// secret goes on with the old one for a while.
#[derive(Default)]
struct Rotating {
    current: Zeroizing<Vec<u8>>,
    previous: Option<Zeroizing<Vec<u8>>>,
}

impl Rotating {
    fn load(
        name: &str,
        secrets: &SecretLookup<'_>,
        accepts: impl Fn(&[u8]) -> Result<(), SecretProblem>,
    ) -> Result<Self, Unverified> {
        let load = |name: &str| {
            let key = usable(name, secrets)?;
            accepts(&key).map(|()| key)
        };
        let current = load(name).map_err(|problem| Unverified::Secret(name.to_owned(), problem))?;
        Ok(Self { current, previous: load(&format!("{name}{PREVIOUS_SUFFIX}")).ok() })
    }

    /// What the check says with the current secret, unless it passes with the previous one.
    fn any<T>(&self, check: impl Fn(&[u8]) -> Result<T, Unverified>) -> Result<T, Unverified> {
        let result = check(&self.current);
        match (&result, &self.previous) {
            (Err(_), Some(previous)) => check(previous).or(result),
            _ => result,
        }
    }

    fn values(&self) -> impl Iterator<Item = &[u8]> {
        [Some(&self.current), self.previous.as_ref()].into_iter().flatten().map(|value| value.as_slice())
    }
}

/// What the name of a secret's previous value ends with.
const PREVIOUS_SUFFIX: &str = "_previous";

impl Keys {
    fn load(checks: &Checks, secrets: &SecretLookup<'_>) -> Result<Self, Unverified> {
        let token = match &checks.challenge {
            Some(challenge) => Rotating::load(&challenge.secret_name, secrets, |_| Ok(()))?,
            None => Rotating::default(),
        };
        let schemes = checks
            .schemes
            .iter()
            .map(|scheme| Rotating::load(scheme.secret_name(), secrets, |key| scheme.accepts_key(key)));
        Ok(Self { schemes: schemes.collect::<Result<_, _>>()?, token })
    }

    /// Secrets that a request may carry as they are; keys of signatures never travel.
    fn carried(&self) -> Vec<&[u8]> {
        self.schemes.iter().chain([&self.token]).flat_map(Rotating::values).collect()
    }
}

/// The stored value of a name, unless it is missing or blank.
pub(super) fn usable(name: &str, secrets: &SecretLookup<'_>) -> Result<Zeroizing<Vec<u8>>, SecretProblem> {
    let value = secrets(name)?.ok_or(SecretProblem::Missing)?;
    if value.iter().all(u8::is_ascii_whitespace) {
        return Err(SecretProblem::Missing);
    }
    Ok(value)
}

/// Compares the header with the stored secret.
pub(super) fn check_shared_secret(
    scheme: &SharedSecret,
    secret: &[u8],
    request: &WebhookRequest<'_>,
) -> Result<(), AuthFailure> {
    let sent = request.only(&scheme.header)?;
    let sent = sent.strip_prefix(&scheme.prefix).ok_or(AuthFailure::SecretMismatch)?;
    let equal = bool::from(digest(sent.as_bytes()).ct_eq(&digest(secret)));
    // An empty stored secret counts as missing long before; this is a second check.
    if equal && !secret.is_empty() { Ok(()) } else { Err(AuthFailure::SecretMismatch) }
}

/// Digests are compared instead of the values, so that not even a length shows in the time it takes.
pub(super) fn digest(value: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut bytes = [0; SHA256_OUTPUT_LEN];
    bytes.copy_from_slice(ring::digest::digest(&SHA256, value).as_ref());
    bytes
}

/// Which query parameter is compared with which stored secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    pub param: String,
    pub secret_name: String,
}

/// Whether a request is a challenge: a GET with the parameter. Every other request needs a scheme.
pub(super) fn is_challenge(challenge: &Challenge, request: &WebhookRequest<'_>) -> bool {
    request.method == "GET" && tokens(challenge, request).next().is_some()
}

/// Compares the token. Nothing signs a challenge's body, so it must have none.
pub(super) fn check_challenge(
    challenge: &Challenge,
    token: &[u8],
    request: &WebhookRequest<'_>,
) -> Result<(), AuthFailure> {
    if !request.body.is_empty() {
        return Err(AuthFailure::ChallengeWithBody);
    }
    let mut tokens = tokens(challenge, request);
    let sent = tokens.next().ok_or(AuthFailure::TokenMismatch)?;
    if tokens.next().is_some() {
        return Err(AuthFailure::TokenRepeated);
    }
    let equal = bool::from(digest(sent.as_bytes()).ct_eq(&digest(token)));
    // An empty stored token counts as missing long before; this is a second check.
    if equal && !token.is_empty() { Ok(()) } else { Err(AuthFailure::TokenMismatch) }
}

fn tokens<'a>(challenge: &'a Challenge, request: &WebhookRequest<'a>) -> impl Iterator<Item = String> + 'a {
    url::form_urlencoded::parse(request.query.as_bytes())
        .filter(|(name, _)| *name == challenge.param)
        .map(|(_, value)| value.into_owned())
}
