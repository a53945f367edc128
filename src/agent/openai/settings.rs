//! How a model is asked.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::window::HistoryWindow;
use crate::model::bounded;

/// How an `openai` agent asks its server.
/// Deserialises from the fields of `[agent]` in `tinclaw.toml`; the URL is part of `kind` there.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default = "OpenAiSettings::without_url", deny_unknown_fields)]
pub struct OpenAiSettings {
    /// The base URL of the API, as `http://127.0.0.1:11434/v1`. It is the operator's own, so it may be a private address.
    #[serde(skip)]
    pub url: String,
    /// The model; without one, the only model that the server lists.
    pub model: Option<String>,
    /// What the model is told before each conversation. Default none.
    pub system_prompt: String,
    /// How freely the model chooses its words; the server's default without it.
    #[serde(deserialize_with = "temperature")]
    pub temperature: Option<f64>,
    /// The most tokens of one response; the server's default without it.
    #[serde(deserialize_with = "bounded::some_count::<_, _, 1, 1000000>")]
    pub max_tokens: Option<u32>,
    /// The name of the secret that is the key; local servers need none.
    pub api_key: Option<String>,
    /// Whether responses are streamed. Default true.
    pub stream: bool,
    /// Whether pictures go to the model. Default false: they are named, as other files are.
    pub images: bool,
    /// The tools that the model may call; without a list, all that the host has. Built in is `now`.
    pub tools: Option<Vec<String>>,
    /// How much of a conversation goes along.
    pub history: HistoryWindow,
    /// The message that makes the agent forget its conversation; empty for none. Default `/reset`.
    pub reset_command: String,
    /// Conversations that are worked on at a time. Default 8.
    #[serde(deserialize_with = "bounded::count::<_, _, 1, 1024>")]
    pub concurrency: usize,
    /// How long the whole reply to a message may take, tool calls included. Default 10 min.
    #[serde(rename = "timeout_secs", deserialize_with = "bounded::secs::<_, 1, 3600>")]
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
            history: HistoryWindow::default(),
            reset_command: "/reset".to_owned(),
            concurrency: 8,
            timeout: Duration::from_secs(600),
        }
    }

    fn without_url() -> Self {
        Self::new("")
    }
}

fn temperature<'de, D: Deserializer<'de>>(field: D) -> Result<Option<f64>, D::Error> {
    let temperature = f64::deserialize(field)?;
    match (0.0..=10.0).contains(&temperature) {
        true => Ok(Some(temperature)),
        false => Err(D::Error::custom(format!("{temperature} is out of range; give 0 to 10"))),
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
