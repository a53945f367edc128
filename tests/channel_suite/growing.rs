//! Replies that are shown while they are written, in the services in which a bot may change its messages.

use serde_json::{Value, json};
use tinclaw::store::ReplyState;
use tinclaw::{Delivery, StatusType, StatusUpdate};

use crate::discord_fake::Discord;
use crate::matrix_fake::Matrix;
use crate::play::Play;
use crate::slack_fake::Slack;
use crate::support::eventually;
use crate::telegram_fake::Telegram;
use crate::{discord, matrix, slack, telegram};

/// What the host tells of a reply that is being written.
fn show(play: &Play, delivery: &Delivery, text: &str) {
    let mut metadata: Value = serde_json::from_str(&delivery.message().metadata_json).expect("JSON");
    metadata["partial_reply"] = json!(true);
    status(play, StatusType::Status, text, &metadata.to_string());
}

/// Statuses are handled one after the other, so the one before has ended when the service has heard of this one.
fn think(play: &Play, delivery: &Delivery) {
    status(play, StatusType::Thinking, "", &delivery.message().metadata_json);
}

fn status(play: &Play, status: StatusType, message: &str, metadata_json: &str) {
    let (message, metadata_json) = (message.to_owned(), metadata_json.to_owned());
    play.host
        .status_to(&play.channel, StatusUpdate { status, message, metadata_json })
        .expect("the host runs");
}

fn reply(play: &Play, delivery: Delivery, text: &str) {
    let id = play.reply(delivery, text);
    play.until(id, ReplyState::Delivered);
}

#[test]
fn telegram_sends_one_message_edits_it_and_makes_it_the_reply() {
    let service = Telegram::start();
    let play = telegram::open(&service);
    service.update("message", telegram::private("hello"));
    let delivery = play.next();
    show(&play, &delivery, "**Good");
    assert_eq!(service.inner.sent.wait(1)[0].text, "**Good …");
    // Faster than Telegram allows it is not edited.
    let edited = eventually("it is edited", || {
        show(&play, &delivery, "**Good** morning");
        std::thread::sleep(std::time::Duration::from_millis(50));
        service.inner.edited.all().into_iter().next()
    });
    assert_eq!((&edited["text"], &edited["chat_id"]), (&json!("<b>Good</b> morning …"), &json!(7)));
    think(&play, &delivery);
    service.inner.typing.wait(1);
    reply(&play, delivery, "**Good morning**");
    assert_eq!(service.inner.edited.all().last().expect("the reply")["text"], "<b>Good morning</b>");
    assert_eq!(service.inner.sent.len(), 1, "nothing but one message was sent");
    let mut next = telegram::private("and again");
    // With the id of the first one it would be the same message.
    next["message_id"] = json!(12);
    service.update("message", next);
    reply(&play, play.next(), "Good day");
    assert_eq!(service.inner.sent.all()[1].text, "Good day", "the next reply is a message of its own");
}

#[test]
fn a_reply_whose_shown_message_is_gone_is_sent_again() {
    let service = Telegram::start();
    let play = telegram::open(&service);
    service.update("message", telegram::private("hello"));
    let delivery = play.next();
    show(&play, &delivery, "Good");
    service.inner.sent.wait(1);
    think(&play, &delivery);
    service.inner.typing.wait(1);
    let gone =
        json!({"ok": false, "error_code": 400, "description": "Bad Request: message to edit not found"});
    service.inner.orders.next_response("editMessageText", crate::fake::json(400, &gone));
    reply(&play, delivery, "Good morning");
    assert_eq!(service.inner.sent.all()[1].text, "Good morning");
}

#[test]
fn slack_sends_one_message_and_makes_it_the_reply() {
    let service = Slack::start();
    let play = slack::open(&service);
    let mut message = slack::direct("hello", "1.0");
    message["thread_ts"] = json!("0.9");
    service.event(&play, "Ev1", &message);
    let delivery = play.next();
    show(&play, &delivery, "Good");
    assert_eq!(service.inner.sent.wait(1)[0].text, "Good …");
    think(&play, &delivery);
    service.inner.statuses.wait(1);
    reply(&play, delivery, "Good *morning*");
    let edited = service.inner.edited.all();
    assert_eq!(edited, [json!({"channel": "D1", "ts": "1.1", "text": "Good _morning_"})]);
    assert_eq!(service.inner.sent.len(), 1);
}

#[test]
fn discord_sends_one_message_and_makes_it_the_reply() {
    let service = Discord::start();
    let play = discord::open(&service);
    discord::say(&service, discord::direct("1", "hello"));
    let delivery = play.next();
    show(&play, &delivery, "Good");
    assert_eq!(service.inner.sent.wait(1)[0].content, "Good …");
    think(&play, &delivery);
    service.inner.typing.wait(1);
    reply(&play, delivery, "Good morning");
    let edited = service.inner.edited.all();
    assert_eq!(edited, [json!({"channel": "D1", "id": "900", "content": "Good morning"})]);
    assert_eq!(service.inner.sent.len(), 1);
}

#[test]
fn matrix_sends_one_event_and_replaces_it_with_the_reply() {
    let service = Matrix::start();
    let play = matrix::open(&service);
    service.say(matrix::DIRECT, matrix::ANN, "hello");
    let delivery = play.next();
    show(&play, &delivery, "Good");
    assert_eq!(service.inner.sent.wait(1)[0].content["body"], "Good …");
    think(&play, &delivery);
    service.inner.typing.wait(1);
    reply(&play, delivery, "Good **morning**");
    let sent = service.inner.sent.all();
    let replaced = &sent[1].content;
    assert_eq!(replaced["m.relates_to"], json!({"rel_type": "m.replace", "event_id": "$sent1"}));
    assert_eq!(replaced["m.new_content"]["body"], "Good morning");
    assert_eq!(replaced["body"], "* Good morning");
    assert_eq!(sent.len(), 2);
}
