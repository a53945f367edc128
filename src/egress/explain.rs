//! What would become of a request, check by check, for a person. No secret is shown, and nothing is sent; only the name is
//! resolved.

use std::time::{Duration, Instant};

use super::channel::ChannelHttp;
use super::error::OutboundError;
use super::leak;
use super::method::Method;
use super::request::RequestPurpose;
use super::target::OutboundTarget;
use crate::model::deadline::deadline_after;

/// How long the name may take.
const LOOKUP_TIME: Duration = Duration::from_secs(10);

/// One check, in the order in which requests pass them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedStep {
    /// Which check, as a word for programs.
    pub code: &'static str,
    /// What it finds, or why it refuses the request; none when an earlier one has left nothing to look at.
    pub outcome: Option<Result<String, String>>,
}

impl ExplainedStep {
    fn new(code: &'static str, outcome: Result<String, OutboundError>) -> Self {
        Self { code, outcome: Some(outcome.map_err(|error| error.to_string())) }
    }

    fn skipped(code: &'static str) -> Self {
        Self { code, outcome: None }
    }
}

impl ChannelHttp {
    /// What would become of a request of the guest. Later checks are made although an earlier one has refused it, as far as that
    /// is possible.
    pub fn explain(&self, method: &str, url: &str) -> Vec<ExplainedStep> {
        let parsed = Method::parse(method);
        let named = parsed.map(|_| format!("{method} is one that guests may use"));
        let mut steps = vec![ExplainedStep::new("method", named.ok_or(OutboundError::Method))];
        let target = match OutboundTarget::parse_for(url, &self.operator_hosts) {
            Ok(target) => target,
            Err(error) => {
                steps.push(ExplainedStep::new("url", Err(error)));
                let later = ["allow_list", "leaks", "limits", "address", "credentials"];
                steps.extend(later.map(ExplainedStep::skipped));
                return steps;
            }
        };
        steps.push(ExplainedStep::new("url", Ok(format!("{}{}", target.origin(), target.path()))));
        steps.push(match parsed {
            Some(method) => {
                let entry = self.allowlist.permit(method, &target);
                ExplainedStep::new(
                    "allow_list",
                    entry.map(|()| "http.allowlist has an entry for it".to_owned()),
                )
            }
            None => ExplainedStep::skipped("allow_list"),
        });
        steps.push(ExplainedStep::new("leaks", self.explain_leaks(url)));
        steps.push(ExplainedStep { code: "limits", outcome: Some(Ok(self.explain_limits())) });
        steps.push(ExplainedStep::new("address", self.explain_route(&target)));
        steps.push(ExplainedStep::new("credentials", self.credentials.explain(&target, &*self.secrets)));
        steps
    }

    fn explain_leaks(&self, url: &str) -> Result<String, OutboundError> {
        let matcher = self.searched_secrets()?;
        match leak::find_in_head(&matcher, url, &[]) {
            None => Ok("the URL contains the value of no secret".to_owned()),
            Some((secret, place)) => Err(OutboundError::Leak { secret: secret.to_owned(), place }),
        }
    }

    fn explain_limits(&self) -> String {
        let limits = &self.limits;
        format!(
            "{} requests in a callback, {} at once, {} a minute, {} an hour; {} bytes to send, {} to receive",
            limits.http_calls,
            limits.http_concurrent_requests,
            limits.http_requests_per_minute,
            limits.http_requests_per_hour,
            limits.http_request_bytes,
            limits.http_response_bytes
        )
    }

    fn explain_route(&self, target: &OutboundTarget) -> Result<String, OutboundError> {
        let deadline = deadline_after(Instant::now(), LOOKUP_TIME);
        Ok(self.route(target, RequestPurpose::Other, deadline)?.to_string())
    }
}
