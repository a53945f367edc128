//! HTML as readable text: headings, paragraphs, lists, tables and links as Markdown writes them. No I/O.
//!
//! This is no parser of documents: it goes over the tags once, from the first to the last, and whatever a page has in its
//! markup, the work grows with its length only.

use crate::entities::decoded;

/// Elements whose content nobody reads.
const HIDDEN: &[&str] = &[
    "script", "style", "noscript", "template", "svg", "math", "iframe", "object", "head", "title", "select",
    "button", "form",
];
/// Elements around what a page is about.
const FURNITURE: &[&str] = &["nav", "footer", "aside", "header"];
/// Elements that begin and end a line.
const BLOCKS: &[&str] = &[
    "p",
    "div",
    "section",
    "article",
    "main",
    "ul",
    "ol",
    "dl",
    "dt",
    "dd",
    "table",
    "tr",
    "blockquote",
    "figure",
    "figcaption",
    "address",
    "details",
    "summary",
    "hr",
    "fieldset",
    "caption",
    "thead",
    "tbody",
];

/// The text of a page, with its title at the beginning.
pub fn text(html: &str) -> String {
    let title =
        element(html, "title").map(|title| decoded(title).split_whitespace().collect::<Vec<_>>().join(" "));
    let body = element(html, "main").or_else(|| element(html, "article")).unwrap_or(html);
    let mut writer = Writer::default();
    let mut rest = body;
    while let Some(at) = rest.find('<') {
        writer.text(&rest[..at]);
        rest = writer.markup(&rest[at..]);
    }
    writer.text(rest);
    let body = writer.finish();
    match title.filter(|title| !title.is_empty() && !body.starts_with(&format!("# {title}"))) {
        Some(title) => format!("# {title}\n\n{body}").trim_end().to_owned(),
        None => body,
    }
}

/// What stands in the first element of this name.
fn element<'a>(html: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        let tag = Tag::read(&rest[at..])?;
        rest = tag.rest;
        if tag.is(name) && !tag.is_end {
            let end = end_of(rest, name).map_or(rest.len(), |(at, _)| at);
            return Some(&rest[..end]);
        }
        if !tag.is_end && matches!(tag.name, "script" | "style") {
            rest = after(rest, tag.name);
        }
    }
    None
}

/// Where the end tag of this name begins, and what follows it.
fn end_of<'a>(text: &'a str, name: &str) -> Option<(usize, &'a str)> {
    let mut from = 0;
    while let Some(at) = text[from..].find("</") {
        let at = from + at;
        let rest = &text[at + 2..];
        let is_it = rest.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name));
        let is_whole = rest.as_bytes().get(name.len()).is_none_or(|byte| !byte.is_ascii_alphanumeric());
        if is_it && is_whole {
            let end = rest.find('>').map_or(rest.len(), |end| end + 1);
            return Some((at, &rest[end..]));
        }
        from = at + 2;
    }
    None
}

fn after<'a>(text: &'a str, name: &str) -> &'a str {
    end_of(text, name).map_or("", |(_, rest)| rest)
}

/// One tag, and what follows it.
struct Tag<'a> {
    name: &'a str,
    attributes: &'a str,
    is_end: bool,
    rest: &'a str,
}

impl<'a> Tag<'a> {
    /// Reads a tag from its `<` on. A comment and anything else that is no tag has no name; none when only text follows.
    fn read(text: &'a str) -> Option<Self> {
        if let Some(comment) = text.strip_prefix("<!--") {
            let rest = comment.split_once("-->").map_or("", |(_, rest)| rest);
            return Some(Self { name: "", attributes: "", is_end: false, rest });
        }
        let end = end_of_tag(text)?;
        let inner = &text[1..end];
        let (is_end, inner) = inner.strip_prefix('/').map_or((false, inner), |inner| (true, inner));
        let name_end = inner.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(inner.len());
        let (name, attributes) = inner.split_at(name_end);
        Some(Self { name, attributes, is_end, rest: &text[end + 1..] })
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn is_one_of(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.is(name))
    }

    /// The value of an attribute.
    fn attribute(&self, name: &str) -> Option<String> {
        let mut rest = self.attributes;
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
            if rest.is_empty() {
                return None;
            }
            let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '=' | '/')).unwrap_or(rest.len());
            let (found, after) = rest.split_at(end.max(1).min(rest.len()));
            let after = after.trim_start();
            let Some(value) = after.strip_prefix('=') else {
                rest = after;
                continue;
            };
            let value = value.trim_start();
            let (value, after) = match value.chars().next() {
                Some(quote @ ('"' | '\'')) => value[1..].split_once(quote).unwrap_or((&value[1..], "")),
                _ => value.split_at(value.find(char::is_whitespace).unwrap_or(value.len())),
            };
            if found.eq_ignore_ascii_case(name) {
                return Some(decoded(value));
            }
            rest = after;
        }
    }
}

/// Where a tag ends: at its `>`, which may not stand in quotes. Without quotes that end, at the first `>`.
fn end_of_tag(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') if text.as_bytes()[at - 1] == b'=' => quote = Some(byte),
            (Some(open), byte) if byte == open => quote = None,
            _ => {}
        }
    }
    text.find('>')
}

/// Puts the text together.
#[derive(Default)]
struct Writer {
    out: String,
    /// Line ends that the next text begins with.
    breaks: usize,
    /// Whether a space comes before the next word of this line.
    space: bool,
    /// What the next line begins with, such as `- `.
    prefix: String,
    /// The addresses of the links that are open.
    links: Vec<(String, usize)>,
    /// Depth of `pre`.
    preformatted: usize,
    /// The numbers of the ordered lists that are open; none for unordered ones.
    lists: Vec<Option<usize>>,
}

impl Writer {
    /// A tag and what belongs to it; returns what follows.
    fn markup<'a>(&mut self, text: &'a str) -> &'a str {
        if !text[1..].starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) {
            // A `<` in a text.
            self.text("<");
            return &text[1..];
        }
        let Some(tag) = Tag::read(text) else {
            self.text(text);
            return "";
        };
        if tag.name.is_empty() {
            return tag.rest;
        }
        if !tag.is_end && (tag.is_one_of(HIDDEN) || tag.is_one_of(FURNITURE)) && !is_closed(&tag) {
            self.line();
            return after(tag.rest, tag.name);
        }
        match tag.is_end {
            true => self.end(&tag),
            false => self.begin(&tag),
        }
        tag.rest
    }

    fn begin(&mut self, tag: &Tag<'_>) {
        let name = tag.name.to_ascii_lowercase();
        match name.as_str() {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.paragraph();
                let level = name.as_bytes()[1] - b'0';
                self.prefix = format!("{} ", "#".repeat(level.into()));
            }
            "br" => self.line(),
            "p" => self.paragraph(),
            "ul" => (self.line(), self.lists.push(None)).1,
            "ol" => (self.line(), self.lists.push(Some(0))).1,
            "li" => {
                self.line();
                let indent = "  ".repeat(self.lists.len().saturating_sub(1));
                self.prefix = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        *number += 1;
                        format!("{indent}{number}. ")
                    }
                    _ => format!("{indent}- "),
                };
            }
            "td" | "th" if !self.out.ends_with('\n') && self.breaks == 0 => self.text(" | "),
            "pre" => (self.paragraph(), self.preformatted += 1).1,
            "a" => self.links.push((tag.attribute("href").unwrap_or_default(), self.out.len())),
            "img" => {
                if let Some(words) = tag.attribute("alt").filter(|words| !words.trim().is_empty()) {
                    self.text(&format!("[picture: {}]", words.trim()));
                }
            }
            _ if tag.is_one_of(BLOCKS) => self.line(),
            _ => {}
        }
    }

    fn end(&mut self, tag: &Tag<'_>) {
        let name = tag.name.to_ascii_lowercase();
        match name.as_str() {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "p" => self.paragraph(),
            "ul" | "ol" => (self.lists.pop(), self.line()).1,
            "li" => self.line(),
            "pre" => {
                self.preformatted = self.preformatted.saturating_sub(1);
                self.paragraph();
            }
            "a" => self.end_link(),
            _ if tag.is_one_of(BLOCKS) => self.line(),
            _ => {}
        }
    }

    /// A link is shown with its address, when it has a text and the address is one.
    fn end_link(&mut self) {
        let Some((href, from)) = self.links.pop() else { return };
        let is_address = href.starts_with("http://") || href.starts_with("https://") || href.starts_with('/');
        let shown = self.out.get(from..).unwrap_or_default();
        let words = shown.trim();
        if is_address && !words.is_empty() && words != href && !words.contains('\n') {
            let lead = shown.len() - shown.trim_start().len();
            self.out.insert(from + lead, '[');
            self.out.push_str(&format!("]({href})"));
        }
    }

    /// The next text begins a new line.
    fn line(&mut self) {
        self.breaks = self.breaks.max(1);
        self.space = false;
    }

    /// The next text begins a new paragraph.
    fn paragraph(&mut self) {
        self.breaks = 2;
        self.space = false;
    }

    fn text(&mut self, text: &str) {
        let text = decoded(text);
        if self.preformatted > 0 {
            self.start();
            self.out.extend(text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')));
            return;
        }
        if text.starts_with(char::is_whitespace) {
            self.space = true;
        }
        for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty())
        {
            self.start();
            if self.space && !self.out.is_empty() && !self.out.ends_with(['\n', ' ']) {
                self.out.push(' ');
            }
            self.out.push_str(word);
            self.space = true;
        }
        self.space = text.ends_with(char::is_whitespace);
    }

    /// The line ends and the prefix that were waiting for a text.
    fn start(&mut self) {
        if self.breaks > 0 {
            if !self.out.is_empty() {
                self.out.extend(std::iter::repeat_n('\n', self.breaks));
            }
            self.breaks = 0;
            self.space = false;
        }
        self.out.push_str(&std::mem::take(&mut self.prefix));
    }

    fn finish(self) -> String {
        let lines: Vec<&str> = self.out.lines().map(str::trim_end).collect();
        lines.join("\n").trim().to_owned()
    }
}

/// `<svg/>` has no content.
fn is_closed(tag: &Tag<'_>) -> bool {
    tag.attributes.ends_with('/')
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn a_page_becomes_what_a_person_reads() {
        let page = r##"<!DOCTYPE html><html><head><title>Tea &amp; more</title><style>p{}</style></head>
            <body><nav><a href="/">Home</a></nav><!-- <p>no</p> -->
            <h1>Tea</h1><p>Tea is a <b>hot</b>
            drink. See <a href='https://a.example/x?a=1&amp;b=2'>this page</a>.<br>Next line</p>
            <script>if (a < b) { document.write("<p>no</p>") }</script>
            <ul><li>green<li>black<ol><li>strong</li><li>weak</li></ol></ul>
            <table><tr><th>kind</th><th>minutes</th></tr><tr><td>green</td><td>2</td></tr></table>
            <pre>one
  two</pre><img alt="a cup" src=x><footer>imprint</footer></body></html>"##;
        let expected = "# Tea & more\n\n# Tea\n\nTea is a hot drink. See [this page](https://a.example/x?a=1&b=2).\n\
            Next line\n\n- green\n- black\n  1. strong\n  2. weak\nkind | minutes\ngreen | 2\n\none\n  two\n\n[picture: a cup]";
        assert_eq!(text(page), expected);
    }

    #[test]
    fn what_a_page_is_about_goes_before_what_is_around_it() {
        for name in ["main", "article"] {
            let page =
                format!("<div>menu</div><{name} class=\"a>b\"><p>the text</p></{name}><div>more</div>");
            assert_eq!(text(&page), "the text");
        }
        assert_eq!(text("<script>\"<main>no</main>\"</script><p>a"), "a");
    }

    #[test]
    fn broken_markup_is_read_as_far_as_it_goes() {
        for (page, expected) in [
            ("a < b and <3", "a < b and <3"),
            ("<p>a", "a"),
            ("<p a", "<p a"),
            ("<!-- never ends", ""),
            ("<script>never ends", ""),
            ("<a href=\"x>y</a>z", "yz"),
            ("</p></a></ul></pre>x", "x"),
            ("<a href=https://a.example>https://a.example</a>", "https://a.example"),
            ("<a href='javascript:x'>y</a>", "y"),
            ("<a href=>y</a><img alt=x/>", "y[picture: x/]"),
            ("<a =x =\"y\" href='/z'>w</a>", "[w](/z)"),
            ("a\u{1b}[2Jb", "a [2Jb"),
            ("", ""),
        ] {
            assert_eq!(text(page), expected, "{page}");
        }
    }

    #[test]
    fn the_work_grows_with_the_length_only() {
        for piece in
            ["<", "<a ", "</", "<!--", "<a href=\"", "<pre>", "<li>", "&", "<svg>", "<script>", "<main>"]
        {
            let page = piece.repeat(20_000);
            let _ = (text(&page), text(&format!("{page}>")));
        }
    }
}
