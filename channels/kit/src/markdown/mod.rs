//! What the agent writes, Markdown, in the format of a service.
//!
//! [`telegram_html`], [`slack_mrkdwn`], [`whatsapp`] and [`plain`] share one renderer; [`safe_html`] is for web pages and
//! for Matrix. HTML that the agent wrote is text in all of them.

mod dialects;
mod render;
#[cfg(test)]
mod tests;
mod web;

pub use web::{safe_html, safe_html_with};

use dialects::{Plain, Slack, TelegramHtml, WhatsApp};

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

/// Text without any marks.
pub fn plain(markdown: &str) -> String {
    render::render(markdown, &Plain)
}
