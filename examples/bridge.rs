//! A bridge between two channels: whoever writes in one is heard by everybody who wrote in the other.
//!
//! ```sh
//! cargo run --example bridge -- channels telegram slack
//! ```

use std::collections::{BTreeMap, BTreeSet};

use tinclaw::{AgentResponse, ChannelName, Host};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(left), Some(right)) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: bridge DIRECTORY CHANNEL CHANNEL".into());
    };
    let (left, right): (ChannelName, ChannelName) = (left.parse()?, right.parse()?);

    let host = Host::builder().listen(([127, 0, 0, 1], 8080).into()).channels_from(directory).start()?;
    let mut users: BTreeMap<ChannelName, BTreeSet<String>> = BTreeMap::new();
    for delivery in host.messages() {
        let message = delivery.message();
        let (from, to) = if *delivery.channel() == left { (&left, &right) } else { (&right, &left) };
        users.entry(from.clone()).or_default().insert(message.user_id.clone());

        let name = message.user_name.as_ref().unwrap_or(&message.user_id);
        let content = format!("{name}: {}", message.content);
        for user in users.get(to).into_iter().flatten() {
            host.broadcast(to, user, AgentResponse::text(content.as_str()))?;
        }
        println!("{from} to {to}: {content}");
        // After the replies are durable: a crash in between repeats them and loses none.
        delivery.ack();
    }
    Ok(())
}
