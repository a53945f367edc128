//! How the channel is.

use super::{Channel, Phase};
use crate::channel::Registration;
use crate::event::health::{ChannelHealth, ChannelState};
use crate::event::link::{LinkHealth, LinkState};
use crate::model::diagnostic::Diagnostic;
use crate::model::subject::without_channel;

impl Channel {
    /// How the channel is; `link` says how its websocket is, once it was opened.
    pub fn health(&self, link: Option<LinkHealth>) -> ChannelHealth {
        let registration = self.registration.as_ref();
        let link_problem = link.as_ref().and_then(link_problem);
        let is_degraded = self.credentials.problem().is_some() || link_problem.is_some();
        let [inbound_waiting, polls_waiting, outbound_waiting] = self.waiting();
        ChannelHealth {
            name: self.settings.name.clone(),
            display_name: registration.map(|registration| registration.display_name.clone()),
            state: match self.state {
                Phase::Starting => ChannelState::Starting,
                Phase::Ready if is_degraded => ChannelState::Degraded,
                Phase::Ready => ChannelState::Ready,
                Phase::Paused => ChannelState::Paused,
                Phase::Stopping => ChannelState::Stopping,
            },
            problems: self.problems(link_problem),
            // Looking into the secrets is not the channel's: the manager does, when it is asked.
            missing_secrets: Vec::new(),
            paths: registration.map(paths_of).unwrap_or_default(),
            link,
            poll_interval: registration.and_then(|registration| registration.poll).map(|poll| poll.interval),
            inbound_waiting,
            polls_waiting,
            outbound_waiting,
            requests_parked: self.waiting_requests.len(),
            replies_pending: self.outbox.len(),
            succeeded: self.counters.succeeded,
            failed: self.counters.failed,
            emitted: self.counters.emitted,
            dropped: self.counters.dropped,
            callbacks: self.counters.callbacks,
            limits: self.settings.limits,
            last_message_at: self.activity.message_at(),
            last_request_at: self.activity.request_at(),
            last_poll_at: self.activity.poll_at(),
            last_error_at: self.activity.error().map(|(at, _)| at),
            recovered_at: self.activity.recovered_at(),
            last_error: self.activity.error().map(|(_, error)| error.to_owned()),
        }
    }

    /// What was found before it ran, and what has happened since.
    fn problems(&self, link_problem: Option<String>) -> Vec<Diagnostic> {
        let mut problems = self.settings.problems.clone();
        let refused = self.registration.iter().flat_map(|registration| &registration.warnings);
        problems.extend(refused.map(|warning| Diagnostic::warning("registration", warning)));
        let credentials = self.credentials.problem();
        problems.extend(credentials.map(|text| Diagnostic::error("refused-credential", text)));
        problems.extend(self.refused_version.as_ref().map(|reason| {
            let text = format!("the new version cannot start, and the present one stays: {reason}");
            Diagnostic::warning("refused-version", text).help("install one that can, or remove it")
        }));
        problems.extend(link_problem.map(|text| Diagnostic::error("websocket", text)));
        problems.extend(self.failure());
        problems
    }

    /// The pause that is on, or the last failure.
    fn failure(&self) -> Option<Diagnostic> {
        // Whoever shows it names the channel.
        let name = self.settings.name.as_str();
        if let Some(pause) = self.breaker.pause() {
            let text = format!("paused after failures: {}", without_channel(name, &pause.reason));
            return Some(Diagnostic::error("paused", text));
        }
        let failure = without_channel(name, self.last_failure.as_ref()?);
        Some(Diagnostic::warning("last-failure", format!("last failure: {failure}")))
    }
}

fn paths_of(registration: &Registration) -> Vec<String> {
    registration.endpoints.iter().map(|endpoint| endpoint.path.clone()).collect()
}

/// Why nothing arrives through the channel's websocket. One that is being opened is no problem yet.
fn link_problem(link: &LinkHealth) -> Option<String> {
    let LinkHealth { host, state, reason, .. } = link;
    let what = match state {
        LinkState::Connecting | LinkState::Ready | LinkState::NotUsed => return None,
        LinkState::Waiting => "is down and will be opened again",
        LinkState::Stopped => "is closed",
    };
    Some(format!("the websocket to {host} {what}: {}", reason.as_deref().unwrap_or("no reason given")))
}
