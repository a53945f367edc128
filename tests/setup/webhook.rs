//! The generic webhook: a secret that is generated and has to be told to the sender.

use serde_json::json;

use crate::cli_support::Place;
use crate::support::{client, eventually};

#[test]
fn its_secret_is_generated_and_a_message_gets_its_reply() {
    let place = Place::new();
    let ran = place.run(&["setup", "webhook"]);
    let out = ran.good();
    for part in
        ["webhook_webhook_secret generated", "http://127.0.0.1:8080/webhook/webhook", "tinclaw secrets show"]
    {
        assert!(out.contains(part), "{part}: {out}");
    }
    // A pipe is no place for a secret.
    let ran = place.run(&["secrets", "show", "webhook_webhook_secret"]);
    assert!(ran.code == Some(1) && ran.err.contains("at a terminal only"), "{}", ran.err);
    // The sender is given a secret of the operator's instead, from a file.
    let secret = place.file("secret", "a-secret-of-mine");
    let secret = format!("webhook_webhook_secret={}", secret.display());
    let done = place.run(&["setup", "webhook", "--secret", &secret, "--json"]).json();
    assert_eq!((&done["stored"], &done["generated"]), (&json!(["webhook_webhook_secret"]), &json!([])));

    // One that is generated may also come from standard input.
    let place = Place::new();
    let done = place.run_with_input(&["setup", "webhook", "--json"], "a-secret-of-mine\n").json();
    assert_eq!((&done["stored"], &done["generated"]), (&json!(["webhook_webhook_secret"]), &json!([])));

    let host = place.host(&[], &[]);
    let headers = [("content-type", "application/json"), ("x-webhook-secret", "a-secret-of-mine")];
    let body = json!({"user": "ann", "text": "hello", "thread": "7"}).to_string();
    eventually("it takes the message", || {
        let reply = client::request(host.address, "POST", "/webhook/webhook", &headers, body.as_bytes());
        (reply.status == 200).then_some(())
    });
    eventually("the reply waits to be fetched", || {
        let target = "/webhook/webhook?thread=7&after=0";
        let reply = client::request(host.address, "GET", target, &headers, b"");
        String::from_utf8_lossy(&reply.body).contains("hello").then_some(())
    });
    host.stop();
}
