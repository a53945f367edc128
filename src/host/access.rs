//! One channel's access to the world, with that channel's rights: requests, secrets, tools, and from
//! `capabilities.websocket` a link that the router can open.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use wit_abi::types::PairingUpsertResult;

use crate::capability::{RequiredSecret, WebsocketCapability, WebsocketProtocol};
use crate::channel::ChannelName;
use crate::egress::{ChannelHttp, OutboundCall, OutboundRequest, OutboundResponse, ResponseRoom};
use crate::event::Event;
use crate::event::arrival::LinkArrival;
use crate::event::link::{ChannelLink, OpenLink};
use crate::event::queue::EventSender;
use crate::link::{
    Address, DiscordGateway, LinkHandle, LinkSettings, LoginSecrets, NotSent, Plain, Protocol,
    SlackSocketMode, WecomAibot, start,
};
use crate::model::clock::unix_ms;
use crate::model::diagnostic::Diagnostic;
use crate::pairing::PairingService;
use crate::sandbox::{GuestHttpError, GuestServices, HostCallError};
use crate::secrets::{AllowedNames, SecretStore};

/// What a channel's guest may ask for.
pub(crate) struct ChannelAccessToWorld {
    /// The channel. A guest that names another one in a call is not listened to.
    pub name: ChannelName,
    /// Outbound requests.
    pub http: Arc<ChannelHttp>,
    /// The channel's websocket: set once, when it is opened.
    pub link: Arc<OnceLock<LinkHandle>>,
    /// Where secrets are; only their existence is told.
    pub secrets: Arc<dyn SecretStore>,
    /// Which secrets the guest may ask about.
    pub allowed_secrets: AllowedNames,
    /// Who may talk to the agent.
    pub pairing: Arc<PairingService>,
    /// Whether files of replies are handed over in envelopes.
    pub seals_attachments: bool,
}

impl GuestServices for ChannelAccessToWorld {
    fn http_request(
        &self,
        request: OutboundRequest,
        call: OutboundCall,
        room: ResponseRoom<'_>,
    ) -> Result<OutboundResponse, GuestHttpError> {
        self.http.request(request, call, room).map_err(|error| GuestHttpError {
            is_permanent: error.is_permanent(),
            message: error.to_string(),
        })
    }

    fn seals_attachments(&self) -> bool {
        self.seals_attachments
    }

    fn without_given_secrets<'t>(&self, text: &'t str, limit: usize) -> Cow<'t, str> {
        self.http.without_given_secrets(text, limit)
    }

    #[cfg(feature = "cli")]
    fn without_secrets(&self, text: String) -> String {
        self.http.without_any_secret(text)
    }

    #[cfg(feature = "cli")]
    fn explain_request(&self, method: &str, url: &str) -> Vec<crate::egress::ExplainedStep> {
        let mut steps = self.http.explain(method, url);
        // The URL may have a secret in it, and the reasons quote it.
        for step in &mut steps {
            if let Some(Ok(text) | Err(text)) = &mut step.outcome {
                *text = self.http.without_any_secret(std::mem::take(text));
            }
        }
        steps
    }

    fn secret_exists(&self, name: &str) -> bool {
        // A store that cannot be read gives no secret either, so for the guest there is none.
        self.allowed_secrets.exists(&*self.secrets, name).unwrap_or(false)
    }

    fn websocket_send(&self, payload: String) -> Result<(), HostCallError> {
        let link = self.link.get().ok_or_else(|| HostCallError::service(NotSent::NotConnected))?;
        let frame = self.http.checked_frame(payload).map_err(HostCallError::service)?;
        link.send(frame).map_err(HostCallError::service)
    }

    fn pairing_upsert(&self, id: &str, meta_json: &str) -> Result<PairingUpsertResult, HostCallError> {
        self.pairing.upsert(&self.name, id, meta_json).map_err(HostCallError::service)
    }

    fn pairing_resolve(&self, external_id: &str) -> Result<Option<String>, HostCallError> {
        Ok(self.pairing.resolve(&self.name, external_id))
    }

    fn pairing_allow_from(&self) -> Result<Vec<String>, HostCallError> {
        Ok(self.pairing.allow_from(&self.name))
    }

    fn pairing_is_allowed(&self, id: &str, username: Option<&str>) -> Result<bool, HostCallError> {
        Ok(self.pairing.is_allowed(&self.name, id, username))
    }

    fn now_millis(&self) -> u64 {
        unix_ms()
    }
}

/// Heartbeats without an acknowledgement, when the capability file does not say.
const MAX_MISSED_ACKS: u32 = 2;

/// What a channel's `capabilities.websocket` comes to.
#[derive(Default)]
pub(super) struct LinkPlan {
    pub open: Option<OpenLink>,
    /// Why the websocket cannot work as it is declared.
    pub problem: Option<Diagnostic>,
}

/// Prepares the websocket of a channel, if it has one.
pub(super) fn plan_link(
    channel: &ChannelName,
    websocket: Option<&WebsocketCapability>,
    required: &[RequiredSecret],
    world: &ChannelAccessToWorld,
    secrets: &Arc<dyn SecretStore>,
    events: &EventSender,
) -> LinkPlan {
    let Some(websocket) = websocket.filter(|websocket| websocket.connect_on_start != Some(false)) else {
        return LinkPlan::default();
    };
    let address = address_of(websocket);
    let problem = match &address {
        Address::Fixed(url) if !world.http.permits_websocket(url) => Some(not_allowed(&address)),
        _ => None,
    };
    let is_optional = is_optional(websocket, required);
    let (websocket, name) = (websocket.clone(), channel.clone());
    let (http, secrets, events, handle) =
        (world.http.clone(), secrets.clone(), events.clone(), world.link.clone());
    let open: OpenLink = Box::new(move |session| {
        let (channel, events) = (name.clone(), events.clone());
        let mut protocol = protocol_of(&websocket);
        session.iter().for_each(|session| protocol.take_over(session));
        let link = start(LinkSettings {
            channel: name.to_string(),
            address: address.clone(),
            protocol,
            http: http.clone(),
            secrets: secrets.clone(),
            login: login_of(&websocket),
            is_optional,
            deliver: Box::new(move |news| {
                let arrival = LinkArrival { channel: channel.clone(), news };
                events.send(Event::Link(Box::new(arrival))).is_ok()
            }),
        })?;
        // The router opens the link of a channel once.
        let _ = handle.set(link.clone());
        Ok(Arc::new(link) as Arc<dyn ChannelLink>)
    });
    LinkPlan { open: Some(open), problem }
}

/// The secrets that the channel's websocket logs in with.
pub(super) fn link_secret_names(websocket: Option<&WebsocketCapability>) -> Vec<String> {
    // The bot's id is told to everybody in what the service sends.
    let LoginSecrets { token, bot_secret, bot_id: _ } = websocket.map(login_of).unwrap_or_default();
    [token, bot_secret].into_iter().flatten().collect()
}

/// Whether the capability file says that the channel works without a secret of the login.
fn is_optional(websocket: &WebsocketCapability, required: &[RequiredSecret]) -> bool {
    let LoginSecrets { token, bot_secret, bot_id } = login_of(websocket);
    [token, bot_secret, bot_id].into_iter().flatten().any(|name| {
        let is_it = |secret: &&RequiredSecret| secret.name.eq_ignore_ascii_case(&name);
        required.iter().find(is_it).is_some_and(|secret| secret.optional)
    })
}

fn address_of(websocket: &WebsocketCapability) -> Address {
    match websocket.protocol {
        Some(WebsocketProtocol::SlackSocketMode) => Address::Asked(websocket.url.clone()),
        _ => Address::Fixed(websocket.url.clone()),
    }
}

fn protocol_of(websocket: &WebsocketCapability) -> Box<dyn Protocol> {
    let max_missed_acks = websocket.max_missed_heartbeat_acks.unwrap_or(MAX_MISSED_ACKS);
    match websocket.protocol {
        None | Some(WebsocketProtocol::DiscordGateway) => {
            let identify = websocket.identify.clone().unwrap_or_default();
            Box::new(DiscordGateway::new(&websocket.url, identify, max_missed_acks))
        }
        Some(WebsocketProtocol::WecomAibot) => {
            let heartbeat = websocket.heartbeat_interval_ms.map(Duration::from_millis);
            Box::new(WecomAibot::new(heartbeat, max_missed_acks))
        }
        Some(WebsocketProtocol::SlackSocketMode) => Box::new(SlackSocketMode::default()),
        Some(WebsocketProtocol::Plain) => Box::new(Plain),
    }
}

fn login_of(websocket: &WebsocketCapability) -> LoginSecrets {
    LoginSecrets {
        token: websocket.identify_secret_name.clone(),
        bot_id: websocket.bot_id_secret_name.clone(),
        bot_secret: websocket.bot_secret_name.clone(),
    }
}

fn not_allowed(address: &Address) -> Diagnostic {
    let text = format!(
        "the websocket to {} is not on the channel's allow-list: add its host to http.allowlist",
        address.host()
    );
    Diagnostic::error("websocket-not-allowed", text).at("capabilities.websocket.url")
}
