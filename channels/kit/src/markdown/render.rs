//! Walks through Markdown and writes it in the dialect of a service.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A mark of words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mark {
    Strong,
    Emphasis,
    Strikethrough,
    Code,
}

/// How a service writes what Markdown means. What is given as `content` is in the dialect already.
pub trait Dialect {
    fn text(&self, text: &str) -> String;
    fn mark(&self, mark: Mark, content: &str) -> String;
    fn link(&self, url: &str, content: &str) -> String;
    fn code_block(&self, language: &str, code: &str) -> String;
    /// `depth`: how many quotations are around it.
    fn quote(&self, content: &str, depth: usize) -> String;
}

pub fn options() -> Options {
    Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS
}

pub fn render(markdown: &str, dialect: &dyn Dialect) -> String {
    let mut writer = Writer::new(dialect);
    for event in Parser::new_ext(markdown, options()) {
        writer.event(event);
    }
    writer.finish()
}

/// What is open: its content is collected until it ends.
struct Open {
    kind: Kind,
    out: String,
}

enum Kind {
    Document,
    Block,
    Marked(Mark),
    Link(String),
    Image(String),
    Code(String),
    Quote,
    Item,
    Table(Vec<Vec<String>>),
    Cell,
}

struct Writer<'a> {
    dialect: &'a dyn Dialect,
    open: Vec<Open>,
    /// The number of the next item of each list that is open; none where it has no numbers.
    lists: Vec<Option<u64>>,
}

impl<'a> Writer<'a> {
    fn new(dialect: &'a dyn Dialect) -> Self {
        Self { dialect, open: vec![Open { kind: Kind::Document, out: String::new() }], lists: Vec::new() }
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if matches!(self.top().kind, Kind::Code(_)) => self.push(&text),
            // HTML of the agent is text: it is not trusted, and most services show it as it is.
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => {
                let text = self.dialect.text(&text);
                self.push(&text);
            }
            Event::Code(code) => {
                let text = self.dialect.text(&code);
                let code = self.dialect.mark(Mark::Code, &text);
                self.push(&code);
            }
            Event::SoftBreak | Event::HardBreak => self.push("\n"),
            Event::Rule => self.block("———"),
            Event::TaskListMarker(is_done) => self.push(if is_done { "☑ " } else { "☐ " }),
            Event::FootnoteReference(name) => self.push(&format!("[{name}]")),
            Event::InlineMath(text) | Event::DisplayMath(text) => {
                let text = self.dialect.text(&text);
                self.push(&text);
            }
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        let kind = match tag {
            Tag::Paragraph | Tag::Heading { .. } | Tag::HtmlBlock => Kind::Block,
            Tag::Strong => Kind::Marked(Mark::Strong),
            Tag::Emphasis => Kind::Marked(Mark::Emphasis),
            Tag::Strikethrough => Kind::Marked(Mark::Strikethrough),
            Tag::Link { dest_url, .. } => Kind::Link(dest_url.into_string()),
            Tag::Image { dest_url, .. } => Kind::Image(dest_url.into_string()),
            Tag::CodeBlock(CodeBlockKind::Fenced(info)) => {
                Kind::Code(info.split_whitespace().next().unwrap_or_default().to_owned())
            }
            Tag::CodeBlock(CodeBlockKind::Indented) => Kind::Code(String::new()),
            Tag::BlockQuote(_) => Kind::Quote,
            Tag::Item => Kind::Item,
            Tag::Table(_) => Kind::Table(Vec::new()),
            Tag::TableCell => Kind::Cell,
            Tag::List(first) => return self.lists.push(first),
            Tag::TableHead | Tag::TableRow => {
                if let Kind::Table(rows) = &mut self.top().kind {
                    rows.push(Vec::new());
                }
                return;
            }
            _ => return,
        };
        self.open.push(Open { kind, out: String::new() });
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::List(_) => {
                self.lists.pop();
                return;
            }
            TagEnd::TableHead | TagEnd::TableRow => return,
            TagEnd::Paragraph
            | TagEnd::Heading(_)
            | TagEnd::HtmlBlock
            | TagEnd::Strong
            | TagEnd::Emphasis
            | TagEnd::Strikethrough
            | TagEnd::Link
            | TagEnd::Image
            | TagEnd::CodeBlock
            | TagEnd::BlockQuote(_)
            | TagEnd::Item
            | TagEnd::Table
            | TagEnd::TableCell => {}
            _ => return,
        }
        let Some(Open { kind, out }) = self.open.pop() else { return };
        match kind {
            Kind::Document => {}
            Kind::Block if matches!(tag, TagEnd::Heading(_)) => {
                let heading = self.dialect.mark(Mark::Strong, &out);
                self.block(&heading);
            }
            Kind::Block => self.block(out.trim_end()),
            Kind::Marked(mark) => {
                let marked = self.dialect.mark(mark, &out);
                self.push(&marked);
            }
            Kind::Link(url) | Kind::Image(url) => {
                let link = self.dialect.link(&url, &out);
                self.push(&link);
            }
            Kind::Code(language) => {
                let code = self.dialect.code_block(&language, out.trim_end_matches('\n'));
                self.block(&code);
            }
            Kind::Quote => {
                let depth = self.open.iter().filter(|open| matches!(open.kind, Kind::Quote)).count();
                let quote = self.dialect.quote(&out, depth);
                self.block(&quote);
            }
            Kind::Item => self.item(&out),
            Kind::Table(rows) => {
                let table = self.dialect.code_block("", &table(&rows));
                self.block(&table);
            }
            Kind::Cell => {
                if let Kind::Table(rows) = &mut self.top().kind
                    && let Some(row) = rows.last_mut()
                {
                    row.push(out);
                }
            }
        }
    }

    fn item(&mut self, content: &str) {
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{}. ", *number - 1)
            }
            _ => "• ".to_owned(),
        };
        // Nested items are indented below their own.
        let content = content.replace('\n', "\n  ");
        let top = self.top();
        if !top.out.is_empty() {
            let is_first = !top.out.trim_end().lines().last().is_some_and(is_item);
            let is_nested = matches!(top.kind, Kind::Item);
            top.out.push_str(if is_first && !is_nested { "\n\n" } else { "\n" });
        }
        top.out.push_str(&mark);
        top.out.push_str(&content);
    }

    /// Adds a block, with a gap before it.
    fn block(&mut self, content: &str) {
        if content.is_empty() {
            return;
        }
        let top = self.top();
        if !top.out.is_empty() {
            top.out.push_str("\n\n");
        }
        top.out.push_str(content);
    }

    fn push(&mut self, text: &str) {
        self.top().out.push_str(text);
    }

    fn top(&mut self) -> &mut Open {
        // The document is never closed.
        self.open.last_mut().expect("the document is open until the end")
    }

    fn finish(mut self) -> String {
        std::mem::take(&mut self.open[0].out)
    }
}

/// Whether a line belongs to a list.
fn is_item(line: &str) -> bool {
    let line = line.trim_start();
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    line.starts_with("• ") || (number.len() < line.len() && number.starts_with(". ")) || line.is_empty()
}

/// A table as lines whose columns stand below each other. Cells are plain text: marks do not count as width.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width.saturating_sub(cell.chars().count()))))
            .collect();
        cells.join(" | ").trim_end().to_owned()
    };
    let lines: Vec<String> = rows.iter().map(line).collect();
    lines.join("\n")
}
