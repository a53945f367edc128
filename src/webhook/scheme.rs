//! The kinds of check a request can have to pass, as plain data.

use super::replay::ReplayKey;
use super::request::WebhookRequest;
use super::verify::{AuthFailure, SecretProblem};
use super::{ed25519, hmac, shared_secret, standard, twilio};
use crate::capability::webhook::{HmacAlgorithm, SignatureEncoding};

use super::template::SignedText;

/// One check. Secret names are in lower case, as are header names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    SharedSecret(SharedSecret),
    Keyed(Keyed),
    Stripe(KeyAndTolerance),
    Standard(KeyAndTolerance),
    Twilio(KeyAndTolerance),
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
pub(super) struct Keyed {
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
            Self::Stripe(scheme) | Self::Standard(scheme) | Self::Twilio(scheme) => &scheme.secret_name,
            Self::Ed25519(scheme) => &scheme.secret_name,
        }
    }

    /// Whether a stored value can be used as this check's key at all.
    pub fn accepts_key(&self, secret: &[u8]) -> Result<(), SecretProblem> {
        match self {
            Self::Standard(_) => standard::key(secret).map(|_| ()),
            Self::Ed25519(_) => ed25519::PublicKey::from_hex(secret).map(|_| ()),
            Self::SharedSecret(_) | Self::Keyed(_) | Self::Stripe(_) | Self::Twilio(_) => Ok(()),
        }
    }

    /// Checks a request. The replay key is `None` where nothing tells one request from the next.
    pub fn check(
        &self,
        secret: &[u8],
        request: &WebhookRequest<'_>,
    ) -> Result<Option<ReplayKey>, CheckError> {
        match self {
            Self::SharedSecret(scheme) => Ok(shared_secret::check(scheme, secret, request).map(|()| None)?),
            Self::Keyed(scheme) => Ok(hmac::check(scheme, secret, request)?),
            Self::Stripe(scheme) => Ok(hmac::check_stripe(scheme, secret, request)?),
            Self::Standard(scheme) => standard::check(scheme, secret, request),
            Self::Twilio(scheme) => Ok(twilio::check(scheme, secret, request)?),
            Self::Ed25519(scheme) => ed25519::check(scheme, secret, request),
        }
    }
}
