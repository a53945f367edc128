//! Tables of what happened to a channel and which actions followed, without threads, clocks, guests or a store.

mod action_text;
mod callbacks;
mod end;
mod frames;
mod log_lines;
mod polls;
mod replies;
mod requests;
mod timers;
mod upgrade;

use std::sync::Arc;
use std::time::Instant;

use wit_abi::types::{ChannelConfig, EmittedMessage, IncomingHttpRequest};

use self::action_text::shown;
use super::*;
use crate::channel::endpoints::PollSchedule;
use crate::channel::workspace::WorkspaceChanges;
use crate::event::arrival::{RequestIdentity, Webhook};
use crate::event::callback::{Callback, CallbackKind, CallbackReport, CallbackValue, Effects, Emitted};
use crate::event::completion::Ticket;
use crate::event::response::ResponseSender;
use crate::model::clock::millis;
use crate::net::channel_response::ChannelResponse;
use crate::sandbox::WasmChannelError;
use crate::webhook::DedupeKey;

const SECOND: Duration = Duration::from_secs(1);

/// A host that is as the test says.
struct FakeHost {
    store_works: bool,
    store_is_low: bool,
    store_has_room: bool,
    agent_is_busy: bool,
}

impl HostView for FakeHost {
    fn store_works(&self) -> bool {
        self.store_works
    }

    fn store_takes_messages(&self) -> bool {
        self.store_works && !self.store_is_low
    }

    fn store_has_room(&self) -> bool {
        self.store_works && self.store_has_room
    }

    fn agent_is_busy(&self) -> bool {
        self.agent_is_busy
    }

    fn random(&self) -> f64 {
        1.0
    }
}

/// A channel at a moment that the test moves on.
struct Subject {
    channel: Channel,
    host: FakeHost,
    at: Moment,
    last_ticket: u64,
}

fn settings() -> MachineSettings {
    MachineSettings {
        name: "echo".parse().expect("a name"),
        limits: ChannelLimits::default(),
        message_id_from_metadata: false,
        has_link: false,
        has_socket_handler: false,
        abi_without_attachments: None,
        guest: "0123456789ab".to_owned(),
        initial_memory: 1 << 20,
        problems: Vec::new(),
        retry: RetryPolicy::default(),
        ids: Ids::default(),
    }
}

fn registration() -> Registration {
    let poll = Some(PollSchedule { interval: SECOND * 30 });
    Registration { display_name: "Echo".into(), endpoints: Vec::new(), poll, warnings: Vec::new() }
}

impl Subject {
    /// A channel whose `on-start` has not begun.
    fn new(settings: MachineSettings) -> Self {
        let now_ms = 1_800_000_000_000;
        let at = Moment { now: Instant::now(), unix_ms: now_ms, steady_ms: now_ms };
        let channel = Channel::new(settings, LoadedChannel::default(), at);
        let host =
            FakeHost { store_works: true, store_is_low: false, store_has_room: true, agent_is_busy: false };
        Self { channel, host, at, last_ticket: 0 }
    }

    /// A channel that has started.
    fn ready() -> Self {
        Self::ready_with(|_| {})
    }

    fn ready_with(change: impl FnOnce(&mut MachineSettings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let mut subject = Self::new(settings);
        subject.turn(|channel, turn| channel.registered(registration(), turn));
        subject
    }

    fn turn(&mut self, step: impl FnOnce(&mut Channel, &mut Turn<'_>)) -> Vec<String> {
        let mut actions = Vec::new();
        step(&mut self.channel, &mut Turn::new(self.at, &self.host, &mut actions));
        shown(&actions, self.at.now)
    }

    fn wait(&mut self, time: Duration) {
        self.at.now += time;
        self.at.unix_ms += millis(time);
        self.at.steady_ms += millis(time);
    }

    fn command(&mut self, command: ChannelCommand) -> Vec<String> {
        self.turn(|channel, turn| channel.command(command, turn))
    }

    fn due(&mut self, due: Due) -> Vec<String> {
        self.turn(|channel, turn| channel.due(due, turn))
    }

    fn stored(&mut self, stored: Stored) -> Vec<String> {
        self.turn(|channel, turn| channel.stored(stored, turn))
    }

    /// A request with this id of its provider.
    fn request(&mut self, id: &str) -> Vec<String> {
        let webhook = Webhook {
            channel: self.channel.name().clone(),
            request: Arc::new(IncomingHttpRequest { body: id.into(), ..IncomingHttpRequest::default() }),
            identities: vec![self.identity(id)],
            client: None,
            received: self.at.now,
            responder: ResponseSender::new(|_| {}),
        };
        self.turn(|channel, turn| channel.request(webhook, turn))
    }

    fn identity(&self, id: &str) -> RequestIdentity {
        let expires_ms = self.at.steady_ms + 60_000;
        RequestIdentity { key: DedupeKey::derive("id", id.as_bytes()), expires_ms, keep_response: true }
    }

    /// The next job of a lane, as the host starts it.
    fn start_next(&mut self, lane: LaneKind) -> Option<(Ticket, CallbackKind)> {
        self.channel.next_wants(lane)?;
        self.channel.unmark(lane);
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let started = self.channel.start_next(lane, ticket)?;
        Some((ticket, started.callback.kind()))
    }

    fn finish(&mut self, ticket: Ticket, report: CallbackReport) -> Vec<String> {
        self.turn(|channel, turn| channel.finished(ticket, report, turn))
    }

    /// Starts the next job of a lane, which ends with this report.
    fn run_next(&mut self, lane: LaneKind, report: CallbackReport) -> Vec<String> {
        let (ticket, _) = self.start_next(lane).expect("a job that can start");
        self.finish(ticket, report)
    }
}

/// A callback that ended well.
fn ended(value: CallbackValue, effects: Effects) -> CallbackReport {
    let mut report =
        failed(WasmChannelError::Stopped { channel: "echo".into(), callback: CallbackKind::Poll });
    (report.result, report.effects) = (Ok(value), effects);
    report
}

fn done() -> CallbackReport {
    ended(CallbackValue::Done, Effects::default())
}

fn responded(status: u16, effects: Effects) -> CallbackReport {
    let response = ChannelResponse { status, ..ChannelResponse::empty_ok() };
    ended(CallbackValue::Http(response), effects)
}

fn failed(error: WasmChannelError) -> CallbackReport {
    CallbackReport::failed(CallbackKind::Poll, error)
}

fn trapped() -> CallbackReport {
    let reason = "unreachable".to_owned();
    failed(WasmChannelError::Trap { channel: "echo".into(), callback: CallbackKind::Poll, reason })
}

/// What a guest says of its own failure.
fn guest_error(message: &str) -> CallbackReport {
    let message = message.to_owned();
    failed(WasmChannelError::GuestError { channel: "echo".into(), callback: CallbackKind::Respond, message })
}

/// A callback that emitted these texts and wrote these files.
fn effects(messages: &[&str], files: &[(&str, &str)]) -> Effects {
    let emitted = |text: &&str| Emitted {
        message: EmittedMessage { content: (*text).to_owned(), ..EmittedMessage::default() },
        attachment_data: Vec::new(),
    };
    let path = |path| workspace_path(path).expect("a path");
    let writes = files.iter().map(|(name, content)| (path(name), (*content).into())).collect();
    Effects {
        messages: messages.iter().map(emitted).collect(),
        workspace: WorkspaceChanges { writes, ..WorkspaceChanges::default() },
        ..Effects::default()
    }
}

#[test]
fn a_channel_is_ready_when_what_it_asked_for_is_registered() {
    let mut subject = Subject::new(settings());
    assert_eq!(subject.command(ChannelCommand::Start), ["runnable inbound"]);
    assert_eq!(subject.request("early"), ["respond channel_starting"]);
    let config = CallbackValue::Started(ChannelConfig::default());
    assert_eq!(subject.run_next(LaneKind::Inbound, ended(config, Effects::default())), ["register"]);
    assert_eq!(
        subject.turn(|channel, turn| channel.registered(registration(), turn)),
        ["set Poll in 0ns"],
        "the first poll comes at once"
    );
    assert_eq!(subject.request("first"), ["runnable inbound", "queued"]);
}

#[test]
fn a_start_that_fails_is_tried_again_later_each_time() {
    let mut subject = Subject::new(settings());
    for (tries, report, wait) in [(1, trapped(), 1), (2, done(), 2), (3, trapped(), 4)] {
        assert_eq!(subject.command(ChannelCommand::Start), ["runnable inbound"], "{tries}");
        let due = subject.run_next(LaneKind::Inbound, report);
        assert_eq!(due, [format!("set Start in {wait}s")], "{tries}");
        subject.wait(SECOND * wait);
    }
}
