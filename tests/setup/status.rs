//! `tinclaw status`: why a channel is silent.

use serde_json::json;

use crate::home::{TOKEN, bot_says, home, step, write_to_bot};
use crate::support::eventually;
use crate::telegram_fake::Telegram;

#[test]
fn status_shows_a_channel_from_its_files_to_its_service() {
    let service = Telegram::with_token(TOKEN);
    let place = home(&[("api.telegram.org", service.upstream.url())]);
    let status = || place.run(&["status", "telegram", "--json"]);
    // Nothing is there yet.
    let ran = status();
    assert_eq!(ran.code, Some(1));
    let told = ran.json();
    assert_eq!((&step(&told, "loaded")["state"], &told["running"]), (&json!("error"), &json!(false)));
    assert!(
        step(&told, "loaded")["help"].as_str().is_some_and(|help| help.contains("tinclaw setup telegram"))
    );
    // Set up, and no host.
    place.run_with_input(&["setup", "telegram", "--set", "allow_from=7"], TOKEN).good();
    let told = status().json();
    assert_eq!(step(&told, "loaded")["state"], "ok");
    assert_eq!(step(&told, "secrets")["message"], "telegram_bot_token");
    assert_eq!(step(&told, "started")["help"], "start it with `tinclaw run`");
    assert_eq!(step(&told, "service")["message"], "account tin_bot");
    // It runs.
    let host = place.host(&[], &[]);
    write_to_bot(&service, 7, "hello");
    bot_says(&service, &host, "hello");
    let ran = status();
    let told = ran.json();
    assert_eq!(ran.code, Some(0), "{told}");
    assert!(
        step(&told, "receives")["message"].as_str().is_some_and(|text| text.contains("the last ")),
        "{told}"
    );
    assert!(
        step(&told, "message")["message"].as_str().is_some_and(|text| text.contains("from 7: hello")),
        "{told}"
    );
    // Somebody waits for approval.
    write_to_bot(&service, 8, "let me in");
    service.inner.sent.wait(2);
    let shown = place.run(&["status", "telegram"]);
    assert!(shown.good().contains("tinclaw pairing approve telegram "), "{}", shown.out);
    // The token is revoked: Telegram's words, and what to do.
    service.revoke();
    let told = eventually("the refusal is noted", || {
        let told = status().json();
        step(&told, "last_error")["message"]
            .as_str()
            .is_some_and(|text| text.contains("Unauthorized"))
            .then_some(told)
    });
    assert_eq!(step(&told, "service")["state"], "error");
    assert!(
        step(&told, "service")["help"].as_str().is_some_and(|help| help.contains("tinclaw setup telegram"))
    );
    // Everything on one screen.
    let all = place.run(&["status"]);
    for part in ["store     up", "agent     echo", "telegram", "tinclaw setup agent"] {
        assert!(all.out.contains(part), "{part}: {}", all.out);
    }
    let all = place.run(&["status", "--json"]).json();
    assert_eq!((&all["running"], &all["others"]), (&json!(true), &json!([])));
    host.stop();
    let all = place.run(&["status"]);
    assert!(
        all.code == Some(1) && all.out.contains("does not run") && all.out.contains("telegram"),
        "{}",
        all.out
    );
}

#[test]
fn the_webhook_status_of_telegram_is_shown() {
    let service = Telegram::with_token(TOKEN);
    let place = home(&[("api.telegram.org", service.upstream.url())]);
    place.run_with_input(&["setup", "telegram"], TOKEN).good();
    service.set_webhook();
    let told = place.run(&["status", "telegram"]);
    assert!(told.out.contains("webhook https://old.example"), "{}", told.out);
}

#[test]
fn a_channel_that_does_not_exist_is_named() {
    let place = home(&[]);
    let ran = place.run(&["status", "telegramm"]);
    assert!(ran.code == Some(1) && ran.err.contains("did you mean telegram?"), "{}", ran.err);
}
