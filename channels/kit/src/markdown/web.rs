//! HTML for a page.

use pulldown_cmark::{CowStr, Event, Parser, Tag, html};

use super::render::options;

/// Markdown as HTML that is safe in a page: HTML of the agent is text, and links lead to `http`, `https` and `mailto` only.
pub fn safe_html(markdown: &str) -> String {
    safe_html_with(markdown, |_| true)
}

/// As [`safe_html`]; pictures are shown from the places that `is_allowed` accepts, and are links elsewhere, because who has
/// a picture fetched learns who reads it.
pub fn safe_html_with(markdown: &str, is_allowed: impl Fn(&str) -> bool) -> String {
    let mut out = String::with_capacity(markdown.len() * 2);
    let mut links = Vec::new();
    let events = Parser::new_ext(markdown, options()).map(|event| safe(event, &mut links, &is_allowed));
    html::push_html(&mut out, events);
    out
}

fn safe<'a>(event: Event<'a>, links: &mut Vec<bool>, is_allowed: &dyn Fn(&str) -> bool) -> Event<'a> {
    match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: safe_url(dest_url), title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            let dest_url = safe_url(dest_url);
            let is_shown = is_allowed(&dest_url);
            links.push(!is_shown);
            match is_shown {
                true => Event::Start(Tag::Image { link_type, dest_url, title, id }),
                false => Event::Start(Tag::Link { link_type, dest_url, title, id }),
            }
        }
        Event::End(pulldown_cmark::TagEnd::Image) if links.pop() == Some(true) => {
            Event::End(pulldown_cmark::TagEnd::Link)
        }
        other => other,
    }
}

/// A URL that only leads somewhere. Control characters and spaces are what browsers skip in a scheme.
fn safe_url(url: CowStr<'_>) -> CowStr<'_> {
    let seen: String = url.chars().filter(|c| !c.is_control() && !c.is_whitespace()).collect();
    let seen = seen.to_ascii_lowercase();
    let is_safe = ["http://", "https://", "mailto:"].iter().any(|scheme| seen.starts_with(scheme))
        || seen.starts_with('#')
        || (seen.starts_with('/') && !seen.starts_with("//"));
    if is_safe { url } else { CowStr::Borrowed("#") }
}
