//! Agents that a host runs: each has a thread, and is stopped with its host.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use super::builder::Host;
use super::error::HostError;
use crate::model::deadline::deadline_after;

/// Replies to messages. A message is acknowledged only when its response is durable; whatever else happens to the agent, the
/// message is redelivered.
///
/// A host runs it ([`HostBuilder::agent`](crate::HostBuilder::agent), [`Host::serve_with`]) and stops it when the host stops.
pub trait Agent: Send + Sync {
    /// Takes messages and replies to them until the host's messages end.
    fn serve(&self, host: &Host);

    /// The host is about to stop: the agent gives up what would keep it from noticing.
    fn stop(&self) {}

    /// What the operator reads about it.
    fn describe(&self) -> String;

    /// How long it may take to notice that messages have ended.
    fn stop_timeout(&self) -> Duration {
        Duration::from_secs(5)
    }
}

/// The agents of a host.
#[derive(Default)]
pub(super) struct ServingAgents(Mutex<Vec<ServingAgent>>);

/// An agent that serves on a thread.
struct ServingAgent {
    agent: Arc<dyn Agent>,
    /// Whether it was told to stop.
    is_stopping: bool,
    /// Nothing is ever sent: it is disconnected when the thread has let the host go.
    ended: Receiver<()>,
}

impl ServingAgents {
    /// Says to every agent that the host is about to stop, once.
    pub fn stop(&self) {
        let mut agents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for serving in agents.iter_mut().filter(|serving| !serving.is_stopping) {
            serving.is_stopping = true;
            serving.agent.stop();
        }
    }

    /// Waits until every agent has noticed that messages have ended, each as long as it may take; says whether all have.
    pub fn join(&self) -> bool {
        let start = Instant::now();
        let mut has_ended = true;
        for (ended, time) in self.ends() {
            has_ended &=
                ended.recv_deadline(deadline_after(start, time)).is_err_and(|error| error.is_disconnected());
        }
        has_ended
    }

    fn ends(&self) -> Vec<(Receiver<()>, Duration)> {
        let agents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        agents.iter().map(|serving| (serving.ended.clone(), serving.agent.stop_timeout())).collect()
    }
}

impl Host {
    /// Has this agent take messages, on a thread of its own, until the host stops. Several agents share the messages of a host;
    /// those of one conversation are delivered in order.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn serve_with(&self, agent: Arc<dyn Agent>) -> Result<(), HostError> {
        let (ends, ended) = bounded(0);
        let (host, serving) = (self.for_agent(), Arc::clone(&agent));
        let serve = move || {
            serving.serve(&host);
            // Whoever waits for the end may then take the server apart.
            drop(host);
            drop::<crossbeam_channel::Sender<()>>(ends);
        };
        thread::Builder::new().name("tinclaw-agent".to_owned()).spawn(serve).map_err(HostError::Thread)?;
        self.agents.0.lock().unwrap_or_else(PoisonError::into_inner).push(ServingAgent {
            agent,
            is_stopping: false,
            ended,
        });
        Ok(())
    }

    /// Waits until every agent of the host has ended: when another thread stops it ([`Host::stop`]), or by itself.
    pub fn wait(&self) {
        for (ended, _) in self.agents.ends() {
            // An error means that it has ended.
            let _ = ended.recv();
        }
    }
}
