//! Updates, by polling or by webhook, and what becomes of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tinclaw_kit::http::{Request, encoded};
use tinclaw_kit::policy::{Place, Policy, Verdict};
use tinclaw_kit::{Failure, Incoming, Message as Emitted, host, state};

use crate::api::{self, Bot};
use crate::settings::Settings;
use crate::update::{Chat, Message, User, list, number, text};
use crate::{Origin, files, outgoing};

/// How often the webhook's state is looked at, in milliseconds.
pub const WEBHOOK_CHECK_MS: u32 = 300_000;

/// Seconds that `getUpdates` waits at Telegram's side.
const LONG_POLL_SECS: u32 = 25;
/// Updates of one poll.
const MAX_UPDATES: u32 = 20;
/// Characters of a quoted message that the agent sees.
const QUOTED_CHARS: usize = 300;

const COMMANDS: &str = "commands";
const OFFSET: &str = "offset";
const PAUSED_UNTIL: &str = "paused_until";

fn allowed_updates(settings: &Settings) -> Value {
    let mut kinds = vec!["message", "edited_message", "channel_post", "callback_query"];
    if settings.reactions {
        kinds.push("message_reaction");
    }
    json!(kinds)
}

/// `setWebhook`. What waits at Telegram's side is kept.
pub fn set_webhook(settings: &Settings, url: &str) -> Result<(), Failure> {
    let Some(secret) = &settings.webhook_secret else {
        return Err(Failure::permanent("the secret telegram_webhook_secret is not stored"));
    };
    let body = json!({"url": url, "secret_token": secret, "allowed_updates": allowed_updates(settings)});
    api::call::<bool>(settings, "setWebhook", &body)?;
    Ok(())
}

/// `setMyCommands`, when the operator has changed them. Without them the bot works all the same.
pub fn set_commands(settings: &Settings) {
    let known: BTreeMap<String, String> = state::get(COMMANDS);
    if known == settings.commands {
        return;
    }
    let commands: Vec<Value> = settings
        .commands
        .iter()
        .map(|(command, description)| json!({"command": command, "description": description}))
        .collect();
    match api::call::<bool>(settings, "setMyCommands", &json!({"commands": commands})) {
        Ok(_) => state::set(COMMANDS, &settings.commands),
        Err(refusal) => host::warn(&["the commands are not shown: ", refusal.failure.words()].concat()),
    }
}

/// Says in the log what Telegram says about the webhook: it is the first place to look when nothing arrives.
pub fn check_webhook(settings: &Settings) -> Result<(), Failure> {
    let info: Value = api::call(settings, "getWebhookInfo", &json!({}))?;
    let date = info["last_error_date"].as_i64().unwrap_or(0);
    let known: i64 = state::get("last_webhook_error");
    if date > known {
        state::set("last_webhook_error", &date);
        let words = info["last_error_message"].as_str().unwrap_or_default();
        host::warn(&format!(
            "Telegram could not deliver to {}: {words}",
            info["url"].as_str().unwrap_or_default()
        ));
    }
    Ok(())
}

/// One update that Telegram posts.
pub fn webhook(settings: &Settings, request: &Incoming) -> Result<(), Failure> {
    let update: Value = request.value();
    if update["update_id"].is_null() {
        // An error would make Telegram send it again and again.
        host::warn("a request to the webhook is no update");
        return Ok(());
    }
    let bot = api::bot(settings)?;
    take(settings, &bot, &[update]);
    Ok(())
}

/// `getUpdates`.
pub fn poll(settings: &Settings) -> Result<(), Failure> {
    if !host::secret_exists("telegram_bot_token") {
        return Err(Failure::permanent(
            "the secret telegram_bot_token is not stored: get one from @BotFather",
        ));
    }
    if state::get::<u64>(PAUSED_UNTIL) > host::now_millis() {
        return Ok(());
    }
    let bot = api::bot(settings)?;
    let offset: i64 = state::get(OFFSET);
    let allowed = encoded(&allowed_updates(settings).to_string());
    let query = format!(
        "getUpdates?timeout={LONG_POLL_SECS}&limit={MAX_UPDATES}&offset={offset}&allowed_updates={allowed}"
    );
    let response =
        Request::get(api::url(settings, &query)).timeout_ms((LONG_POLL_SECS + 10) * 1000).send()?;
    let updates: Vec<Value> = match api::read("getUpdates", response) {
        Ok(updates) => updates,
        Err(refusal) => return Err(polling_failed(settings, refusal)),
    };
    let ids = updates.iter().filter_map(|update| update["update_id"].as_i64());
    if let Some(last) = ids.max() {
        state::set(OFFSET, &(last + 1));
    }
    take(settings, &bot, &updates);
    Ok(())
}

/// 409: another program polls, or a webhook is set from before; 429: too fast.
fn polling_failed(settings: &Settings, refusal: api::Refusal) -> Failure {
    if let Some(wait) = refusal.failure.retry_after_ms() {
        state::set(PAUSED_UNTIL, &(host::now_millis() + wait));
    }
    if refusal.says("webhook is active") {
        // What waits there is kept: no `drop_pending_updates`.
        return match api::call::<bool>(settings, "deleteWebhook", &json!({})) {
            Ok(_) => Failure::temporary("a webhook of this bot was set; it is removed, and polling begins"),
            Err(refusal) => refusal.failure,
        };
    }
    if refusal.says("terminated by other getUpdates") {
        return Failure::temporary(
            "another program polls with this bot's token: stop it, or make a bot of its own with @BotFather",
        );
    }
    refusal.failure
}

/// What is to be done with updates, in their order. The messages of an album are one.
fn take(settings: &Settings, bot: &Bot, updates: &[Value]) {
    let mut album: Vec<Message<'_>> = Vec::new();
    for update in updates {
        if let Some(message) = update.get("message").or(update.get("channel_post")).map(Message) {
            if !album.first().is_some_and(|first| is_same_album(*first, message)) {
                emit(settings, bot, &album, false);
                album.clear();
            }
            album.push(message);
            continue;
        }
        emit(settings, bot, &album, false);
        album.clear();
        if let Some(message) = update.get("edited_message") {
            emit(settings, bot, &[Message(message)], true);
        } else if let Some(query) = update.get("callback_query") {
            pressed(settings, query);
        } else if let Some(reaction) = update.get("message_reaction").filter(|_| settings.reactions) {
            reacted(settings, reaction);
        }
    }
    emit(settings, bot, &album, false);
}

fn is_same_album(first: Message<'_>, next: Message<'_>) -> bool {
    first.album().is_some() && first.album() == next.album() && first.chat().id() == next.chat().id()
}

/// Who wrote a message: its id and name. Nobody for what another bot wrote. Anonymous administrators and channels write as a
/// chat.
fn sender(message: Message<'_>) -> Option<(i64, String)> {
    if let Some(chat) = message.sender_chat() {
        return Some((chat.id(), chat.title()));
    }
    let user = message.from().filter(|user| !user.is_bot())?;
    Some((user.id(), user.name()))
}

/// Gives the agent a message, or an album, if its sender may talk.
fn emit(settings: &Settings, bot: &Bot, album: &[Message<'_>], is_edit: bool) {
    let Some(&first) = album.first() else { return };
    if let Some(to) = first.0["migrate_to_chat_id"].as_i64() {
        return api::chat_moved(first.chat().id(), to);
    }
    let Some((id, name)) = sender(first) else { return };
    let is_addressed = album.iter().any(|message| is_for(bot, *message));
    let origin = origin_of(first);
    if !may_talk(settings, id, &name, first.chat(), is_addressed, &origin) {
        return;
    }
    let mut content = content_of(bot, album);
    let (files, notes) = files::fetch_all(settings, album);
    for note in notes {
        content.push_str(&["\n[", &note, "]"].concat());
    }
    let content = content.trim();
    if content.is_empty() && files.is_empty() {
        return;
    }
    let content = if is_edit { ["[edited] ", content].concat() } else { content.to_owned() };
    let mut message_id = format!("{}:{}", origin.chat_id, first.id());
    if is_edit {
        message_id.push_str(&format!(":{}", number(&first.0["edit_date"])));
    }
    let mut message =
        Emitted::new(id.to_string(), content).id(message_id).user_name(Some(name)).thread(thread_of(&origin));
    for file in files {
        message = message.file(file);
    }
    message.emit(&origin);
}

fn may_talk(
    settings: &Settings,
    id: i64,
    name: &str,
    chat: Chat<'_>,
    is_addressed: bool,
    origin: &Origin,
) -> bool {
    let place = if chat.is_private() { Place::Direct } else { Place::Group { is_addressed } };
    match Policy::current().decide("telegram", &id.to_string(), Some(name), place) {
        Verdict::Allowed => true,
        Verdict::Ignored => false,
        Verdict::Pair(text) => {
            outgoing::tell(settings, origin, &text);
            false
        }
    }
}

/// `CallbackQuery`: a button below a message of the bot was pressed. Its data is what the agent gets.
fn pressed(settings: &Settings, query: &Value) {
    let id = text(&query["id"]).unwrap_or_default();
    // Telegram shows a clock on the button until this is responded to; it does not matter when it is too late for that.
    if let Err(refusal) =
        api::call::<bool>(settings, "answerCallbackQuery", &json!({"callback_query_id": id}))
    {
        host::warn(refusal.failure.words());
    }
    let (Some(message), Some(data)) = (query.get("message").map(Message), text(&query["data"])) else {
        return;
    };
    let (user, origin) = (User(&query["from"]), origin_of(message));
    if !user.is_bot() && may_talk(settings, user.id(), &user.name(), message.chat(), true, &origin) {
        emit_event(user, data, ["callback:", id].concat(), &origin);
    }
}

/// `MessageReactionUpdated`: somebody reacted to a message, in a conversation with the bot alone.
fn reacted(settings: &Settings, reaction: &Value) {
    let (user, chat) = (User(&reaction["user"]), Chat(&reaction["chat"]));
    let emoji: String = list(&reaction["new_reaction"]).filter_map(|kind| text(&kind["emoji"])).collect();
    if emoji.is_empty() || user.is_bot() || !chat.is_private() {
        return;
    }
    let origin = Origin { chat_id: chat.id(), ..Origin::default() };
    if may_talk(settings, user.id(), &user.name(), chat, false, &origin) {
        let message = number(&reaction["message_id"]);
        let id = format!("reaction:{}:{message}:{}", chat.id(), number(&reaction["date"]));
        emit_event(user, &format!("[reaction {emoji} to message {message}]"), id, &origin);
    }
}

fn emit_event(user: User<'_>, content: &str, id: String, origin: &Origin) {
    let message = Emitted::new(user.id().to_string(), content).id(id).user_name(Some(user.name()));
    message.thread(thread_of(origin)).emit(origin);
}

fn origin_of(message: Message<'_>) -> Origin {
    let chat = message.chat();
    Origin {
        chat_id: chat.id(),
        topic: message.topic(),
        reply_to: (!chat.is_private() && message.id() != 0).then_some(message.id()),
    }
}

fn thread_of(origin: &Origin) -> String {
    match origin.topic {
        Some(topic) => format!("{}:{topic}", origin.chat_id),
        None => origin.chat_id.to_string(),
    }
}

/// Whether a message in a group is for the bot: a reply to it, a mention, a command that names no other bot.
fn is_for(bot: &Bot, message: Message<'_>) -> bool {
    let is_bot = |user: Option<User<'_>>| user.is_some_and(|user| user.id() == bot.id);
    if is_bot(message.replied_to().and_then(Message::from)) {
        return true;
    }
    message.entities().any(|entity| match entity.kind() {
        "mention" => is_name_of(bot, entity.words()),
        "text_mention" => is_bot(entity.user()),
        "bot_command" if entity.is_at_start() => match entity.words().split_once('@') {
            Some((_, name)) => name.eq_ignore_ascii_case(&bot.username),
            None => true,
        },
        _ => false,
    })
}

fn is_name_of(bot: &Bot, mention: &str) -> bool {
    mention.strip_prefix('@').is_some_and(|name| name.eq_ignore_ascii_case(&bot.username))
}

/// What was written, as the agent reads it: without the bot's own name, with what it replies to.
fn content_of(bot: &Bot, album: &[Message<'_>]) -> String {
    let mut content = String::new();
    for message in album {
        if let Some(replied_to) = message.replied_to() {
            content.push_str(&quoted(bot, replied_to));
        }
        let words = without_name(bot, message.text());
        if !content.is_empty() && !words.is_empty() && !content.ends_with('\n') {
            content.push('\n');
        }
        content.push_str(&words);
        content.push_str(&without_words(message.0));
    }
    content
}

/// What is no text: a sticker, a place, a contact.
fn without_words(message: &Value) -> String {
    if let Some(sticker) = message.get("sticker") {
        format!("[sticker {}]", text(&sticker["emoji"]).unwrap_or_default())
    } else if let Some(place) = message.get("location") {
        format!("[location {}, {}]", place["latitude"], place["longitude"])
    } else if let Some(contact) = message.get("contact") {
        format!("[contact {}, {}]", contact["first_name"], contact["phone_number"])
    } else {
        String::new()
    }
}

/// A message that is replied to, unless it is the bot's own: the agent knows those.
fn quoted(bot: &Bot, replied_to: Message<'_>) -> String {
    let user = replied_to.from();
    if replied_to.text().is_empty() || user.is_some_and(|user| user.id() == bot.id) {
        return String::new();
    }
    let cut: String = replied_to.text().chars().take(QUOTED_CHARS).collect();
    let name = user.map(User::name).unwrap_or_default();
    let lines: Vec<String> = cut.lines().map(|line| ["> ", line, "\n"].concat()).collect();
    ["> ", &name, ":\n", &lines.concat(), "\n"].concat()
}

/// A text without the bot's name at its beginning or after its command.
fn without_name(bot: &Bot, text: &str) -> String {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if is_name_of(bot, first) {
        return rest.trim_start().to_owned();
    }
    match first.split_once('@') {
        Some((command, name)) if command.starts_with('/') && name.eq_ignore_ascii_case(&bot.username) => {
            format!("{command} {rest}").trim_end().to_owned()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot() -> Bot {
        Bot { id: 1, username: "TinBot".into() }
    }

    #[test]
    fn the_bots_name_is_left_out() {
        for (text, expected) in [
            ("@tinbot hello there", "hello there"),
            ("@other hello", "@other hello"),
            ("/help@TinBot me", "/help me"),
            ("/help@TinBot", "/help"),
            ("/help@Other", "/help@Other"),
            ("hello @tinbot", "hello @tinbot"),
            ("a@tinbot.example", "a@tinbot.example"),
        ] {
            assert_eq!(without_name(&bot(), text), expected);
        }
    }
}
