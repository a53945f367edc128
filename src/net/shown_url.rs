//! URLs as they are shown to people: without user and password.

use std::borrow::Cow;

/// What stands in the place of a user and a password.
const HIDDEN: &str = "(not shown)";

/// A text with URLs, such as `http:https://user:password@host/`, without their users and passwords: either may be a token.
pub(crate) fn without_credentials(text: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'<>|;,".contains(c)).unwrap_or(after.len());
        shown.extend([before, "://"]);
        rest = match after[..end].rfind('@') {
            Some(at) => {
                shown.push_str(HIDDEN);
                &after[at..]
            }
            None => after,
        };
    }
    if shown.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(shown + rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `config show` and the greeting of `run` showed the password of `agent = "http:http://u:hunter3@h/"`.
    #[test]
    fn users_and_passwords_of_urls_are_not_shown() {
        for (text, expected) in [
            ("http:http://u:hunter3@h/a", "http:http://(not shown)@h/a"),
            ("https://token@h:8/?a=b@c", "https://(not shown)@h:8/?a=b@c"),
            ("mysql://u:a@b@h/db", "mysql://(not shown)@h/db"),
            ("exec:curl http://u:p@a/ http://b/@", "exec:curl http://(not shown)@a/ http://b/@"),
            ("http://a/", "http://a/"),
            ("mail a@b", "mail a@b"),
            ("", ""),
        ] {
            assert_eq!(without_credentials(text), expected);
        }
    }
}
