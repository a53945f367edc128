//! An empty home whose services are fakes.

use serde_json::{Value, json};

use crate::cli_support::{Place, RunningHost};
use crate::support::eventually;
use crate::telegram_fake::Telegram;

pub const TOKEN: &str = "123456:first-token";
pub const OTHER_TOKEN: &str = "654321:second-token";

/// A home whose configuration only says where the services are played, and that polls may follow each other quickly.
pub fn home(services: &[(&str, String)]) -> Place {
    let place = Place::new();
    place.file("tinclaw.toml", configuration(services));
    place
}

/// The configuration of [`home`].
pub fn configuration(services: &[(&str, String)]) -> String {
    let rewrites: String = services.iter().map(|(host, url)| format!("\"{host}\" = \"{url}\"\n")).collect();
    format!("# of the test\nmin_poll_interval_ms = 20\n\n[http_rewrite]\n{rewrites}")
}

/// Sends a private message to the bot.
pub fn write_to_bot(service: &Telegram, from: i64, text: &str) {
    let message = json!({
        "message_id": 11, "text": text, "chat": {"id": from, "type": "private"},
        "from": {"id": from, "is_bot": false, "first_name": "Ann"},
    });
    service.update("message", message);
}

/// Waits until the bot has said this.
pub fn bot_says(service: &Telegram, host: &RunningHost, text: &str) {
    eventually(&format!("the bot says {text:?}\n{}", host.log()), || {
        service.inner.sent.all().iter().any(|sent| sent.text == text).then_some(())
    });
}

/// The step of `tinclaw status CHANNEL --json` with this label.
pub fn step(status: &Value, label: &str) -> Value {
    let steps = status["checks"].as_array().expect("steps");
    steps.iter().find(|step| step["code"] == label).cloned().unwrap_or_default()
}
