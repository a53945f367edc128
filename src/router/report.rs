//! How the channels are.

use crate::channel::Registration;
use crate::event::health::{ChannelHealth, ChannelState};
use crate::event::link::{LinkHealth, LinkState};
use crate::model::diagnostic::Diagnostic;
use crate::model::subject::without_channel;

use super::core::Router;
use crate::channel::state::{Channel, State};

impl Router {
    /// The health of every channel, by name.
    pub(super) fn health(&self) -> Vec<ChannelHealth> {
        self.channels.values().map(health_of).collect()
    }
}

fn health_of(slot: &Channel) -> ChannelHealth {
    let registration = slot.registration.as_ref();
    ChannelHealth {
        name: slot.setup.name.clone(),
        display_name: registration.map(|registration| registration.display_name.clone()),
        state: match slot.state {
            State::Starting => ChannelState::Starting,
            State::Ready if slot.credentials.problem().is_some() || link_problem(slot).is_some() => {
                ChannelState::Degraded
            }
            State::Ready => ChannelState::Ready,
            State::Paused => ChannelState::Paused,
            State::Stopping => ChannelState::Stopping,
        },
        problems: problems_of(slot),
        // Looking into the secrets is not the router's: the manager does, when it is asked.
        missing_secrets: Vec::new(),
        paths: registration.map(paths_of).unwrap_or_default(),
        link: slot.link.as_ref().map(|link| link.health()),
        poll_interval: registration.and_then(|registration| registration.poll).map(|poll| poll.interval),
        waiting: slot.waiting(),
        requests_parked: slot.waiting_requests.len(),
        replies_pending: slot.outbox.len(),
        succeeded: slot.counters.succeeded,
        failed: slot.counters.failed,
        emitted: slot.counters.emitted,
        dropped: slot.counters.dropped,
    }
}

fn paths_of(registration: &Registration) -> Vec<String> {
    registration.endpoints.iter().map(|endpoint| endpoint.path.clone()).collect()
}

/// Why nothing arrives through the channel's websocket. One that is being opened is no problem yet.
fn link_problem(slot: &Channel) -> Option<String> {
    let LinkHealth { host, state, reason, .. } = slot.link.as_ref()?.health();
    let what = match state {
        LinkState::Connecting | LinkState::Ready => return None,
        LinkState::Waiting => "is down and will be opened again",
        LinkState::Stopped => "is closed",
    };
    Some(format!("the websocket to {host} {what}: {}", reason.as_deref().unwrap_or("no reason given")))
}

fn problems_of(slot: &Channel) -> Vec<Diagnostic> {
    let mut problems: Vec<Diagnostic> = slot.setup.problems().collect();
    let refused = slot.registration.iter().flat_map(|registration| &registration.warnings);
    problems.extend(refused.map(|warning| Diagnostic::warning("registration", warning)));
    problems.extend(slot.credentials.problem().map(|text| Diagnostic::error("refused-credential", text)));
    problems.extend(link_problem(slot).map(|text| Diagnostic::error("websocket", text)));
    // Whoever shows them names the channel.
    let name = slot.setup.name.as_str();
    match slot.breaker.pause() {
        Some(pause) => {
            let text = format!("paused after failures: {}", without_channel(name, &pause.reason));
            problems.push(Diagnostic::error("paused", text));
        }
        None => {
            let failures = slot.last_failure.iter();
            let texts = failures.map(|failure| format!("last failure: {}", without_channel(name, failure)));
            problems.extend(texts.map(|text| Diagnostic::warning("last-failure", text)));
        }
    }
    problems
}
