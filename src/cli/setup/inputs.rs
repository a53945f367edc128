//! What the command line and standard input give, and what was asked for.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

use super::needs::{NeededSecret, Needs};
use super::target::SetupTarget;
use crate::capability::{NotAccepted, RequiredSecret};
use crate::cli::args::SetupChannelArgs;
use crate::cli::output::Failure;
use crate::cli::prompt;
use crate::model::document::{is_comment, nearest};
use crate::model::regular_file;
use crate::model::unique_json::parse_json;
use crate::net::PublicUrl;
use crate::secrets::Secret;

/// Settings that are not in `config`.
const OWNER: &str = "owner_id";

/// How long a value for a secret that would be generated may take to arrive on standard input, which may be a pipe that
/// nobody writes to.
const GIVEN_INPUT_TIME: Duration = Duration::from_secs(2);

/// The most bytes that are read of a file with a secret; a longer secret could not be stored.
const MAX_SECRET_FILE_BYTES: u64 = 128 * 1024;

/// Why a secret or a setting that was given is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupInputError {
    /// The channel has no secret of this name.
    #[error("{channel} has no secret {name}; it has {known}")]
    UnknownSecret {
        /// The channel.
        channel: String,
        /// The name that was given.
        name: String,
        /// Those that it has, or `none`.
        known: String,
    },
    /// Nothing was given for a secret.
    #[error("the value of {0} is empty")]
    Empty(String),
    /// The value cannot be the secret.
    #[error("that is no value for {name}: {expected}")]
    NotThisSecret {
        /// The secret.
        name: String,
        /// What the value looks like, in words.
        expected: String,
    },
    /// The channel has no setting of this name.
    #[error("there is no such setting; {0}")]
    UnknownSetting(String),
    /// The channel does not accept the value of a setting.
    #[error(transparent)]
    NotAccepted(#[from] NotAccepted),
    /// The value of a setting has another type.
    #[error("give {0}")]
    Type(&'static str),
}

/// Everything that was given so far.
#[derive(Default)]
pub struct Given {
    /// Values by the names under which they are stored.
    pub secrets: BTreeMap<String, Secret>,
    /// Names of those that were asked for at the terminal.
    asked: Vec<String>,
    /// Settings of the channel.
    pub settings: Map<String, Value>,
    /// The public address.
    pub public_url: Option<PublicUrl>,
}

impl Given {
    /// Reads `--secret`, `--set` and `--public-url`.
    ///
    /// # Errors
    /// A secret or setting that the channel does not have, a value that it does not accept, or a file that cannot be read.
    pub fn from_arguments(target: &SetupTarget, arguments: &SetupChannelArgs) -> Result<Self, Failure> {
        let mut given = Self { public_url: arguments.public_url.clone(), ..Self::default() };
        for argument in &arguments.secret {
            let (name, file) = argument
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("--secret {argument}: expected NAME=FILE")))?;
            declared(target, name).map_err(Failure::usage)?;
            let value = read_secret(file)
                .map_err(|error| Failure::problem(format!("--secret {name}: {file}: {error}")))?;
            given.set_secret(target, name, value).map_err(Failure::usage)?;
        }
        for argument in &arguments.set {
            let (key, value) = argument
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("--set {argument}: expected KEY=VALUE")))?;
            given.set(target, key, value).map_err(|error| Failure::usage(format!("--set {key}: {error}")))?;
        }
        Ok(given)
    }

    /// Takes a secret of the channel, by the name that its file has for it or under which it is stored.
    ///
    /// # Errors
    /// The channel has no such secret, or does not accept the value.
    pub fn set_secret(
        &mut self,
        target: &SetupTarget,
        name: &str,
        value: Secret,
    ) -> Result<(), SetupInputError> {
        let declared = declared(target, name)?;
        let value = Secret::from(value.expose().trim());
        if value.is_empty() {
            return Err(SetupInputError::Empty(name.to_owned()));
        }
        if !declared.accepts(value.expose()) {
            let expected = looks_like(target, &declared);
            return Err(SetupInputError::NotThisSecret { name: name.to_owned(), expected });
        }
        self.secrets.insert(target.channel.stored_secret_name(&declared.name), value);
        Ok(())
    }

    /// Takes a secret that was asked for at the terminal.
    pub fn set_asked(
        &mut self,
        target: &SetupTarget,
        secret: &NeededSecret,
        value: Secret,
    ) -> Result<(), SetupInputError> {
        self.set_secret(target, &secret.declared.name, value)?;
        self.asked.push(secret.stored_name.clone());
        Ok(())
    }

    /// Forgets what was asked for, to ask again. What was on the command line can only be corrected there.
    pub fn forget_asked(&mut self) {
        for name in std::mem::take(&mut self.asked) {
            self.secrets.remove(&name);
        }
    }

    /// Takes a setting of the channel.
    ///
    /// # Errors
    /// The channel has no such setting, or does not accept the value.
    pub fn set(&mut self, target: &SetupTarget, key: &str, value: &str) -> Result<(), SetupInputError> {
        let setup = target.setup();
        let file = target.channel.capabilities_file();
        let asked = setup.settings.iter().find(|setting| setting.name == key);
        let known: Vec<&str> = file
            .config
            .keys()
            .map(String::as_str)
            .chain(setup.settings.iter().map(|setting| setting.name.as_str()))
            .chain([OWNER])
            .collect();
        if !known.contains(&key) && !is_comment(key) && !file.config.is_empty() {
            return Err(SetupInputError::UnknownSetting(match nearest(key, &known) {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => format!("there are {}", known.join(", ")),
            }));
        }
        if let Some(asked) = asked {
            asked.check(value)?;
        }
        let value = value_like(file.config.get(key), value, asked.is_some())?;
        self.settings.insert(key.to_owned(), value);
        Ok(())
    }

    /// Whether a secret is given.
    pub fn has_secret(&self, secret: &NeededSecret) -> bool {
        self.secrets.contains_key(&secret.stored_name)
    }

    /// Reads the only secret that is missing from standard input; where none is, one that would be generated, if something
    /// arrives there.
    ///
    /// # Errors
    /// It cannot be read, or is no value for it.
    pub fn complete_from_stdin(&mut self, target: &SetupTarget, needs: &Needs) -> Result<(), Failure> {
        let missing = self.missing(&needs.secrets);
        let secret = match (missing.as_slice(), self.missing(&needs.generated).as_slice()) {
            ([secret], _) => *secret,
            ([], [secret]) if prompt::has_input(GIVEN_INPUT_TIME) => *secret,
            _ => return Ok(()),
        };
        let value = prompt::secret("")
            .map_err(|error| Failure::problem(format!("standard input cannot be read: {error}")))?;
        if value.expose().trim().is_empty() {
            return Ok(());
        }
        self.set_secret(target, &secret.declared.name, value).map_err(Failure::usage)
    }

    /// Those that are neither stored nor given.
    fn missing<'n>(&self, secrets: &'n [NeededSecret]) -> Vec<&'n NeededSecret> {
        secrets.iter().filter(|secret| !secret.is_stored && !self.has_secret(secret)).collect()
    }
}

/// The secret of the channel with this name, in its file or as it is stored.
fn declared(target: &SetupTarget, name: &str) -> Result<RequiredSecret, SetupInputError> {
    let secrets = target.setup().required_secrets;
    let is_meant = |secret: &&RequiredSecret| {
        secret.name.eq_ignore_ascii_case(name)
            || target.channel.stored_secret_name(&secret.name).eq_ignore_ascii_case(name)
    };
    secrets.iter().find(is_meant).cloned().ok_or_else(|| {
        let names: Vec<&str> = secrets.iter().map(|secret| &*secret.name).collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        SetupInputError::UnknownSecret { channel: target.name().to_string(), name: name.to_owned(), known }
    })
}

/// What a value is to look like, in words.
fn looks_like(target: &SetupTarget, declared: &RequiredSecret) -> String {
    let auth = target.auth();
    let is_the_one = auth.secret_name.is_some_and(|name| name.eq_ignore_ascii_case(&declared.name));
    match auth.token_hint.filter(|_| is_the_one) {
        Some(hint) => hint,
        None => format!("the channel expects {}", declared.validation.as_deref().unwrap_or_default()),
    }
}

fn read_secret(file: &str) -> io::Result<Secret> {
    if file == "-" {
        return prompt::secret("");
    }
    let mut text = zeroize::Zeroizing::new(String::new());
    regular_file::read_named(Path::new(file))?.take(MAX_SECRET_FILE_BYTES).read_to_string(&mut text)?;
    Ok(Secret::from(text.as_str()))
}

/// A value of the type that the channel's own file has there: a text stays a text, whatever it looks like. Lists may be
/// written with commas.
fn value_like(own: Option<&Value>, text: &str, is_asked: bool) -> Result<Value, SetupInputError> {
    let read = || parse_json(text.as_bytes());
    match own {
        Some(Value::String(_)) => Ok(Value::from(text)),
        Some(Value::Bool(_)) => {
            text.parse().map(Value::Bool).map_err(|_| SetupInputError::Type("true or false"))
        }
        Some(Value::Number(_)) => {
            read().ok().filter(Value::is_number).ok_or(SetupInputError::Type("a number"))
        }
        Some(Value::Array(_)) => Ok(match read() {
            Ok(list @ Value::Array(_)) => list,
            _ => text.split(',').map(|item| scalar(item.trim())).filter(|item| *item != "").collect(),
        }),
        Some(Value::Object(_)) => {
            read().ok().filter(Value::is_object).ok_or(SetupInputError::Type("a JSON object"))
        }
        Some(Value::Null) | None if is_asked => Ok(Value::from(text)),
        Some(Value::Null) | None => Ok(scalar(text)),
    }
}

/// A number, a flag, or the text itself.
fn scalar(text: &str) -> Value {
    let read = serde_json::from_str::<Value>(text).ok();
    read.filter(|value| value.is_i64() || value.is_boolean()).unwrap_or_else(|| Value::from(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_has_the_type_of_the_one_in_the_file() {
        for (own, text, expected) in [
            (Some(json!("pairing")), "5", Ok(json!("5"))),
            (Some(json!(true)), "false", Ok(json!(false))),
            (Some(json!(true)), "no", Err("true or false")),
            (Some(json!(5000)), "20", Ok(json!(20))),
            (Some(json!(5000)), "many", Err("a number")),
            (Some(json!([])), "7, U2,-3", Ok(json!([7, "U2", -3]))),
            (Some(json!([])), "[\"7\"]", Ok(json!(["7"]))),
            (Some(json!([])), "", Ok(json!([]))),
            (Some(json!({})), "{\"a\": 1}", Ok(json!({"a": 1}))),
            (Some(json!({})), "a", Err("a JSON object")),
            (None, "7", Ok(json!(7))),
            (None, "U7", Ok(json!("U7"))),
        ] {
            let value = value_like(own.as_ref(), text, false);
            assert_eq!(value, expected.map_err(SetupInputError::Type), "{own:?} {text}");
        }
        assert_eq!(value_like(None, "+49151", true), Ok(json!("+49151")), "a number to be called is a text");
    }
}
