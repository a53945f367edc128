//! A message for the agent.

use serde::Serialize;
use serde_json::Value;

use crate::host::{self, EmittedMessage, InboundAttachment};

/// A message for the agent, put together and then emitted.
#[derive(Debug)]
pub struct Message {
    emitted: EmittedMessage,
    id: Option<String>,
}

impl Message {
    /// What `user_id` has written. The id is the service's own, which nobody can choose.
    pub fn new(user_id: impl Into<String>, content: impl Into<String>) -> Self {
        let emitted = EmittedMessage {
            user_id: user_id.into(),
            user_name: None,
            content: content.into(),
            thread_id: None,
            metadata_json: String::new(),
            attachments: Vec::new(),
        };
        Self { emitted, id: None }
    }

    /// The service's id of this message. With `"message_id_from_metadata": true` in the capability file, the host drops a
    /// second one with the same id.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The name of the sender, for people to read.
    pub fn user_name(mut self, name: Option<impl Into<String>>) -> Self {
        self.emitted.user_name = name.map(Into::into);
        self
    }

    /// The conversation that the message belongs to: what gets its replies in order, and what the agent remembers.
    pub fn thread(mut self, thread: impl Into<String>) -> Self {
        self.emitted.thread_id = Some(thread.into());
        self
    }

    /// Adds a file.
    pub fn file(mut self, file: File) -> Self {
        let File { id, filename, mime_type, data, source_url, size } = file;
        if let Some(data) = &data
            && let Err(error) = host::store_attachment_data(&id, data)
        {
            host::warn(&format!("a file of {} bytes is left out: {error}", data.len()));
            return self;
        }
        self.emitted.attachments.push(InboundAttachment {
            id,
            mime_type,
            filename,
            size_bytes: size.or(data.map(|data| data.len() as u64)),
            source_url,
            storage_key: None,
            extracted_text: None,
            extras_json: "{}".to_owned(),
        });
        self
    }

    /// Hands the message to the host. It reaches the agent when the call has succeeded. `origin` comes back with the reply.
    ///
    /// # Panics
    /// When `origin` is no struct or map: it would not come back.
    pub fn emit(mut self, origin: &impl Serialize) {
        let origin = serde_json::to_value(origin).expect("the origin has a form in JSON");
        let Value::Object(mut metadata) = origin else {
            panic!("the origin of a message is a struct or a map")
        };
        if let Some(id) = self.id {
            metadata.insert("message_id".to_owned(), Value::from(id));
        }
        self.emitted.metadata_json = Value::Object(metadata).to_string();
        host::emit_message(&self.emitted);
    }
}

/// A file that came with a message.
#[derive(Debug, Default)]
pub struct File {
    /// Unique within the message.
    pub id: String,
    /// The name that the sender gave it.
    pub filename: Option<String>,
    /// Its media type.
    pub mime_type: String,
    /// Its content, where the channel has fetched it.
    pub data: Option<Vec<u8>>,
    /// Where it can be fetched.
    pub source_url: Option<String>,
    /// Its size in bytes, where it is known without the content.
    pub size: Option<u64>,
}
