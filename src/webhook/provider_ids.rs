//! Where each provider puts the id of a delivery, so that its retries are recognised without being configured.
//!
//! Providers sign a retry again, with another time, so a signature does not tell that it is one. An id is used only where
//! the provider promises that another message never has it, and never where one delivery could carry something else
//! beside what the id stands for.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::dedupe::{header_id, pointer_id};
use super::plan::Scheme;
use super::presets::TELEGRAM_SECRET_HEADER;

/// The id of one provider's deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProviderId {
    /// `event_id`, unique over all workspaces
    /// (<https://docs.slack.dev/apis/events-api/#event-type-structure>).
    SlackEvent,
    /// `X-GitHub-Delivery`, the same when a delivery is sent again
    /// (<https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers>).
    GithubDelivery,
    /// The ids of all messages of a delivery
    /// (<https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components>).
    MetaMessages,
    /// `webhookEventId` of every event
    /// (<https://developers.line.biz/en/reference/messaging-api/#common-properties>).
    LineEvents,
    /// `id` of the event (<https://docs.stripe.com/webhooks#handle-duplicate-events>).
    StripeEvent,
    /// `webhook-id`, the same for all attempts
    /// (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
    StandardWebhook,
    /// `I-Twilio-Idempotency-Token`, the same for all attempts
    /// (<https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides>), or a message with its status.
    TwilioMessage,
    /// `id` of the interaction (<https://discord.com/developers/docs/interactions/receiving-and-responding>).
    DiscordInteraction,
    /// `update_id` (<https://core.telegram.org/bots/api#update>).
    TelegramUpdate,
    /// `header.event_id`, or `uuid` in the first version of the format
    /// (<https://open.feishu.cn/document/server-docs/event-subscription-guide/overview>). Published guests of
    /// Feishu check their requests themselves.
    FeishuEvent,
}

impl ProviderId {
    /// The providers that a scheme may be of. GitHub and Meta sign alike, and are told apart by what they send.
    pub fn of_scheme(scheme: &Scheme) -> &'static [Self] {
        match scheme {
            Scheme::SharedSecret(shared) if shared.header == TELEGRAM_SECRET_HEADER => {
                &[Self::TelegramUpdate]
            }
            Scheme::SharedSecret(_) => &[],
            Scheme::Keyed(keyed) => match keyed.header.as_str() {
                "x-slack-signature" => &[Self::SlackEvent],
                "x-hub-signature-256" => &[Self::GithubDelivery, Self::MetaMessages],
                "x-line-signature" => &[Self::LineEvents],
                _ => &[],
            },
            Scheme::Stripe(_) => &[Self::StripeEvent],
            Scheme::Standard(_) => &[Self::StandardWebhook],
            Scheme::Twilio(_) => &[Self::TwilioMessage],
            Scheme::Feishu(_) => &[Self::FeishuEvent],
            Scheme::Ed25519(ed25519) if ed25519.header == "x-signature-ed25519" => {
                &[Self::DiscordInteraction]
            }
            Scheme::Ed25519(_) => &[],
        }
    }

    /// The id of a delivery, if it has one.
    pub fn find(self, headers: &[(String, String)], body: &[u8]) -> Option<String> {
        let header = |name| header_id(name, headers).map(str::to_owned);
        match self {
            Self::SlackEvent => pointer_id("/event_id", body),
            Self::GithubDelivery => header("x-github-delivery"),
            Self::MetaMessages => meta_messages(body),
            Self::LineEvents => line_events(body),
            Self::StripeEvent | Self::DiscordInteraction => pointer_id("/id", body),
            Self::StandardWebhook => header("webhook-id").or_else(|| header("svix-id")),
            Self::TwilioMessage => header("i-twilio-idempotency-token").or_else(|| twilio_message(body)),
            Self::TelegramUpdate => pointer_id("/update_id", body),
            Self::FeishuEvent => feishu_event(body),
        }
    }
}

/// Several ids as one, or `None` when one of them is not there, or there are none at all.
fn joined<'a>(ids: impl Iterator<Item = Option<&'a str>>) -> Option<String> {
    let mut text = String::new();
    for id in ids {
        let id = id.filter(|id| !id.is_empty())?;
        // With its length, so that no two lists of ids look alike.
        text.push_str(&format!("{}:{id}", id.len()));
    }
    (!text.is_empty()).then_some(text)
}

#[derive(Deserialize)]
struct LineDelivery {
    events: Vec<LineEvent>,
}

#[derive(Deserialize)]
struct LineEvent {
    #[serde(rename = "webhookEventId")]
    id: Option<String>,
}

fn line_events(body: &[u8]) -> Option<String> {
    let delivery: LineDelivery = serde_json::from_slice(body).ok()?;
    joined(delivery.events.iter().map(|event| event.id.as_deref()))
}

#[derive(Deserialize)]
struct MetaDelivery {
    entry: Vec<MetaEntry>,
}

#[derive(Deserialize)]
struct MetaEntry {
    #[serde(default)]
    changes: Vec<MetaChange>,
    #[serde(default)]
    messaging: Vec<MessengerEvent>,
}

#[derive(Deserialize)]
struct MetaChange {
    value: WhatsappValue,
}

/// A delivery with messages and nothing else: the status of a message (sent, delivered, read) has that message's id, so
/// a delivery with `statuses` has no id of its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhatsappValue {
    messages: Vec<WhatsappMessage>,
    #[serde(rename = "messaging_product")]
    _product: Option<IgnoredAny>,
    #[serde(rename = "metadata")]
    _metadata: Option<IgnoredAny>,
    #[serde(rename = "contacts")]
    _contacts: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct WhatsappMessage {
    id: Option<String>,
}

/// An event of Messenger or Instagram that is a message and nothing else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessengerEvent {
    message: MessengerMessage,
    #[serde(rename = "sender")]
    _sender: Option<IgnoredAny>,
    #[serde(rename = "recipient")]
    _recipient: Option<IgnoredAny>,
    #[serde(rename = "timestamp")]
    _timestamp: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct MessengerMessage {
    mid: Option<String>,
}

fn meta_messages(body: &[u8]) -> Option<String> {
    let delivery: MetaDelivery = serde_json::from_slice(body).ok()?;
    joined(delivery.entry.iter().flat_map(|entry| {
        let messages = entry.changes.iter().flat_map(|change| &change.value.messages);
        let of_whatsapp = messages.map(|message| message.id.as_deref());
        let of_messenger = entry.messaging.iter().map(|event| event.message.mid.as_deref());
        // An entry without any message would leave something out of the id.
        let is_empty = entry.changes.is_empty() && entry.messaging.is_empty();
        of_whatsapp.chain(of_messenger).chain(is_empty.then_some(None))
    }))
}

/// Status callbacks carry the message's id as often as its status changes. Events of conversations carry it as often as
/// the message is edited, so they have no id.
fn twilio_message(body: &[u8]) -> Option<String> {
    let fields: HashMap<_, _> = url::form_urlencoded::parse(body).collect();
    if fields.contains_key("EventType") {
        return None;
    }
    let id = fields.get("MessageSid")?;
    let status = fields.get("MessageStatus").or_else(|| fields.get("SmsStatus"));
    joined([Some(id.as_ref()), Some(status.map_or("none", |status| status.as_ref()))].into_iter())
}

#[derive(Deserialize)]
struct FeishuDelivery {
    schema: Option<String>,
    header: Option<FeishuHeader>,
    #[serde(rename = "type")]
    kind: Option<String>,
    uuid: Option<String>,
}

#[derive(Deserialize)]
struct FeishuHeader {
    event_id: Option<String>,
}

fn feishu_event(body: &[u8]) -> Option<String> {
    let delivery: FeishuDelivery = serde_json::from_slice(body).ok()?;
    match (delivery.schema.as_deref(), delivery.kind.as_deref()) {
        (Some("2.0"), _) => delivery.header?.event_id,
        (None, Some("event_callback")) => delivery.uuid,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_has_its_id_where_its_page_says() {
        use ProviderId::*;
        let whatsapp = r#"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":
            {"messaging_product":"whatsapp","metadata":{"phone_number_id":"2"},"contacts":[{"wa_id":"3"}],
            "messages":[{"from":"3","id":"wamid.A","type":"text"},{"id":"wamid.B"}]}}]}]}"#;
        let messenger = r#"{"object":"page","entry":[{"id":"1","time":2,"messaging":[{"sender":{"id":"3"},"recipient":{"id":"4"},
            "timestamp":5,"message":{"mid":"m_1","text":"hi"}}]}]}"#;
        let line = r#"{"destination":"U","events":[{"type":"message","webhookEventId":"01A"},{"webhookEventId":"01B"}]}"#;
        type Row<'a> = (ProviderId, &'a [(&'a str, &'a str)], &'a str, Option<&'a str>);
        let rows: [Row<'_>; 27] = [
            (SlackEvent, &[], r#"{"type":"event_callback","event_id":"Ev1","event":{}}"#, Some("Ev1")),
            (SlackEvent, &[], r#"{"type":"url_verification","challenge":"x"}"#, None),
            (SlackEvent, &[], "payload=%7B%7D", None),
            (GithubDelivery, &[("x-github-delivery", "72d3162e")], "{}", Some("72d3162e")),
            (GithubDelivery, &[], "{}", None),
            (MetaMessages, &[], whatsapp, Some("7:wamid.A7:wamid.B")),
            (MetaMessages, &[], messenger, Some("3:m_1")),
            (MetaMessages, &[], r#"{"entry":[]}"#, None),
            (
                MetaMessages,
                &[],
                r#"{"entry":[{"changes":[{"value":{"statuses":[{"id":"wamid.A"}]}}]}]}"#,
                None,
            ),
            (
                MetaMessages,
                &[],
                r#"{"entry":[{"changes":[{"value":{"messages":[{"id":"wamid.A"}],"statuses":[{"id":"wamid.B"}]}}]}]}"#,
                None,
            ),
            (MetaMessages, &[], r#"{"entry":[{"changes":[{"value":{"messages":[{"id":"a"},{}]}}]}]}"#, None),
            (MetaMessages, &[], r#"{"entry":[{"messaging":[{"read":{"watermark":1}}]}]}"#, None),
            (
                MetaMessages,
                &[],
                r#"{"entry":[{"messaging":[{"message":{"mid":"m_1"}}]},{"id":"2","standby":[]}]}"#,
                None,
            ),
            (LineEvents, &[], line, Some("3:01A3:01B")),
            (LineEvents, &[], r#"{"destination":"U","events":[]}"#, None),
            (StripeEvent, &[], r#"{"id":"evt_1","object":"event"}"#, Some("evt_1")),
            (StandardWebhook, &[("webhook-id", "msg_1")], "", Some("msg_1")),
            (StandardWebhook, &[("svix-id", "msg_2")], "", Some("msg_2")),
            (TwilioMessage, &[("i-twilio-idempotency-token", "tok")], "MessageSid=SM1", Some("tok")),
            (TwilioMessage, &[], "MessageSid=SM1&SmsStatus=received&Body=hi", Some("3:SM18:received")),
            (TwilioMessage, &[], "MessageSid=SM1&MessageStatus=read&SmsStatus=sent", Some("3:SM14:read")),
            (TwilioMessage, &[], "EventType=onMessageUpdated&MessageSid=IM1", None),
            (TwilioMessage, &[], "CallSid=CA1", None),
            (DiscordInteraction, &[], r#"{"id":"786008729715212338","type":2}"#, Some("786008729715212338")),
            (TelegramUpdate, &[], r#"{"update_id":7,"message":{}}"#, Some("7")),
            (FeishuEvent, &[], r#"{"schema":"2.0","header":{"event_id":"a069"},"event":{}}"#, Some("a069")),
            (FeishuEvent, &[], r#"{"uuid":"41b5","token":"x","type":"event_callback"}"#, Some("41b5")),
        ];
        for (provider, headers, body, id) in rows {
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(provider.find(&headers, body.as_bytes()).as_deref(), id, "{provider:?}: {body}");
        }
    }

    #[test]
    fn a_body_that_only_resembles_an_event_has_no_id() {
        for body in [
            r#"{"header":{"event_id":"a069"}}"#,
            r#"{"uuid":"41b5"}"#,
            r#"{"uuid":"41b5","type":"url_verification"}"#,
            r#"{"schema":"2.0"}"#,
            "[]",
            "",
        ] {
            assert_eq!(ProviderId::FeishuEvent.find(&[], body.as_bytes()), None, "{body}");
        }
    }
}
