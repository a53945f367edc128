//! Log lines name the channel that they are about, once.

use std::borrow::Cow;

/// The text with the channel in front, unless it begins with it: errors of callbacks name their channel already.
pub fn about_channel<'a>(channel: &str, text: &'a str) -> Cow<'a, str> {
    if is_about_channel(channel, text) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("channel {channel}: {text}"))
}

/// Whether the text begins with the channel.
pub fn is_about_channel(channel: &str, text: &str) -> bool {
    let name = text.strip_prefix("channel ").unwrap_or_default();
    let name = name.strip_prefix('`').unwrap_or(name);
    let rest = name.strip_prefix(channel).map(|rest| rest.strip_prefix('`').unwrap_or(rest));
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-'))
}

/// The text without the channel in front, for lines that have named it already.
pub fn without_channel<'a>(channel: &str, text: &'a str) -> &'a str {
    let Some(rest) = text.strip_prefix("channel ") else { return text };
    let quoted = rest.strip_prefix('`').and_then(|rest| rest.strip_prefix(channel)?.strip_prefix("`: "));
    quoted.or_else(|| rest.strip_prefix(channel)?.strip_prefix(": ")).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_named_once() {
        for (text, expected) in [
            ("it failed", "channel echo: it failed"),
            ("channel `echo`: it failed", "channel `echo`: it failed"),
            ("channel echo is ready", "channel echo is ready"),
            ("channel echo2 is ready", "channel echo: channel echo2 is ready"),
            ("echo", "channel echo: echo"),
            ("", "channel echo: "),
        ] {
            assert_eq!(about_channel("echo", text), expected);
        }
    }

    /// "channel echo: reply 3 is given up: channel `echo`: on-respond used up its fuel".
    #[test]
    fn a_line_that_has_named_the_channel_does_not_name_it_again() {
        for (text, expected) in [
            ("channel `echo`: it failed", "it failed"),
            ("channel echo: it failed", "it failed"),
            ("channel `echo` cannot be loaded", "channel `echo` cannot be loaded"),
            ("channel echo2: it failed", "channel echo2: it failed"),
            ("it failed", "it failed"),
            ("", ""),
        ] {
            assert_eq!(without_channel("echo", text), expected);
        }
    }
}
