//! `Update` and what is in it, as far as the channel uses it: names of fields are those of the Bot API's page.

use serde_json::Value;

/// `Message`.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a>(pub &'a Value);

impl<'a> Message<'a> {
    pub fn id(self) -> i64 {
        number(&self.0["message_id"])
    }

    pub fn chat(self) -> Chat<'a> {
        Chat(&self.0["chat"])
    }

    /// The topic. The number is set for replies in groups without topics, too; there it is no topic.
    pub fn topic(self) -> Option<i64> {
        self.0["message_thread_id"].as_i64().filter(|_| self.0["is_topic_message"] == true)
    }

    pub fn from(self) -> Option<User<'a>> {
        self.0.get("from").map(User)
    }

    /// The chat in whose name it was written: by anonymous administrators and in channels.
    pub fn sender_chat(self) -> Option<Chat<'a>> {
        self.0.get("sender_chat").map(Chat)
    }

    /// The message that it replies to.
    pub fn replied_to(self) -> Option<Message<'a>> {
        self.0.get("reply_to_message").map(Message)
    }

    /// What all messages of an album have in common.
    pub fn album(self) -> Option<&'a str> {
        self.0["media_group_id"].as_str()
    }

    /// Text or caption.
    pub fn text(self) -> &'a str {
        text(&self.0["text"]).or(text(&self.0["caption"])).unwrap_or_default()
    }

    /// `MessageEntity` of text or caption.
    pub fn entities(self) -> impl Iterator<Item = Entity<'a>> {
        let name = if self.0["text"].is_string() { "entities" } else { "caption_entities" };
        let text = self.text();
        list(&self.0[name]).map(move |entity| Entity { entity, text })
    }

    /// Its file and what to call it; of a photo the largest size.
    pub fn file(self) -> Option<(FileRef<'a>, &'static str)> {
        let area = |photo: &&Value| number(&photo["width"]) * number(&photo["height"]);
        if let Some(photo) = list(&self.0["photo"]).max_by_key(area) {
            return Some((FileRef(photo), "photo.jpg"));
        }
        // An animation comes as a document, too.
        let kinds = [
            ("animation", "animation.mp4"),
            ("document", "document"),
            ("voice", "voice.ogg"),
            ("audio", "audio.mp3"),
            ("video", "video.mp4"),
            ("video_note", "video.mp4"),
        ];
        kinds.into_iter().find_map(|(kind, name)| Some((FileRef(self.0.get(kind)?), name)))
    }
}

/// `User`.
#[derive(Clone, Copy, Debug)]
pub struct User<'a>(pub &'a Value);

impl User<'_> {
    pub fn id(self) -> i64 {
        number(&self.0["id"])
    }

    pub fn is_bot(self) -> bool {
        self.0["is_bot"] == true
    }

    /// The name for people.
    pub fn name(self) -> String {
        let first = text(&self.0["first_name"]).unwrap_or_default();
        match text(&self.0["last_name"]) {
            Some(last) => [first, " ", last].concat(),
            None => first.to_owned(),
        }
    }
}

/// `Chat`.
#[derive(Clone, Copy, Debug)]
pub struct Chat<'a>(pub &'a Value);

impl Chat<'_> {
    pub fn id(self) -> i64 {
        number(&self.0["id"])
    }

    /// A conversation with the bot alone.
    pub fn is_private(self) -> bool {
        self.0["type"] == "private"
    }

    pub fn title(self) -> String {
        text(&self.0["title"]).unwrap_or_default().to_owned()
    }
}

/// `MessageEntity`, with the text that it is in.
#[derive(Clone, Copy, Debug)]
pub struct Entity<'a> {
    entity: &'a Value,
    text: &'a str,
}

impl<'a> Entity<'a> {
    pub fn kind(self) -> &'a str {
        text(&self.entity["type"]).unwrap_or_default()
    }

    pub fn is_at_start(self) -> bool {
        number(&self.entity["offset"]) == 0
    }

    /// The user that a `text_mention` names.
    pub fn user(self) -> Option<User<'a>> {
        self.entity.get("user").map(User)
    }

    /// The words that it stands for. Its offsets count UTF-16 units.
    pub fn words(self) -> &'a str {
        let units = |name: &str| self.entity[name].as_u64().unwrap_or(0) as usize;
        let start = utf16_offset(self.text, units("offset"));
        let end = utf16_offset(self.text, units("offset").saturating_add(units("length")));
        &self.text[start..end]
    }
}

/// `PhotoSize`, `Document`, `Voice`, `Audio`, `Video`, `VideoNote`, `Animation`: a file.
#[derive(Clone, Copy, Debug)]
pub struct FileRef<'a>(pub &'a Value);

impl<'a> FileRef<'a> {
    pub fn id(self) -> &'a str {
        text(&self.0["file_id"]).unwrap_or_default()
    }

    pub fn unique_id(self) -> &'a str {
        text(&self.0["file_unique_id"]).unwrap_or(self.id())
    }

    pub fn size(self) -> Option<u64> {
        self.0["file_size"].as_u64()
    }

    pub fn name(self) -> Option<&'a str> {
        text(&self.0["file_name"])
    }

    pub fn mime_type(self) -> Option<&'a str> {
        text(&self.0["mime_type"])
    }
}

pub fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

pub fn text(value: &Value) -> Option<&str> {
    value.as_str()
}

pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The byte where so many UTF-16 units end.
fn utf16_offset(text: &str, units: usize) -> usize {
    let mut seen = 0;
    for (at, c) in text.char_indices() {
        if seen >= units {
            return at;
        }
        seen += c.len_utf16();
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn offsets_count_utf16_units() {
        for (text, offset, length, words) in
            [("😀 @bot hi", 3, 4, "@bot"), ("@bot", 0, 400, "@bot"), ("a", 5, 1, "")]
        {
            let message =
                json!({"text": text, "entities": [{"type": "mention", "offset": offset, "length": length}]});
            let found: Vec<&str> = Message(&message).entities().map(Entity::words).collect();
            assert_eq!(found, [words]);
        }
    }
}
