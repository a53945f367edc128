//! What a capability file lets its channel do, as a list that a person reads; and what one file allows beyond another. Two
//! files go in, rights come out.

use std::fmt;

use crate::capability::http::{CredentialLocation, HttpCapability};
use crate::capability::limits::LIMITS;
use crate::capability::{AllowlistEntry, ChannelSection, SetupSection, WebsocketCapability};
use crate::channel::{ChannelCapabilitiesFile, ChannelName};
use crate::webhook::{AuthPlan, Requirement};

/// The port of `https`.
const HTTPS_PORT: u16 = 443;

/// One thing that a channel may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Requests to a place. No prefix and no methods: any.
    Request { host: String, port: u16, prefix: String, methods: Vec<String> },
    /// The host puts a secret into requests to a host. No paths: all.
    Credential { secret: String, location: String, host: String, paths: Vec<String> },
    /// The guest gets the value of a secret.
    SecretValue(String),
    /// The guest may ask whether secrets of this name are stored.
    SecretNames(String),
    /// An environment variable of the process is one of its secrets.
    EnvVariable { variable: String, secret: String },
    /// `tinclaw setup` and `tinclaw status` send secrets there.
    Question(String),
    /// Requests of others come in at a path.
    Path(String),
    /// They come in with a method.
    Method(String),
    /// They come in from anybody.
    Unauthenticated,
    /// They come in when they prove this: a text for people, and everything that counts.
    Authenticated { text: String, plan: String },
    /// It is called every so many milliseconds.
    Poll(u64),
    /// The host keeps a websocket open, and logs in with secrets.
    Websocket { url: String, protocol: String, secrets: Vec<String> },
    /// It may take so much.
    Limit { field: &'static str, unit: &'static str, value: u64 },
}

/// What a file allows. Limits that it leaves at their defaults are not in the list.
pub(crate) fn rights_of(channel: &ChannelName, file: &ChannelCapabilitiesFile) -> Vec<Right> {
    let is_asked_for =
        |right: &Right| !matches!(right, Right::Limit { field, value, .. } if *value <= default_of(field));
    all_rights(channel, file).into_iter().filter(is_asked_for).collect()
}

/// What `new` allows and `old` does not.
pub(crate) fn rights_added(
    channel: &ChannelName,
    old: &ChannelCapabilitiesFile,
    new: &ChannelCapabilitiesFile,
) -> Vec<Right> {
    let granted = all_rights(channel, old);
    let is_new = |right: &Right| !granted.iter().any(|old| old.covers(right));
    all_rights(channel, new).into_iter().filter(is_new).collect()
}

fn all_rights(channel: &ChannelName, file: &ChannelCapabilitiesFile) -> Vec<Right> {
    let capabilities = &file.capabilities;
    let mut rights = Vec::new();
    rights.extend(capabilities.http.iter().flat_map(of_http));
    let names = capabilities.secrets.iter().flat_map(|secrets| &secrets.allowed_names);
    rights.extend(names.map(|name| Right::SecretNames(name.to_ascii_lowercase())));
    if let Some(auth) = &file.auth
        && let (Some(secret), Some(variable)) = (&auth.secret_name, &auth.env_var)
    {
        rights.push(Right::EnvVariable { variable: variable.clone(), secret: secret.clone() });
    }
    rights.extend(file.setup.iter().flat_map(of_setup));
    rights.extend(capabilities.channel.iter().flat_map(|section| of_channel(channel, section)));
    rights.extend(capabilities.websocket.as_ref().and_then(of_websocket));
    rights.extend(LIMITS.iter().map(|limit| Right::Limit {
        field: limit.field,
        unit: limit.unit,
        value: (limit.asked)(&capabilities.into()).unwrap_or(limit.default),
    }));
    rights
}

fn default_of(field: &str) -> u64 {
    LIMITS.iter().find(|limit| limit.field == field).map_or(0, |limit| limit.default)
}

fn of_http(http: &HttpCapability) -> Vec<Right> {
    let mut rights: Vec<Right> = http.allowlist.iter().map(of_entry).collect();
    for credential in http.credentials.values() {
        rights.extend(credential.host_patterns.iter().map(|host| Right::Credential {
            secret: credential.secret_name.to_ascii_lowercase(),
            location: place_of(&credential.location),
            host: without_dot(host),
            paths: credential.path_patterns.clone(),
        }));
    }
    rights
}

fn of_entry(entry: &AllowlistEntry) -> Right {
    let named = entry.host.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = named.unwrap_or((entry.host.as_str(), HTTPS_PORT));
    let mut methods: Vec<String> = entry.methods.iter().map(|method| method.to_ascii_uppercase()).collect();
    methods.sort();
    Right::Request {
        host: without_dot(host),
        port: entry.port.unwrap_or(port),
        prefix: entry.path_prefix.clone().filter(|prefix| prefix != "/").unwrap_or_default(),
        methods,
    }
}

fn without_dot(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

fn place_of(location: &CredentialLocation) -> String {
    match location {
        CredentialLocation::Bearer {} => "as a bearer token".to_owned(),
        CredentialLocation::Basic { username } => format!("as the password of {username}"),
        CredentialLocation::Header { name, prefix: None } => format!("in the header {name}"),
        CredentialLocation::Header { name, prefix: Some(prefix) } => {
            format!("in the header {name} after {prefix:?}")
        }
        CredentialLocation::QueryParam { name } => format!("in the parameter {name}"),
        CredentialLocation::JsonField { name } => format!("in the field {name} of the body"),
        CredentialLocation::UrlPath { placeholder } => format!("in the path as {placeholder}"),
    }
}

fn of_setup(setup: &SetupSection) -> Vec<Right> {
    let values = setup.secret_config_mappings.iter();
    let values = values.map(|mapping| Right::SecretValue(mapping.secret_name.to_ascii_lowercase()));
    let validation = setup.validation_endpoint.iter().map(|url| {
        let method = setup.validation_method.as_deref().unwrap_or("GET");
        Right::Question(format!("{method} {url}"))
    });
    let status = setup.status.iter().map(|query| {
        let method = query.method.as_deref().unwrap_or("GET");
        Right::Question(format!("{method} {}", query.url))
    });
    values.chain(validation).chain(status).collect()
}

fn of_channel(channel: &ChannelName, section: &ChannelSection) -> Vec<Right> {
    let mut rights: Vec<Right> = section.allowed_paths.iter().cloned().map(Right::Path).collect();
    let webhook = section.webhook.clone().unwrap_or_default();
    // Where an id is does not decide who is let in.
    let webhook = crate::capability::WebhookCapability { dedupe: None, ..webhook };
    if let Ok(plan) = AuthPlan::from(&webhook, channel.as_str()) {
        rights.extend(plan.guest_secret_name().map(|name| Right::SecretValue(name.to_owned())));
        let takes_requests = !section.allowed_paths.is_empty();
        match plan.requirement() {
            Requirement::Open if takes_requests => rights.push(Right::Unauthenticated),
            Requirement::Checked if takes_requests => rights.push(Right::Authenticated {
                text: plan.secret_names().join(", "),
                plan: format!("{plan:?} {:?}", webhook.tolerance_secs),
            }),
            Requirement::Open | Requirement::Checked | Requirement::NoRoute(_) => {}
        }
        if takes_requests {
            rights.extend(webhook.methods.iter().map(|method| Right::Method(method.to_ascii_uppercase())));
        }
    }
    if section.allow_polling {
        let interval = section.min_poll_interval().as_millis();
        rights.push(Right::Poll(u64::try_from(interval).unwrap_or(u64::MAX)));
    }
    rights
}

fn of_websocket(websocket: &WebsocketCapability) -> Option<Right> {
    if websocket.connect_on_start == Some(false) {
        return None;
    }
    let WebsocketCapability { identify_secret_name, bot_id_secret_name, bot_secret_name, .. } = websocket;
    let secrets = [identify_secret_name, bot_id_secret_name, bot_secret_name].into_iter().flatten();
    Some(Right::Websocket {
        url: websocket.url.clone(),
        protocol: format!("{:?}", websocket.protocol),
        secrets: secrets.map(|name| name.to_ascii_lowercase()).collect(),
    })
}

impl Right {
    /// Whether whoever has this right has the other one too.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Request { host, port, prefix, methods },
                Self::Request { host: of_other, port: its_port, prefix: its_prefix, methods: its_methods },
            ) => {
                host_covers(host, of_other)
                    && port == its_port
                    && its_prefix.starts_with(prefix.as_str())
                    && all_of(its_methods, methods)
            }
            (
                Self::Credential { secret, location, host, paths },
                Self::Credential { secret: other, location: its_location, host: its_host, paths: its_paths },
            ) => {
                secret == other
                    && location == its_location
                    && host_covers(host, its_host)
                    && all_of(its_paths, paths)
            }
            (Self::SecretNames(pattern), Self::SecretNames(other)) => match pattern.strip_suffix('*') {
                Some(prefix) => other.starts_with(prefix),
                None => pattern == other,
            },
            (Self::Poll(interval), Self::Poll(other)) => interval <= other,
            (
                Self::Websocket { url, protocol, secrets },
                Self::Websocket { url: other, protocol: its_protocol, secrets: its_secrets },
            ) => {
                url == other
                    && protocol == its_protocol
                    && its_secrets.iter().all(|secret| secrets.contains(secret))
            }
            (Self::Limit { field, value, .. }, Self::Limit { field: other, value: wanted, .. }) => {
                field == other && value >= wanted
            }
            (Self::Authenticated { plan, .. }, Self::Authenticated { plan: other, .. }) => plan == other,
            // Whoever lets everybody in lets in those that prove something.
            (Self::Unauthenticated, Self::Authenticated { .. }) => true,
            (this, other) => this == other,
        }
    }
}

/// Whether a pattern of hosts stands for all that the other one stands for.
fn host_covers(pattern: &str, other: &str) -> bool {
    let subdomains = pattern.strip_prefix('*').filter(|suffix| suffix.starts_with('.'));
    pattern == other || subdomains.is_some_and(|suffix| other.ends_with(suffix) && other.len() > suffix.len())
}

/// Whether `wanted` is within `granted`, where an empty list is everything.
fn all_of(wanted: &[String], granted: &[String]) -> bool {
    granted.is_empty() || (!wanted.is_empty() && wanted.iter().all(|each| granted.contains(each)))
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { host, port, prefix, methods } => {
                let methods = if methods.is_empty() { "any".to_owned() } else { methods.join(", ") };
                write!(f, "sends {methods} requests to {host}")?;
                if *port != HTTPS_PORT {
                    write!(f, ":{port}")?;
                }
                if prefix.is_empty() { Ok(()) } else { write!(f, "{prefix}…") }
            }
            Self::Credential { secret, location, host, paths } => {
                write!(f, "sends the secret {secret} to {host} {location}")?;
                if paths.is_empty() { Ok(()) } else { write!(f, ", at {}", paths.join(", ")) }
            }
            Self::SecretValue(secret) => write!(f, "its guest gets the value of the secret {secret}"),
            Self::SecretNames(names) => write!(f, "asks whether the secret {names} is stored"),
            Self::EnvVariable { variable, secret } => {
                write!(f, "takes the environment variable {variable} as the secret {secret}")
            }
            Self::Question(url) => write!(f, "setup and status ask {url}"),
            Self::Path(path) => write!(f, "takes requests at {path}"),
            Self::Method(method) => write!(f, "takes {method} requests"),
            Self::Unauthenticated => write!(f, "takes requests from anybody, without authentication"),
            Self::Authenticated { text, .. } => {
                write!(f, "takes requests that are authenticated with the secret {text}")
            }
            Self::Poll(interval) => match interval % 1000 {
                0 => write!(f, "is polled every {} s or less often", interval / 1000),
                _ => write!(f, "is polled every {interval} ms or less often"),
            },
            Self::Websocket { url, secrets, .. } if secrets.is_empty() => {
                write!(f, "keeps a websocket open to {url}")
            }
            Self::Websocket { url, secrets, .. } => {
                write!(f, "keeps a websocket open to {url}, with the secret {}", secrets.join(", "))
            }
            Self::Limit { field, unit, value } => {
                let (value, unit) = in_large_units(*value, unit);
                write!(f, "may take {value} {unit} ({field})")
            }
        }
    }
}

/// Whole MiB and KiB are easier to read than bytes.
fn in_large_units(value: u64, unit: &'static str) -> (u64, &'static str) {
    match unit {
        "bytes" if value != 0 && value.is_multiple_of(1 << 20) => (value >> 20, "MiB"),
        "bytes" if value != 0 && value.is_multiple_of(1 << 10) => (value >> 10, "KiB"),
        unit => (value, unit),
    }
}

#[cfg(test)]
#[path = "right_tests.rs"]
mod tests;
