//! Records to write. Their ids are 0 until they are given some: see `writing`.

use std::sync::Arc;

use wit_abi::types::{AgentResponse, EmittedMessage, InboundAttachment};

use crate::net::channel_response::ChannelResponse;
use crate::store::*;

pub fn message(channel: &str, conversation: &str, content: &str) -> NewMessage {
    NewMessage {
        id: MessageId(0),
        channel: channel.into(),
        conversation: conversation.into(),
        message: Arc::new(EmittedMessage {
            user_id: "u1".to_owned(),
            user_name: Some("Ada".to_owned()),
            content: content.to_owned(),
            thread_id: None,
            metadata_json: r#"{"chat_id":123456789012345678}"#.to_owned(),
            attachments: Vec::new(),
        }),
        attachment_data: Vec::new(),
        received_ms: 1_000,
    }
}

/// Puts attachments with their bytes in place of a message's own.
pub fn attach(
    new: &mut NewMessage,
    attachments: impl IntoIterator<Item = (InboundAttachment, Option<Arc<[u8]>>)>,
) {
    let (attachments, data) = attachments.into_iter().unzip();
    Arc::make_mut(&mut new.message).attachments = attachments;
    new.attachment_data = data;
}

/// Attaches a file of which nothing but its bytes is known.
pub fn attach_bytes(new: &mut NewMessage, data: Arc<[u8]>) {
    attach(new, [(InboundAttachment::default(), Some(data))]);
}

pub fn reply(channel: &str, conversation: &str, content: &str) -> NewReply {
    NewReply {
        id: ReplyId(0),
        channel: channel.into(),
        conversation: conversation.into(),
        broadcast_to: None,
        body: Arc::new(AgentResponse {
            message_id: "m-1".to_owned(),
            content: content.to_owned(),
            thread_id: Some("t".to_owned()),
            metadata_json: "{}".to_owned(),
            attachments: Vec::new(),
        }),
        in_reply_to: None,
        created_ms: 2_000,
    }
}

pub fn file(channel: &str, path: &str, content: &str) -> Change {
    Change::PutFile { channel: channel.into(), path: path.into(), content: content.into() }
}

pub fn timer(channel: &str, name: &str, due_ms: u64) -> Change {
    Change::SetTimer { channel: channel.into(), name: name.into(), set_ms: 500, due_ms, payload: "p".into() }
}

pub fn dedupe(channel: &str, key: u8, at_ms: u64, expires_ms: u64, response: Option<&str>) -> Change {
    let response = response.map(|body| {
        Arc::new(ChannelResponse {
            status: 200,
            headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
            body: body.as_bytes().into(),
        })
    });
    Change::Dedupe { id: DedupeId(0), channel: channel.into(), key: [key; 16], at_ms, expires_ms, response }
}

pub fn batch<const N: usize>(changes: [Change; N]) -> Batch {
    Batch { changes: changes.into() }
}

pub fn bytes(length: usize) -> Arc<[u8]> {
    (0..length).map(|at| (at % 251) as u8).collect()
}
