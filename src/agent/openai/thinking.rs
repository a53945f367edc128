//! What a model writes to itself before it replies. No I/O.

const TAGS: [(&str, &str); 2] = [("<think>", "</think>"), ("<thinking>", "</thinking>")];

/// The text without `<think>…</think>`. Also without what stands before a lone `</think>`, since some templates put the first tag
/// into the prompt, and without what follows a tag that is never closed. A tag after a backtick is part of the response.
pub(super) fn without_thinking(text: &str) -> String {
    let mut kept = text.to_owned();
    for (open, close) in TAGS {
        kept = without_tag(&kept, open, close);
    }
    if kept.len() == text.len() { kept } else { kept.trim_start().to_owned() }
}

/// The text without what may become the tag of a thought when more of it arrives.
pub(super) fn without_open_tag(text: &str) -> &str {
    let Some(at) = text.rfind('<') else { return text };
    let is_begun = |tag: &str| tag.len() > text.len() - at && tag.starts_with(&text[at..]);
    let is_tag = TAGS.iter().any(|(open, close)| is_begun(open) || is_begun(close));
    if is_tag { &text[..at] } else { text }
}

fn without_tag(text: &str, open: &str, close: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        match (find(rest, open), find(rest, close)) {
            (None, None) => return kept + rest,
            (Some(begin), end) if end.is_none_or(|end| begin < end) => {
                kept.push_str(&rest[..begin]);
                let inside = &rest[begin + open.len()..];
                // Within a thought a backtick says nothing.
                let Some(end) = inside.find(close) else { return kept };
                rest = &inside[end + close.len()..];
            }
            (_, Some(end)) => {
                kept.clear();
                rest = &rest[end + close.len()..];
            }
            (Some(_), None) => return kept,
        }
    }
}

/// Where a tag begins that is not quoted.
fn find(text: &str, tag: &str) -> Option<usize> {
    text.match_indices(tag).map(|(at, _)| at).find(|at| !text[..*at].ends_with('`'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_tag_waits_for_its_other_half() {
        for (text, expected) in [
            ("a <", "a "),
            ("a <thin", "a "),
            ("a </think", "a "),
            ("a <think>", "a <think>"),
            ("a <thinking", "a "),
            ("a <b", "a <b"),
            ("a < b", "a < b"),
            ("ä", "ä"),
            ("", ""),
        ] {
            assert_eq!(without_open_tag(text), expected, "{text}");
        }
    }

    #[test]
    fn thoughts_are_left_out() {
        for (text, expected) in [
            ("hello", "hello"),
            ("  hello ", "  hello "),
            ("<think>let me see</think>\n\nhello", "hello"),
            ("<think>\n</think>hello <think>or</think>there", "hello there"),
            ("<thinking>a</thinking>hello", "hello"),
            ("let me see\n</think>\nhello", "hello"),
            ("<think>let me see", ""),
            ("hello <think>let me", "hello "),
            ("<think>what is `</think>`?", "`?"),
            ("write `<think>` first, then `</think>`", "write `<think>` first, then `</think>`"),
            ("<think></think>", ""),
            ("a < b > c", "a < b > c"),
        ] {
            assert_eq!(without_thinking(text), expected, "{text}");
        }
    }
}
