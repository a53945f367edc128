//! The agent of a first try.

use wit_abi::types::AgentResponse;

use super::{Agent, outcome};
use crate::host::Host;

/// Replies to every message with its own text.
#[derive(Debug, Default)]
pub struct EchoAgent;

impl Agent for EchoAgent {
    fn serve(&self, host: &Host) {
        host.agent_report().begin("echo");
        for delivery in host.messages() {
            outcome::begin(host, &delivery);
            let content = delivery.message().content.clone();
            outcome::reply(host, delivery, AgentResponse::text(content));
        }
    }

    fn describe(&self) -> String {
        "echo".to_owned()
    }
}
