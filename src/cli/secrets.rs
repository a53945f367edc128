//! `tinclaw secrets`. No value is ever taken from the command line, and none is printed that the host has not made itself.

use std::io::{self, IsTerminal as _};

use log::LevelFilter;
use serde_json::{Value, json};

use super::args::{Common, JsonArgs, SecretsCommand};
use super::client::{HostResponse, ask_running};
use super::config::Settings;
use super::output::{CommandResult, Failure, path_text, print_json};
use super::{print, prompt};
use crate::ChannelCapabilitiesFile;
use crate::admin::ApiCall;
use crate::capability::{DEFAULT_GENERATED_BYTES, RequiredSecret};
use crate::channel::PlannedChannel;
use crate::model::escape::escaped;
use crate::secrets::{Secret, normalise_name};

/// The secret that `admin_token` usually names.
const ADMIN_TOKEN: &str = "admin_token";

/// Does what `tinclaw secrets …` says.
pub fn secrets(common: &Common, command: &SecretsCommand) -> CommandResult {
    let settings = Settings::load(common)?;
    super::logging::start(common, None, LevelFilter::Error)?;
    match command {
        SecretsCommand::Set { name, generate, output } => set(&settings, name, *generate, *output),
        SecretsCommand::Show { name } => show(&settings, name),
        SecretsCommand::List(output) => list(&settings, *output),
        SecretsCommand::Remove { name, output } => remove(&settings, name, *output),
    }
}

fn set(settings: &Settings, name: &str, generate: bool, output: JsonArgs) -> CommandResult {
    let name = normalise_name(name).map_err(Failure::usage)?;
    let wanted = wanted_secrets(settings).into_iter().find(|wanted| wanted.name == name);
    let wanted = wanted.map(|wanted| wanted.secret);
    let value = if generate {
        let length = wanted.as_ref().and_then(|secret| secret.auto_generate).map(|auto| auto.length);
        Secret::random(length.unwrap_or(DEFAULT_GENERATED_BYTES)).map_err(Failure::problem)?
    } else {
        let question =
            wanted.as_ref().map(|secret| secret.prompt.as_str()).filter(|prompt| !prompt.is_empty());
        let question =
            question.map_or_else(|| format!("Value of {name}"), |prompt| format!("{prompt} ({name})"));
        prompt::secret(&question)
            .map_err(|error| Failure::problem(format!("the value was not read: {error}")))?
    };
    if let Some(secret) = wanted.filter(|secret| !secret.accepts(value.expose())) {
        let pattern = secret.validation.unwrap_or_default();
        return Err(Failure::problem(format!("that is no value for {name}: its channel expects {pattern}")));
    }
    let (editor, made) = settings.secrets.editor()?;
    let report = |generated: Option<&Secret>| {
        print_json(&json!({
            "name": name,
            "file": path_text(&settings.secrets.file),
            "new_key_file": made.as_ref().map(path_text),
            "generated_value": generated.map(Secret::expose),
        }));
    };
    if generate {
        match output.json {
            true => report(Some(&value)),
            false if is_admin_token(settings, &name) => outln!(
                "the value of {name}, for whoever may use the admin API (`tinclaw secrets show {name}` shows it again): {}",
                value.expose()
            ),
            false => outln!(
                "the value of {name}, shown only now, to be entered at the provider: {}",
                value.expose()
            ),
        }
        // Nobody could see it later.
        print::finish().map_err(|error| {
            Failure::problem(format!(
                "{name} is not stored, because its value was not shown: standard output: {error}"
            ))
        })?;
    }
    editor.set(&name, value).map_err(Failure::problem)?;
    if output.json {
        if !generate {
            report(None);
        }
        return Ok(());
    }
    if let Some(key) = made {
        outln!("a new key is in {}; without it nobody can read the secrets, you included", key.display());
    }
    outln!("{name} is stored in {}; a running host uses it from now on", settings.secrets.file.display());
    Ok(())
}

/// Whether a secret is the token of the admin API. The name that the documents give it counts before the configuration has it.
fn is_admin_token(settings: &Settings, name: &str) -> bool {
    name == settings.admin_token.as_deref().unwrap_or(ADMIN_TOKEN)
}

/// Shows a secret that is generated, to the person at the terminal only.
fn show(settings: &Settings, name: &str) -> CommandResult {
    let name = normalise_name(name).map_err(Failure::usage)?;
    let wanted = wanted_secrets(settings).into_iter().find(|wanted| wanted.name == name);
    let is_generated = wanted.is_some_and(|wanted| wanted.secret.auto_generate.is_some());
    if !is_generated && !is_admin_token(settings, &name) {
        return Err(Failure::problem(format!(
            "{name} is not shown: only the token of the admin API is, and a secret that a channel lets the host generate, \
             because a provider has to be told"
        )));
    }
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Failure::problem(format!(
            "{name} is shown at a terminal only, not through a pipe or into a file"
        )));
    }
    let value = settings.secrets.store()?.get(&name).map_err(Failure::problem)?;
    let value = value.ok_or_else(|| Failure::problem(format!("there is no {name} yet")))?;
    let response = prompt::line(&format!("Whoever sees this screen sees {name}. Show it? [y/N]"));
    match response.map(|response| response.trim().to_ascii_lowercase()).as_deref() {
        Ok("y" | "yes") => {
            outln!("{}", escaped(value.expose()));
            Ok(())
        }
        _ => Err(Failure::problem("it was not shown")),
    }
}

fn list(settings: &Settings, output: JsonArgs) -> CommandResult {
    let stored = settings.secrets.store()?.names().map_err(Failure::problem)?;
    let missing = missing(settings)?;
    if output.json {
        let missing: Vec<_> = missing
            .iter()
            .map(|MissingSecret { name, channel, prompt }| json!({"name": name, "channel": channel, "prompt": prompt}))
            .collect();
        print_json(&json!({"stored": stored, "missing": missing}));
        return Ok(());
    }
    if stored.is_empty() {
        outln!("no secrets are stored");
    }
    stored.iter().for_each(|name| outln!("{name}"));
    for MissingSecret { name, channel, prompt } in missing {
        let about = if prompt.is_empty() { String::new() } else { format!(" ({})", escaped(&prompt)) };
        outln!("{name} is missing: channel {channel} needs it{about}");
    }
    Ok(())
}

/// A secret that a channel lacks.
struct MissingSecret {
    name: String,
    channel: String,
    prompt: String,
}

/// The secrets that channels lack. The running host says it of those that it runs: it may have other channels and other secrets
/// than the configuration of this command.
fn missing(settings: &Settings) -> Result<Vec<MissingSecret>, Failure> {
    let mut wanted = wanted_secrets(settings);
    let health = match ask_running(settings, &ApiCall::get(&["health"]))? {
        HostResponse::Running(health) => health,
        HostResponse::NotRunning(_) => Value::Null,
    };
    let running = health["channels"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut missing = Vec::new();
    for channel in running {
        let names = channel["missing_secrets"].as_array().map(Vec::as_slice).unwrap_or_default();
        for name in names.iter().filter_map(Value::as_str) {
            let prompt =
                wanted.iter().find(|wanted| wanted.name == name).map(|wanted| wanted.secret.prompt.clone());
            let channel = channel["name"].as_str().unwrap_or_default().to_owned();
            missing.push(MissingSecret {
                name: name.to_owned(),
                channel,
                prompt: prompt.unwrap_or_default(),
            });
        }
    }
    wanted.retain(|wanted| running.iter().all(|channel| channel["name"] != wanted.channel.as_str()));
    let store = settings.secrets.store()?;
    let has_public_url = settings.public_url().is_some();
    for WantedSecret { name, channel, secret } in wanted {
        // Variables without the prefix are not listed by the store, but found when they are asked for.
        if !secret.optional
            && secret.applies(has_public_url)
            && store.get(&name).map_err(Failure::problem)?.is_none()
        {
            missing.push(MissingSecret { name, channel, prompt: secret.prompt });
        }
    }
    Ok(missing)
}

fn remove(settings: &Settings, name: &str, output: JsonArgs) -> CommandResult {
    let file = settings.secrets.file.display();
    if !settings.secrets.file.exists() {
        return Err(Failure::problem(format!("there is no {name} to remove: {file} does not exist")));
    }
    let (editor, _) = settings.secrets.editor()?;
    match editor.remove(name).map_err(Failure::problem)? {
        true if output.json => {
            print_json(&json!({"name": name, "file": path_text(&settings.secrets.file)}));
            Ok(())
        }
        true => {
            outln!("{name} is removed from {file}");
            Ok(())
        }
        false => Err(Failure::problem(format!(
            "there is no {name} in {file}; `tinclaw secrets list` shows all names"
        ))),
    }
}

/// A secret that a channel asks for.
struct WantedSecret {
    /// In lower case.
    name: String,
    channel: String,
    secret: RequiredSecret,
}

/// The secrets that channels ask for, by name, each with the first channel that does. A channel whose file cannot be read asks for none
/// here; `tinclaw check` says what is wrong with it.
fn wanted_secrets(settings: &Settings) -> Vec<WantedSecret> {
    let installed = settings.installed().into_iter().map(PlannedChannel::found);
    let accounts = settings.accounts().into_keys().filter_map(|name| settings.planned(&name));
    let mut wanted: Vec<WantedSecret> = Vec::new();
    for channel in installed.chain(accounts) {
        let PlannedChannel { name: channel_name, guest, .. } = &channel;
        let Ok(bytes) = channel.read_capabilities() else { continue };
        let file = format!("{guest}.capabilities.json");
        let Ok(file) = ChannelCapabilitiesFile::parse(&file, guest, &bytes.unwrap_or_default()) else {
            continue;
        };
        for secret in file.setup.into_iter().flat_map(|setup| setup.required_secrets) {
            let name = channel.stored_secret_name(&secret.name);
            if let Err(place) = wanted.binary_search_by(|known| known.name.cmp(&name)) {
                wanted.insert(place, WantedSecret { name, channel: channel_name.to_string(), secret });
            }
        }
    }
    wanted
}
