//! Which channel is set up, and what is known of it.

use serde_json::{Map, Value};

use crate::WasmChannel;
use crate::capability::{AuthSection, Reach, SetupSection};
use crate::channel::{ChannelName, PlannedChannel, bundled_channel_names};
use crate::cli::config::Settings;
use crate::cli::output::Failure;
use crate::model::document::nearest;

/// A channel that is set up: its guest under the name that it has or is to have.
pub struct SetupTarget {
    /// The guest, its files read and prepared.
    pub channel: WasmChannel,
    /// Whether its files are in a directory of channels.
    pub is_installed: bool,
    /// Whether the configuration does not have this account yet.
    pub is_new_account: bool,
}

impl SetupTarget {
    /// The channel that `channel` names, or another account `account` of it.
    ///
    /// # Errors
    /// There is no such channel, it cannot be loaded, or the account's name is taken.
    pub fn find(settings: &Settings, channel: &str, account: Option<&str>) -> Result<Self, Failure> {
        let guest = ChannelName::new(channel).map_err(Failure::usage)?;
        let name = account.map(ChannelName::new).transpose().map_err(Failure::usage)?;
        let name = name.unwrap_or_else(|| guest.clone());
        let accounts = settings.accounts();
        let is_new_account = name != guest && !accounts.contains_key(&name);
        let planned = if name == guest {
            settings.planned(&name)
        } else {
            check_account(settings, &name, &guest)?;
            PlannedChannel::account(&name, &guest, &settings.installed())
        };
        let planned = planned.ok_or_else(|| unknown(settings, &guest))?;
        let channel = settings.loader()?.load_planned(&planned).map_err(Failure::problem)?;
        Ok(Self { is_installed: planned.is_installed(), is_new_account, channel })
    }

    /// The name of the channel.
    pub fn name(&self) -> &ChannelName {
        self.channel.name()
    }

    /// Whether it is another account of a guest.
    pub fn is_account(&self) -> bool {
        self.channel.name() != self.channel.guest_name()
    }

    /// What its capability file says about setting it up.
    pub fn setup(&self) -> SetupSection {
        self.channel.capabilities_file().setup.clone().unwrap_or_default()
    }

    /// What its capability file says about its service.
    pub fn auth(&self) -> AuthSection {
        self.channel.capabilities_file().auth.clone().unwrap_or_default()
    }

    /// What the service is called.
    pub fn service(&self) -> String {
        self.auth().display_name.unwrap_or_else(|| self.channel.guest_name().to_string())
    }

    /// The configuration that the guest would get now: its file's, with the operator's settings over it.
    pub fn config(&self, settings: &Settings) -> Map<String, Value> {
        let own = settings.channel(self.name());
        let mut config = self.channel.capabilities_file().config.clone();
        config.extend(own.config);
        config.extend(own.owner_id.map(|owner| ("owner_id".to_owned(), owner)));
        config
    }

    /// The address of its first path, when it has one.
    pub fn webhook_url(&self, settings: &Settings) -> Option<String> {
        let section = self.channel.capabilities_file().capabilities.channel.as_ref()?;
        let base = match settings.public_url() {
            Some(url) => url.to_string(),
            None => format!("http://{}", settings.listen),
        };
        Some(format!("{base}{}{}", self.channel.mount(), section.allowed_paths.first()?))
    }
}

/// How messages arrive.
pub fn receives(settings: &Settings, target: &SetupTarget) -> String {
    let capabilities = &target.channel.capabilities_file().capabilities;
    let polls = capabilities.channel.as_ref().is_some_and(|section| section.allow_polling);
    let has_public_url = settings.public_url().is_some();
    let config = target.config(settings);
    let has_websocket = capabilities.websocket.as_ref().is_some_and(|websocket| websocket.is_wanted(&config));
    match target.webhook_url(settings) {
        Some(url) if has_public_url => format!("requests to {url}"),
        _ if has_websocket => "a websocket, which needs no public address".to_owned(),
        _ if polls => "polling, which needs no public address".to_owned(),
        Some(url) if target.setup().needs_public_url => {
            format!("nothing before the host has a public address: {} cannot reach {url}", target.service())
        }
        Some(url) => format!("requests to {url}"),
        None => "nothing".to_owned(),
    }
}

/// Whether something that its file says concerns this host.
pub fn concerns(settings: &Settings, when: Option<Reach>) -> bool {
    Reach::applies(when, settings.public_url().is_some())
}

fn check_account(settings: &Settings, name: &ChannelName, guest: &ChannelName) -> Result<(), Failure> {
    match settings.accounts().get(name) {
        Some(other) if other != guest => {
            return Err(Failure::usage(format!("{name} is an account of {other}: choose another name")));
        }
        Some(_) => return Ok(()),
        None => {}
    }
    let is_taken = settings.installed().iter().any(|found| found.name == *name)
        || bundled_channel_names().contains(&name.as_str());
    if is_taken {
        return Err(Failure::usage(format!("{name} is the name of a channel: choose another name")));
    }
    Ok(())
}

fn unknown(settings: &Settings, name: &ChannelName) -> Failure {
    let mut known: Vec<String> = bundled_channel_names().into_iter().map(str::to_owned).collect();
    known.extend(settings.installed().iter().map(|found| found.name.to_string()));
    known.extend(settings.accounts().keys().map(ToString::to_string));
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let help = match nearest(name.as_str(), &known) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => "`tinclaw setup` lists those that there are".to_owned(),
    };
    Failure::problem(format!("there is no channel {name}; {help}"))
}
