//! The agent that the configuration asks for.

use tinclaw::agent::{Agent, EchoAgent, ExecAgent, HttpAgent};

use super::config::{AgentChoice, Settings};

/// Makes it.
pub fn agent(settings: &Settings) -> Box<dyn Agent> {
    match &settings.agent {
        AgentChoice::Echo => Box::new(EchoAgent),
        AgentChoice::Exec(command) => Box::new(ExecAgent::new(command.clone(), settings.agent_concurrency)),
        AgentChoice::Http(url) => {
            Box::new(HttpAgent::new(url.clone(), settings.agent_concurrency, settings.agent_timeout))
        }
    }
}
