//! Slack's text ("Formatting text for app surfaces") as the agent reads it.

/// Links, mentions and escapes of a message as plain Markdown.
pub fn readable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let Some(length) = rest[start..].find('>') else { break };
        out.push_str(&rest[..start]);
        out.push_str(&element(&rest[start + 1..start + length]));
        rest = &rest[start + length + 1..];
    }
    out.push_str(rest);
    out.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// What stands between `<` and `>`.
fn element(inner: &str) -> String {
    let (target, label) = match inner.split_once('|') {
        Some((target, label)) => (target, Some(label)),
        None => (inner, None),
    };
    if let Some(user) = target.strip_prefix('@') {
        return ["@", label.unwrap_or(user)].concat();
    }
    if let Some(channel) = target.strip_prefix('#') {
        return ["#", label.unwrap_or(channel)].concat();
    }
    if let Some(special) = target.strip_prefix('!') {
        return label.map_or_else(|| ["@", special].concat(), str::to_owned);
    }
    match label {
        Some(label) if label != target => ["[", label, "](", target, ")"].concat(),
        _ => target.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn what_slack_writes_is_readable() {
        for (text, expected) in [
            ("a &lt;b&gt; &amp;amp; c", "a <b> &amp; c"),
            ("<https://a.example>", "https://a.example"),
            ("<https://a.example|here> x", "[here](https://a.example) x"),
            ("<@U1> <@U2|bob> <#C1|general> <!here> <!date^1|today>", "@U1 @bob #general @here today"),
            ("1 < 2", "1 < 2"),
        ] {
            assert_eq!(readable(text), expected);
        }
    }
}
