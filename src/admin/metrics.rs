//! `/metrics`: the state of the host in the text format of OpenMetrics 1.0, which Prometheus reads. Labels are names of
//! channels and words of fixed lists, so their number is bounded.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::AdminState;
use super::process::ProcessUsage;
use crate::host::{ChannelHealth, ChannelState, Health, LinkState};
use crate::store::StoreState;
use crate::store::commit_time::BOUNDS_MS;

/// What `/metrics` is, for HTTP.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The labels of one sample.
type MetricLabels = Vec<(&'static str, String)>;
type GaugeF64 = Gauge<f64, AtomicU64>;
type CounterF64 = Counter<f64, AtomicU64>;

/// What is said of the host.
///
/// # Errors
/// The host is stopping.
pub(super) fn metrics_text(state: &AdminState) -> Result<String, String> {
    let health = state.manager.health().map_err(|error| error.to_string())?;
    let mut registry = Registry::with_prefix("tinclaw");
    of_process(&mut registry, state);
    of_store(&mut registry, &health);
    of_queues(&mut registry, &health);
    of_channels(&mut registry, &health, state);
    of_agent(&mut registry, &health);
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| error.to_string())?;
    Ok(text)
}

fn of_process(registry: &mut Registry, state: &AdminState) {
    let info = Family::<MetricLabels, Gauge>::default();
    info.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
    registry.register("build_info", "The version of the host", info);
    seconds(registry, "uptime", "Time since the host started", state.uptime().as_secs_f64());
    let usage = ProcessUsage::read();
    if let Some(value) = usage.memory_bytes {
        bytes(registry, "resident_memory", "Physical memory of the process", value);
    }
    if let Some(value) = usage.disk_written_bytes {
        let written = counter(value);
        registry.register_with_unit(
            "disk_written",
            "Bytes that the process had written to disks",
            Unit::Bytes,
            written,
        );
    }
}

fn of_store(registry: &mut Registry, health: &Health) {
    let store = &health.store;
    let states = [StoreState::Up, StoreState::Full, StoreState::Down, StoreState::Stopped];
    let is_up = Family::<MetricLabels, Gauge>::default();
    for (state, name) in states.into_iter().zip(["up", "full", "down", "stopped"]) {
        is_up.get_or_create(&vec![("state", name.to_owned())]).set(i64::from(store.state == state));
    }
    registry.register("store_state", "1 for the state that the store is in", is_up);
    bytes(registry, "store_size", "Size of the database", store.usage.bytes);
    bytes(
        registry,
        "store_log_size",
        "Size of the part of its log that is not in the database",
        store.usage.log_bytes,
    );
    bytes(registry, "store_free", "Part of the database that is free", store.usage.free_bytes);
    registry.register("store_batches", "Batches that were committed", counter(store.commits));
    registry.register("store_outages", "Times that the store has gone down", counter(store.outages));
    let times = store.commit_times;
    let bounds = BOUNDS_MS.iter().map(|ms| *ms as f64 / 1000.0).chain([f64::MAX]);
    let commits =
        CommitHistogram { sum: times.total.as_secs_f64(), classes: bounds.zip(times.classes).collect() };
    registry.register_with_unit("store_commit", "Time that transactions took", Unit::Seconds, commits);
}

/// Transactions by their time, which the store has counted.
#[derive(Debug)]
struct CommitHistogram {
    sum: f64,
    /// Upper bound, and how many are in this class and in no smaller one. The last class is without a bound.
    classes: Vec<(f64, u64)>,
}

impl EncodeMetric for CommitHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let count = self.classes.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.sum, count, &self.classes, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

fn of_queues(registry: &mut Registry, health: &Health) {
    let in_flight = health.messages_in_flight;
    let queued = Family::<MetricLabels, Gauge>::default();
    let waiting = health.messages_waiting.saturating_sub(in_flight);
    for (state, count) in [("waiting", waiting), ("in_flight", in_flight)] {
        queued.get_or_create(&vec![("state", state.to_owned())]).set(whole(count as u64));
    }
    registry.register("queued_messages", "Messages for the agent that are not acknowledged", queued);
    registry.register(
        "unrouted_requests",
        "Requests whose path or method no channel takes",
        counter(health.unrouted_requests),
    );
}

fn of_channels(registry: &mut Registry, health: &Health, state: &AdminState) {
    let channels = &health.channels;
    let one = |value: fn(&ChannelHealth) -> u64| {
        let family = Family::<MetricLabels, Counter>::default();
        for channel in channels {
            family.get_or_create(&named(channel)).inc_by(value(channel));
        }
        family
    };
    let gauge = |value: fn(&ChannelHealth) -> u64| {
        let family = Family::<MetricLabels, Gauge>::default();
        for channel in channels {
            family.get_or_create(&named(channel)).set(whole(value(channel)));
        }
        family
    };
    registry.register(
        "channel_ready",
        "1 when the channel works",
        gauge(|channel| u64::from(matches!(channel.state, ChannelState::Ready))),
    );
    registry.register("messages", "Messages that the channel emitted", one(|channel| channel.emitted));
    registry.register(
        "dropped",
        "Messages, attachments and log lines over a limit",
        one(|channel| channel.dropped),
    );
    registry.register(
        "dropped_log_lines",
        "Log lines of the guest over a limit",
        one(|channel| channel.callbacks.dropped_log_lines),
    );
    registry.register("fuel", "Units of fuel that callbacks took", one(|channel| channel.callbacks.fuel));
    registry.register(
        "http_requests",
        "Requests to other servers",
        one(|channel| channel.callbacks.http_calls),
    );
    registry.register_with_unit(
        "http_sent",
        "Bytes of the bodies of requests to other servers",
        Unit::Bytes,
        one(|channel| channel.callbacks.sent_bytes),
    );
    registry.register_with_unit(
        "stored",
        "Bytes that callbacks had stored",
        Unit::Bytes,
        one(|channel| channel.callbacks.stored_bytes),
    );
    registry.register_with_unit(
        "callback_memory_max",
        "The most memory of one callback",
        Unit::Bytes,
        gauge(|channel| channel.callbacks.max_memory as u64),
    );
    registry.register(
        "pending_replies",
        "Replies that are not delivered",
        gauge(|channel| channel.replies_pending as u64),
    );
    registry.register(
        "waiting_requests",
        "Requests that wait for a change of the workspace",
        gauge(|channel| channel.requests_parked as u64),
    );
    registry.register(
        "channel_problems",
        "Errors and warnings about the channel",
        gauge(|channel| channel.problems.len() as u64),
    );
    of_callbacks(registry, channels);
    of_links(registry, channels);
    let responses = Family::<MetricLabels, Counter>::default();
    for (channel, counts) in state.manager.routes().responses() {
        for (class, count) in ["2xx", "3xx", "4xx", "5xx"].into_iter().zip(counts) {
            let labels = vec![("channel", channel.to_string()), ("status", class.to_owned())];
            responses.get_or_create(&labels).inc_by(count);
        }
    }
    registry.register("webhook_responses", "Responses to requests for the channel", responses);
}

fn of_callbacks(registry: &mut Registry, channels: &[ChannelHealth]) {
    let callbacks = Family::<MetricLabels, Counter>::default();
    let time = Family::<MetricLabels, CounterF64>::default();
    let lanes = Family::<MetricLabels, Gauge>::default();
    for channel in channels {
        for (kind, totals) in channel.callbacks.kinds() {
            for (result, count) in [("succeeded", totals.succeeded), ("failed", totals.failed)] {
                if count > 0 {
                    let mut labels = named(channel);
                    labels.extend([("callback", kind.to_string()), ("result", result.to_owned())]);
                    callbacks.get_or_create(&labels).inc_by(count);
                }
            }
        }
        time.get_or_create(&named(channel)).inc_by(channel.callbacks.elapsed.as_secs_f64());
        let waiting = [
            ("inbound", channel.inbound_waiting),
            ("poll", channel.polls_waiting),
            ("outbound", channel.outbound_waiting),
        ];
        for (lane, count) in waiting {
            let mut labels = named(channel);
            labels.push(("lane", lane.to_owned()));
            lanes.get_or_create(&labels).set(whole(count as u64));
        }
    }
    registry.register("callbacks", "Callbacks that have ended", callbacks);
    registry.register_with_unit("callback", "Time that callbacks took", Unit::Seconds, time);
    registry.register("waiting_callbacks", "Callbacks that wait for their turn", lanes);
}

fn of_links(registry: &mut Registry, channels: &[ChannelHealth]) {
    let up = Family::<MetricLabels, Gauge>::default();
    let connections = Family::<MetricLabels, Counter>::default();
    let frames = Family::<MetricLabels, Counter>::default();
    for channel in channels {
        let Some(link) = &channel.link else { continue };
        up.get_or_create(&named(channel)).set(i64::from(link.state == LinkState::Ready));
        connections.get_or_create(&named(channel)).inc_by(link.connections);
        for (direction, count) in [("received", link.frames_received), ("sent", link.frames_sent)] {
            let mut labels = named(channel);
            labels.push(("direction", direction.to_owned()));
            frames.get_or_create(&labels).inc_by(count);
        }
    }
    registry.register("link_up", "1 when the websocket is open and logged in", up);
    registry.register("link_connections", "Connections of the websocket", connections);
    registry.register("link_frames", "Frames of the websocket", frames);
}

fn of_agent(registry: &mut Registry, health: &Health) {
    let Some(agent) = &health.agent else { return };
    registry.register("agent_restarts", "Restarts of the agent", counter(agent.restarts));
    let unix = |at: std::time::SystemTime| {
        at.duration_since(std::time::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
    };
    for (name, help, at) in [
        ("agent_last_success_timestamp", "When the agent last replied", agent.last_success_at),
        ("agent_last_error_timestamp", "When the agent last failed", agent.last_error_at),
    ] {
        if let Some(at) = at {
            seconds(registry, name, help, unix(at));
        }
    }
}

fn named(channel: &ChannelHealth) -> MetricLabels {
    vec![("channel", channel.name.to_string())]
}

fn counter(value: u64) -> Counter {
    let counter: Counter = Counter::default();
    counter.inc_by(value);
    counter
}

fn seconds(registry: &mut Registry, name: &str, help: &str, value: f64) {
    let gauge = GaugeF64::default();
    gauge.set(value);
    registry.register_with_unit(name, help, Unit::Seconds, gauge);
}

fn bytes(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(whole(value));
    registry.register_with_unit(name, help, Unit::Bytes, gauge);
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
