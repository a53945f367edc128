//! Says what it was told.

use tinclaw::{AgentResponse, Host};

use super::{Agent, answer};

/// The agent of a first try.
pub struct Echo;

impl Agent for Echo {
    fn serve(&self, host: &Host) {
        for delivery in host.messages() {
            answer::begin(host, &delivery);
            let content = delivery.message().content.clone();
            answer::reply(host, delivery, AgentResponse { content, ..AgentResponse::default() });
        }
    }

    fn describe(&self) -> String {
        "echo".to_owned()
    }
}
