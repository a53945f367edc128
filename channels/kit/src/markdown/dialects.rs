//! How the services write what Markdown means.

use super::render::{Dialect, Mark};

/// Telegram Bot API, "HTML style".
pub struct TelegramHtml;

impl Dialect for TelegramHtml {
    fn text(&self, text: &str) -> String {
        escaped(text)
    }

    fn mark(&self, mark: Mark, content: &str) -> String {
        let tag = match mark {
            Mark::Strong => "b",
            Mark::Emphasis => "i",
            Mark::Strikethrough => "s",
            Mark::Code => "code",
        };
        format!("<{tag}>{content}</{tag}>")
    }

    fn link(&self, url: &str, content: &str) -> String {
        let is_known =
            ["https://", "http://", "mailto:", "tg://"].iter().any(|scheme| url.starts_with(scheme));
        match (is_known, content.is_empty()) {
            (true, false) => format!("<a href=\"{}\">{content}</a>", escaped(url)),
            (_, true) => escaped(url),
            (false, false) => format!("{content} ({})", escaped(url)),
        }
    }

    fn code_block(&self, language: &str, code: &str) -> String {
        match language.is_empty() {
            true => format!("<pre>{}</pre>", escaped(code)),
            false => {
                format!("<pre><code class=\"language-{}\">{}</code></pre>", escaped(language), escaped(code))
            }
        }
    }

    fn quote(&self, content: &str, depth: usize) -> String {
        // Telegram refuses a quotation in a quotation.
        if depth == 0 { format!("<blockquote>{content}</blockquote>") } else { content.to_owned() }
    }
}

/// Text with its `&`, `<`, `>` and `"` escaped.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            _ => out.push(c),
        }
    }
    out
}

/// Slack, "Formatting text for app surfaces".
pub struct Slack;

impl Dialect for Slack {
    fn text(&self, text: &str) -> String {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
    }

    fn mark(&self, mark: Mark, content: &str) -> String {
        surrounded(
            match mark {
                Mark::Strong => "*",
                Mark::Emphasis => "_",
                Mark::Strikethrough => "~",
                Mark::Code => "`",
            },
            content,
        )
    }

    fn link(&self, url: &str, content: &str) -> String {
        // Only these are links: `<@U1>` and `<!channel>` would call people.
        let is_known = ["https://", "http://", "mailto:"].iter().any(|scheme| url.starts_with(scheme));
        let url = self.text(url).replace('|', "%7C");
        match (is_known, content.is_empty() || content == url) {
            (true, true) => format!("<{url}>"),
            (true, false) => format!("<{url}|{}>", content.replace('|', "¦").replace('\n', " ")),
            (false, _) => format!("{content} ({url})"),
        }
    }

    fn code_block(&self, _: &str, code: &str) -> String {
        format!("```\n{}\n```", self.text(code))
    }

    fn quote(&self, content: &str, _: usize) -> String {
        prefixed(content, "> ")
    }
}

/// WhatsApp, "About formatting your messages".
pub struct WhatsApp;

impl Dialect for WhatsApp {
    fn text(&self, text: &str) -> String {
        text.to_owned()
    }

    fn mark(&self, mark: Mark, content: &str) -> String {
        Slack.mark(mark, content)
    }

    fn link(&self, url: &str, content: &str) -> String {
        Plain.link(url, content)
    }

    fn code_block(&self, _: &str, code: &str) -> String {
        format!("```{code}```")
    }

    fn quote(&self, content: &str, _: usize) -> String {
        prefixed(content, "> ")
    }
}

/// Feishu, "Rich text post", the tag `md`.
pub struct FeishuPost;

impl Dialect for FeishuPost {
    fn text(&self, text: &str) -> String {
        // `<at user_id="all">` would call everybody.
        text.replace("<at", "<\u{200b}at")
    }

    fn mark(&self, mark: Mark, content: &str) -> String {
        surrounded(
            match mark {
                Mark::Strong => "**",
                Mark::Emphasis => "*",
                Mark::Strikethrough => "~~",
                Mark::Code => "`",
            },
            content,
        )
    }

    fn link(&self, url: &str, content: &str) -> String {
        let is_known = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
        match (is_known, content.is_empty()) {
            (true, false) => format!("[{content}]({url})"),
            (true, true) => format!("[{url}]({url})"),
            (false, _) => Plain.link(url, content),
        }
    }

    fn code_block(&self, language: &str, code: &str) -> String {
        format!("```{language}\n{code}\n```")
    }

    fn quote(&self, content: &str, _: usize) -> String {
        prefixed(content, "> ")
    }
}

/// No marks at all.
pub struct Plain;

impl Dialect for Plain {
    fn text(&self, text: &str) -> String {
        text.to_owned()
    }

    fn mark(&self, _: Mark, content: &str) -> String {
        content.to_owned()
    }

    fn link(&self, url: &str, content: &str) -> String {
        match content.is_empty() || content == url || url == format!("mailto:{content}") {
            true if content.is_empty() => url.to_owned(),
            true => content.to_owned(),
            false => format!("{content} ({url})"),
        }
    }

    fn code_block(&self, _: &str, code: &str) -> String {
        code.to_owned()
    }

    fn quote(&self, content: &str, _: usize) -> String {
        prefixed(content, "> ")
    }
}

fn prefixed(content: &str, prefix: &str) -> String {
    let lines: Vec<String> = content.lines().map(|line| format!("{prefix}{line}")).collect();
    lines.join("\n")
}

/// A mark that stands directly at the text on both sides: the services take it for a character otherwise.
fn surrounded(mark: &str, content: &str) -> String {
    let inner = content.trim();
    if inner.is_empty() {
        return content.to_owned();
    }
    let start = content.len() - content.trim_start().len();
    let end = content.trim_end().len();
    format!("{}{mark}{inner}{mark}{}", &content[..start], &content[end..])
}
