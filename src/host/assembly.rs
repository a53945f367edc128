//! From a loaded channel to one that the router can run: its rights, its limits, its way to the world.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use zeroize::Zeroizing;

use super::access;
use super::config::{ChannelSettings, ManagerConfig};
use super::error::HostError;
use super::inspect::{NeededSecrets, inspect_channel};
use crate::channel::config::HostConfig;
use crate::channel::{
    ChannelLimits, ChannelName, ClampedLimit, Registration, WasmChannel, resolve_registration, start_config,
};
use crate::egress::setting_hosts::{self, FilledHosts};
use crate::egress::{ChannelHttp, ChannelHttpSettings, OutboundHttp};
use crate::event::queue::EventSender;
use crate::event::setup::{ChannelSetup, ReadStartConfig};
use crate::host::access::ChannelAccessToWorld;
use crate::model::diagnostic::Diagnostic;
use crate::net::SharedPublicUrl;
use crate::pairing::PairingService;
use crate::sandbox::{ChannelRuntimeInfo, GuestLogRate, wechat};
use crate::secrets::{AccountSecrets, AllowedNames, ChainSecrets, EnvSecrets, SecretStore};
use crate::server::{ChannelAccess, WasmChannelRouter};
use crate::webhook::{AuthPlan, Requirement};

/// What channels are assembled with.
pub(super) struct Assembly {
    config: ManagerConfig,
    /// The operator's settings of each channel. Behind a lock, because they may change with a channel that is added again.
    settings: RwLock<BTreeMap<ChannelName, ChannelSettings>>,
    outbound: OutboundHttp,
    pairing: Arc<PairingService>,
    routes: WasmChannelRouter,
    events: EventSender,
    public_url: SharedPublicUrl,
}

/// A channel that was put together.
pub(super) struct AssembledChannel {
    pub setup: ChannelSetup,
    pub needed: NeededSecrets,
    /// What others may ask of it.
    #[cfg(feature = "cli")]
    pub inbound: Arc<ChannelAccess>,
}

impl AssembledChannel {
    fn into_setup(self) -> (ChannelSetup, NeededSecrets) {
        (self.setup, self.needed)
    }
}

impl Assembly {
    pub fn new(
        config: ManagerConfig,
        outbound: OutboundHttp,
        pairing: Arc<PairingService>,
        routes: WasmChannelRouter,
        events: EventSender,
    ) -> Self {
        let settings = RwLock::new(config.channels.clone());
        let public_url = SharedPublicUrl::new(config.public_url.clone());
        Self { config, settings, outbound, pairing, routes, events, public_url }
    }

    /// This host's address as providers call it; another one holds for channels that are put together after it was set.
    pub fn public_url(&self) -> &SharedPublicUrl {
        &self.public_url
    }

    /// What the operator decides about a channel from now on; it holds when the channel is added.
    pub fn set_settings(&self, channel: &ChannelName, settings: ChannelSettings) {
        self.settings.write().unwrap_or_else(PoisonError::into_inner).insert(channel.clone(), settings);
    }

    fn settings_of(&self, channel: &ChannelName) -> ChannelSettings {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        settings.get(channel).cloned().unwrap_or_default()
    }

    /// How often a channel is shown a reply that is still being written, if it is.
    pub fn partial_reply_interval(&self, channel: &WasmChannel) -> Option<Duration> {
        let channel = self.as_operated(channel);
        let section = channel.capabilities_file().capabilities.channel.as_ref()?;
        section.partial_reply_interval_ms.map(Duration::from_millis)
    }

    /// A channel with what the operator changes about its capability file. What cannot be changed so was refused before.
    pub fn as_operated(&self, channel: &WasmChannel) -> WasmChannel {
        let overrides = self.settings_of(channel.name()).overrides();
        channel.with_overrides(&overrides).unwrap_or_else(|_| channel.clone())
    }

    /// Puts a channel together and reserves its paths; and says what to ask for what it lacks.
    pub fn setup(&self, channel: &WasmChannel) -> Result<(ChannelSetup, NeededSecrets), HostError> {
        self.assemble(channel, self.settings_of(channel.name()), Paths::Reserve)
            .map(AssembledChannel::into_setup)
    }

    /// The same for another version of a channel that runs, with these settings. The paths of the one that runs stay as they
    /// are until the other one has started.
    pub fn setup_beside(
        &self,
        channel: &WasmChannel,
        settings: Option<ChannelSettings>,
    ) -> Result<(ChannelSetup, NeededSecrets), HostError> {
        let settings = settings.unwrap_or_else(|| self.settings_of(channel.name()));
        self.assemble(channel, settings, Paths::Leave).map(AssembledChannel::into_setup)
    }

    /// A channel with the parts that decide about its requests.
    #[cfg(feature = "cli")]
    pub fn parts(&self, channel: &WasmChannel) -> Result<AssembledChannel, HostError> {
        self.assemble(channel, self.settings_of(channel.name()), Paths::Reserve)
    }

    fn assemble(
        &self,
        channel: &WasmChannel,
        settings: ChannelSettings,
        paths: Paths,
    ) -> Result<AssembledChannel, HostError> {
        let name = channel.name().clone();
        let channel = &channel.with_overrides(&settings.overrides())?;
        let file = channel.capabilities_file();
        let capabilities = &file.capabilities;
        let (limits, lowered) = ChannelLimits::resolve(capabilities, &self.config.limit_caps);
        channel.module().check_fits(name.as_str(), &limits)?;
        let mut diagnostics = inspect_channel(channel);
        diagnostics.extend(lowered.iter().map(clamped));
        let secrets = self.secrets_of(channel);
        let webhook = capabilities.webhook().cloned().unwrap_or_default();
        let guest = channel.guest_name().as_str();
        let access = ChannelAccess::new(&webhook, guest, secrets.clone(), channel.mount())?;
        let access = Arc::new(access);
        let guest_secret = access.plan.guest_secret_name().map(str::to_owned);
        diagnostics.extend(self.reserve_paths(channel, &access, paths));
        let (http, websocket) = (capabilities.http.as_ref(), capabilities.websocket.as_ref());
        let hosts = setting_hosts::fill(http, websocket, &settings.config);
        diagnostics.extend(hosts.problems.iter().cloned());
        let world = self.world(channel, limits, &secrets, &access.plan, &hosts)?;
        #[cfg(feature = "cli")]
        let inbound = access.clone();
        let required = file.setup.as_ref().map(|setup| setup.required_secrets.as_slice()).unwrap_or_default();
        let websocket = hosts.websocket.as_ref();
        let link = access::plan_link(&name, websocket, required, &world, &secrets, &self.events);
        diagnostics.extend(link.problem);
        let (has_public_url, has_link) = (self.public_url.get().is_some(), link.open.is_some());
        let needed = NeededSecrets::new(file.setup.as_ref(), has_public_url, has_link, access.clone());
        let setup = ChannelSetup {
            module: channel.module().clone(),
            runtime: Arc::new(ChannelRuntimeInfo {
                name: name.shared(),
                limits,
                services: Arc::new(world),
                log_rate: GuestLogRate::default(),
            }),
            message_id_from_metadata: capabilities
                .channel
                .as_ref()
                .is_some_and(|section| section.message_id_from_metadata),
            limits,
            start_config: self.start_config(channel, settings, secrets, guest_secret),
            register: self.register(channel, access),
            open_link: link.open,
            diagnostics,
            name,
        };
        Ok(AssembledChannel {
            setup,
            needed,
            #[cfg(feature = "cli")]
            inbound,
        })
    }

    /// The host's secrets, and the environment variable that the capability file names for one of them, where the operator
    /// lets it.
    fn secrets_of(&self, channel: &WasmChannel) -> Arc<dyn SecretStore> {
        let host = self.config.secrets.clone();
        if channel.guest_name() != channel.name() {
            return Arc::new(AccountSecrets::new(host, channel.name().as_str()));
        }
        let auth = channel.capabilities_file().auth.as_ref();
        let auth = auth.filter(|_| self.config.env_variables_of_files);
        let named = auth.and_then(|auth| Some((auth.secret_name.as_deref()?, auth.env_var.as_deref()?)));
        match named.map(|(secret, variable)| EnvSecrets::new().map(secret, variable)) {
            Some(Ok(variable)) => Arc::new(ChainSecrets::new(vec![host, Arc::new(variable)])),
            _ => host,
        }
    }

    fn world(
        &self,
        channel: &WasmChannel,
        limits: ChannelLimits,
        secrets: &Arc<dyn SecretStore>,
        plan: &AuthPlan,
        hosts: &FilledHosts,
    ) -> Result<ChannelAccessToWorld, HostError> {
        let name = channel.name();
        let file = channel.capabilities_file();
        let allowed = file.capabilities.secrets.as_ref().map(|secrets| secrets.allowed_names.clone());
        let allowed_secrets = AllowedNames::new(allowed.unwrap_or_default());
        let mapped = file.setup.iter().flat_map(|setup| &setup.secret_config_mappings);
        let mapped = mapped.map(|mapping| mapping.secret_name.clone());
        let required = file.setup.iter().flat_map(|setup| &setup.required_secrets);
        let required = required.filter(|secret| !secret.optional);
        let settings = ChannelHttpSettings {
            caller: format!("channel {name}"),
            capability: hosts.http.clone(),
            operator_hosts: hosts.named.clone(),
            limits,
            allowed_secrets: allowed_secrets.clone(),
            secrets: secrets.clone(),
            given_to_guest: mapped.chain(plan.guest_secret_name().map(str::to_owned)).collect(),
            required_secrets: required.map(|secret| secret.name.clone()).collect(),
            login_secrets: access::link_secret_names(hosts.websocket.as_ref()),
            inbound_secrets: plan.secret_names().into_iter().map(str::to_owned).collect(),
        };
        let http = ChannelHttp::new(self.outbound.clone(), settings).map_err(|error| {
            HostError::HttpCapability { channel: name.clone(), place: error.place, reason: error.reason }
        })?;
        Ok(ChannelAccessToWorld {
            name: name.clone(),
            http: Arc::new(http),
            link: Arc::default(),
            secrets: secrets.clone(),
            allowed_secrets,
            pairing: self.pairing.clone(),
            seals_attachments: channel.guest_name().as_str() == wechat::GUEST,
        })
    }

    fn reserve_paths(
        &self,
        channel: &WasmChannel,
        access: &Arc<ChannelAccess>,
        reserve: Paths,
    ) -> Vec<Diagnostic> {
        let paths = paths_of(channel);
        if paths.is_empty() {
            return Vec::new();
        }
        if let Requirement::NoRoute(reason) = access.plan.requirement() {
            return vec![Diagnostic::error("no-authentication", format!("its paths are closed: {reason}"))];
        }
        let taken = match reserve {
            Paths::Reserve => self.routes.reserve(channel.name(), &paths, access),
            Paths::Leave => self.routes.taken(channel.name(), &paths),
        };
        taken.iter().map(|taken| Diagnostic::error("path-taken", taken.to_string())).collect()
    }

    fn start_config(
        &self,
        channel: &WasmChannel,
        settings: ChannelSettings,
        secrets: Arc<dyn SecretStore>,
        guest_secret: Option<String>,
    ) -> ReadStartConfig {
        let file = channel.capabilities_file().clone();
        let tunnel_url = self.public_url.get().map(|url| format!("{url}{}", channel.mount()));
        Arc::new(move || {
            // What cannot be read is not missing: a guest without its secret would register something else.
            let unreadable = RefCell::new(None);
            let value_of = |name: &str| match secrets.get(name) {
                Ok(secret) => secret.map(|secret| Zeroizing::new(secret.expose().to_owned())),
                Err(error) => {
                    unreadable.replace(Some(error));
                    None
                }
            };
            let host = HostConfig {
                tunnel_url: tunnel_url.clone(),
                webhook_secret: guest_secret.as_deref().and_then(value_of),
                owner_id: settings.owner_id.clone(),
                bot_username: settings.bot_username.clone(),
            };
            let config = start_config(&file, &settings.config, &host, &value_of);
            if let Some(error) = unreadable.take() {
                return Err(error);
            }
            Ok(config.json().into())
        })
    }

    fn register(&self, channel: &WasmChannel, access: Arc<ChannelAccess>) -> crate::event::setup::Register {
        let name: ChannelName = channel.name().clone();
        let capabilities = channel.capabilities_file().capabilities.clone();
        let min_poll_interval = self.config.min_poll_interval;
        let routes = self.routes.clone();
        Box::new(move |config| {
            let mut registration = resolve_registration(&name, config, &capabilities, min_poll_interval);
            open_paths(&name, &mut registration, &access, &routes);
            registration
        })
    }
}

/// What becomes of a channel's paths when it is put together.
#[derive(Clone, Copy)]
enum Paths {
    /// They respond with 503 until the channel has started.
    Reserve,
    /// They stay as they are.
    Leave,
}

/// The paths that a channel may have, with its mount.
pub(super) fn paths_of(channel: &WasmChannel) -> Vec<String> {
    let section = channel.capabilities_file().capabilities.channel.as_ref();
    let paths = section.map(|section| section.allowed_paths.as_slice()).unwrap_or_default();
    let mount = channel.mount();
    paths.iter().map(|path| format!("{mount}{path}")).collect()
}

/// Publishes the paths that a channel may have, and says which it may not.
fn open_paths(
    name: &ChannelName,
    registration: &mut Registration,
    access: &Arc<ChannelAccess>,
    routes: &WasmChannelRouter,
) {
    if let Requirement::NoRoute(_) = access.plan.requirement() {
        registration.endpoints.clear();
    }
    for endpoint in &mut registration.endpoints {
        endpoint.path.insert_str(0, &access.mount);
    }
    let taken = routes.register(name, &registration.endpoints, access);
    registration.endpoints.retain(|endpoint| taken.iter().all(|taken| taken.path != endpoint.path));
    registration.warnings.extend(taken.iter().map(ToString::to_string));
    for endpoint in registration.endpoints.iter().filter(|endpoint| endpoint.require_secret) {
        if !access.plan.validates_secret() {
            registration.warnings.push(format!(
                "path {} requires a secret, and no authentication is declared for it: it responds with 503",
                endpoint.path
            ));
        }
    }
}

/// A limit that the host does not grant as the file asks for it.
fn clamped(limit: &ClampedLimit) -> Diagnostic {
    Diagnostic::note("clamped-limit", limit.to_string())
}
