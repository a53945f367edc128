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

/// What a URL may begin with besides a scheme that `//` follows, and that is no password.
const PREFIXES: [&str; 5] = ["exec:", "http:", "https:", "openai:", "unix:"];

/// A text that was to be a URL, for an error that quotes it. It is no URL, so what of it may be a password is not known: everything up
/// to the last `@` and after a `?` is left out.
pub(crate) fn quotable(text: &str) -> String {
    let prefix = match text.split_once("://") {
        Some((scheme, _)) => scheme.len() + "://".len(),
        None => PREFIXES.into_iter().find(|prefix| text.starts_with(prefix)).map_or(0, str::len),
    };
    let (prefix, rest) = text.split_at(prefix);
    // A scheme has no `@`: it was cut off within a password.
    let (prefix, rest) = if prefix.contains('@') { ("", text) } else { (prefix, rest) };
    let (user, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => (format!("{HIDDEN}@"), rest),
        None => (String::new(), rest),
    };
    match rest.split_once('?') {
        Some((rest, _)) => format!("{prefix}{user}{rest}?{HIDDEN}"),
        None => format!("{prefix}{user}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors quoted the passwords of URLs that could not be used: with a scheme that is not known, with a port that is too large.
    #[test]
    fn no_part_of_a_text_that_may_be_a_password_is_quoted() {
        for (text, expected) in [
            ("http:ftp://u:LIVEKEY@h:1", "http:ftp://(not shown)@h:1"),
            ("http://u:LIVE/K?E#Y@h:99999", "http://(not shown)@h:99999"),
            ("http:u:LIVEKEY@h", "http:(not shown)@h"),
            ("LIVEKEY:x@h", "(not shown)@h"),
            ("u:LIVE@://KEY@h", "(not shown)@h"),
            ("https://h/?key=LIVEKEY", "https://h/?(not shown)"),
            ("parrot", "parrot"),
            ("", ""),
        ] {
            assert_eq!(quotable(text), expected);
            assert_eq!(quotable(expected), expected, "a second time changes nothing");
        }
    }

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
