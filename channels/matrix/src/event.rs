//! A message event, as far as the channel uses it ("Instant messaging", "Rich replies", "Threading", "Event replacements").

use serde_json::Value;

/// An event of a room's timeline.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a>(pub &'a Value);

impl<'a> Event<'a> {
    pub fn id(self) -> &'a str {
        text(&self.0["event_id"])
    }

    pub fn kind(self) -> &'a str {
        text(&self.0["type"])
    }

    pub fn sender(self) -> &'a str {
        text(&self.0["sender"])
    }

    /// Whether it replaces an earlier one.
    pub fn is_edit(self) -> bool {
        self.0["content"]["m.relates_to"]["rel_type"] == "m.replace"
    }

    /// Its content; of an edit, the new one.
    pub fn content(self) -> &'a Value {
        let content = &self.0["content"];
        if self.is_edit() { &content["m.new_content"] } else { content }
    }

    /// The event that began its thread.
    pub fn thread(self) -> Option<&'a str> {
        let relation = &self.0["content"]["m.relates_to"];
        (relation["rel_type"] == "m.thread").then(|| text(&relation["event_id"])).filter(|id| !id.is_empty())
    }

    /// The event that it replies to. In threads, clients that know none are shown a reply that is none.
    pub fn replied_to(self) -> Option<&'a str> {
        let relation = &self.0["content"]["m.relates_to"];
        relation["m.in_reply_to"]["event_id"].as_str().filter(|_| relation["is_falling_back"] != true)
    }

    /// Its text: of a file, the caption. Without the quotation that older clients put before a reply.
    pub fn body(self) -> &'a str {
        let content = self.content();
        let body = text(&content["body"]);
        match &content["filename"] {
            // A file without a caption has its name as body ("Media captions").
            _ if self.has_file() && text(&content["filename"]).is_empty() => "",
            Value::String(name) if self.has_file() && name == body => "",
            _ if self.0["content"]["m.relates_to"].get("m.in_reply_to").is_some() => without_quotation(body),
            _ => body,
        }
    }

    pub fn has_file(self) -> bool {
        self.kind() == "m.room.message"
            && matches!(text(&self.content()["msgtype"]), "m.image" | "m.file" | "m.audio" | "m.video")
    }

    /// Whether it names a user: by a mention, a link to them, or their id.
    pub fn mentions(self, user: &str) -> bool {
        let content = self.content();
        let is_meant = |ids: &Value| ids.as_array().is_some_and(|ids| ids.iter().any(|id| id == user));
        is_meant(&content["m.mentions"]["user_ids"])
            || text(&content["body"]).contains(user)
            || text(&content["formatted_body"]).contains(&["matrix.to/#/", user].concat())
    }
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Lines that begin with `>` at the beginning, and the empty line after them ("Fallbacks for rich replies").
fn without_quotation(body: &str) -> &str {
    let mut rest = body;
    while rest.starts_with('>') {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    if rest.len() < body.len() { rest.trim_start_matches('\n') } else { body }
}

/// The part of an id before its server: `bot` of `@bot:example.org`.
pub fn local_part(user: &str) -> &str {
    user.trim_start_matches('@').split(':').next().unwrap_or_default()
}

/// A text without the bot's name at its beginning.
pub fn without_name<'a>(user: &str, body: &'a str) -> &'a str {
    let (first, rest) = body.split_once(char::is_whitespace).unwrap_or((body, ""));
    let name = first.trim_end_matches([':', ',']);
    let local = local_part(user);
    let is_name = name == user
        || name.strip_prefix(['!', '@']).unwrap_or(name).eq_ignore_ascii_case(local)
            && name.len() < first.len()
        || name.strip_prefix(['!', '@']).is_some_and(|name| name.eq_ignore_ascii_case(local));
    if is_name { rest.trim_start() } else { body }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_bots_name_is_left_out() {
        for (body, expected) in [
            ("tin: hello", "hello"),
            ("Tin, hello", "hello"),
            ("@tin:a.example: hello", "hello"),
            ("@tin hello", "hello"),
            ("!tin help", "help"),
            ("tin is a metal", "tin is a metal"),
            ("hello tin:", "hello tin:"),
        ] {
            assert_eq!(without_name("@tin:a.example", body), expected);
        }
    }

    #[test]
    fn a_reply_is_told_without_its_quotation() {
        let event = json!({"type": "m.room.message", "content": {"msgtype": "m.text",
            "body": "> <@a:b> one\n> two\n\nthree\n> four",
            "m.relates_to": {"m.in_reply_to": {"event_id": "$1"}}}});
        assert_eq!(Event(&event).body(), "three\n> four");
        let plain = json!({"type": "m.room.message", "content": {"msgtype": "m.text", "body": "> said"}});
        assert_eq!(Event(&plain).body(), "> said");
    }

    #[test]
    fn a_name_of_a_file_is_no_caption() {
        for (content, expected) in [
            (json!({"msgtype": "m.image", "body": "a.png"}), ""),
            (json!({"msgtype": "m.image", "body": "a.png", "filename": "a.png"}), ""),
            (json!({"msgtype": "m.image", "body": "look", "filename": "a.png"}), "look"),
        ] {
            let event = json!({"type": "m.room.message", "content": content});
            assert_eq!(Event(&event).body(), expected);
        }
    }
}
