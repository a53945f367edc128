//! The page, with the operator's words in it.

use tinclaw_kit::Response;

use crate::Settings;

const PAGE: &str = include_str!(concat!(env!("OUT_DIR"), "/page.html"));
const POLICY: &str = include_str!(concat!(env!("OUT_DIR"), "/policy.txt"));

pub fn response(settings: &Settings) -> Response {
    let page = PAGE
        .replace("{{title}}", &escaped(&settings.title))
        .replace("{{greeting}}", &escaped(&settings.greeting));
    Response::new(200, page.into_bytes())
        .header("content-type", "text/html; charset=utf-8")
        .header("content-security-policy", POLICY)
        .header("cache-control", "no-cache")
        .header("referrer-policy", "no-referrer")
        .header("x-content-type-options", "nosniff")
}

/// Makes text safe between tags and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // The page's own placeholders are not to be had through a word.
            '{' => escaped.push_str("&#123;"),
            other => escaped.push(other),
        }
    }
    escaped
}
