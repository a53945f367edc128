//! Five lines to a bot: it replies with the same text, over every channel of a directory.
//!
//! ```sh
//! tinclaw channels install webchat --to channels
//! cargo run --example bot -- channels
//! ```
//!
//! Then open <http://127.0.0.1:8080/chat>.

use tinclaw::{AgentResponse, Host};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| "channels".to_owned());

    let host = Host::builder().listen(([127, 0, 0, 1], 8080).into()).channels_from(directory).start()?;
    for delivery in host.messages() {
        let content = format!("you said: {}", delivery.message().content);
        host.respond(&delivery, AgentResponse::text(content))?;
        delivery.ack();
    }
    Ok(())
}
