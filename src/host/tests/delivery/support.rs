//! Hosts with the guests that these tests use.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::event::health::ChannelHealth;
use crate::{AgentResponse, ChannelName, Delivery, Host, HostBuilder, RecvError};

pub use crate::test_support::temp_dir::TempDir;
use crate::test_support::upstream::{Upstream, ok};
use crate::test_support::{client, eventually, fixtures};

/// How long a test waits for what has to come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running host and where it listens.
pub struct RunningHost {
    pub host: Host,
    pub address: SocketAddr,
}

pub fn start(builder: HostBuilder) -> RunningHost {
    let host = builder.start().expect("the host starts");
    assert!(host.failed_channels().is_empty(), "{:?}", host.failed_channels());
    let address = host.local_addr().expect("an address");
    RunningHost { host, address }
}

/// A builder of a host with `everything`, whose requests go to `upstream`.
pub fn everything(upstream: &Upstream, change: impl FnOnce(&mut Value)) -> HostBuilder {
    let runtime = fixtures::runtime();
    fixtures::host(&[], &[("api.everything.example", upstream.url())]).channel(fixtures::channel_with(
        &runtime,
        "everything",
        change,
    ))
}

/// A builder of a host with `echo`, whose replies go to `upstream`.
pub fn echo(upstream: &Upstream, change: impl FnOnce(&mut Value)) -> HostBuilder {
    let runtime = fixtures::runtime();
    fixtures::host(&["echo_token", "echo_webhook_secret"], &[("api.echo.example", upstream.url())])
        .channel(fixtures::channel_with(&runtime, "echo", change))
}

/// An upstream server that nobody calls.
pub fn nobody() -> Upstream {
    Upstream::start(|_, _| (404, Vec::new(), Vec::new()))
}

pub fn name(channel: &str) -> ChannelName {
    channel.parse().expect("a name")
}

pub fn text(content: &str) -> AgentResponse {
    AgentResponse { content: content.to_owned(), ..AgentResponse::default() }
}

pub fn kept_in(builder: HostBuilder, state: &Path) -> HostBuilder {
    builder.state_dir(state)
}

impl RunningHost {
    /// Sends a task to `everything` once; whatever the response is.
    pub fn post(&self, task: &Value) -> client::Reply {
        let headers = [("content-type", "application/json")];
        client::request(self.address, "POST", "/webhook/everything", &headers, task.to_string().as_bytes())
    }

    /// Sends a task to `everything` as soon as it has started, and gives what came of it.
    pub fn task(&self, task: &Value) -> Value {
        self.ready("everything");
        let reply = self.post(task);
        assert_eq!(reply.status, 200, "{task}: {}", String::from_utf8_lossy(&reply.body));
        reply.json()["ok"].clone()
    }

    /// Has `everything` do this task in a callback.
    pub fn task_in(&self, callback: &str, task: &Value) {
        let path = format!("tasks/{callback}");
        self.task(&json!({"do": "workspace-write", "path": path, "content": task}));
    }

    /// A file of `everything`.
    pub fn file(&self, path: &str) -> Value {
        self.task(&json!({"do": "workspace-read", "path": path}))
    }

    /// Sends a message to `echo` as soon as it has started.
    pub fn say(&self, user: &str, content: &str) -> client::Reply {
        self.ready("echo");
        let secret = fixtures::value_of("echo_webhook_secret");
        client::webhook(self.address, "/webhook/echo", &secret, &json!({"user": user, "text": content}))
    }

    pub fn ready(&self, channel: &str) {
        eventually("the channel starts", || {
            (self.health(channel).state == crate::event::health::ChannelState::Ready).then_some(())
        });
    }

    pub fn health(&self, channel: &str) -> ChannelHealth {
        let health = self.host.health().expect("health");
        health.channels.into_iter().find(|each| each.name.as_str() == channel).expect("the channel")
    }

    pub fn next(&self) -> Delivery {
        self.host.messages().recv_timeout(PATIENCE).expect("a message")
    }

    /// The content of the next messages, which are acknowledged.
    pub fn take(&self, count: usize) -> Vec<String> {
        (0..count)
            .map(|_| {
                let delivery = self.next();
                let content = delivery.message().content.clone();
                delivery.ack();
                content
            })
            .collect()
    }

    pub fn assert_no_message(&self) {
        assert_eq!(self.host.messages().try_recv().err(), Some(RecvError::TimedOut));
    }

    /// Waits until the reply is what `state` says.
    pub fn reply_state(&self, id: crate::store::ReplyId, state: crate::store::ReplyState) {
        eventually("the reply's state", || {
            let reply = self.host.reply(id).expect("the store works").expect("it is kept");
            (reply.state == state).then_some(())
        });
    }
}

/// A gate that is closed until the test opens it.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Waits for the gate; a test that fails without opening it does not wait for ever.
    pub fn pass(&self) {
        let open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_timeout_while(open, Duration::from_secs(60), |open| !*open).unwrap());
    }
}

/// An upstream server that responds when the gate is open.
pub fn behind(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::start(move |_, _| {
        gate.pass();
        ok()
    })
}

/// An emitted message, as a task of `everything`.
pub fn emit(user: &str, content: &str) -> Value {
    json!({"do": "emit-message", "user_id": user, "content": content})
}

pub fn sequence(tasks: impl IntoIterator<Item = Value>) -> Value {
    json!({"do": "sequence", "tasks": tasks.into_iter().collect::<Vec<_>>()})
}

pub fn get(path: &str) -> Value {
    json!({"do": "http-request", "method": "GET", "url": format!("https://api.everything.example{path}")})
}

pub fn write(path: &str, content: &str) -> Value {
    json!({"do": "workspace-write", "path": path, "content": content})
}
