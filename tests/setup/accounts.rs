//! Several accounts of one service.

use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::home::{OTHER_TOKEN, TOKEN, home, step};
use crate::support::upstream::{Recorded, Upstream};
use crate::support::{client, eventually};

/// Two bots of one Bot API: what waits for each token, and what each has sent.
#[derive(Default)]
struct Bots {
    waiting: Mutex<Vec<(String, serde_json::Value)>>,
    sent: Mutex<Vec<(String, String)>>,
}

impl Bots {
    fn respond(&self, request: &Recorded) -> (u16, Vec<(String, String)>, Vec<u8>) {
        let done = |result: serde_json::Value| {
            (200, Vec::new(), json!({"ok": true, "result": result}).to_string().into_bytes())
        };
        let path = request.target.split('?').next().unwrap_or_default();
        let Some((token, method)) = path.strip_prefix("/bot").and_then(|path| path.split_once('/')) else {
            return (404, Vec::new(), Vec::new());
        };
        let username = match token {
            TOKEN => "first_bot",
            OTHER_TOKEN => "second_bot",
            _ => return (401, Vec::new(), br#"{"ok":false,"description":"Unauthorized"}"#.to_vec()),
        };
        match method {
            "getMe" => done(json!({"id": 42, "is_bot": true, "username": username})),
            "getUpdates" => {
                let mut waiting = self.waiting.lock().unwrap();
                let (own, others) = waiting.drain(..).partition(|(to, _)| to == token);
                *waiting = others;
                let own: Vec<(String, serde_json::Value)> = own;
                done(own.into_iter().map(|(_, update)| update).collect())
            }
            "sendMessage" => {
                let text = request.json()["text"].as_str().unwrap_or_default().to_owned();
                self.sent.lock().unwrap().push((username.to_owned(), text));
                done(json!({"message_id": 1}))
            }
            "getWebhookInfo" => done(json!({"url": ""})),
            _ => done(json!(true)),
        }
    }

    fn write(&self, token: &str, id: i64, text: &str) {
        let update = json!({"update_id": id, "message": {
            "message_id": id, "text": text, "chat": {"id": 7, "type": "private"},
            "from": {"id": 7, "is_bot": false, "first_name": "Ann"},
        }});
        self.waiting.lock().unwrap().push((token.to_owned(), update));
    }
}

#[test]
fn two_accounts_have_tokens_settings_and_conversations_of_their_own() {
    let bots = Arc::<Bots>::default();
    let service = Upstream::start({
        let bots = bots.clone();
        move |request, _| bots.respond(request)
    });
    let place = home(&[("api.telegram.org", service.url())]);
    place.run_with_input(&["setup", "telegram", "--set", "dm_policy=open"], TOKEN).good();
    let host = place.host(&[], &[]);
    let second = ["setup", "telegram", "--name", "work", "--set", "dm_policy=pairing", "--json"];
    let done = place.run_with_input(&second, OTHER_TOKEN).json();
    assert_eq!((&done["channel"], &done["guest"]), (&json!("work"), &json!("telegram")));
    assert_eq!((&done["account"], &done["state"]), (&json!("second_bot"), &json!("ready")));
    assert_eq!(done["stored"], json!(["work.telegram_bot_token"]));

    // The same update id and the same person at both: nothing is taken for a duplicate, and each bot replies for itself.
    bots.write(TOKEN, 5, "to the first");
    bots.write(OTHER_TOKEN, 5, "to the second");
    let sent = |bot: &str| -> Vec<String> {
        let sent = bots.sent.lock().unwrap();
        sent.iter().filter(|(of, _)| of == bot).map(|(_, text)| text.clone()).collect()
    };
    eventually("the first bot replies", || (sent("first_bot") == ["to the first"]).then_some(()));
    let told = eventually("the second one gives a code", || sent("second_bot").first().cloned());
    let code = told.split("approve telegram ").nth(1).and_then(|text| text.split_whitespace().next());
    let code = code.unwrap_or_else(|| panic!("{told}")).to_owned();
    assert_eq!(step(&place.run(&["status", "work", "--json"]).json(), "pairing")["state"], "note");
    // The guest does not know under which name it runs; the command finds the account by the code.
    let approved = place.run(&["pairing", "approve", "telegram", &code]);
    assert!(approved.good().contains("through work"), "{}", approved.out);
    bots.write(OTHER_TOKEN, 6, "now?");
    eventually("the second bot replies", || sent("second_bot").contains(&"now?".to_owned()).then_some(()));
    assert_eq!(sent("first_bot"), ["to the first"]);
    host.stop();

    // Both are there again after a restart; without a token of its own, the second one does not take that of the first.
    place.run(&["secrets", "remove", "work.telegram_bot_token"]).good();
    let host = place.host(&[], &[]);
    assert!(host.said.contains("channels  telegram, work"), "{}", host.said);
    bots.write(TOKEN, 8, "still here");
    eventually("the first bot replies", || {
        sent("first_bot").contains(&"still here".to_owned()).then_some(())
    });
    let status = place.run(&["status", "work", "--json"]);
    assert_eq!(status.code, Some(1));
    let secrets = step(&status.json(), "secrets");
    assert!(
        secrets["message"].as_str().is_some_and(|text| text.contains("work.telegram_bot_token")),
        "{secrets}"
    );
    let list = place.run(&["secrets", "list"]);
    assert!(list.good().contains("work.telegram_bot_token is missing"), "{}", list.out);
    host.stop();
}

/// Two channels of one guest cannot have the same path: an account's paths are below its name, and its guest sees its own.
#[test]
fn an_account_is_called_below_its_name() {
    let place = home(&[]);
    let secret = |text: &str| format!("webhook_webhook_secret={}", place.file(text, text).display());
    place.run(&["setup", "webhook", "--secret", &secret("one")]).good();
    let done =
        place.run(&["setup", "webhook", "--name", "lamp", "--secret", &secret("two"), "--json"]).json();
    assert_eq!(done["receives"], "requests to http://127.0.0.1:8080/lamp/webhook/webhook");
    let host = place.host(&[], &[]);
    let call = |method: &str, path: &str, secret: &str, body: &str| {
        let headers = [("content-type", "application/json"), ("x-webhook-secret", secret)];
        let reply = client::request(host.address, method, path, &headers, body.as_bytes());
        (reply.status, String::from_utf8_lossy(&reply.body).into_owned())
    };
    let body = json!({"user": "ann", "text": "light", "thread": "t"}).to_string();
    eventually("the account has started", || {
        (call("POST", "/lamp/webhook/webhook", "two", &body).0 == 200).then_some(())
    });
    eventually("the first one too", || (call("GET", "/webhook/webhook", "one", "").0 != 503).then_some(()));
    assert_eq!(call("POST", "/lamp/webhook/webhook", "one", &body).0, 401, "the secret of the other");
    assert_eq!(call("POST", "/webhook/webhook", "two", &body).0, 401);
    let (lamp, other) = ("/lamp/webhook/webhook?thread=t&after=0", "/webhook/webhook?thread=t&after=0");
    eventually("the reply waits at the account", || {
        call("GET", lamp, "two", "").1.contains("light").then_some(())
    });
    assert!(!call("GET", other, "one", "").1.contains("light"));
    host.stop();
}

#[test]
fn an_account_of_a_guest_that_is_nowhere_is_refused_and_the_others_run() {
    let place = home(&[]);
    place.file("tinclaw.toml", "[channel.work]\nguest = \"carrier_pigeon\"\n");
    place.run(&["setup", "webhook"]).good();
    let host = place.host(&[], &[]);
    assert!(host.said.contains("channels  webhook"), "{}", host.said);
    let log = host.stop();
    assert!(log.contains("there is no guest carrier_pigeon: correct `guest` in [channel.work]"), "{log}");
}
