//! Whether the services that a channel talks to still accept its credentials: pure bookkeeping.

use crate::event::upstream::UpstreamOutcome;

/// Callbacks in a row whose credentials are refused before the channel counts as degraded: one may be a service that is
/// being restarted.
const FAILURES_BEFORE_DEGRADED: u32 = 3;

/// What was learnt from the channel's callbacks.
#[derive(Debug, Default)]
pub struct CredentialHealth {
    /// Callbacks in a row that the service refused; 0 after one that it accepted.
    failures: u32,
    reason: Option<String>,
}

impl CredentialHealth {
    /// A callback has ended. True when the channel has become degraded with it.
    pub fn note(&mut self, upstream: &UpstreamOutcome) -> bool {
        if let Some(reason) = &upstream.unauthorized {
            self.failures = self.failures.saturating_add(1);
            self.reason = Some(reason.clone());
            return self.failures == FAILURES_BEFORE_DEGRADED;
        }
        if upstream.was_accepted {
            *self = Self::default();
        }
        false
    }

    /// Why the channel is degraded, if it is.
    pub fn problem(&self) -> Option<String> {
        let reason = self.reason.as_ref().filter(|_| self.failures >= FAILURES_BEFORE_DEGRADED)?;
        Some(format!("its credentials are refused: {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_callback_in_a_row_with_a_401_degrades_and_a_success_ends_it() {
        let refused = UpstreamOutcome {
            unauthorized: Some("api.example responded with 401".into()),
            ..UpstreamOutcome::default()
        };
        let accepted = UpstreamOutcome { was_accepted: true, ..UpstreamOutcome::default() };
        let nothing = UpstreamOutcome::default();
        let mut health = CredentialHealth::default();
        let became: Vec<bool> = [&refused, &refused, &accepted, &refused, &nothing, &refused]
            .map(|outcome| health.note(outcome))
            .to_vec();
        assert_eq!(became, [false; 6]);
        assert_eq!(health.problem(), None, "two in a row");
        assert!(health.note(&refused));
        let problem = health.problem().expect("degraded");
        assert_eq!(problem, "its credentials are refused: api.example responded with 401");
        assert!(!health.note(&refused), "said once");
        assert!(!health.note(&accepted));
        assert_eq!(health.problem(), None);
    }
}
