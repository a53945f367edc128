//! What is spoken over a link, as state machines without I/O: they take what happened and say what is to be done.

pub mod discord_gateway;
pub mod plain;
pub mod slack_socket_mode;
pub mod wecom_aibot;

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// Something that the thread of a link is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkStep {
    /// Send this text frame. It may contain a secret.
    Send(Zeroizing<String>),
    /// Hand this frame to the guest.
    Deliver {
        /// The frame as it came.
        frame: String,
        /// How the protocol is told that the frame's effects are durable.
        receipt: Receipt,
    },
    /// The service has accepted the login: from now on a lost connection is a new failure.
    Ready,
    /// Close the connection and open another one.
    Reconnect {
        /// For the log and `health`.
        reason: String,
        /// The code that the connection is closed with (RFC 6455, section 7.4).
        code: u16,
        /// The shortest wait before the next connection. `None`: the link's backoff decides alone.
        wait: Option<Duration>,
    },
    /// Open another connection, and close this one when that is done.
    Replace {
        /// For the log.
        reason: String,
    },
    /// Close the connection and open no other one: only an operator can fix this.
    Stop {
        /// What is wrong and what to do.
        reason: String,
    },
}

/// What a protocol needs to recognise the acknowledgement of a frame that it delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// The service does not want to know.
    None,
    /// The frame's number in its session.
    Sequence {
        /// Which of the sessions of this link, counted from 1.
        session: u64,
        /// The number within the session.
        number: u64,
    },
    /// The envelope that is acknowledged with a frame of its own.
    Envelope(String),
}

/// A protocol of a link. One value lives as long as its link, over all its connections.
pub trait Protocol: Send {
    /// Where the next connection goes when it is not the address of the capability file.
    fn resume_url(&self) -> Option<String> {
        None
    }

    /// What a link of a later host resumes the session with when the frame with this receipt is the last one that was worked
    /// on. None where the protocol does not resume.
    fn session_after(&self, _receipt: &Receipt) -> Option<String> {
        None
    }

    /// Takes over a session, in the text of [`Protocol::session_after`]. What is none is ignored.
    fn take_over(&mut self, _session: &str) {}

    /// The code with which the host closes a connection when it stops (RFC 6455, section 7.4).
    fn closing_code(&self) -> u16 {
        CLOSE_NORMAL
    }

    /// A connection was opened. `login` is what the service knows the channel by.
    fn opened(&mut self, login: Login, now: Instant) -> Vec<LinkStep>;

    /// A text frame arrived.
    fn received(&mut self, frame: &str, now: Instant, random: f64) -> Vec<LinkStep>;

    /// The deadline has passed.
    fn due(&mut self, now: Instant) -> Vec<LinkStep>;

    /// When [`Protocol::due`] is to be called.
    fn deadline(&self) -> Option<Instant>;

    /// The effects of a delivered frame are durable.
    fn acknowledged(&mut self, receipt: Receipt) -> Vec<LinkStep>;

    /// The service closed the connection with this code, or it broke. Returns [`LinkStep::Stop`] or [`LinkStep::Reconnect`].
    fn closed(&mut self, code: Option<u16>, reason: &str) -> LinkStep;
}

/// What a channel logs in with, read from the secrets for each connection, so that a new value is used at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// The secret that `identify_secret_name` names.
    pub token: Zeroizing<String>,
    /// The secret that `bot_id_secret_name` names.
    pub bot_id: Zeroizing<String>,
    /// The secret that `bot_secret_name` names.
    pub bot_secret: Zeroizing<String>,
}

/// The code for a connection that has done what it was for (RFC 6455, section 7.4.1).
const CLOSE_NORMAL: u16 = 1000;

/// The code for a connection that this side gives up because the other one does not respond (4000 to 4999 are for
/// applications: RFC 6455, section 7.4.2). Discord keeps a session that is closed so.
pub const CLOSE_UNRESPONSIVE: u16 = 4000;

/// How long a service may take for the first frame of its protocol.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(20);

/// The end of a connection that says nothing about why.
pub fn connection_lost(code: Option<u16>, reason: &str) -> LinkStep {
    let reason = match (code, reason) {
        (None, "") => "the connection broke".to_owned(),
        (None, reason) => reason.to_owned(),
        (Some(code), "") => format!("the service closed the connection with code {code}"),
        (Some(code), reason) => format!("the service closed the connection with code {code}: {reason}"),
    };
    LinkStep::Reconnect { reason, code: CLOSE_UNRESPONSIVE, wait: None }
}
