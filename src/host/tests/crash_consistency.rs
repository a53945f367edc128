//! Kill the host at any instruction: whatever got 200 reaches the agent, in order, and the agent's response
//! reaches the upstream server.
//!
//! A child process runs a host with a durable store under load from this process, which is also the upstream server. It
//! is killed at random and at chosen points, restarted on the same state, and at the end left to finish its work.
//! `TINCLAW_CRASH_ROUNDS` sets the number of kills (20).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::host::tests::crash::hooked;
use crate::host::tests::crash::kill_points::{KillPoint, Plan, Random};
use crate::host::tests::crash::log::{self, Line};
use crate::store::{Durability, ReplyFilter, ReplyState, SqliteStore, Store};
use crate::test_support::own_process::test_in_a_child;
use crate::test_support::temp_dir::TempDir;
use crate::test_support::upstream::{Recorded, Upstream, ok};
use crate::test_support::{client, fixtures};
use crate::{AgentResponse, Host, MessageStream};

const CHILD: &str = "TINCLAW_TEST_CRASH_CHILD";
const UPSTREAM: &str = "TINCLAW_TEST_CRASH_UPSTREAM";
const PLAN: &str = "TINCLAW_TEST_CRASH_PLAN";
const RUN: &str = "TINCLAW_TEST_CRASH_RUN";

/// The channel that recognises duplicates by an id, and the one that does not.
const CHANNELS: [&str; 2] = ["echo", "echo_plain"];

/// Messages of one conversation that wait for their reply; more would only wait longer at the end.
const MAX_WITHOUT_REPLY: u64 = 8;

#[test]
fn acknowledged_webhooks_survive_a_kill_at_any_point() {
    let rounds = std::env::var("TINCLAW_CRASH_ROUNDS").map_or(20, |rounds| rounds.parse().expect("a number"));
    let seed = u64::from(std::process::id()) | 1 << 32;
    println!("{rounds} rounds, seed {seed}");
    let world = World::new();
    let mut random = Random(seed);
    let mut hit: BTreeMap<KillPoint, u64> = BTreeMap::new();
    thread::scope(|scope| {
        for channel in CHANNELS {
            for user in ["ann", "bob", "cid"] {
                let world = &world;
                scope.spawn(move || world.send_until_stopped(channel, user));
            }
        }
        let _stop = StopAtEnd(&world.stopped);
        for round in 0..rounds {
            let point = KillPoint::ALL[(round % KillPoint::ALL.len() as u64) as usize];
            let plan =
                Plan { point, nth: 1 + random.below(100), delay: Duration::from_micros(random.below(3_000)) };
            let linger = Duration::from_millis(random.below(700));
            *hit.entry(world.run_and_kill(round, plan, linger)).or_default() += 1;
        }
    });
    world.drain(rounds);
    println!("killed: {hit:?}");
    world.check();
}

/// What outlives the child.
struct World {
    scratch: TempDir,
    upstream: Upstream,
    child: Arc<Victim>,
    host: Mutex<Option<SocketAddr>>,
    accepted: Mutex<BTreeSet<String>>,
    stopped: AtomicBool,
}

/// Lets the upstream server kill the child when a certain request arrives.
#[derive(Default)]
struct Victim {
    requests_left: AtomicI64,
    pid: Mutex<Option<Pid>>,
    /// How many messages of each conversation have been replied to.
    replied: Mutex<BTreeMap<String, u64>>,
}

impl Victim {
    fn request_arrived(&self, request: &Recorded) {
        let id = id_of(request);
        let (conversation, number) = id.rsplit_once(':').expect("an id of this test");
        let number: u64 = number.parse().expect("a number");
        let mut replied = self.replied.lock().unwrap();
        let newest = replied.entry(conversation.to_owned()).or_default();
        *newest = (*newest).max(number + 1);
        drop(replied);
        if self.requests_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.kill();
        }
    }

    fn kill(&self) {
        if let Some(pid) = *self.pid.lock().unwrap() {
            // It may have died by itself just now, but it is not reaped while its pid stands here.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn id_of(reply: &Recorded) -> String {
    reply.json()["text"].as_str().expect("a reply's text").to_owned()
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl World {
    fn new() -> Self {
        let child = Arc::new(Victim::default());
        let victim = child.clone();
        let upstream = Upstream::start(move |request, _| {
            victim.request_arrived(request);
            ok()
        });
        Self {
            scratch: TempDir::new(),
            upstream,
            child,
            host: Mutex::default(),
            accepted: Mutex::default(),
            stopped: AtomicBool::new(false),
        }
    }

    fn log(&self) -> PathBuf {
        self.scratch.path().join("agent.log")
    }

    /// A provider: sends the messages of one conversation, each until it gets 200, then the next.
    fn send_until_stopped(&self, channel: &str, user: &str) {
        let conversation = format!("{channel}/{user}");
        let secret = fixtures::value_of("echo_webhook_secret");
        let headers = [("content-type", "application/json"), ("x-webhook-secret", secret.as_str())];
        let mut number = 0;
        while !self.stopped.load(Ordering::Relaxed) {
            let replied = self.child.replied.lock().unwrap().get(&conversation).copied().unwrap_or_default();
            if number > replied + MAX_WITHOUT_REPLY {
                thread::sleep(Duration::from_millis(5));
                continue;
            }
            let id = format!("{conversation}:{number}");
            let body = json!({"user": user, "text": id, "id": id}).to_string();
            let host = *self.host.lock().unwrap();
            let reply = host.and_then(|host| {
                client::try_request(host, "POST", &format!("/webhook/{channel}"), &headers, body.as_bytes())
                    .ok()
            });
            match reply.map(|reply| reply.status) {
                Some(200) => {
                    self.accepted.lock().unwrap().insert(id);
                    number += 1;
                }
                Some(503) | None => thread::sleep(Duration::from_millis(5)),
                Some(other) => panic!("{id} got {other}"),
            }
        }
    }

    fn start(&self, run: u64, plan: Option<Plan>) -> (Child, impl Iterator<Item = String> + use<>) {
        let mut command = test_in_a_child(module_path!(), "child_that_is_killed");
        command
            .env(CHILD, self.scratch.path())
            .env(UPSTREAM, self.upstream.url())
            .env(RUN, run.to_string())
            .stdout(Stdio::piped());
        if let Some(plan) = plan {
            command.env(PLAN, plan.to_string());
        }
        let mut child = command.spawn().expect("a child");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
        (child, lines)
    }

    /// Runs a child under load until it is killed as planned, or all the same when the plan does not come about. Which of
    /// the two.
    fn run_and_kill(&self, run: u64, plan: Plan, linger: Duration) -> KillPoint {
        let (mut child, mut lines) = self.start(run, Some(plan));
        *self.child.pid.lock().unwrap() = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        if plan.point == KillPoint::InsideRespond {
            self.child.requests_left.store(i64::try_from(plan.nth).expect("small"), Ordering::Relaxed);
        }
        let address = lines.by_ref().find_map(|line| line.strip_prefix("listening ")?.parse().ok());
        *self.host.lock().unwrap() = address;
        let patience = if plan.point == KillPoint::Random { linger } else { Duration::from_secs(10) };
        let point = if died_within(&mut child, patience) { plan.point } else { KillPoint::Random };
        self.child.kill();
        *self.host.lock().unwrap() = None;
        lines.for_each(drop);
        self.child.requests_left.store(0, Ordering::Relaxed);
        *self.child.pid.lock().unwrap() = None;
        let status = child.wait().expect("it has ended");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{plan}: {status}");
        point
    }

    /// Lets a last child finish all work.
    fn drain(&self, run: u64) {
        let (mut child, lines) = self.start(run, None);
        let said: Vec<String> = lines.collect();
        assert!(child.wait().expect("it ends").success(), "{said:?}");
    }

    fn check(&self) {
        let accepted = self.accepted.lock().unwrap().clone();
        let lines = log::read(&self.log());
        let messages = log::messages_by_provider_id(&lines);
        let mut replies: BTreeMap<String, usize> = BTreeMap::new();
        for request in self.upstream.requests() {
            *replies.entry(id_of(&request)).or_default() += 1;
        }
        let twice = messages.values().filter(|messages| messages.len() > 1).count();
        println!(
            "got 200: {}; delivered to the agent: {} ids in {} deliveries, {twice} ids as more than one message; \
             replies: {} ids in {} requests",
            accepted.len(),
            messages.len(),
            lines.len(),
            replies.len(),
            replies.values().sum::<usize>(),
        );
        let lost: Vec<_> = accepted.iter().filter(|id| !messages.contains_key(*id)).collect();
        assert!(lost.is_empty(), "got 200 and were never delivered: {lost:?}");
        let without_reply: Vec<_> = messages.keys().filter(|id| !replies.contains_key(*id)).collect();
        assert!(without_reply.is_empty(), "delivered, and the reply never arrived: {without_reply:?}");
        log::check_order(&lines);
        let deduped = messages.iter().filter(|(id, _)| id.starts_with("echo/"));
        let doubled: Vec<_> = deduped.filter(|(_, messages)| messages.len() != 1).collect();
        assert!(doubled.is_empty(), "one id, several messages: {doubled:?}");
        assert!(accepted.len() > 50, "there was load");
        self.check_store(&replies);
    }

    /// Everything is accounted for, and whatever the upstream server got more often than once is marked.
    fn check_store(&self, arrived: &BTreeMap<String, usize>) {
        let mut store =
            SqliteStore::open(database(self.scratch.path()), Durability::Full).expect("the store");
        let (mut stored, mut marked): (BTreeMap<String, usize>, BTreeSet<String>) = Default::default();
        let filter = ReplyFilter { limit: 1_000_000, ..ReplyFilter::default() };
        let mut before = None;
        loop {
            let page = store.replies(&ReplyFilter { before, ..filter.clone() }).expect("replies");
            let Some(last) = page.last() else { break };
            before = Some(last.id);
            for summary in page {
                let reply = store.reply(summary.id).expect("a reply").expect("it is kept");
                assert_eq!(reply.state, ReplyState::Delivered, "{:?}", reply.body.content);
                if reply.redelivery {
                    marked.insert(reply.body.content.clone());
                }
                *stored.entry(reply.body.content.clone()).or_default() += 1;
            }
        }
        for (id, arrived) in arrived {
            let stored = stored.get(id).copied().unwrap_or_default();
            assert!(
                *arrived <= stored || marked.contains(id),
                "{id}: {stored} replies, {arrived} requests, no mark"
            );
        }
        println!(
            "replies stored: {}, marked as redelivery: {}",
            stored.values().sum::<usize>(),
            marked.len()
        );
    }
}

fn died_within(child: &mut Child, patience: Duration) -> bool {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let until = Instant::now() + patience;
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("not zero");
    // Looks without reaping: the pid stays its own until the last kill is out.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    while Instant::now() < until {
        if waitid(WaitId::Pid(pid), options).expect("it is our child").is_some() {
            return true;
        }
        thread::sleep(Duration::from_millis(2));
    }
    false
}

fn database(state: &Path) -> PathBuf {
    state.join("tinclaw.db")
}

/// The child: a host with an agent, until it is killed or, without a plan, until all work is done.
#[test]
fn child_that_is_killed() {
    let Some(state) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let plan: Option<Plan> = std::env::var(PLAN).ok().map(|plan| plan.parse().expect("a plan"));
    let run = std::env::var(RUN).expect("a number").parse().expect("a number");
    let host = child_host(&state, plan);
    let log = Arc::new(log::open(&state.join("agent.log")));
    let agents: Vec<_> = (0..2)
        .map(|_| {
            let (host, log) = (host.clone(), log.clone());
            thread::spawn(move || reply_to_all(&host, host.messages(), &log, run))
        })
        .collect();
    println!("listening {}", host.local_addr().expect("an address"));
    if plan.is_some() {
        thread::sleep(Duration::from_secs(60));
        panic!("nobody killed this process");
    }
    let is_done = || {
        let health = host.health().expect("health");
        health.messages_waiting == 0 && health.channels.iter().all(|channel| channel.replies_pending == 0)
    };
    let give_up = Instant::now() + Duration::from_secs(90);
    while !is_done() {
        assert!(Instant::now() < give_up, "work is left: {:?}", host.health());
        thread::sleep(Duration::from_millis(20));
    }
    host.manager().shutdown(Duration::from_secs(5));
    agents.into_iter().for_each(|agent| agent.join().expect("the agent ends with the host"));
}

fn child_host(state: &Path, plan: Option<Plan>) -> Arc<Host> {
    let db = database(state);
    let open = move || Ok(Box::new(SqliteStore::open(&db, Durability::Full)?) as Box<dyn Store>);
    let hook: hooked::Hook = plan.map_or_else(|| Arc::new(|_| Ok(())) as hooked::Hook, Plan::hook);
    let upstream = std::env::var(UPSTREAM).expect("an address");
    let runtime = fixtures::runtime();
    let mut builder =
        fixtures::host(&["echo_token", "echo_webhook_secret"], &[("api.echo.example", upstream)])
            .configure(|config| config.state = hooked::state(open, hook));
    for name in CHANNELS {
        builder = builder.channel(fixtures::channel_with(&runtime, name, |file| {
            let section = &mut file["capabilities"]["channel"];
            section["outbound_concurrency"] = json!(4);
            if name == "echo" {
                section["webhook"]["dedupe"] = json!({"json_pointer": "/id"});
            }
        }));
    }
    let host = builder.start().expect("the host starts");
    assert!(host.failed_channels().is_empty(), "{:?}", host.failed_channels());
    Arc::new(host)
}

/// The agent: writes down what it gets, replies to it, acknowledges what it has replied to.
fn reply_to_all(host: &Host, messages: MessageStream, log: &File, run: u64) {
    for delivery in messages {
        let id = delivery.message().content.clone();
        let (conversation, number) = id.rsplit_once(':').expect("an id of this test");
        log::write(
            log,
            &Line {
                run,
                conversation: conversation.to_owned(),
                number: number.parse().expect("a number"),
                message: delivery.id().0,
            },
        );
        // Some are redelivered: without order the next one of the conversation would overtake.
        if delivery.attempt() == 1 && delivery.id().0 % 5 == 0 {
            delivery.nack(Duration::from_millis(20));
            continue;
        }
        let channel = delivery.channel().clone();
        assert!(CHANNELS.contains(&channel.as_str()));
        match host.respond(&delivery, AgentResponse { content: id, ..AgentResponse::default() }) {
            Ok(_) => delivery.ack(),
            Err(_) => delivery.nack(Duration::from_millis(50)),
        }
    }
}
