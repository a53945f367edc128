//! Telegram, as a new user sets it up.

use serde_json::json;

use crate::cli_support::Place;
use crate::home::{TOKEN, bot_says, configuration, home, write_to_bot};
use crate::support::eventually;
use crate::support::upstream::Upstream;
use crate::telegram_fake::Telegram;

fn home_of(service: &Telegram) -> Place {
    home(&[("api.telegram.org", service.upstream.url())])
}

/// The code that the bot told an unknown sender.
fn code(service: &Telegram) -> String {
    let told = service.inner.sent.wait(1)[0].text.clone();
    let command = told.split("tinclaw pairing approve telegram ").nth(1).unwrap_or_else(|| panic!("{told}"));
    command.split_whitespace().next().expect("a code").to_owned()
}

#[test]
fn four_commands_lead_from_a_token_to_a_reply() {
    let service = Telegram::with_token(TOKEN);
    let place = home_of(&service);
    // 1. Set it up; the only thing that is missing comes from standard input here.
    let ran = place.run_with_input(&["setup", "telegram"], TOKEN);
    let out = ran.good();
    for part in ["Telegram knows it as tin_bot", "telegram_bot_token stored in", "polling", "tinclaw run"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(!out.contains(TOKEN), "{out}");
    // 2. Run it.
    let host = place.host(&[], &[]);
    // 3. An unknown sender writes, and is let in.
    write_to_bot(&service, 7, "let me in");
    place.run(&["pairing", "approve", "telegram", &code(&service)]).good();
    // 4. A message, and its reply.
    write_to_bot(&service, 7, "hello");
    bot_says(&service, &host, "hello");
    // Nothing of it needed a setting.
    let configured = std::fs::read_to_string(place.path().join("tinclaw.toml")).expect("it is there");
    assert_eq!(configured, configuration(&[("api.telegram.org", service.upstream.url())]));
    let log = host.stop();
    assert!(!log.contains(TOKEN) && !log.contains("ERROR"), "{log}");
}

#[test]
fn a_channel_that_is_set_up_while_the_host_runs_starts_in_it() {
    let service = Telegram::with_token(TOKEN);
    let place = home_of(&service);
    let host = place.host(&[], &[]);
    assert!(host.said.contains("channels  webchat"), "{}", host.said);
    let ran = place.run_with_input(&["setup", "telegram", "--set", "dm_policy=open"], TOKEN);
    assert!(ran.good().contains("It runs in the host that is running."), "{}", ran.out);
    write_to_bot(&service, 7, "at once");
    bot_says(&service, &host, "at once");
    // A setting that changes is there at once, too: Ann is not let in any more.
    let change = ["setup", "telegram", "--set", "dm_policy=allowlist", "--set", "allow_from=8", "--json"];
    let changed = place.run(&change).json();
    assert_eq!((&changed["state"], &changed["kept"]), (&json!("ready"), &json!(["telegram_bot_token"])));
    write_to_bot(&service, 7, "and again");
    write_to_bot(&service, 8, "and me");
    bot_says(&service, &host, "and me");
    assert!(service.inner.sent.all().iter().all(|sent| sent.text != "and again"));
    let configured = std::fs::read_to_string(place.path().join("tinclaw.toml")).expect("it is there");
    assert!(configured.starts_with("# of the test\n"), "{configured}");
    let table = "[channel.telegram.config]\ndm_policy = \"allowlist\"\nallow_from = [8]\n";
    assert!(configured.contains(table), "{configured}");
    host.stop();
}

#[test]
fn a_wrong_token_is_refused_in_telegrams_words_and_not_stored() {
    let service = Telegram::with_token(TOKEN);
    let place = home_of(&service);
    let ran = place.run_with_input(&["setup", "telegram"], "1:wrong");
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("Telegram refuses this: Unauthorized") && !ran.err.contains("1:wrong"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("nothing was stored") && !place.state().join("secrets.enc").exists());
    // What cannot be a token is refused before anybody is asked.
    let asked = service.upstream.requests().len();
    let ran = place.run_with_input(&["setup", "telegram"], "hello");
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("Digits, a colon") && !ran.err.contains("hello"), "{}", ran.err);
    let ran = place.run(&["setup", "telegram"]);
    assert!(ran.code == Some(2) && ran.err.contains("--secret telegram_bot_token=FILE"), "{}", ran.err);
    assert_eq!(service.upstream.requests().len(), asked);
}

#[test]
fn a_service_that_is_down_keeps_nobody_from_setting_it_up() {
    let service = Telegram::with_token(TOKEN);
    let place = home_of(&service);
    service.set_down(true);
    let ran = place.run_with_input(&["setup", "telegram", "--json"], TOKEN);
    ran.good();
    let done = ran.json();
    assert_eq!((&done["checked"], &done["stored"]), (&json!(null), &json!(["telegram_bot_token"])));
    assert_eq!(done["service_error"], "status 502");
    // A service that nobody reaches at all is the same.
    let place = home(&[("api.telegram.org", "http://127.0.0.1:1".to_owned())]);
    let ran = place.run_with_input(&["setup", "telegram"], TOKEN);
    assert!(ran.good().contains("Telegram does not respond"), "{}", ran.out);
    // And so is one that nobody wants to be asked.
    let untouched = Upstream::start(|_, _| (500, Vec::new(), Vec::new()));
    let place = home(&[("api.telegram.org", untouched.url())]);
    place.run_with_input(&["setup", "telegram", "--no-check"], TOKEN).good();
    assert_eq!(untouched.requests().len(), 0);
}

#[test]
fn running_it_again_changes_what_is_given_and_keeps_the_rest() {
    let service = Telegram::with_token(TOKEN);
    let place = home_of(&service);
    place.run_with_input(&["setup", "telegram", "--set", "owner_id=7"], TOKEN).good();
    let again = place.run(&["setup", "telegram", "--json"]).json();
    assert_eq!((&again["kept"], &again["stored"]), (&json!(["telegram_bot_token"]), &json!([])));
    assert_eq!((&again["config_file"], &again["checked"]), (&json!(null), &json!(true)));
    // Another bot: its token comes from a file, the owner stays.
    let other = Telegram::with_token("7:other");
    place.file("tinclaw.toml", {
        let text = std::fs::read_to_string(place.path().join("tinclaw.toml")).expect("it is there");
        text.replace(&service.upstream.url(), &other.upstream.url())
    });
    let token = place.file("token", "7:other\n");
    let secret = format!("telegram_bot_token={}", token.display());
    place.run(&["setup", "telegram", "--secret", &secret]).good();
    let host = place.host(&[], &[]);
    write_to_bot(&other, 7, "I am the owner");
    bot_says(&other, &host, "I am the owner");
    host.stop();
}

#[test]
fn with_a_public_address_telegram_is_told_a_webhook_and_its_secret() {
    let service = Telegram::with_token(TOKEN);
    let place = home_of(&service);
    let setup = ["setup", "telegram", "--public-url", "https://bot.example.org", "--json"];
    let done = place.run_with_input(&setup, TOKEN).json();
    assert_eq!(done["generated"], json!(["telegram_webhook_secret"]));
    assert_eq!(done["receives"], "requests to https://bot.example.org/webhook/telegram");
    let host = place.host(&[], &[]);
    let webhook = eventually("the webhook is set", || service.webhook());
    assert_eq!(webhook["url"], "https://bot.example.org/webhook/telegram");
    host.stop();
}

#[test]
fn unknown_channels_and_settings_are_refused_with_suggestions() {
    let place = Place::new();
    for (arguments, expected) in [
        (
            &["setup", "telegram", "--secret", "token=x"][..],
            "it has telegram_bot_token, telegram_webhook_secret",
        ),
        (&["setup", "telegram", "--secret", "telegram_bot_token"], "expected NAME=FILE"),
        (&["setup", "telegram", "--set", "dm_polic=open"], "did you mean dm_policy?"),
        (&["setup", "telegram", "--set", "reactions=no"], "give true or false"),
        (&["setup", "telegram", "--name", "slack"], "slack is the name of a channel"),
        (&["setup", "telegram", "--name", "A B"], "A B"),
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(expected), "{arguments:?}: {}", ran.err);
    }
    let ran = place.run(&["setup", "telegramm"]);
    assert!(ran.code == Some(1) && ran.err.contains("did you mean telegram?"), "{}", ran.err);
    let ran = place.run(&["setup", "telegram", "--secret", "telegram_bot_token=/no/such"]);
    assert!(ran.code == Some(1) && ran.err.contains("No such file"), "{}", ran.err);
    assert!(!place.state().join("secrets.enc").exists());
}

#[test]
fn without_a_channel_those_that_can_be_set_up_are_listed() {
    let service = Telegram::with_token(TOKEN);
    let place = home_of(&service);
    let states = |place: &Place| {
        let channels = place.run(&["setup", "--json"]).json()["channels"].clone();
        let row = |channel: &serde_json::Value| {
            format!("{} {}", channel["name"], channel["state"]).replace('"', "")
        };
        channels.as_array().expect("a list").iter().map(row).collect::<Vec<_>>()
    };
    assert!(states(&place).contains(&"telegram not_set_up".to_owned()), "{:?}", states(&place));
    place.run(&["channels", "install", "telegram", "--yes"]).good();
    assert!(states(&place).contains(&"telegram incomplete".to_owned()), "{:?}", states(&place));
    place.run_with_input(&["setup", "telegram"], TOKEN).good();
    assert!(states(&place).contains(&"telegram set_up".to_owned()), "{:?}", states(&place));
    assert!(place.run(&["setup"]).good().contains("tinclaw setup CHANNEL"));
}

#[test]
fn settings_go_into_the_home_when_there_is_no_file_where_it_runs() {
    let place = Place::new();
    place.run_with_input(&["setup", "telegram", "--no-check", "--set", "dm_policy=open"], TOKEN).good();
    let file = place.path().join(".config/tinclaw/tinclaw.toml");
    let text = std::fs::read_to_string(file).expect("it is there");
    assert_eq!(text, "[channel.telegram.config]\ndm_policy = \"open\"\n");
    assert!(!place.path().join("tinclaw.toml").exists());
    let host = place.host(&[], &[]);
    assert!(host.said.contains(".config/tinclaw/tinclaw.toml"), "{}", host.said);
    host.stop();
}
