//! A host that is one of several on one database: its channels run while it has their leases.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(feature = "cli")]
use serde_json::{Value, json};

use super::assembly::paths_of;
use super::error::HostError;
use super::manager::ChannelManager;
use crate::channel::{ChannelName, WasmChannel};
use crate::cluster::{
    ClusterState, ClusterView, FORWARDED_HEADER, ForwardError, Forwarded, ForwardedReply, Forwarder,
    HostNumber, KeeperSettings, LeaseTable, LeaseThread, Offer, Request, Runner, TIME_TO_LIVE, verify,
};
use crate::event::Event;
use crate::event::arrival::RouterCommand;
use crate::event::response::{WebhookRefusal, WebhookResponse};
use crate::model::clock::{millis, unix_ms};
use crate::model::oneshot;
use crate::net::reachable::reachable;
use crate::server::responses::response_for;
use crate::server::{IncomingRequest, Origin, RequestForwarder, Responder, Response};
use crate::store::{MessageFilter, MessageState, MovedChannel};

/// The exit status of a process whose channels have passed on to other hosts (`EX_TEMPFAIL` of sysexits.h): a supervisor restarts it.
const EXIT_STATUS: i32 = 75;

/// What a host of a cluster has beside its channels.
pub(super) struct ClusterSide {
    pub(super) state: ClusterState,
    pub(super) forwarder: Forwarder,
    /// Channels that this host can run, whoever runs them now. Held for a look-up only.
    offers: Mutex<BTreeMap<String, (WasmChannel, Offer)>>,
    /// Who has what, as it was seen last. Held for a look only.
    seen: Mutex<Option<(ClusterView, HostNumber)>>,
    /// There from the start of the host until its end, which takes it out and joins it. Held to tell it something.
    leases: Mutex<Option<LeaseThread>>,
}

impl ClusterSide {
    pub(super) fn new(state: ClusterState) -> Self {
        let forwarder = Forwarder::new(state.secret.clone());
        let (offers, seen, leases) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { state, forwarder, offers, seen, leases }
    }

    /// Makes a channel known that this host can run, if it is one that it may have.
    pub(super) fn offer(&self, channel: &WasmChannel) {
        let name = channel.name().to_string();
        if self.state.config.channels.as_ref().is_some_and(|allowed| !allowed.contains(&name)) {
            log::info!(target: &name, "channel {name} is left to other hosts: it is not among cluster.channels");
            return;
        }
        let offer = Offer { digest: channel.module().digest(), paths: paths_of(channel) };
        self.offers().insert(name, (channel.clone(), offer));
    }

    /// This host cannot run it any more.
    pub(super) fn withdraw(&self, channel: &ChannelName) {
        self.offers().remove(channel.as_str());
    }

    /// Whether there is nothing that this host can run.
    pub(super) fn offers_nothing(&self) -> bool {
        self.offers().is_empty()
    }

    /// Who has what, as it was seen last, and this host's number.
    pub(super) fn seen(&self) -> Option<(ClusterView, HostNumber)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on this host is to have no channels, or its share again.
    pub(super) fn drain(&self, is_draining: bool) {
        if let Some(leases) = &*self.leases() {
            leases.drain(is_draining);
        }
    }

    /// Begins to take channels.
    pub(super) fn start(
        &self,
        manager: &Arc<ChannelManager>,
        listens_at: Option<SocketAddr>,
    ) -> Result<(), HostError> {
        let listens_at = listens_at.map(|address| format!("http://{}", reachable(address)));
        let url = self.state.config.url.clone().or(listens_at).unwrap_or_default();
        let settings = KeeperSettings { weight: self.state.config.weight, url };
        let runner = Arc::new(HostRunner(Arc::clone(manager)));
        let thread = LeaseThread::start(self.table(), self.state.held.clone(), settings, runner);
        *self.leases() = Some(thread.map_err(HostError::Thread)?);
        Ok(())
    }

    /// From now on channels stay where they are.
    pub(super) fn hold(&self) {
        if let Some(leases) = &*self.leases() {
            leases.hold();
        }
    }

    /// All channels have stopped, and all is stored: others may have them at once.
    pub(super) fn leave(&self) {
        let Some(leases) = self.leases().take() else { return };
        drop(leases);
        if let Err(error) = self.table().leave() {
            log::warn!("other hosts take over only when this one has been silent for a while: {error}");
        }
    }

    fn table(&self) -> LeaseTable {
        let time_to_live_ms = millis(TIME_TO_LIVE);
        LeaseTable::new(self.state.connector.clone(), self.state.joined.clone(), time_to_live_ms)
    }

    fn offers(&self) -> MutexGuard<'_, BTreeMap<String, (WasmChannel, Offer)>> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> MutexGuard<'_, Option<LeaseThread>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts and stops the channels of a host as its leases come and go.
struct HostRunner(Arc<ChannelManager>);

impl HostRunner {
    fn side(&self) -> Result<&Arc<ClusterSide>, String> {
        self.0.cluster().ok_or_else(|| "this host is no part of a cluster".to_owned())
    }
}

fn name_of(channel: &str) -> Result<ChannelName, String> {
    ChannelName::new(channel).map_err(|error| error.to_string())
}

impl Runner for HostRunner {
    fn offers(&self) -> BTreeMap<String, Offer> {
        let Ok(side) = self.side() else { return BTreeMap::new() };
        side.offers().iter().map(|(name, (_, offer))| (name.clone(), offer.clone())).collect()
    }

    fn has(&self, channel: &str) -> bool {
        name_of(channel).is_ok_and(|name| self.0.has(&name))
    }

    fn start(&self, channel: &str) -> Result<(), String> {
        let offered = self.side()?.offers().get(channel).map(|(channel, _)| channel.clone());
        let channel = offered.ok_or_else(|| "its files are gone".to_owned())?;
        self.0.add_now(Box::new(channel)).map_err(|error| error.to_string())
    }

    fn stop(&self, channel: &str) -> Result<(), String> {
        self.0.hand_over(&name_of(channel)?).map_err(|error| error.to_string())
    }

    fn is_alive(&self) -> bool {
        let (reply, channels) = oneshot::channel();
        // Waits for as long as the router does not respond, and the host says nothing meanwhile.
        self.0.send(Event::Command(RouterCommand::Health(reply))).is_ok() && channels.wait().is_some()
    }

    fn looked(&self, view: &ClusterView, own: HostNumber) {
        if let Ok(side) = self.side() {
            side.forwarder.looked(view, own);
            // A start that ended after its channel was handed over has opened paths, which would keep requests here.
            for channel in view.channels.iter().filter(|channel| channel.wanted.host != Some(own)) {
                if let Ok(name) = name_of(&channel.wanted.name)
                    && side.offers().contains_key(name.as_str())
                    && !self.0.has(&name)
                {
                    self.0.routes().remove(&name);
                }
            }
            *side.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((view.clone(), own));
        }
    }

    fn fenced(&self) {
        // Whatever was acknowledged is durable, and nothing that this process still does is kept.
        log::error!("this host ends, so that it can be restarted");
        log::logger().flush();
        std::process::exit(EXIT_STATUS);
    }
}

impl ChannelManager {
    /// The hosts that share the database and the channels, as this one has seen them last; none when it has the store for itself.
    #[cfg(feature = "cli")]
    pub(crate) fn hosts(&self) -> Option<Value> {
        let (view, own) = self.cluster()?.seen()?;
        Some(records(&view, own))
    }

    /// Has this host hand its channels over, or take its share again; false when it has the store for itself.
    #[cfg(feature = "cli")]
    pub(crate) fn drain_channels(&self, is_draining: bool) -> bool {
        let Some(cluster) = self.cluster() else { return false };
        cluster.drain(is_draining);
        true
    }

    /// Takes a channel out that another host is to have. When this returns, nothing of it is under way to the store.
    fn hand_over(&self, channel: &ChannelName) -> Result<(), HostError> {
        self.remove_now(channel)?;
        let mut filter = MessageFilter {
            channel: Some(channel.shared()),
            state: Some(MessageState::Pending),
            limit: usize::MAX,
            ..MessageFilter::default()
        };
        // A query sees everything that was sent to the store before it.
        loop {
            let asked = filter.clone();
            let page = self.store.query(move |engine| engine.messages(&asked))?;
            for message in &page {
                self.mailbox.forget(message.id);
            }
            let Some(last) = page.last() else { break };
            filter.before = Some(last.id);
        }
        self.pairing.forget_channel(channel);
        // A start that ended meanwhile has opened paths.
        self.routes().remove(channel);
        Ok(())
    }

    /// Takes in what a host keeps in memory of a channel, before it starts.
    pub(super) fn move_in(&self, channel: &ChannelName, moved: MovedChannel) {
        self.pairing.forget_channel(channel);
        self.pairing.take_in(moved.pairing);
        self.mailbox.load_after_restart(moved.messages);
    }
}

impl RequestForwarder for ClusterSide {
    fn knows(&self, path: &str) -> bool {
        self.forwarder.knows(path)
    }

    fn origin(&self, request: &mut IncomingRequest) -> Origin {
        let place = request.headers.iter().position(|(name, _)| name == FORWARDED_HEADER);
        let Some((_, header)) = place.map(|place| request.headers.remove(place)) else {
            return Origin::Client;
        };
        let forwarded = Forwarded {
            method: &request.method,
            target: &request.target,
            headers: &request.headers,
            body: &request.body,
        };
        match verify(self.forwarder.secret(), &forwarded, &header, unix_ms()) {
            Ok(client) => Origin::Host(client),
            Err(reason) => Origin::Forged(reason.as_str()),
        }
    }

    fn forward(&self, request: IncomingRequest, client: IpAddr) {
        let IncomingRequest { path, method, target, headers, body, responder, .. } = request;
        let request = Request { path, method, target, headers, body, client };
        self.forwarder.forward(request, move |response| respond(responder, response));
    }
}

/// What a view says, as JSON.
#[cfg(feature = "cli")]
fn records(view: &ClusterView, own: HostNumber) -> Value {
    let hosts = view.hosts.iter().map(|host| {
        let held = view.channels.iter().filter(|channel| channel.wanted.host == Some(host.host)).count();
        json!({
            "name": host.name,
            "this": host.host == own,
            "alive": host.is_alive,
            "draining": host.announced.is_draining,
            "weight": host.announced.weight,
            "url": host.announced.url,
            "channels": held,
        })
    });
    let channels = view.channels.iter().map(|channel| {
        let host = view.hosts.iter().find(|host| channel.wanted.host == Some(host.host));
        let reason = channel.wanted.host.is_none().then(|| view.why_nobody_has(&channel.wanted));
        json!({
            "name": channel.wanted.name,
            "host": host.map(|host| &host.name),
            "epoch": channel.epoch,
            "reason": reason,
        })
    });
    json!({"hosts": hosts.collect::<Vec<_>>(), "channels": channels.collect::<Vec<_>>()})
}

fn respond(responder: Responder, response: Result<ForwardedReply, ForwardError>) {
    let response = match response {
        Ok(ForwardedReply { status, mut headers, body }) => {
            // Each server says the date by itself.
            headers.retain(|(name, _)| name != "date");
            Response { status, headers, body }
        }
        Err(ForwardError::NoOwner | ForwardError::Lost) => {
            response_for(WebhookResponse::Refused(WebhookRefusal::Starting))
        }
        Err(ForwardError::Busy) => response_for(WebhookResponse::Refused(WebhookRefusal::Busy)),
    };
    responder.respond(response);
}
