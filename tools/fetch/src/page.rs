//! The text of a response, by its type. No I/O.

use crate::{charset, html};

/// What a person would read of it.
///
/// # Errors
/// It is no text.
pub fn text_of(content_type: &str, body: &[u8]) -> Result<String, String> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_html = matches!(kind.as_str(), "text/html" | "application/xhtml+xml")
        || (kind.is_empty() && begins_as_html(body));
    if is_html {
        return Ok(html::text(&charset::decode(content_type, body)));
    }
    let is_text = kind.is_empty()
        || kind.starts_with("text/")
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
        || matches!(
            kind.as_str(),
            "application/json" | "application/xml" | "application/javascript" | "application/yaml"
        );
    if !is_text || body.contains(&0) {
        let kind = if kind.is_empty() { "binary" } else { kind.as_str() };
        return Err(format!("it is no text but {kind}, of {} bytes", body.len()));
    }
    Ok(charset::decode(content_type, body).trim().to_owned())
}

fn begins_as_html(body: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&body[..body.len().min(256)]).trim_start().to_ascii_lowercase();
    start.starts_with("<!doctype html") || start.starts_with("<html")
}
