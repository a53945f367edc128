//! What the agent writes, and what each service shows.

use super::*;

#[test]
fn marks_of_words() {
    let text = "**bold** *it* ~~gone~~ `a<b` [link](https://a.example/?x=1&y=2) <https://b.example>";
    assert_eq!(
        telegram_html(text),
        "<b>bold</b> <i>it</i> <s>gone</s> <code>a&lt;b</code> \
         <a href=\"https://a.example/?x=1&amp;y=2\">link</a> <a href=\"https://b.example\">https://b.example</a>"
    );
    assert_eq!(
        slack_mrkdwn(text),
        "*bold* _it_ ~gone~ `a&lt;b` <https://a.example/?x=1&amp;y=2|link> <https://b.example>"
    );
    assert_eq!(
        feishu_post(text),
        "**bold** *it* ~~gone~~ `a<b` [link](https://a.example/?x=1&y=2) [https://b.example](https://b.example)"
    );
    let shown = "link (https://a.example/?x=1&y=2) https://b.example";
    assert_eq!(whatsapp(text), format!("*bold* _it_ ~gone~ `a<b` {shown}"));
    assert_eq!(plain(text), format!("bold it gone a<b {shown}"));
}

#[test]
fn blocks() {
    let text = "# Title\n\nOne\ntwo\n\n- a\n- b\n  1. c\n  2. d\n\n> quote\n> more\n\n---\n\n```rust\nif a < b {}\n```\n";
    assert_eq!(
        telegram_html(text),
        "<b>Title</b>\n\nOne\ntwo\n\n• a\n• b\n  1. c\n  2. d\n\n<blockquote>quote\nmore</blockquote>\n\n———\n\n\
         <pre><code class=\"language-rust\">if a &lt; b {}</code></pre>"
    );
    assert_eq!(
        plain(text),
        "Title\n\nOne\ntwo\n\n• a\n• b\n  1. c\n  2. d\n\n> quote\n> more\n\n———\n\nif a < b {}"
    );
}

#[test]
fn tables_and_tasks() {
    let text = "| a | long |\n|---|---|\n| xyz | 1 |\n\n- [x] done\n- [ ] open";
    assert_eq!(telegram_html(text), "<pre>a   | long\nxyz | 1</pre>\n\n• ☑ done\n• ☐ open");
    assert_eq!(whatsapp(text), "```a   | long\nxyz | 1```\n\n• ☑ done\n• ☐ open");
}

#[test]
fn what_the_agent_writes_is_never_markup_of_the_service() {
    let hostile = "<b onclick=x>hi</b> & <script>\n\n<div>\nblock\n</div>\n\n[x](javascript:alert(1)) ![p](https://a.example/p.png)";
    assert_eq!(
        telegram_html(hostile),
        "&lt;b onclick=x&gt;hi&lt;/b&gt; &amp; &lt;script&gt;\n\n&lt;div&gt;\nblock\n&lt;/div&gt;\n\n\
         x (javascript:alert(1)) <a href=\"https://a.example/p.png\">p</a>"
    );
    // `<!channel>` would call everybody.
    assert_eq!(slack_mrkdwn("<!channel> <@U1>"), "&lt;!channel&gt; &lt;@U1&gt;");
    assert_eq!(slack_mrkdwn("[x](!channel)"), "x (!channel)");
    let at = "<at user_id=\"all\">all</at>";
    assert_eq!(feishu_post(at), at.replace("<at", "<\u{200b}at"));
}

// Telegram refuses a message whose tags are not nested properly, or with a quotation in a quotation.
#[test]
fn telegram_html_is_nested_properly() {
    assert_eq!(telegram_html("***a** b*"), "<i><b>a</b> b</i>");
    assert_eq!(telegram_html("> a\n>> b"), "<blockquote>a\n\nb</blockquote>");
    assert_eq!(telegram_html("[**a**](https://a.example)"), "<a href=\"https://a.example\"><b>a</b></a>");
    assert_eq!(telegram_html("**unclosed and `code"), "**unclosed and `code");
}

#[test]
fn safe_html_has_neither_scripts_nor_other_schemes() {
    let html = safe_html("<script>alert(1)</script>\n\n**b** <img src=x onerror=y>\n\n```js\n</script>\n```");
    assert!(html.contains("<strong>b</strong>") && html.contains("<code class=\"language-js\">"), "{html}");
    assert!(!html.contains("<script") && !html.contains("<img"), "{html}");
    for url in [
        "javascript:x",
        "JaVaScRiPt:x",
        "java\u{1}script:x",
        "data:text/html,x",
        "vbscript:x",
        "//evil.example",
    ] {
        let html = safe_html(&format!("[a](<{url}>)"));
        assert_eq!(html, "<p><a href=\"#\">a</a></p>\n", "{url}");
    }
    for url in ["https://a.example/", "http://a.example/", "mailto:a@b.example", "#top", "/files/1"] {
        assert_eq!(safe_html(&format!("[a]({url})")), format!("<p><a href=\"{url}\">a</a></p>\n"));
    }
}

#[test]
fn pictures_from_elsewhere_are_links() {
    let text = "![cat](https://a.example/c.png) ![dog](/files/d.png)";
    assert_eq!(
        safe_html_with(text, |url| url.starts_with('/')),
        "<p><a href=\"https://a.example/c.png\">cat</a> <img src=\"/files/d.png\" alt=\"dog\" /></p>\n"
    );
}

#[test]
fn plain_text_stays_as_it_is() {
    for text in ["", "hello", "a\nb", "1 < 2 & 3", "snake_case_name", "2 * 3 * 4"] {
        assert_eq!(plain(text), text);
    }
}
