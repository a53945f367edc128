//! Who replies to messages: agents that a host can be given.
//!
//! | file | job |
//! |---|---|
//! | `status` | the names of statuses: pure |
//! | `outcome` | what every agent does with a message and with a response |
//! | `echo` | replies with the same text |
//! | `message` | a message as JSON: pure |
//! | `response` | a reply as JSON: pure |
//! | `text` | bytes that should have been JSON: pure |
//! | `quote` | what an agent said, as it stands in a log line: pure |
//! | `server` | an agent that is a server, asked through the host's outbound HTTP |
//! | `basic_auth` | a user and a password in the URL of an agent: pure |
//! | `growing` | a reply that is shown while it is written |
//! | `exec/` | a program that reads and writes JSON lines (feature `agent-exec`) |
//! | `http` | an HTTP server that is asked for each message (feature `agent-http`) |
//! | `openai/` | a language model behind the chat completions API (feature `agent-openai`) |

#[cfg(any(feature = "agent-http", feature = "agent-openai"))]
mod basic_auth;
mod echo;
#[cfg(feature = "agent-exec")]
mod exec;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
#[cfg(feature = "agent-openai")]
mod growing;
#[cfg(feature = "agent-http")]
mod http;
#[cfg(any(feature = "agent-exec", feature = "agent-http"))]
mod message;
#[cfg(feature = "agent-openai")]
mod openai;
mod outcome;
#[cfg(any(feature = "agent-exec", feature = "agent-http", feature = "agent-openai"))]
mod quote;
#[cfg(any(feature = "agent-exec", feature = "agent-http"))]
mod response;
#[cfg(any(feature = "agent-http", feature = "agent-openai"))]
mod server;
#[cfg(feature = "agent-exec")]
mod status;
#[cfg(any(feature = "agent-exec", feature = "agent-http"))]
mod text;

pub use crate::host::agent::Agent;
pub use echo::EchoAgent;
#[cfg(feature = "agent-exec")]
pub use exec::{ExecAgent, ExecSettings};
#[cfg(feature = "agent-http")]
pub use http::{HttpAgent, HttpSettings};
#[cfg(feature = "agent-openai")]
pub use openai::{HistoryWindow, OpenAiAgent, OpenAiSettings};
#[cfg(feature = "cli")]
pub(crate) use status::status_type;
