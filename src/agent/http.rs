//! An HTTP server that is asked for each message.

use std::thread;
use std::time::Duration;

use wit_abi::types::AgentResponse;

use crate::host::Host;
use crate::inbox::Delivery;
use crate::model::human_duration::HumanDuration;
use crate::secrets::Secret;

use super::message::{MAX_LINE_BYTES, message_json};
use super::quote::quote;
use super::response::{ResponseFields, read};
use super::text::lossy;
use super::{Agent, answer};

/// The `http` agent: POSTs each message. Several are asked for at a time, never two of one conversation.
pub struct HttpAgent {
    url: String,
    concurrency: usize,
    agent: ureq::Agent,
    timeout: Duration,
}

impl HttpAgent {
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
                        "agent {} did not answer message {}: {error}; redelivered in {}",
                        self.url,
                        delivery.id(),
                        HumanDuration(wait)
                    );
                    answer::requeue(host, delivery, Some(wait));
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
        read_response(status, &kind, &body.map_err(|error| error.to_string())?, &[])
    }
}

impl Agent for HttpAgent {
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

/// What a response means: a reply, none, or that the message is to be redelivered. What is not understood is quoted,
/// never taken for "no reply".
fn read_response(
    status: u16,
    content_type: &str,
    body: &[u8],
    secrets: &[Secret],
) -> Result<Option<AgentResponse>, String> {
    let text = lossy(body);
    if !(200..300).contains(&status) {
        let quoted = quote(&text, secrets);
        return Err(if quoted.is_empty() {
            format!("status {status}")
        } else {
            format!("status {status}: {quoted}")
        });
    }
    if status == 204 || body.is_empty() {
        return Ok(None);
    }
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let understood = if media_type == "application/json" || media_type.ends_with("+json") {
        read::<ResponseFields>(&text).and_then(ResponseFields::into_response)
    } else if media_type.is_empty() || media_type == "text/plain" || media_type == "text/markdown" {
        return Ok(Some(AgentResponse { content: text.into_owned(), ..AgentResponse::default() }));
    } else {
        Err(format!("its type is {media_type}; application/json and text/plain are understood"))
    };
    understood.map_err(|error| format!("the response is not understood: {error}: {}", quote(&text, secrets)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, content_type: &str, body: &[u8]) -> Result<Option<String>, String> {
        let secrets = [Secret::from("hunter2-hunter2")];
        let read = read_response(status, content_type, body, &secrets);
        read.map(|reply| reply.map(|reply| reply.content))
    }

    #[test]
    fn responses_are_replies_or_none() {
        let reply = |content: &str| Some(content.to_owned());
        type Row = (u16, &'static str, &'static [u8], Option<String>);
        let rows: [Row; 13] = [
            (200, "text/plain; charset=utf-8", b"hi", reply("hi")),
            (200, "", b"hi", reply("hi")),
            (201, "application/json", br#"{"content":"hi","extra":1}"#, reply("hi")),
            (200, "Application/JSON;charset=utf-8", br#"{"content":"hi"}"#, reply("hi")),
            (200, "application/json", br#"{"content":""}"#, reply("")),
            (200, "application/json", br#"{"content":null}"#, None),
            (200, "application/json", b"\xef\xbb\xbf{\"content\":\"hi\"}", reply("hi")),
            (200, "application/json", br#"{"content":"cut \ud83c"}"#, reply("cut \u{fffd}")),
            (200, "application/json", b"{\"content\":\"caf\xe9\"}", reply("caf\u{fffd}")),
            (204, "text/plain", b"", None),
            (200, "text/plain", b"", None),
            (200, "text/plain", b"\xff", reply("\u{fffd}")),
            (200, "text/plain", b"\xef\xbb\xbfhi", reply("hi")),
        ];
        for (status, content_type, body, expected) in rows {
            assert_eq!(read(status, content_type, body), Ok(expected), "{status} {content_type} {body:?}");
        }
    }

    /// A 2xx JSON object without a reply was acknowledged in silence: whoever wrote got no answer, and no log said why.
    #[test]
    fn what_is_not_understood_is_an_error_that_quotes_it() {
        let json = "application/json";
        type Row = (u16, &'static str, &'static [u8], &'static str);
        let rows: [Row; 10] = [
            (200, json, br#"{"reply":"x"}"#, r#"neither `content` nor `attachments`: {"reply":"x"}"#),
            (200, json, br#"{"choices":[1]}"#, r#"neither `content` nor `attachments`: {"choices":[1]}"#),
            (200, json, b"{}", "neither `content` nor `attachments`: {}"),
            (200, json, br#"["x"]"#, "expected an object: [\"x\"]"),
            (200, json, br#""x""#, "expected an object: \"x\""),
            (200, json, b"hi", "not JSON: expected value at line 1 column 1: hi"),
            (200, json, br#"{"error":"hunter2-hunter2"}"#, r#"{"error":"[redacted]"}"#),
            (200, "text/html", b"<p>", "text/html; application/json and text/plain are understood: <p>"),
            (302, "text/plain", b"x", "status 302: x"),
            (500, "text/plain", b"not\nnow", "status 500: not\\nnow"),
        ];
        for (status, content_type, body, part) in rows {
            let error = read(status, content_type, body).unwrap_err();
            assert!(error.ends_with(part), "{error}");
        }
    }
}
