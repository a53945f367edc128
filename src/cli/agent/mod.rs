//! Who answers messages.
//!
//! | file | job |
//! |---|---|
//! | `echo` | says what it was told |
//! | `exec` | a program that reads and writes JSON lines |
//! | `child` | its process: started, fed, ended |
//! | `http` | an HTTP server that is asked for each message |
//! | `protocol` | messages and answers as JSON: pure |
//! | `answer` | what every agent does with a message and with an answer |

mod answer;
mod child;
mod echo;
mod exec;
mod http;
mod protocol;

use std::time::Duration;

pub use protocol::{attachment, status_type};

use tinclaw::Host;

use super::config::{AgentChoice, Settings};

/// Answers messages. A message is acknowledged only when its answer is durable; whatever else happens to the agent, the
/// message comes again.
pub trait Agent: Sync {
    /// Takes messages and answers them until the host's messages end.
    fn serve(&self, host: &Host);

    /// The host is about to stop: the agent lets go of what would keep it from noticing.
    fn stop(&self) {}

    /// What the operator reads about it.
    fn describe(&self) -> String;

    /// How long it may take to notice that messages have ended.
    fn farewell(&self) -> Duration {
        Duration::from_secs(5)
    }
}

/// The agent that the configuration asks for.
pub fn agent(settings: &Settings) -> Box<dyn Agent> {
    match &settings.agent {
        AgentChoice::Echo => Box::new(echo::Echo),
        AgentChoice::Exec(command) => Box::new(exec::Exec::new(command.clone(), settings.agent_concurrency)),
        AgentChoice::Http(url) => {
            Box::new(http::Http::new(url.clone(), settings.agent_concurrency, settings.agent_timeout))
        }
    }
}
