//! What a message says, for each type ("Message content", "Received message content").

use serde_json::Value;

use crate::event::Mention;

/// The words of a message, as Markdown where it is a post. Files have none.
pub fn words(kind: &str, content: &Value, mentions: &[Mention<'_>]) -> String {
    let words = match kind {
        "text" => text(content, "text").to_owned(),
        "post" => post(content),
        "sticker" => "[sticker]".to_owned(),
        "share_user" => ["[contact ", text(content, "user_id"), "]"].concat(),
        "share_chat" => ["[group ", text(content, "chat_id"), "]"].concat(),
        "location" => {
            let [name, longitude, latitude] =
                ["name", "longitude", "latitude"].map(|field| text(content, field));
            format!("[location {latitude}, {longitude} {name}]")
        }
        "merge_forward" => "[forwarded messages]".to_owned(),
        "interactive" => text(content, "title").to_owned(),
        _ => String::new(),
    };
    with_names(words, mentions).trim().to_owned()
}

/// A post: a title and paragraphs of elements.
fn post(content: &Value) -> String {
    let paragraphs = content["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    let line =
        |paragraph: &Value| -> String { paragraph.as_array().into_iter().flatten().map(element).collect() };
    let lines: Vec<String> = paragraphs.iter().map(line).collect();
    let body = lines.join("\n");
    match text(content, "title") {
        "" => body,
        title => ["**", title, "**\n", &body].concat(),
    }
}

fn element(element: &Value) -> String {
    let said = text(element, "text");
    match text(element, "tag") {
        "a" => ["[", said, "](", text(element, "href"), ")"].concat(),
        // The key of a mention, which stands in texts too.
        "at" => text(element, "user_id").to_owned(),
        "code_block" => ["```", &text(element, "language").to_lowercase(), "\n", said, "\n```"].concat(),
        "hr" => "\n---\n".to_owned(),
        "emotion" => ["[", text(element, "emoji_type"), "]"].concat(),
        _ => styled(element, said),
    }
}

fn styled(element: &Value, said: &str) -> String {
    let styles = element["style"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut out = said.to_owned();
    for (style, mark) in [("bold", "**"), ("italic", "*"), ("lineThrough", "~~")] {
        if styles.iter().any(|one| one == style) && !said.trim().is_empty() {
            out = [mark, &out, mark].concat();
        }
    }
    out
}

/// Puts names in place of the keys of mentions. Keys that begin alike are replaced from the longest on.
fn with_names(mut words: String, mentions: &[Mention<'_>]) -> String {
    let mut mentions: Vec<&Mention<'_>> = mentions.iter().filter(|mention| !mention.key.is_empty()).collect();
    mentions.sort_by_key(|mention| std::cmp::Reverse(mention.key.len()));
    for mention in mentions {
        let name = if mention.name.is_empty() { String::new() } else { ["@", mention.name].concat() };
        words = words.replace(mention.key, &name);
    }
    words
}

/// A file of a message.
#[derive(Debug, PartialEq, Eq)]
pub struct Attached {
    /// Its key.
    pub key: String,
    /// `image` or `file`, as the resource is asked for.
    pub kind: &'static str,
    /// The name that the sender gave it.
    pub filename: Option<String>,
    /// Its media type, as far as the message tells.
    pub mime_type: &'static str,
}

/// The files of a message.
pub fn files(kind: &str, content: &Value) -> Vec<Attached> {
    match kind {
        "image" => vec![image(content)],
        "file" | "audio" | "media" => vec![file(kind, content)],
        "post" => {
            let elements = content["content"].as_array().into_iter().flatten();
            let elements = elements.filter_map(Value::as_array).flatten();
            elements
                .filter_map(|element| match text(element, "tag") {
                    "img" => Some(image(element)),
                    "media" => Some(file("media", element)),
                    _ => None,
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

fn image(content: &Value) -> Attached {
    let key = text(content, "image_key").to_owned();
    Attached { key, kind: "image", filename: None, mime_type: "image/png" }
}

fn file(kind: &str, content: &Value) -> Attached {
    let name = Some(text(content, "file_name")).filter(|name| !name.is_empty());
    let mime_type = match kind {
        "audio" => "audio/ogg",
        "media" => "video/mp4",
        _ => "application/octet-stream",
    };
    let key = text(content, "file_key").to_owned();
    Attached { key, kind: "file", filename: name.map(str::to_owned), mime_type }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_type_of_message_has_its_words() {
        let bob = Mention { key: "@_user_1", id: "ou_b", name: "Bob" };
        let other = Mention { key: "@_user_10", id: "ou_c", name: "Cy" };
        let own = Mention { key: "@_user_2", id: "ou_bot", name: "" };
        let post = json!({"title": "News", "content": [
            [{"tag": "text", "text": "see ", "style": ["bold"]}, {"tag": "a", "text": "this", "href": "https://a.example"}],
            [{"tag": "at", "user_id": "@_user_1", "user_name": "Bob"}, {"tag": "img", "image_key": "img_1"}],
            [{"tag": "code_block", "language": "RUST", "text": "fn a() {}"}],
        ]});
        for (kind, content, expected) in [
            ("text", json!({"text": "@_user_2 ask @_user_1 and @_user_10"}), "ask @Bob and @Cy"),
            ("post", post, "**News**\n**see **[this](https://a.example)\n@Bob\n```rust\nfn a() {}\n```"),
            (
                "location",
                json!({"name": "Home", "longitude": "2", "latitude": "1.5"}),
                "[location 1.5, 2 Home]",
            ),
            ("share_user", json!({"user_id": "ou_x"}), "[contact ou_x]"),
            ("sticker", json!({"file_key": "f"}), "[sticker]"),
            ("image", json!({"image_key": "i"}), ""),
            ("text", json!(null), ""),
        ] {
            assert_eq!(words(kind, &content, &[bob, other, own]), expected);
        }
    }

    #[test]
    fn the_files_of_a_message_are_found() {
        let keys = |kind: &str, content: Value| -> Vec<String> {
            files(kind, &content).into_iter().map(|file| [file.kind, " ", &file.key].concat()).collect()
        };
        let post =
            json!({"content": [[{"tag": "img", "image_key": "i"}], [{"tag": "media", "file_key": "f"}]]});
        assert_eq!(keys("post", post), ["image i", "file f"]);
        assert_eq!(keys("file", json!({"file_key": "f", "file_name": "a.pdf"})), ["file f"]);
        assert!(keys("sticker", json!({"file_key": "f"})).is_empty());
    }
}
