//! An HTTP server that is asked for each message.

use std::thread;
use std::time::Duration;

use tinclaw::fields::{json, loosely};
use tinclaw::model::human_duration::HumanDuration;
use tinclaw::{AgentResponse, Delivery, Host};

use super::protocol::{MAX_LINE_BYTES, message_json, response};
use super::{Agent, answer};

/// The `http` agent: POSTs each message. Several are asked for at a time, never two of one conversation.
pub struct Http {
    url: String,
    concurrency: usize,
    agent: ureq::Agent,
    timeout: Duration,
}

impl Http {
    /// An agent that asks this URL, for at most so many messages at a time.
    pub fn new(url: String, concurrency: usize, timeout: Duration) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(timeout))
            .user_agent(concat!("tinclaw/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Self { url, concurrency, agent, timeout }
    }

    fn work(&self, host: &Host) {
        for delivery in host.messages() {
            answer::begin(host, &delivery);
            match self.ask(&delivery) {
                Ok(Some(response)) => answer::reply(host, delivery, response),
                Ok(None) => answer::finish(host, delivery),
                Err(error) => {
                    let wait = answer::wait_after(delivery.attempt());
                    log::error!(
                        "the agent did not answer message {}: {error}; again in {}",
                        delivery.id(),
                        HumanDuration(wait)
                    );
                    answer::give_back(host, delivery, Some(wait));
                }
            }
        }
    }

    fn ask(&self, delivery: &Delivery) -> Result<Option<AgentResponse>, String> {
        let body =
            message_json(delivery, |index| delivery.attachment_data(index).map_err(|e| e.to_string()))?;
        let sent = self.agent.post(&self.url).header("content-type", "application/json").send(body);
        let mut got = sent.map_err(|error| error.to_string())?;
        let kind = got.headers().get("content-type").and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or_default().to_owned();
        let status = got.status().as_u16();
        let body = got.body_mut().with_config().limit(MAX_LINE_BYTES as u64).read_to_vec();
        read_answer(status, &kind, &body.map_err(|error| error.to_string())?)
    }
}

impl Agent for Http {
    fn serve(&self, host: &Host) {
        thread::scope(|scope| {
            for _ in 1..self.concurrency {
                scope.spawn(|| self.work(host));
            }
            self.work(host);
        });
    }

    fn describe(&self) -> String {
        format!(
            "POST {} (at most {} at a time, {} each)",
            self.url,
            self.concurrency,
            HumanDuration(self.timeout)
        )
    }
}

/// What an answer means: a reply, none, or that the message is to come again.
fn read_answer(status: u16, content_type: &str, body: &[u8]) -> Result<Option<AgentResponse>, String> {
    if !(200..300).contains(&status) {
        return Err(format!("status {status}"));
    }
    if status == 204 || body.is_empty() {
        return Ok(None);
    }
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let text = std::str::from_utf8(body).map_err(|_| "its answer is not UTF-8".to_owned())?;
    if media_type == "application/json" || media_type.ends_with("+json") {
        let read = json(text).and_then(|value| loosely(value, |fields| Some(response(fields))));
        return read.map_err(|wrong| format!("its answer is not as expected: {wrong}"));
    }
    if media_type.is_empty() || media_type == "text/plain" || media_type == "text/markdown" {
        return Ok(Some(AgentResponse { content: text.to_owned(), ..AgentResponse::default() }));
    }
    Err(format!("its answer is {media_type}; application/json or text/plain is understood"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_replies_or_none_or_come_again() {
        let reply = |content: &str| Ok(Some(content.to_owned()));
        type Row = (u16, &'static str, &'static [u8], Result<Option<String>, &'static str>);
        let rows: [Row; 13] = [
            (200, "text/plain; charset=utf-8", b"hi", reply("hi")),
            (200, "", b"hi", reply("hi")),
            (201, "application/json", br#"{"content":"hi","extra":1}"#, reply("hi")),
            (200, "Application/JSON;charset=utf-8", br#"{"content":"hi"}"#, reply("hi")),
            (200, "application/json", br#"{"content":""}"#, reply("")),
            (200, "application/json", br#"{"content":null}"#, Ok(None)),
            (200, "application/json", b"{}", Ok(None)),
            (204, "text/plain", b"", Ok(None)),
            (200, "text/plain", b"", Ok(None)),
            (200, "application/json", b"hi", Err("not as expected")),
            (200, "text/html", b"<p>", Err("text/html")),
            (200, "text/plain", b"\xff", Err("not UTF-8")),
            (500, "text/plain", b"hi", Err("status 500")),
        ];
        for (status, content_type, body, expected) in rows {
            let got = read_answer(status, content_type, body).map(|reply| reply.map(|reply| reply.content));
            match (got, expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{status} {content_type}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (got, expected) => panic!("{status} {content_type}: {got:?}, not {expected:?}"),
            }
        }
        assert!(read_answer(302, "text/plain", b"x").is_err());
    }
}
