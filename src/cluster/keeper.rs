//! The thread that keeps this host's leases: it says again and again that the host lives, looks who has what, and starts and stops
//! channels so that each is where it is to be.
//!
//! It dies with the process, and says nothing when the router of this host does not respond: then the channels go to others.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::placement::{HostNumber, place};
use super::table::{Announcement, ClusterChannel, ClusterView, LeaseTable, Offer};
use crate::model::deadline::deadline_after;
use crate::model::vital_thread::spawn_vital;
use crate::store::{ChannelKey, HeldChannels, StoreError};

/// How long a host counts as alive after a beat.
pub(crate) const TIME_TO_LIVE: Duration = Duration::from_secs(10);
/// How often a host beats and looks.
const EVERY: Duration = Duration::from_millis(500);
/// How long a channel that could not be started here is left to others.
const REST: Duration = Duration::from_secs(30);

/// What runs channels: the host.
pub(crate) trait Runner: Send + Sync {
    /// The channels that it has the files of.
    fn offers(&self) -> BTreeMap<String, Offer>;
    /// Whether it has the channel.
    fn has(&self, channel: &str) -> bool;
    /// Starts a channel that is this host's from now on.
    ///
    /// # Errors
    /// Why it does not run.
    fn start(&self, channel: &str) -> Result<(), String>;
    /// Stops a channel. Returns when nothing of it is under way to the store.
    ///
    /// # Errors
    /// It may still do something.
    fn stop(&self, channel: &str) -> Result<(), String>;
    /// Whether it responds.
    fn is_alive(&self) -> bool;
    /// Who has what, as of now.
    fn looked(&self, view: &ClusterView, own: HostNumber);
    /// What this host held has passed on: it must restart.
    fn fenced(&self);
}

/// What an operator says about this host.
#[derive(Clone, Debug)]
pub(crate) struct KeeperSettings {
    /// How much it takes, compared with others.
    pub(crate) weight: u32,
    /// Where other hosts reach it.
    pub(crate) url: String,
}

/// The running thread. Dropping it ends the thread and gives up no lease.
pub(crate) struct LeaseThread {
    orders: Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    /// Whether this host is to have no channels.
    Drain(bool),
    /// The host is stopping: it only says that it lives.
    Hold,
    /// The end.
    Stop,
}

impl LeaseThread {
    /// Starts the thread `tinclaw-leases`.
    pub(crate) fn start(
        table: LeaseTable,
        held: HeldChannels,
        settings: KeeperSettings,
        runner: Arc<dyn Runner>,
    ) -> io::Result<Self> {
        let (orders, received) = bounded(8);
        let mut keeper = Keeper {
            table,
            held,
            settings,
            runner,
            is_draining: false,
            is_held: false,
            running: BTreeMap::new(),
            rests: BTreeMap::new(),
            is_known_to_fail: false,
        };
        let thread = spawn_vital("tinclaw-leases", move || keeper.run(&received))?;
        Ok(Self { orders, thread: Some(thread) })
    }

    /// From now on this host is to have no channels, or its share again.
    pub(crate) fn drain(&self, is_draining: bool) {
        // A thread that has ended has nothing to drain.
        let _ = self.orders.send(Order::Drain(is_draining));
    }

    /// From now on no channel is started or stopped; the host goes on to say that it lives.
    pub(crate) fn hold(&self) {
        let _ = self.orders.send(Order::Hold);
    }

    /// Ends the thread; from now on no channel is started or stopped.
    pub(crate) fn stop(&mut self) {
        let _ = self.orders.send(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for LeaseThread {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A channel that runs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Running {
    number: u32,
    epoch: u64,
}

struct Keeper {
    table: LeaseTable,
    held: HeldChannels,
    settings: KeeperSettings,
    runner: Arc<dyn Runner>,
    is_draining: bool,
    /// The host is stopping: channels stay where they are.
    is_held: bool,
    running: BTreeMap<String, Running>,
    /// Channels that could not be started here, until when they are left to others.
    rests: BTreeMap<String, Instant>,
    /// The database could not be asked last time, and that was said.
    is_known_to_fail: bool,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// A host that is gone loses its channels.
    Fence(HostNumber),
    /// The channel is to run elsewhere.
    GiveUp(String),
    /// The channel is to run here.
    Begin(ClusterChannel),
    /// The channel is this host's and does not run here.
    LetGo(ClusterChannel),
}

impl Keeper {
    fn run(&mut self, orders: &Receiver<Order>) {
        loop {
            match self.turn() {
                Ok(()) => self.is_known_to_fail = false,
                Err(StoreError::Fenced { database }) => {
                    log::error!("{}", StoreError::Fenced { database });
                    self.held.let_go_of_all();
                    return self.runner.fenced();
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.is_known_to_fail, true) {
                        log::error!("who has which channel cannot be looked up: {error}");
                    }
                }
            }
            match orders.recv_timeout(EVERY) {
                Ok(Order::Drain(is_draining)) => self.is_draining = is_draining,
                Ok(Order::Hold) => self.is_held = true,
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Beats, looks, and does what is to be done.
    fn turn(&mut self) -> Result<(), StoreError> {
        if self.is_held {
            return self.beat(&self.runner.offers());
        }
        if !self.runner.is_alive() {
            return Ok(());
        }
        let offers = self.runner.offers();
        let names: Vec<ChannelKey> = offers.keys().map(|name| ChannelKey::from(name.as_str())).collect();
        self.beat(&offers)?;
        let Some(own) = self.table.host() else { return Ok(()) };
        let mut view = self.table.view()?;
        if names.iter().any(|name| !view.channels.iter().any(|known| *known.wanted.name == **name)) {
            self.table.announce(&names)?;
            view = self.table.view()?;
        }
        self.runner.looked(&view, own);
        self.note_versions(&view, own, &offers)?;
        // An operator may have taken one out.
        self.running.retain(|channel, _| self.runner.has(channel));
        let now = Instant::now();
        self.rests.retain(|_, until| *until > now);
        for step in steps(&view, own, &self.running, &self.rests) {
            match step {
                Step::Fence(host) => self.fence(&view, host)?,
                Step::GiveUp(channel) => self.give_up(&channel)?,
                Step::Begin(channel) => self.begin(&channel, &offers)?,
                Step::LetGo(channel) => self.let_go(&channel)?,
            }
            // Many channels take longer to start than a host may say nothing.
            self.beat(&offers)?;
        }
        Ok(())
    }

    fn beat(&mut self, offers: &BTreeMap<String, Offer>) -> Result<(), StoreError> {
        let (weight, url, is_draining) = (self.settings.weight, self.settings.url.clone(), self.is_draining);
        self.table.beat(&Announcement { weight, is_draining, url, offers: offers.clone() })
    }

    /// A channel that was upgraded here may be taken by those only that have its new version.
    fn note_versions(
        &mut self,
        view: &ClusterView,
        own: HostNumber,
        offers: &BTreeMap<String, Offer>,
    ) -> Result<(), StoreError> {
        for channel in view.channels.iter().filter(|channel| channel.wanted.host == Some(own)) {
            if let Some(offer) = offers.get(&channel.wanted.name)
                && channel.wanted.digest != Some(offer.digest)
            {
                self.table.note_version(channel.number, channel.epoch, &offer.digest)?;
            }
        }
        Ok(())
    }

    fn fence(&mut self, view: &ClusterView, host: HostNumber) -> Result<(), StoreError> {
        if self.table.fence(host)? {
            let name = view.hosts.iter().find(|known| known.host == host).map(|known| &*known.name);
            log::warn!(
                "host {} has said nothing for too long: its channels go to others",
                name.unwrap_or("?")
            );
        }
        Ok(())
    }

    fn give_up(&mut self, channel: &str) -> Result<(), StoreError> {
        let Some(running) = self.running.get(channel).copied() else { return Ok(()) };
        if let Err(error) = self.runner.stop(channel) {
            log::warn!("channel {channel} stays here: {error}");
            return Ok(());
        }
        self.held.let_go(channel);
        self.running.remove(channel);
        self.table.release(running.number, running.epoch)?;
        log::info!("channel {channel} is given up for another host");
        Ok(())
    }

    fn let_go(&mut self, channel: &ClusterChannel) -> Result<(), StoreError> {
        self.held.let_go(&channel.wanted.name);
        self.table.release(channel.number, channel.epoch)
    }

    fn begin(
        &mut self,
        channel: &ClusterChannel,
        offers: &BTreeMap<String, Offer>,
    ) -> Result<(), StoreError> {
        let name = &channel.wanted.name;
        let Some(offer) = offers.get(name) else { return Ok(()) };
        let Some(epoch) = self.table.take(channel.number, &offer.digest)? else { return Ok(()) };
        self.held.hold(ChannelKey::from(name.as_str()), epoch);
        match self.runner.start(name) {
            Ok(()) => {
                log::info!("channel {name} runs here, in epoch {epoch}");
                self.running.insert(name.clone(), Running { number: channel.number, epoch });
                Ok(())
            }
            Err(error) => {
                log::error!("channel {name} cannot run here and is left to others for a while: {error}");
                self.held.let_go(name);
                self.rests.insert(name.clone(), deadline_after(Instant::now(), REST));
                self.table.release(channel.number, epoch)
            }
        }
    }
}

/// What one host does, seeing this.
fn steps(
    view: &ClusterView,
    own: HostNumber,
    running: &BTreeMap<String, Running>,
    rests: &BTreeMap<String, Instant>,
) -> Vec<Step> {
    let mut steps: Vec<Step> =
        view.lost_hosts().into_iter().filter(|host| *host != own).map(Step::Fence).collect();
    let mut hosts = view.candidates();
    // What rests here is not this host's for a while.
    for host in hosts.iter_mut().filter(|host| host.host == own) {
        host.offers.retain(|name, _| !rests.contains_key(name));
    }
    let wanted: Vec<_> = view.channels.iter().map(|channel| channel.wanted.clone()).collect();
    let placed = place(&hosts, &wanted);
    for channel in &view.channels {
        let name = &channel.wanted.name;
        let is_placed_here = placed.get(name) == Some(&own);
        let (is_running, is_own) = (running.contains_key(name), channel.wanted.host == Some(own));
        match (is_placed_here, is_running) {
            // Nobody else takes it: it goes on here until somebody may.
            (false, true) if placed.contains_key(name) => steps.push(Step::GiveUp(name.clone())),
            // The operator has said so, or has taken its files away.
            (false, true)
                if hosts.iter().any(|host| host.host == own && host.fits(&channel.wanted).is_err()) =>
            {
                steps.push(Step::GiveUp(name.clone()));
            }
            // Also one that is taken already, when the response was lost.
            (true, false) if is_own || channel.wanted.host.is_none() => {
                steps.push(Step::Begin(channel.clone()))
            }
            (false, false) if is_own => steps.push(Step::LetGo(channel.clone())),
            _ => {}
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::placement::Wanted;
    use crate::cluster::table::ClusterHost;

    fn host(number: HostNumber, is_alive: bool, is_draining: bool, names: &[&str]) -> ClusterHost {
        let offer = Offer { digest: [0; 32], paths: Vec::new() };
        let offers = names.iter().map(|name| ((*name).to_owned(), offer.clone())).collect();
        let announced = Announcement { weight: 1, is_draining, url: String::new(), offers };
        ClusterHost { host: number, name: format!("h{number}"), is_alive, announced }
    }

    fn channel(name: &str, host: Option<HostNumber>) -> ClusterChannel {
        ClusterChannel { number: 1, epoch: 1, wanted: Wanted { name: name.to_owned(), host, digest: None } }
    }

    fn running(names: &[&str]) -> BTreeMap<String, Running> {
        names.iter().map(|name| ((*name).to_owned(), Running { number: 1, epoch: 1 })).collect()
    }

    #[test]
    fn hosts_take_release_and_fence_as_the_view_asks() {
        let none = BTreeMap::new();
        let free = |name: &str| Step::Begin(channel(name, None));
        let give_up = |name: &str| Step::GiveUp(name.to_owned());
        let both = vec![host(1, true, false, &["a", "b"]), host(2, true, false, &["a", "b"])];
        let gone = vec![both[0].clone(), host(2, false, false, &["a", "b"])];
        let draining = vec![host(1, true, true, &["a", "b"]), both[1].clone()];
        let alone = vec![host(1, true, true, &["a", "b"])];
        for (case, hosts, channels, running_here, expected) in [
            (
                "it takes its share",
                &both,
                vec![channel("a", None), channel("b", None)],
                vec![],
                vec![free("a")],
            ),
            (
                "the other one's stays",
                &both,
                vec![channel("a", Some(1)), channel("b", Some(2))],
                vec!["a"],
                vec![],
            ),
            (
                "what it took without knowing it begins",
                &both,
                vec![channel("a", Some(1))],
                vec![],
                vec![Step::Begin(channel("a", Some(1)))],
            ),
            (
                "what is too much goes",
                &both,
                vec![channel("a", Some(1)), channel("b", Some(1))],
                vec!["a", "b"],
                vec![give_up("b")],
            ),
            (
                "a host that is gone is fenced first",
                &gone,
                vec![channel("a", Some(2))],
                vec![],
                vec![Step::Fence(2)],
            ),
            (
                "it has taken what it cannot have",
                &draining,
                vec![channel("a", Some(1))],
                vec![],
                vec![Step::LetGo(channel("a", Some(1)))],
            ),
            ("it drains", &draining, vec![channel("a", Some(1))], vec!["a"], vec![give_up("a")]),
            (
                "it drains and nobody else is there",
                &alone,
                vec![channel("a", Some(1))],
                vec!["a"],
                vec![give_up("a")],
            ),
        ] {
            let view = ClusterView { hosts: hosts.clone(), channels };
            assert_eq!(steps(&view, 1, &running(&running_here), &none), expected, "{case}");
        }
    }

    #[test]
    fn channels_that_cannot_start_are_left_to_other_hosts() {
        let view =
            ClusterView { hosts: vec![host(1, true, false, &["a"])], channels: vec![channel("a", None)] };
        let rests = BTreeMap::from([("a".to_owned(), Instant::now() + REST)]);
        assert_eq!(steps(&view, 1, &BTreeMap::new(), &rests), []);
    }
}
