//! Fuzzing of webhook authentication.

use std::sync::OnceLock;

use zeroize::Zeroizing;

use super::{AuthPlan, Requirement, Verdict, WebhookRequest, verify};
use crate::capability::webhook::WebhookCapability;
use crate::model::document::{Comments, read};

/// A key of the process, so that no input can hold a signature that was made with it.
fn key() -> &'static str {
    static KEY: OnceLock<String> = OnceLock::new();
    KEY.get_or_init(|| {
        let mut bytes = [0_u8; 32];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
            .expect("there is randomness");
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    })
}

const SCHEMES: [&str; 9] =
    ["secret", "slack", "github", "stripe", "standard-webhooks", "line", "twilio", "discord", "feishu"];

/// A request: a byte that chooses the scheme, lines `name: value` up to an empty one, and the body.
pub fn webhook_signature(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let scheme = SCHEMES[usize::from(*choice) % SCHEMES.len()];
    let (head, body) = match bytes.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&bytes[..at], &bytes[at + 2..]),
        None => (bytes, &[][..]),
    };
    let head = String::from_utf8_lossy(head);
    let headers: Vec<(String, String)> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let capability: WebhookCapability = read(serde_json::json!({ "auth": scheme }), Comments::Refused)
        .expect("each of these schemes is known");
    let Ok(plan) = AuthPlan::from(&capability, "echo") else { return };
    if !matches!(plan.requirement(), Requirement::Checked) {
        return;
    }
    let request = WebhookRequest {
        method: "POST",
        query: "",
        public_url: "https://hooks.example.org/webhook/echo",
        headers: &headers,
        body,
        now_ms: 1_700_000_000_000,
    };
    let verdict = verify(&plan, &request, &|_| Ok(Some(Zeroizing::new(key().as_bytes().to_vec()))));
    assert!(
        !matches!(verdict, Verdict::Authentic(_)),
        "nothing verifies against a key that it does not know"
    );
}
