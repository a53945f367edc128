//! A host with one channel of the program, whose requests go to a fake of its service.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tinclaw::host::{ChannelHealth, ChannelSettings, ChannelState};
use tinclaw::store::{ReplyId, ReplyState};
use tinclaw::{AgentResponse, Attachment, ChannelName, Delivery, Host, HostBuilder, RecvError, WasmChannel};

use crate::support::{client, eventually, fixtures};

/// What a channel is played with.
pub struct Setting<'a> {
    pub channel: &'a str,
    pub secrets: &'a [&'a str],
    /// Hosts of the service and where they are played.
    pub rewrites: &'a [(&'a str, String)],
    /// Where the state is kept; in memory when there is none.
    pub state: Option<&'a Path>,
    /// The public address of the host.
    pub tunnel_url: Option<&'a str>,
    /// What the operator sets for the channel.
    pub settings: &'a [(&'a str, String)],
}

/// A running host.
pub struct Play {
    pub host: Host,
    pub address: SocketAddr,
    pub channel: ChannelName,
}

pub fn folder(channel: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("channels").join(channel)
}

impl Play {
    /// Starts the channel with a changed capability file.
    pub fn start(setting: &Setting<'_>, change: impl FnOnce(&mut Value)) -> Self {
        let play = Self::begin(setting, change);
        play.until_ready();
        play
    }

    /// As [`start`](Self::start), with values of its own for some of the secrets.
    pub fn start_with(
        setting: &Setting<'_>,
        values: &[(&str, &str)],
        change: impl FnOnce(&mut Value),
    ) -> Self {
        let play = Self::begin_with(setting, values, change);
        play.until_ready();
        play
    }

    /// As [`start`](Self::start), without waiting until the channel has started.
    pub fn begin(setting: &Setting<'_>, change: impl FnOnce(&mut Value)) -> Self {
        Self::begin_with(setting, &[], change)
    }

    fn begin_with(setting: &Setting<'_>, values: &[(&str, &str)], change: impl FnOnce(&mut Value)) -> Self {
        let runtime = fixtures::runtime();
        let name: ChannelName = setting.channel.parse().expect("a channel's name");
        let wasm = read(setting.channel, "wasm");
        let mut file: Value =
            serde_json::from_slice(&read(setting.channel, "capabilities.json")).expect("JSON");
        change(&mut file);
        let channel =
            WasmChannel::from_bytes(&runtime, name.clone(), &wasm, Some(file.to_string().as_bytes()))
                .expect("a channel");
        let secrets = fixtures::secrets(setting.secrets, values);
        let mut builder: HostBuilder = fixtures::host_with(secrets, setting.rewrites).channel(channel);
        if let Some(state) = setting.state {
            builder = builder.state_dir(state);
        }
        let tunnel_url = setting.tunnel_url.map(str::to_owned);
        let mut settings = ChannelSettings::default();
        settings
            .config
            .extend(setting.settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone().into())));
        let named = name.clone();
        let host = builder
            .configure(|config| {
                config.channels.insert(named, settings);
                config.router.retry.initial_backoff = Duration::from_millis(5);
                config.public_url = tunnel_url.map(|url| url.parse().expect("a URL"));
            })
            .start()
            .expect("the host starts");
        assert!(host.failed_channels().is_empty(), "{:?}", host.failed_channels());
        let address = host.local_addr().expect("an address");
        Self { host, address, channel: name }
    }

    pub fn until_ready(&self) {
        eventually("the channel starts", || (self.health().state == ChannelState::Ready).then_some(()));
    }

    pub fn health(&self) -> ChannelHealth {
        self.host.health().expect("health").channels.remove(0)
    }

    /// Posts JSON to a path.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> client::Reply {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        client::request(self.address, "POST", path, &all, body.as_bytes())
    }

    /// The next message for the agent.
    pub fn next(&self) -> Delivery {
        self.host.messages().recv_timeout(Duration::from_secs(60)).expect("a message")
    }

    /// The content of the next message, which is acknowledged.
    pub fn hear(&self) -> String {
        let delivery = self.next();
        let content = delivery.message().content.clone();
        delivery.ack();
        content
    }

    /// Nothing waits for the agent.
    pub fn hear_nothing(&self) {
        assert_eq!(self.host.messages().try_recv().err(), Some(RecvError::TimedOut));
    }

    /// Replies to a message and acknowledges it.
    pub fn reply(&self, delivery: Delivery, content: &str) -> ReplyId {
        self.reply_with(delivery, content, Vec::new())
    }

    pub fn reply_with(&self, delivery: Delivery, content: &str, attachments: Vec<Attachment>) -> ReplyId {
        let response = AgentResponse { content: content.to_owned(), attachments, ..AgentResponse::default() };
        let id = self.host.respond(&delivery, response).expect("the reply is kept");
        delivery.ack();
        id
    }

    pub fn until(&self, id: ReplyId, state: ReplyState) {
        eventually("the reply's state", || {
            let reply = self.host.reply(id).expect("the store works").expect("it is kept");
            (reply.state == state).then_some(())
        });
    }

    /// Waits until a reply is a dead letter, and returns why.
    pub fn until_dead(&self, id: ReplyId) -> String {
        self.until(id, ReplyState::Dead);
        let reply = self.host.reply(id).expect("the store works").expect("it is kept");
        assert_eq!(reply.attempts, 1, "it was tried again");
        reply.error.expect("why")
    }

    /// Approves whoever waits.
    pub fn approve_all(&self) {
        for pending in self.host.pairing().pending() {
            self.host.pairing().approve(&self.channel, &pending.code, None).expect("the code is right");
        }
    }
}

fn read(channel: &str, extension: &str) -> Vec<u8> {
    let path = folder(channel).join(format!("{channel}.{extension}"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Changes a capability file: settings of its own, and polls that follow each other at once.
pub fn configured(config: Value) -> impl FnOnce(&mut Value) {
    move |file| {
        file["config"]["poll_interval_ms"] = json!(30);
        file["capabilities"]["channel"]["min_poll_interval_ms"] = json!(30);
        for (key, value) in config.as_object().expect("an object") {
            file["config"][key] = value.clone();
        }
    }
}

pub fn file(filename: &str, mime_type: &str, data: &[u8]) -> Attachment {
    Attachment { filename: filename.into(), mime_type: mime_type.into(), data: data.to_vec() }
}
