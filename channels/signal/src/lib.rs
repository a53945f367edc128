//! Signal, through `signal-cli-rest-api` on the same network. In its modes `normal` and `native` messages are fetched; in
//! `json-rpc` they come through a websocket.
//! <https://bbernhard.github.io/signal-cli-rest-api/>
//!
//! Messages are gone once they are fetched: each is given to the agent before anything can fail.

mod api;
mod envelope;
mod receiving;
mod sending;

use serde::{Deserialize, Serialize};
use tinclaw_kit::{Channel, Failure, Registration, Reply, SocketChannel, Status, host, socket_channel};

/// The channel.
#[derive(Debug)]
pub struct Signal;

/// What the operator sets, beside the policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The base URL of signal-cli-rest-api, such as `http://192.168.1.5:8080`.
    #[serde(default)]
    pub api: Option<String>,
    /// The bot's number, with a plus and the country's code.
    #[serde(default)]
    pub number: Option<String>,
    /// The mode that signal-cli-rest-api runs in.
    #[serde(default)]
    pub mode: Mode,
    /// The time between two polls, in milliseconds, when the one before has not waited for anything.
    #[serde(default = "default_interval")]
    pub poll_interval_ms: u32,
    /// Whether reactions to messages are told to the agent.
    #[serde(default)]
    pub reactions: bool,
}

/// How signal-cli-rest-api runs (`MODE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Messages are fetched.
    #[default]
    Native,
    /// Messages are fetched.
    Normal,
    /// Messages come through a websocket.
    JsonRpc,
}

impl Settings {
    /// The bot's number.
    pub fn number(&self) -> &str {
        self.number.as_deref().unwrap_or_default()
    }
}

fn default_interval() -> u32 {
    3_000
}

/// Where a reply goes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Origin {
    /// A user's id or number, or a group.
    pub to: String,
    /// The message to quote, in groups: its time, and who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<(u64, String)>,
}

impl Channel for Signal {
    type Settings = Settings;
    type Origin = Origin;

    fn start(settings: &Settings) -> Result<Registration, String> {
        if settings.api.as_deref().unwrap_or_default().is_empty() {
            return Err("set `api` in [channel.signal.config]: the URL of signal-cli-rest-api".to_owned());
        }
        if !settings.number().starts_with('+') {
            return Err(
                "set `number` in [channel.signal.config]: the bot's number, as in +4915112345678".to_owned()
            );
        }
        api::check_mode(settings)?;
        let registration = Registration::new("Signal");
        Ok(match settings.mode {
            Mode::JsonRpc => registration,
            Mode::Native | Mode::Normal => registration.poll(settings.poll_interval_ms),
        })
    }

    fn poll(settings: &Settings) {
        if let Err(failure) = receiving::poll(settings) {
            host::error(failure.words());
        }
    }

    fn reply(settings: &Settings, origin: Origin, reply: Reply) -> Result<(), Failure> {
        sending::send(settings, &origin, &reply)
    }

    fn status(settings: &Settings, origin: Origin, status: Status) {
        sending::show_typing(settings, &origin, status.is_working());
    }

    fn broadcast(settings: &Settings, user_id: &str, reply: Reply) -> Result<(), Failure> {
        sending::send(settings, &Origin { to: user_id.to_owned(), quote: None }, &reply)
    }
}

impl SocketChannel for Signal {
    fn frame(settings: &Settings, text: &str) -> Result<(), Failure> {
        receiving::take(settings, &serde_json::from_str(text).unwrap_or_default());
        Ok(())
    }
}

socket_channel!(Signal);
