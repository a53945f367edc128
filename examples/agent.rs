//! An agent of one's own: it counts the words of a message, and says when a message cannot be processed at present.
//!
//! ```sh
//! cargo run --example agent -- channels
//! ```

use std::time::Duration;

use tinclaw::agent::Agent;
use tinclaw::{AgentResponse, Host};

struct WordCount;

impl Agent for WordCount {
    fn serve(&self, host: &Host) {
        host.agent_report().begin("word-count");
        for delivery in host.messages() {
            let words = delivery.message().content.split_whitespace().count();
            let response = AgentResponse::text(format!("{words} words"));
            match host.respond(&delivery, response) {
                // The reply is durable, so the message may go.
                Ok(_) => {
                    host.agent_report().succeeded();
                    delivery.ack();
                }
                // The store is away or too much waits: the message is redelivered, and no attempt is counted.
                Err(error) => {
                    host.agent_report().failed(&error.to_string());
                    delivery.release(Duration::from_secs(2));
                }
            }
        }
    }

    fn describe(&self) -> String {
        "counts words".to_owned()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| "channels".to_owned());
    println!("running: {}", WordCount.describe());

    // Any number of agents may serve; the messages of one conversation are delivered in order.
    let host = Host::builder().listen(([127, 0, 0, 1], 8080).into()).channels_from(directory);
    host.agent(WordCount).agent(WordCount).start()?.wait();
    Ok(())
}
