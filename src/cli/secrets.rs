//! `tinclaw secrets`. No value is ever taken from the command line or printed.

use std::path::Path;

use crate::capability::{DEFAULT_GENERATED_BYTES, RequiredSecret};
use crate::model::escape::escaped;
use crate::secrets::{Secret, normalise_name};
use crate::{ChannelCapabilitiesFile, DiscoveredChannel, discover_channels};
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
    let found = settings.channel_paths().into_iter().flat_map(|path| channels_at(&path));
    let mut wanted: Vec<Wanted> = Vec::new();
    for channel in found {
        let Ok(files) = channel.read() else { continue };
        let bytes = files.capabilities.unwrap_or_default();
        let Ok(file) =
            ChannelCapabilitiesFile::parse(&channel.capabilities_file_name(), &channel.name, &bytes)
        else {
            continue;
        };
        for secret in file.setup.into_iter().flat_map(|setup| setup.required_secrets) {
            let name = secret.name.to_lowercase();
            if let Err(place) = wanted.binary_search_by(|known| known.name.cmp(&name)) {
                wanted.insert(place, Wanted { name, channel: channel.name.to_string(), secret });
            }
        }
    }
    wanted
}

fn channels_at(path: &Path) -> Vec<DiscoveredChannel> {
    if path.is_dir() {
        return discover_channels(path).map(|found| found.channels).unwrap_or_default();
    }
    DiscoveredChannel::at(path).into_iter().collect()
}
