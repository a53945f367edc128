//! Webhooks to any of the hosts, and what became of each.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::upstream::Recorded;

/// The secret that the webhooks of all channels carry.
pub const SECRET: &str = "sesame-of-the-cluster-test";

/// How long a client waits for a response. A host that was stopped keeps its clients waiting.
const CLIENT_TIME: Duration = Duration::from_secs(3);

/// Where the hosts listen; it changes when one is restarted.
pub type Addresses = Arc<[Mutex<SocketAddr>; 3]>;

/// A webhook that got 200.
pub struct Accepted {
    pub channel: usize,
    pub conversation: String,
    pub id: String,
    pub at: Instant,
}

/// Clients that send until they are stopped.
pub struct Load {
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Sent>>,
}

/// What clients have sent.
#[derive(Default)]
pub struct Sent {
    pub accepted: Vec<Accepted>,
    /// Responses other than 200 by their status; 0 for none at all.
    pub refused: BTreeMap<u16, u64>,
    /// What these said.
    pub words: BTreeMap<String, u64>,
}

impl Load {
    /// One client for each channel and host. Each has a conversation of its own and sends one webhook after the other.
    pub fn start(addresses: &Addresses, paths: &[String]) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for (channel, path) in paths.iter().enumerate() {
            for host in 0..addresses.len() {
                let (addresses, path, is_over) = (addresses.clone(), path.clone(), is_over.clone());
                clients.push(thread::spawn(move || send(&addresses, host, channel, &path, &is_over)));
            }
        }
        Self { is_over, clients }
    }

    /// Stops the clients.
    pub fn stop(self) -> Sent {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Sent::default();
        for client in self.clients {
            let sent = client.join().expect("a client");
            all.accepted.extend(sent.accepted);
            for (status, count) in sent.refused {
                *all.refused.entry(status).or_default() += count;
            }
            for (words, count) in sent.words {
                *all.words.entry(words).or_default() += count;
            }
        }
        all
    }
}

fn send(addresses: &Addresses, host: usize, channel: usize, path: &str, is_over: &AtomicBool) -> Sent {
    let client: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(CLIENT_TIME))
        .build()
        .into();
    let conversation = format!("c{channel}-h{host}");
    let mut sent = Sent::default();
    for number in 0_u64.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let address = *addresses[host].lock().unwrap();
        let id = format!("{conversation}-{number}");
        let body = serde_json::json!({"user": conversation, "text": id}).to_string();
        let response = client
            .post(format!("http://{address}{path}"))
            .header("x-webhook-secret", SECRET)
            .send(body.as_bytes());
        match response.as_ref().map_or(0, |response| response.status().as_u16()) {
            200 => {
                let (conversation, at) = (conversation.clone(), Instant::now());
                sent.accepted.push(Accepted { channel, conversation, id, at });
            }
            other => {
                if let Ok(mut response) = response {
                    let body = response.body_mut().read_to_string().unwrap_or_default();
                    *sent.words.entry(format!("{other} {body}")).or_default() += 1;
                }
                *sent.refused.entry(other).or_default() += 1;
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    sent
}

/// When each id came to the service as a reply, first and how often.
pub fn replies(requests: &[Recorded]) -> HashMap<String, (usize, usize)> {
    let mut replies: HashMap<String, (usize, usize)> = HashMap::new();
    for (place, request) in requests.iter().enumerate() {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if let Some(text) = body["text"].as_str() {
            replies.entry(text.to_owned()).or_insert((place, 0)).1 += 1;
        }
    }
    replies
}

/// The longest time between two webhooks of one channel that got 200.
pub fn longest_gap(sent: &Sent, channels: usize) -> Duration {
    let gap = |channel: usize| {
        let mut times: Vec<Instant> =
            sent.accepted.iter().filter(|it| it.channel == channel).map(|it| it.at).collect();
        times.sort();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    };
    (0..channels).map(gap).max().unwrap_or_default()
}
