//! The admin API of a host that `tinclaw run` runs.

use std::sync::Arc;

use super::config::Settings;
use super::output::Failure;
use super::start_channel::ChannelStarter;
use super::takeover::check_address;
use crate::Host;
use crate::admin::{
    Access, AdminAddress, AdminListener, AdminServer, AdminState, MIN_TOKEN_BYTES, TokenSource,
};

/// Where the admin API is served: always at the socket in the state directory, and at the address of the configuration.
pub struct AdminApi {
    /// The listener of the configured address, before it is served.
    bound: Option<AdminListener>,
    /// What clients of that address need, before it is served.
    access: Option<Access>,
    address: Option<AdminAddress>,
    /// What they work on, once they are served.
    state: Option<Arc<AdminState>>,
    /// Those that are served, until this is dropped.
    servers: Vec<AdminServer>,
}

impl Drop for AdminApi {
    fn drop(&mut self) {
        if let Some(state) = &self.state {
            state.close();
        }
        self.servers.clear();
    }
}

impl AdminApi {
    /// Takes the configured address, so that a second program which finds it taken changes nothing. The address of a host that is to be
    /// taken over is left to [`AdminApi::bind_again`].
    ///
    /// # Errors
    /// The address cannot be had, or its token is not stored.
    pub fn bind(settings: &Settings, takes_over: bool) -> Result<Self, Failure> {
        let access = settings.admin.as_ref().map(|_| access(settings)).transpose()?;
        let bound = match settings.admin.as_ref().map(AdminListener::bind).transpose() {
            Err(error) if takes_over && error.is_in_use() => None,
            bound => bound.map_err(Failure::problem)?,
        };
        let address = bound.as_ref().and_then(AdminListener::address);
        Ok(Self { bound, access, address, state: None, servers: Vec::new() })
    }

    /// Takes the configured address once the host that had it has stopped. Now that nobody else serves, this host does, also when the
    /// address is taken.
    pub fn bind_again(&mut self, settings: &Settings) {
        let Some(address) = settings.admin.as_ref().filter(|_| self.bound.is_none()) else { return };
        match AdminListener::bind(address) {
            Ok(bound) => {
                self.address = bound.address();
                self.bound = Some(bound);
            }
            Err(error) => log::error!("{error}; the host runs without it"),
        }
    }

    /// Serves the API of this host. One without the socket in the state directory runs all the same, and says so.
    pub fn serve(
        mut self,
        settings: &Settings,
        host: &Host,
        starter: Arc<ChannelStarter>,
    ) -> Result<Self, Failure> {
        let state = AdminState::new(host.shared_manager(), host.tools().cloned(), Box::new(starter));
        let mut servers = Vec::new();
        // The state directory is locked, so a socket that is there already is that of a host that has ended.
        let socket = AdminListener::bind_unix(&AdminAddress::socket_path(&settings.state_dir));
        match socket.map_err(Failure::problem).and_then(|socket| start(socket, Access::Socket, &state)) {
            Ok(server) => servers.push(server),
            Err(error) => log::warn!("no command can reach this host through its state directory: {error}"),
        }
        if let Some((listener, access)) = self.bound.take().zip(self.access.take()) {
            servers.push(start(listener, access, &state)?);
        }
        if let Some(address) = &self.address {
            log::info!("the admin API is served at {address}");
        }
        self.state = Some(state);
        self.servers = servers;
        Ok(self)
    }

    /// Where it is served besides the socket in the state directory.
    pub fn address(&self) -> Option<&AdminAddress> {
        self.address.as_ref()
    }
}

fn start(listener: AdminListener, access: Access, state: &Arc<AdminState>) -> Result<AdminServer, Failure> {
    AdminServer::start(listener, access, Arc::clone(state)).map_err(Failure::problem)
}

/// Whether the configured address could be served. One that is in use could: that may be the host that runs.
///
/// # Errors
/// As of [`AdminApi::bind`].
pub fn check(settings: &Settings) -> Result<(), Failure> {
    let Some(address) = &settings.admin else { return Ok(()) };
    access(settings)?;
    let checked = match address {
        AdminAddress::Tcp(address) => check_address(*address),
        AdminAddress::Unix(path) => AdminListener::check_place(path),
    };
    checked.map_err(|error| {
        Failure::problem(format!(
            "admin: the admin API cannot listen at {address}: {error}; choose another address"
        ))
    })
}

/// What clients of the configured address need.
fn access(settings: &Settings) -> Result<Access, Failure> {
    let Some(name) = settings.admin_token.clone() else { return Ok(Access::Loopback) };
    let source = TokenSource { secrets: settings.secrets.store()?, name, log: Arc::default() };
    match (&settings.admin, source.read()) {
        (Some(AdminAddress::Unix(_)), _) => Ok(Access::Socket),
        (_, Some(_)) => Ok(Access::Token(source)),
        (_, None) => Err(Failure::problem(format!(
            "admin_token: there is no secret {name} of at least {MIN_TOKEN_BYTES} bytes; \
             `tinclaw secrets set {name} --generate` makes one",
            name = source.name
        ))),
    }
}
