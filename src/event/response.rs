//! The response to an HTTP request on its way back to whoever holds the connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::net::channel_response::ChannelResponse;

/// The response to an HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookResponse {
    /// What the channel said.
    Channel(Arc<ChannelResponse>),
    /// What the host says, because the guest was not run or failed.
    Refused(WebhookRefusal),
}

/// Why the guest does not respond to a request. Each has a status and a stable `error` code.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebhookRefusal {
    /// No channel has this path.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed {
        /// The methods that the path has, for `Allow`.
        allow: Vec<String>,
    },
    /// The body is larger than the route allows.
    BodyTooLarge,
    /// The route does not take bodies of this type.
    UnsupportedMediaType,
    /// The request did not authenticate itself; nobody learns why.
    Unauthorized,
    /// Too many failed authentications from this address, or too many messages from this channel.
    TooManyRequests {
        /// When to try again.
        retry_after: Duration,
    },
    /// The channel's authentication is not set up completely.
    NotConfigured,
    /// `on-start` has not succeeded yet.
    Starting,
    /// The channel is paused after failures.
    Paused {
        /// When it is tried again.
        retry_after: Duration,
    },
    /// Too much waits: in the router's queue, in the channel's lane, or for the agent.
    Busy,
    /// Nothing can be stored at the moment.
    StoreUnavailable,
    /// The host is shutting down.
    Stopping,
    /// The callback trapped, ran out of something or returned nonsense.
    CallbackFailed,
}

impl WebhookRefusal {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::BodyTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Unauthorized => 401,
            Self::TooManyRequests { .. } => 429,
            Self::CallbackFailed => 500,
            Self::NotConfigured
            | Self::Starting
            | Self::Paused { .. }
            | Self::Busy
            | Self::StoreUnavailable
            | Self::Stopping => 503,
        }
    }

    /// The stable value of `error` in the JSON body.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::BodyTooLarge => "body_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Unauthorized => "unauthorized",
            Self::TooManyRequests { .. } => "too_many_requests",
            Self::CallbackFailed => "callback_failed",
            Self::NotConfigured => "not_configured",
            Self::Starting => "channel_starting",
            Self::Paused { .. } => "channel_paused",
            Self::Busy => "busy",
            Self::StoreUnavailable => "store_unavailable",
            Self::Stopping => "shutting_down",
        }
    }

    /// The value of `Retry-After`, for refusals that pass.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after } | Self::Paused { retry_after } => Some(*retry_after),
            Self::Busy => Some(Duration::from_secs(1)),
            Self::Starting | Self::StoreUnavailable | Self::Stopping => Some(Duration::from_secs(5)),
            Self::NotConfigured => Some(Duration::from_secs(60)),
            _ => None,
        }
    }
}

/// Whoever holds the connection that a response goes to.
pub trait Respond: Send {
    /// Sends the response.
    fn respond(self: Box<Self>, response: WebhookResponse);

    /// Frees what the request holds while it waits for long.
    fn park(self: Box<Self>) -> Box<dyn Respond>;

    /// Whether nobody waits for the response any more, as far as is known.
    fn is_abandoned(&self) -> bool {
        false
    }
}

/// A function that takes the response; nothing is held.
impl<F: FnOnce(WebhookResponse) + Send + 'static> Respond for F {
    fn respond(self: Box<Self>, response: WebhookResponse) {
        self(response);
    }

    fn park(self: Box<Self>) -> Box<dyn Respond> {
        self
    }
}

/// Takes one response. Dropping it unused sends [`WebhookRefusal::CallbackFailed`], so that no client waits for ever.
pub struct ResponseSender(Option<Box<dyn Respond>>);

impl ResponseSender {
    /// A sender that passes the response on.
    pub fn new(respond: impl Respond + 'static) -> Self {
        Self(Some(Box::new(respond)))
    }

    /// Sends the response.
    pub fn send(mut self, response: WebhookResponse) {
        if let Some(respond) = self.0.take() {
            respond.respond(response);
        }
    }

    /// Sends a refusal.
    pub fn refuse(self, refusal: WebhookRefusal) {
        self.send(WebhookResponse::Refused(refusal));
    }

    /// Frees what the request holds, because its response comes much later.
    #[must_use]
    pub fn park(mut self) -> Self {
        Self(self.0.take().map(Respond::park))
    }

    /// Whether nobody waits for the response any more, as far as is known.
    pub fn is_abandoned(&self) -> bool {
        self.0.as_ref().is_some_and(|respond| respond.is_abandoned())
    }
}

impl Drop for ResponseSender {
    fn drop(&mut self) {
        if let Some(respond) = self.0.take() {
            respond.respond(WebhookResponse::Refused(WebhookRefusal::CallbackFailed));
        }
    }
}

impl fmt::Debug for ResponseSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseSender")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_dropped_sender_still_responds() {
        let (sender, receiver) = channel();
        drop(ResponseSender::new(move |response| sender.send(response).unwrap()));
        assert_eq!(receiver.recv(), Ok(WebhookResponse::Refused(WebhookRefusal::CallbackFailed)));
    }

    #[test]
    fn a_sender_responds_once() {
        let (sender, receiver) = channel();
        ResponseSender::new(move |response| sender.send(response).unwrap()).refuse(WebhookRefusal::Busy);
        assert_eq!(receiver.iter().count(), 1);
    }
}
