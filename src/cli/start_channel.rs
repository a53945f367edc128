//! A channel that is loaded anew into the running host, with the configuration as it is now.

use serde_json::{Value, json};

use crate::channel::ChannelName;
use crate::{ChannelManager, WasmChannelLoader};

use super::args::{Common, RunArgs};
use super::config::Settings;
use super::generate::SecretGenerator;
use super::output::Failure;

/// Loads channels into the host that this process runs.
pub struct ChannelStarter {
    common: Common,
    options: RunArgs,
    loader: WasmChannelLoader,
    /// The public address with which the host was started.
    public_url: Option<String>,
}

impl ChannelStarter {
    /// For the host that was started with these options; `settings` are what they came to.
    pub fn new(common: &Common, options: &RunArgs, settings: &Settings, loader: WasmChannelLoader) -> Self {
        let public_url = settings.public_url().map(ToString::to_string);
        Self { common: common.clone(), options: options.clone(), loader, public_url }
    }

    /// Reads the configuration anew, and puts the channel with this name into the host: for the first time, or in place of the
    /// one that runs. What was loaded before stays when the new one cannot be loaded.
    ///
    /// # Errors
    /// There is no such channel, or it cannot be loaded or added.
    pub fn start(&self, manager: &ChannelManager, name: &str) -> Result<Value, String> {
        let name = ChannelName::new(name).map_err(|error| error.to_string())?;
        let settings =
            Settings::load_for_run(&self.common, self.options.clone()).map_err(|error| error.to_string())?;
        let planned = settings.planned(&name).ok_or_else(|| not_found(&settings, &name))?;
        let loader = settings.loader_on(self.loader.runtime());
        let channel = loader.load_planned(&planned).map_err(|error| error.to_string())?;
        let generator = SecretGenerator::new(&settings).map_err(|error: Failure| error.to_string())?;
        generator.generate_missing(&channel);
        manager.remove(&name).map_err(|error| error.to_string())?;
        manager.set_channel_settings(&name, settings.channel(&name));
        manager.add(Box::new(channel)).map_err(|error| error.to_string())?;
        log::info!(target: name.as_str(), "channel {name} was loaded anew, as the operator asked");
        let is_same = settings.public_url().map(ToString::to_string) == self.public_url;
        Ok(json!({"needs_restart": !is_same}))
    }
}

fn not_found(settings: &Settings, name: &ChannelName) -> String {
    let places: Vec<String> =
        settings.channel_paths().iter().map(|path| path.display().to_string()).collect();
    let places = if places.is_empty() { "no directory".to_owned() } else { places.join(", ") };
    format!("there is no channel {name}; the running host looks in {places}")
}
