//! One channel's access to the world, with that channel's rights.

use std::sync::{Arc, OnceLock};

use wit_abi::types::PairingUpsertResult;

use crate::channel::ChannelName;
use crate::egress::{ChannelHttp, OutboundCall, OutboundRequest, OutboundResponse, ResponseRoom};
use crate::link::{LinkHandle, NotSent};
use crate::model::clock::unix_ms;
use crate::pairing::PairingService;
use crate::sandbox::{GuestHttpError, GuestServices};
use crate::secrets::{AllowedNames, SecretStore};

/// What a channel's guest may ask for.
pub(crate) struct ChannelAccessToWorld {
    /// The channel. A guest that names another one in a call is not listened to.
    pub name: ChannelName,
    /// Outbound requests.
    pub http: Arc<ChannelHttp>,
    /// The channel's websocket, once it was opened.
    pub link: Arc<OnceLock<LinkHandle>>,
    /// Where secrets are; only their existence is told.
    pub secrets: Arc<dyn SecretStore>,
    /// Which secrets the guest may ask about.
    pub allowed_secrets: AllowedNames,
    /// Who may talk to the agent.
    pub pairing: Arc<PairingService>,
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

    fn without_given_secrets(&self, text: String) -> String {
        self.http.without_given_secrets(text)
    }

    fn secret_exists(&self, name: &str) -> bool {
        // A store that cannot be read gives no secret either, so for the guest there is none.
        self.allowed_secrets.exists(&*self.secrets, name).unwrap_or(false)
    }

    fn websocket_send(&self, payload: String) -> Result<(), String> {
        let link = self.link.get().ok_or_else(|| NotSent::NotConnected.to_string())?;
        let frame = self.http.checked_frame(payload).map_err(|error| error.to_string())?;
        link.send(frame).map_err(|error| error.to_string())
    }

    fn pairing_upsert(&self, id: &str, meta_json: &str) -> Result<PairingUpsertResult, String> {
        self.pairing.upsert(&self.name, id, meta_json).map_err(|error| error.to_string())
    }

    fn pairing_resolve(&self, external_id: &str) -> Result<Option<String>, String> {
        Ok(self.pairing.resolve(&self.name, external_id))
    }

    fn pairing_allow_from(&self) -> Result<Vec<String>, String> {
        Ok(self.pairing.allow_from(&self.name))
    }

    fn pairing_is_allowed(&self, id: &str, username: Option<&str>) -> Result<bool, String> {
        Ok(self.pairing.is_allowed(&self.name, id, username))
    }

    fn now_millis(&self) -> u64 {
        unix_ms()
    }
}
