//! A chat in the browser: one page at `/chat`, and what the page asks for.
//!
//! | request | what it does |
//! |---|---|
//! | `POST /chat/send` | takes `{"session", "id", "text", "files": [{"name", "type", "data": base64}]}` |
//! | `GET /chat/messages?session=…&after=…&typing=…&partial=…` | what is new after a cursor, and the reply that is being written; waits until there is something |
//! | `GET /chat/file?id=…` with the header `x-chat-session` | a file of the conversation |
//!
//! A session is a random identifier that the browser makes and keeps; who knows it can read the conversation. The agent
//! knows a session by a number, as `visitor-…`, and so does everybody who sees what the host stores.

mod files;
mod page;
mod requests;
mod sessions;

use serde::{Deserialize, Serialize};
use sessions::{Role, Session};
use tinclaw_kit::{
    Channel, Failure, Incoming, Registration, Reply, Response, Status, StatusType, channel, host,
};

/// The channel.
#[derive(Debug)]
pub struct WebChat;

/// What the operator sets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Above the chat, and the page's title.
    #[serde(default = "default_title")]
    pub title: String,
    /// What an empty chat says.
    #[serde(default = "default_greeting")]
    pub greeting: String,
}

fn default_title() -> String {
    "Chat".to_owned()
}

fn default_greeting() -> String {
    "Hello! How can I help?".to_owned()
}

/// Where a reply goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// The conversation, by the name that the agent sees.
    pub visitor: String,
    /// The message, by the page's id.
    #[serde(default)]
    pub id: String,
    /// A status with it has the reply so far, while the agent still writes it.
    #[serde(default, skip_serializing)]
    pub partial_reply: bool,
}

const GONE: &str = "this visitor's conversation is no longer kept";

impl Channel for WebChat {
    type Settings = Settings;
    type Origin = Origin;

    fn start(_: &Settings) -> Result<Registration, String> {
        // Anybody may chat; the capability file says so with `"auth": "none"`.
        Ok(Registration::new("Web chat")
            .endpoint("/chat", &["GET"], false)
            .endpoint("/chat/send", &["POST"], false)
            .endpoint("/chat/messages", &["GET"], false)
            .endpoint("/chat/file", &["GET"], false))
    }

    fn request(settings: &Settings, request: Incoming) -> Response {
        match request.path.trim_end_matches('/') {
            "/chat" => page::response(settings),
            "/chat/send" => requests::send(&request).unwrap_or_else(|refusal| refusal),
            "/chat/messages" => requests::messages(&request).unwrap_or_else(|refusal| refusal),
            "/chat/file" => requests::file(&request).unwrap_or_else(|refusal| refusal),
            _ => requests::refuse(404, "not_found", "There is nothing at this path."),
        }
    }

    fn reply(_: &Settings, origin: Origin, reply: Reply) -> Result<(), Failure> {
        deliver(&origin.visitor, &reply)
    }

    fn status(_: &Settings, origin: Origin, status: Status) {
        let Some(session) = Session::of_visitor(&origin.visitor) else { return };
        let now = host::now_millis();
        match status.kind {
            StatusType::Status if origin.partial_reply => session.show_partial(&status.message, now),
            StatusType::Thinking => session.show_typing("", now),
            StatusType::Done | StatusType::Interrupted => session.hide_typing(),
            StatusType::ApprovalNeeded | StatusType::AuthRequired => {
                session.hide_typing();
                if let Err(error) = session.add(Role::Notice, "", &status.message, &[], now) {
                    host::warn(&format!("a notice was not kept: {error}"));
                }
            }
            _ => session.show_typing(&status.message, now),
        }
    }

    /// `user_id` is the name that the agent saw: `visitor-…`.
    fn broadcast(_: &Settings, user_id: &str, reply: Reply) -> Result<(), Failure> {
        deliver(user_id, &reply)
    }
}

fn deliver(visitor: &str, reply: &Reply) -> Result<(), Failure> {
    let session = Session::of_visitor(visitor).ok_or_else(|| Failure::permanent(GONE))?;
    let (id, text) = (&reply.message_id, &reply.content);
    // A reply that the host gives once more, not knowing whether it arrived.
    if !(reply.is_redelivery && session.has(Role::Agent, id, text)) {
        let files: Vec<_> = reply
            .attachments
            .iter()
            .map(|file| files::keep(visitor, &file.filename, &file.mime_type, &file.data))
            .collect();
        session.add(Role::Agent, id, text, &files, host::now_millis()).map_err(Failure::temporary)?;
    }
    session.hide_typing();
    session.hide_partial();
    Ok(())
}

channel!(WebChat);
