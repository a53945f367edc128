//! The agent that the configuration asks for.

use crate::agent::{Agent, EchoAgent, ExecAgent, HttpAgent, OpenAiAgent};

use super::config::{AgentChoice, Settings};
use super::outcome::Failure;

/// Makes it.
pub fn agent(settings: &Settings) -> Result<Box<dyn Agent>, Failure> {
    Ok(match &settings.agent {
        AgentChoice::Echo => Box::new(EchoAgent),
        AgentChoice::Exec(exec) => Box::new(ExecAgent::new(exec.clone())),
        AgentChoice::Http(http) => Box::new(HttpAgent::new(http.clone(), settings.secrets.store()?)),
        AgentChoice::OpenAi(openai) => Box::new(OpenAiAgent::new(openai.clone(), settings.secrets.store()?)),
    })
}
