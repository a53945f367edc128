//! How a model is asked.

use std::time::Duration;

use super::window::Window;

/// How an `openai` agent asks its server.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenAiSettings {
    /// The base URL of the API, as `http://127.0.0.1:11434/v1`. It is the operator's own, so it may be a private address.
    pub url: String,
    /// The model; without one, the only model that the server lists.
    pub model: Option<String>,
    /// What the model is told before each conversation. Default none.
    pub system_prompt: String,
    /// How freely the model chooses its words; the server's default without it.
    pub temperature: Option<f64>,
    /// The most tokens of one response; the server's default without it.
    pub max_tokens: Option<u32>,
    /// The name of the secret that is the key; local servers need none.
    pub api_key: Option<String>,
    /// Whether responses are streamed. Default true.
    pub stream: bool,
    /// Whether pictures go to the model. Default false: they are named, as other files are.
    pub images: bool,
    /// The tools that the model may call; without a list, all that the host has. Built in is `now`.
    pub tools: Option<Vec<String>>,
    /// Messages of a conversation that go along, tool calls included. Default 40.
    pub history_messages: usize,
    /// Tokens of a conversation that go along, estimated as one for every three bytes. Default 3,000.
    pub history_tokens: usize,
    /// The message that makes the agent forget its conversation; empty for none. Default `/reset`.
    pub reset_command: String,
    /// Conversations that are worked on at a time. Default 8.
    pub concurrency: usize,
    /// How long the whole reply to a message may take, tool calls included. Default 10 min.
    pub timeout: Duration,
}

impl OpenAiSettings {
    /// The defaults for this base URL.
    #[must_use]
    pub fn new(url: &str) -> Self {
        let url = url.trim_end_matches('/');
        Self {
            url: url.strip_suffix("/chat/completions").unwrap_or(url).to_owned(),
            model: None,
            system_prompt: String::new(),
            temperature: None,
            max_tokens: None,
            api_key: None,
            stream: true,
            images: false,
            tools: None,
            history_messages: 40,
            history_tokens: 3_000,
            reset_command: "/reset".to_owned(),
            concurrency: 8,
            timeout: Duration::from_secs(600),
        }
    }

    pub(super) fn window(&self) -> Window {
        Window { messages: self.history_messages, tokens: self.history_tokens }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_may_be_written_with_more_than_the_base() {
        for url in
            ["http://a/v1", "http://a/v1/", "http://a/v1/chat/completions", "http://a/v1/chat/completions/"]
        {
            assert_eq!(OpenAiSettings::new(url).url, "http://a/v1", "{url}");
        }
    }
}
