//! What a channel asks of the host when it starts.

use crate::bindings::exports::near::agent::channel::{ChannelConfig, HttpEndpointConfig, PollConfig};

/// What a channel asks of the host when it starts.
#[derive(Debug)]
pub struct Registration(ChannelConfig);

impl Registration {
    /// A channel with this name for people.
    pub fn new(display_name: &str) -> Self {
        let display_name = display_name.to_owned();
        Self(ChannelConfig { display_name, http_endpoints: Vec::new(), poll: None })
    }

    /// Takes POST requests at this path that the host has authenticated. The path is one of `allowed_paths`.
    pub fn webhook(self, path: &str) -> Self {
        self.endpoint(path, &["POST"], true)
    }

    /// Takes requests with these methods. `is_authenticated`: only those that the host has authenticated.
    pub fn endpoint(mut self, path: &str, methods: &[&str], is_authenticated: bool) -> Self {
        self.0.http_endpoints.push(HttpEndpointConfig {
            path: path.to_owned(),
            methods: methods.iter().map(|method| (*method).to_owned()).collect(),
            require_secret: is_authenticated,
        });
        self
    }

    /// Polls this often. The capability file must allow it.
    pub fn poll(mut self, interval_ms: u32) -> Self {
        self.0.poll = Some(PollConfig { interval_ms, enabled: true });
        self
    }

    pub(crate) fn into_raw(self) -> ChannelConfig {
        self.0
    }
}
