//! `tinclaw secrets`. No value is ever taken from the command line or printed.

use std::io::{self, IsTerminal as _};

use crate::ChannelCapabilitiesFile;
use crate::capability::{DEFAULT_GENERATED_BYTES, RequiredSecret};
use crate::channel::PlannedChannel;
use crate::model::escape::escaped;
use crate::secrets::{Secret, normalise_name};
use log::LevelFilter;
use serde_json::json;

use super::args::{Common, JsonArgs, SecretsCommand};
use super::config::Settings;
use super::output::{Failure, Outcome, print_json};
use super::prompt;

/// Does what `tinclaw secrets …` says.
pub fn secrets(common: &Common, command: &SecretsCommand) -> Outcome {
    let settings = Settings::load(common)?;
    super::logging::start(common, None, LevelFilter::Error)?;
    match command {
        SecretsCommand::Set { name, generate } => set(&settings, name, *generate),
        SecretsCommand::Show { name } => show(&settings, name),
        SecretsCommand::List(output) => list(&settings, *output),
        SecretsCommand::Remove { name } => remove(&settings, name),
    }
}

fn set(settings: &Settings, name: &str, generate: bool) -> Outcome {
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
    let shown = generate.then(|| value.clone());
    editor.set(&name, value).map_err(Failure::problem)?;
    if let Some(value) = shown {
        println!("the value of {name}, shown only now, to be entered at the provider: {}", value.expose());
    }
    if let Some(key) = made {
        println!("a new key is in {}; without it nobody can read the secrets, you included", key.display());
    }
    println!("{name} is stored in {}; a running host uses it from now on", settings.secrets.file.display());
    Ok(())
}

/// Shows a secret that is generated, to the person at the terminal only.
fn show(settings: &Settings, name: &str) -> Outcome {
    let name = normalise_name(name).map_err(Failure::usage)?;
    let wanted = wanted_secrets(settings).into_iter().find(|wanted| wanted.name == name);
    if wanted.is_none_or(|wanted| wanted.secret.auto_generate.is_none()) {
        return Err(Failure::problem(format!(
            "{name} is not shown: only a secret that a channel lets the host generate is, because a provider has to be told"
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
            println!("{}", escaped(value.expose()));
            Ok(())
        }
        _ => Err(Failure::problem("it was not shown")),
    }
}

fn list(settings: &Settings, output: JsonArgs) -> Outcome {
    let store = settings.secrets.store()?;
    let stored = store.names().map_err(Failure::problem)?;
    let mut missing = Vec::new();
    for Wanted { name, channel, secret } in wanted_secrets(settings) {
        // Variables without the prefix are not listed by the store, but found when they are asked for.
        if !secret.optional && store.get(&name).map_err(Failure::problem)?.is_none() {
            missing.push((name, channel, secret.prompt));
        }
    }
    if output.json {
        let missing: Vec<_> = missing
            .iter()
            .map(|(name, channel, prompt)| json!({"name": name, "channel": channel, "prompt": prompt}))
            .collect();
        print_json(&json!({"stored": stored, "missing": missing}));
        return Ok(());
    }
    if stored.is_empty() {
        println!("no secrets are stored");
    }
    stored.iter().for_each(|name| println!("{name}"));
    for (name, channel, prompt) in missing {
        println!("{name} is missing: channel {channel} needs it ({})", escaped(&prompt));
    }
    Ok(())
}

fn remove(settings: &Settings, name: &str) -> Outcome {
    let file = settings.secrets.file.display();
    if !settings.secrets.file.exists() {
        return Err(Failure::problem(format!("there is no {name} to remove: {file} does not exist")));
    }
    let (editor, _) = settings.secrets.editor()?;
    match editor.remove(name).map_err(Failure::problem)? {
        true => {
            println!("{name} is removed from {file}");
            Ok(())
        }
        false => Err(Failure::problem(format!(
            "there is no {name} in {file}; `tinclaw secrets list` shows all names"
        ))),
    }
}

/// A secret that a channel asks for.
struct Wanted {
    /// In lower case.
    name: String,
    channel: String,
    secret: RequiredSecret,
}

/// The secrets that channels ask for, by name, each with the first channel that does. A channel whose file cannot be read asks for none
/// here; `tinclaw check` says what is wrong with it.
fn wanted_secrets(settings: &Settings) -> Vec<Wanted> {
    let installed = settings.installed().into_iter().map(PlannedChannel::found);
    let accounts = settings.accounts().into_keys().filter_map(|name| settings.planned(&name));
    let mut wanted: Vec<Wanted> = Vec::new();
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
                wanted.insert(place, Wanted { name, channel: channel_name.to_string(), secret });
            }
        }
    }
    wanted
}
