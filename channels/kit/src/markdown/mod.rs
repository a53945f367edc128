//! What the agent writes, Markdown, in the format of a service.
//!
//! [`telegram_html`], [`slack_mrkdwn`], [`whatsapp`], [`feishu_post`] and [`plain`] share one renderer; [`safe_html`] is for web pages and
//! for Matrix. HTML that the agent wrote is text in all of them.

mod dialects;
mod render;
#[cfg(test)]
mod tests;
mod web;

pub use web::{safe_html, safe_html_with};

use dialects::{FeishuPost, Plain, Slack, TelegramHtml, WhatsApp};

/// Telegram's HTML (Bot API, "HTML style"): `b i u s code pre a blockquote`, and everything else escaped.
pub fn telegram_html(markdown: &str) -> String {
    render::render(markdown, &TelegramHtml)
}

/// Slack's mrkdwn ("Formatting text for app surfaces").
pub fn slack_mrkdwn(markdown: &str) -> String {
    render::render(markdown, &Slack)
}

/// WhatsApp's marks ("About formatting your messages").
pub fn whatsapp(markdown: &str) -> String {
    render::render(markdown, &WhatsApp)
}

/// Markdown as the tag `md` of Feishu's posts takes it ("Rich text post"): without headings and tables, and nobody is
/// mentioned.
pub fn feishu_post(markdown: &str) -> String {
    render::render(markdown, &FeishuPost)
}

/// Text without any marks.
pub fn plain(markdown: &str) -> String {
    render::render(markdown, &Plain)
}
