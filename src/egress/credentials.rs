//! Putting secrets into a request that has passed every check.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::allowlist::PathPrefix;
use super::error::OutboundError;
use super::glob;
use super::headers::OutboundHeader;
use super::host_pattern::HostPattern;
use super::placeholders;
use super::settings::HttpCapabilityError;
use super::target::{self, OutboundTarget};
use crate::capability::http::{CredentialLocation, HttpCredential};
use crate::net::header_field;
use crate::secrets::{AllowedNames, Secret, SecretError, SecretStore, normalise_name};

/// The longest URL after secrets were put in, in bytes.
const MAX_FINAL_URL_BYTES: usize = 16 * 1024;
/// The longest header value after secrets were put in, in bytes.
const MAX_FINAL_HEADER_BYTES: usize = 16 * 1024;

/// Everything that a query leaves alone in every server's eyes (RFC 3986, section 2.3).
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Characters of a path segment (RFC 3986, `pchar`): Telegram's token has a colon, and must keep it.
const PATH_VALUE: &AsciiSet = &QUERY_VALUE
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// The compiled `http.credentials` of a channel.
pub(super) struct Credentials {
    entries: Vec<BoundCredential>,
    /// Names of secrets that may be placeholders without an entry.
    allowed: AllowedNames,
}

struct BoundCredential {
    secret: String,
    placeholders: Vec<String>,
    location: Location,
    hosts: Vec<HostPattern>,
    /// Empty: every path.
    paths: Vec<PathPattern>,
    optional: bool,
    /// Whether the log says that requests go out without it: set once, by the first such request, never cleared.
    missing_logged: AtomicBool,
}

enum Location {
    Basic { username: String },
    Header { name: String, prefix: String },
    Query { name: String },
    JsonField { name: String },
    Path,
}

enum PathPattern {
    Prefix(PathPrefix),
    Glob(String),
}

/// The request as it goes out. Erased after use, because it holds secrets.
pub(super) struct Injected {
    /// Path and query.
    pub(super) path_and_query: Zeroizing<String>,
    pub(super) headers: Vec<(String, Zeroizing<String>)>,
    /// The body with secrets in it; none where the guest's goes out as it is.
    pub(super) body: Option<Zeroizing<Vec<u8>>>,
}

impl Credentials {
    /// Compiles the credentials of a capability file.
    pub(super) fn new<'a>(
        credentials: impl IntoIterator<Item = (&'a String, &'a HttpCredential)>,
        allowed: AllowedNames,
        required: &[String],
    ) -> Result<Self, HttpCapabilityError> {
        let compiled = credentials.into_iter().map(|(id, credential)| {
            compile(credential, required).map_err(|problem| HttpCapabilityError {
                place: format!("http.credentials.{id}"),
                reason: problem.to_string(),
            })
        });
        Ok(Self { entries: compiled.collect::<Result<_, _>>()?, allowed })
    }

    /// The names of the secrets that the file declares, to be guarded against leaks.
    pub(super) fn declared(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.secret.as_str()).chain(self.allowed.exact())
    }

    /// Whether a credential of the file puts this secret into requests.
    pub(super) fn has_entry_for(&self, secret: &str) -> bool {
        self.entries.iter().any(|entry| entry.secret == secret)
    }

    /// Puts credentials and placeholders into a request that was found to be allowed.
    ///
    /// # Errors
    /// A secret that is missing, that is not for this host and path, or whose value does not fit where it would stand.
    pub(super) fn inject(
        &self,
        caller: &str,
        target: &OutboundTarget,
        guest_headers: &[OutboundHeader],
        guest_body: Option<&[u8]>,
        store: &dyn SecretStore,
    ) -> Result<Injected, OutboundError> {
        let path = self.fill_path(target, store)?;
        let mut query = self.fill_query(target, store)?;
        let mut headers = self.fill_headers(target, guest_headers, store)?;
        let mut body = None;
        for entry in self.entries.iter().filter(|entry| entry.applies(target)) {
            if matches!(entry.location, Location::Path) {
                continue;
            }
            match (store.get(&entry.secret)?, entry.optional) {
                (Some(value), _) => match &entry.location {
                    Location::JsonField { name } => {
                        let before = body.as_ref().map(|body: &Zeroizing<Vec<u8>>| body.as_slice());
                        let before = before.or(guest_body).unwrap_or_default();
                        body = Some(with_field(before, name, &value).ok_or_else(|| unfit(entry, "body"))?);
                    }
                    _ => place(entry, &value, &mut query, &mut headers)?,
                },
                (None, true) => entry.log_missing(caller),
                (None, false) => return Err(missing(store, &entry.secret)),
            }
        }
        let path_and_query = match query {
            Some(query) => Zeroizing::new(format!("{}?{}", *path, *query)),
            None => path,
        };
        if path_and_query.len() > MAX_FINAL_URL_BYTES {
            return Err(OutboundError::Url("it is too long once its secrets are put in"));
        }
        Ok(Injected { path_and_query, headers, body })
    }

    /// What would be put into a request to this target: names and places, no values.
    ///
    /// # Errors
    /// As of [`inject`](Self::inject).
    #[cfg(feature = "cli")]
    pub(super) fn explain(
        &self,
        target: &OutboundTarget,
        store: &dyn SecretStore,
    ) -> Result<String, OutboundError> {
        // A credential may be a field of the body, which the request has then.
        self.inject("", target, &[], Some(b"{}"), store)?;
        let mut parts = Vec::new();
        for (name, in_path) in target.placeholders() {
            if let Resolved::Secret(secret, _) = self.resolve(name, target, store)? {
                parts.push(format!("{secret} in the {}", if in_path { "path" } else { "query" }));
            }
        }
        for entry in self.entries.iter().filter(|entry| entry.applies(target)) {
            let place = match &entry.location {
                Location::Basic { .. } => "the header Authorization (Basic)".to_owned(),
                Location::Header { name, .. } => format!("the header {name}"),
                Location::Query { name } => format!("the query parameter {name}"),
                Location::JsonField { name } => format!("the field {name} of the body"),
                Location::Path => continue,
            };
            parts.push(match store.get(&entry.secret)? {
                Some(_) => format!("{} in {place}", entry.secret),
                None => format!("{} is not stored, so {place} is left out", entry.secret),
            });
        }
        Ok(if parts.is_empty() { "none are put in".to_owned() } else { parts.join("; ") })
    }

    fn fill_path(
        &self,
        target: &OutboundTarget,
        store: &dyn SecretStore,
    ) -> Result<Zeroizing<String>, OutboundError> {
        let values = self.values(target, store, |in_path| in_path)?;
        let before = target.path_with(|name| name.to_owned());
        let path = Zeroizing::new(target.path_with(|name| match lookup(&values, name) {
            Some(value) => utf8_percent_encode(value.secret.expose(), PATH_VALUE).to_string(),
            None => format!("%7B{name}%7D"),
        }));
        let slash = values.iter().find(|value| value.secret.expose().contains(['/', '\\']));
        let culprit = slash.or_else(|| {
            let kept = target::keeps_structure(&target.origin(), &path, before.split('/').count());
            if kept { None } else { values.first() }
        });
        match culprit {
            Some(value) => Err(OutboundError::CredentialUnfit { secret: value.name.clone(), place: "path" }),
            None => Ok(path),
        }
    }

    fn fill_query(
        &self,
        target: &OutboundTarget,
        store: &dyn SecretStore,
    ) -> Result<Option<Zeroizing<String>>, OutboundError> {
        let values = self.values(target, store, |in_path| !in_path)?;
        let query = target.query_with(|name| match lookup(&values, name) {
            Some(value) => utf8_percent_encode(value.secret.expose(), QUERY_VALUE).to_string(),
            None => format!("{{{name}}}"),
        });
        Ok(query.map(Zeroizing::new))
    }

    /// The values for the placeholders of a URL's path or query.
    fn values(
        &self,
        target: &OutboundTarget,
        store: &dyn SecretStore,
        wanted: impl Fn(bool) -> bool,
    ) -> Result<Vec<CredentialValue>, OutboundError> {
        let mut values: Vec<CredentialValue> = Vec::new();
        for (name, in_path) in target.placeholders() {
            if !wanted(in_path) || lookup(&values, name).is_some() {
                continue;
            }
            match self.resolve(name, target, store)? {
                Resolved::Text => {}
                Resolved::Secret(name_of_secret, secret) => {
                    values.push(CredentialValue {
                        placeholder: name.to_owned(),
                        name: name_of_secret,
                        secret,
                    });
                }
                // Without its value the URL would name another thing.
                Resolved::LeftOut(secret) => return Err(missing(store, &secret)),
            }
        }
        Ok(values)
    }

    /// The guest's headers with their placeholders filled. One that needs an optional secret that is missing is left out.
    fn fill_headers(
        &self,
        target: &OutboundTarget,
        guest: &[OutboundHeader],
        store: &dyn SecretStore,
    ) -> Result<Vec<(String, Zeroizing<String>)>, OutboundError> {
        let mut filled = Vec::with_capacity(guest.len());
        for header in guest {
            if let Some(value) = self.fill_value(target, &header.value, store)? {
                filled.push((header.name.clone(), value));
            }
        }
        Ok(filled)
    }

    fn fill_value(
        &self,
        target: &OutboundTarget,
        value: &str,
        store: &dyn SecretStore,
    ) -> Result<Option<Zeroizing<String>>, OutboundError> {
        let mut out = Zeroizing::new(String::with_capacity(value.len()));
        let mut copied = 0;
        for (range, name) in placeholders::find(value) {
            match self.resolve(name, target, store)? {
                Resolved::Text => continue,
                Resolved::LeftOut(_) => return Ok(None),
                Resolved::Secret(name, secret) => {
                    out.push_str(&value[copied..range.start]);
                    out.push_str(secret.expose());
                    copied = range.end;
                    check_header(&out, &name)?;
                }
            }
        }
        out.push_str(&value[copied..]);
        Ok(Some(out))
    }

    /// What a placeholder stands for in a request to this target.
    fn resolve(
        &self,
        name: &str,
        target: &OutboundTarget,
        store: &dyn SecretStore,
    ) -> Result<Resolved, OutboundError> {
        let mut named =
            self.entries.iter().filter(|entry| entry.placeholders.iter().any(|p| p == name)).peekable();
        let Some(first) = named.peek().copied() else {
            return self.resolve_without_entry(name, store);
        };
        let Some(entry) = named.find(|entry| entry.applies(target)) else {
            let (secret, host) = (first.secret.clone(), target.host().to_owned());
            return Err(OutboundError::CredentialNotForHost { secret, host });
        };
        match store.get(&entry.secret)? {
            Some(value) => Ok(Resolved::Secret(entry.secret.clone(), value)),
            None if entry.optional => Ok(Resolved::LeftOut(entry.secret.clone())),
            None => Err(missing(store, &entry.secret)),
        }
    }

    /// A secret without an entry may be a placeholder when `secrets.allowed_names` matches it. The target is on the
    /// channel's own allow-list: that was checked before.
    fn resolve_without_entry(&self, name: &str, store: &dyn SecretStore) -> Result<Resolved, OutboundError> {
        let secret = name.to_ascii_lowercase();
        if !self.allowed.allows(&secret) || normalise_name(&secret).is_err() {
            return Ok(Resolved::Text);
        }
        match store.get(&secret)? {
            Some(value) => Ok(Resolved::Secret(secret, value)),
            None => Err(missing(store, &secret)),
        }
    }
}

fn missing(store: &dyn SecretStore, secret: &str) -> OutboundError {
    OutboundError::MissingSecret { secret: store.stored_name(secret) }
}

enum Resolved {
    /// Not a secret's placeholder: stays as the guest wrote it.
    Text,
    Secret(String, Secret),
    /// An optional secret that is missing.
    LeftOut(String),
}

struct CredentialValue {
    placeholder: String,
    name: String,
    secret: Secret,
}

fn lookup<'v>(values: &'v [CredentialValue], placeholder: &str) -> Option<&'v CredentialValue> {
    values.iter().find(|value| value.placeholder == placeholder)
}

impl BoundCredential {
    fn log_missing(&self, caller: &str) {
        if !self.missing_logged.swap(true, Ordering::Relaxed) {
            log::info!(
                target: "tinclaw::outbound",
                "{caller}: the secret '{}' is not stored; requests go out without it, with the guest's own header",
                self.secret
            );
        }
    }

    fn applies(&self, target: &OutboundTarget) -> bool {
        let path = target.path();
        self.hosts.iter().any(|host| host.matches(target.host(), target.port()))
            && (self.paths.is_empty() || self.paths.iter().any(|pattern| pattern.matches(path)))
    }
}

impl PathPattern {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Prefix(prefix) => prefix.matches(path),
            Self::Glob(pattern) => glob::matches(pattern, path),
        }
    }
}

/// Puts a credential where its declaration says.
fn place(
    entry: &BoundCredential,
    value: &Secret,
    query: &mut Option<Zeroizing<String>>,
    headers: &mut Vec<(String, Zeroizing<String>)>,
) -> Result<(), OutboundError> {
    let (name, text) = match &entry.location {
        Location::Path | Location::JsonField { .. } => return Ok(()),
        Location::Query { name } => {
            *query = Some(with_parameter(query.as_ref().map(|query| query.as_str()), name, value));
            return Ok(());
        }
        Location::Basic { username } => {
            let pair = Zeroizing::new(format!("{username}:{}", value.expose()));
            ("authorization", Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
        }
        Location::Header { name, prefix } => {
            (name.as_str(), Zeroizing::new(format!("{prefix}{}", value.expose())))
        }
    };
    check_header(&text, &entry.secret)?;
    headers.retain(|(other, _)| other != name);
    headers.push((name.to_owned(), text));
    Ok(())
}

fn check_header(value: &str, secret: &str) -> Result<(), OutboundError> {
    if header_field::is_value(value) && value.len() <= MAX_FINAL_HEADER_BYTES {
        return Ok(());
    }
    Err(OutboundError::CredentialUnfit { secret: secret.to_owned(), place: "header" })
}

/// A query with a parameter set, instead of any of that name that the guest wrote.
fn with_parameter(query: Option<&str>, name: &str, value: &Secret) -> Zeroizing<String> {
    let is_it = |pair: &str| {
        let written = pair.split('=').next().unwrap_or_default().replace('+', " ");
        let decoded: Cow<'_, [u8]> = percent_decode_str(&written).into();
        decoded.as_ref() == name.as_bytes()
    };
    let mut out = Zeroizing::new(String::new());
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !is_it(pair)) {
        out.push_str(pair);
        out.push('&');
    }
    out.extend(utf8_percent_encode(name, QUERY_VALUE));
    out.push('=');
    out.extend(utf8_percent_encode(value.expose(), QUERY_VALUE));
    out
}

fn unfit(entry: &BoundCredential, place: &'static str) -> OutboundError {
    OutboundError::CredentialUnfit { secret: entry.secret.clone(), place }
}

/// A JSON object with a field set, instead of one of that name that the guest wrote. None when the body is no object.
fn with_field(body: &[u8], name: &str, value: &Secret) -> Option<Zeroizing<Vec<u8>>> {
    let mut fields: Map<String, Value> = serde_json::from_slice(body).ok()?;
    fields.remove(name);
    let mut out = Zeroizing::new(serde_json::to_vec(&fields).ok()?);
    out.pop();
    if !fields.is_empty() {
        out.push(b',');
    }
    out.extend(Value::from(name).to_string().bytes());
    out.push(b':');
    out.extend(Zeroizing::new(serde_json::to_string(value.expose()).ok()?).bytes());
    out.push(b'}');
    Some(out)
}

/// Why a credential of a capability file cannot be used.
#[derive(Debug, thiserror::Error)]
enum CredentialProblem {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("location.username must not contain a colon or control characters")]
    Username,
    #[error("location.name is no header name, or location.prefix has control characters")]
    Header,
    #[error("location.name is empty")]
    EmptyName,
    #[error("location.placeholder must look like {{UPPER_CASE}}, with its braces")]
    Placeholder,
    #[error("host_patterns: '{pattern}': {reason}")]
    Host { pattern: String, reason: &'static str },
    #[error("path_patterns: '{pattern}': {reason}")]
    Path { pattern: String, reason: &'static str },
}

/// `required` are the names of the secrets without which the channel does not work; what the file puts into requests and
/// does not list there is optional.
fn compile(credential: &HttpCredential, required: &[String]) -> Result<BoundCredential, CredentialProblem> {
    let secret = normalise_name(&credential.secret_name)?;
    let mut placeholders = vec![placeholders::name_of_secret(&secret)];
    let location = match &credential.location {
        CredentialLocation::Bearer {} => {
            Location::Header { name: "authorization".to_owned(), prefix: "Bearer ".to_owned() }
        }
        CredentialLocation::Basic { username } => {
            if username.contains(':') || !header_field::is_value(username) {
                return Err(CredentialProblem::Username);
            }
            Location::Basic { username: username.clone() }
        }
        CredentialLocation::Header { name, prefix } => {
            let prefix = prefix.clone().unwrap_or_default();
            if !header_field::is_name(name) || !header_field::is_value(&prefix) {
                return Err(CredentialProblem::Header);
            }
            Location::Header { name: name.to_ascii_lowercase(), prefix }
        }
        CredentialLocation::QueryParam { name } => {
            if name.is_empty() {
                return Err(CredentialProblem::EmptyName);
            }
            Location::Query { name: name.clone() }
        }
        CredentialLocation::JsonField { name } => {
            if name.is_empty() {
                return Err(CredentialProblem::EmptyName);
            }
            Location::JsonField { name: name.clone() }
        }
        CredentialLocation::UrlPath { placeholder } => {
            let name = placeholder.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let Some(name) = name.filter(|name| placeholders::is_name(name)) else {
                return Err(CredentialProblem::Placeholder);
            };
            placeholders.push(name.to_owned());
            Location::Path
        }
    };
    let hosts = credential.host_patterns.iter().map(|pattern| {
        HostPattern::parse(pattern)
            .map_err(|reason| CredentialProblem::Host { pattern: pattern.clone(), reason })
    });
    let paths = credential.path_patterns.iter().map(|pattern| {
        compile_path(pattern).map_err(|reason| CredentialProblem::Path { pattern: pattern.clone(), reason })
    });
    let is_required = required.iter().any(|name| name.eq_ignore_ascii_case(&secret));
    Ok(BoundCredential {
        secret,
        placeholders,
        location,
        hosts: hosts.collect::<Result<_, _>>()?,
        paths: paths.collect::<Result<_, _>>()?,
        optional: credential.optional || !is_required,
        missing_logged: AtomicBool::new(false),
    })
}

fn compile_path(pattern: &str) -> Result<PathPattern, &'static str> {
    if pattern.contains('*') {
        Ok(PathPattern::Glob(target::normalise_path(pattern)?))
    } else {
        Ok(PathPattern::Prefix(PathPrefix::parse(pattern)?))
    }
}
