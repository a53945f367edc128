//! A page as text: what a person would read of it. Which servers may be asked, the operator says.

mod charset;
mod entities;
mod html;
mod link;
mod page;

use serde::Deserialize;
use serde_json::{Value, json};
use tinclaw_tool_kit::http::{Request, Response};
use tinclaw_tool_kit::{Call, Tool};

/// Characters of a page that one call returns, without another number and at most.
const SHOWN_CHARS: usize = 12_000;
const MAX_CHARS: usize = 60_000;
/// Redirections that are followed.
const MAX_REDIRECTS: usize = 5;

/// The tool.
pub struct Fetch;

/// What is asked for.
#[derive(Deserialize)]
pub struct Params {
    url: String,
    #[serde(default)]
    start: usize,
    max_chars: Option<usize>,
}

impl Tool for Fetch {
    type Params = Params;

    fn description() -> String {
        "Gets a web page or file from the internet as readable text. A long one comes in parts: `start` is the character \
         to go on from, as the end of the part before says."
            .into()
    }

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "url": {"type": "string", "description": "https://…"},
                "start": {"type": "integer", "minimum": 0},
                "max_chars": {"type": "integer", "minimum": 100, "maximum": MAX_CHARS},
            },
            "required": ["url"],
            "additionalProperties": false,
        })
    }

    fn call(params: Params, _: &Call) -> Result<String, String> {
        let (url, response) = follow(params.url)?;
        let text = page::text_of(response.header("content-type").unwrap_or_default(), &response.body)?;
        let most = params.max_chars.unwrap_or(SHOWN_CHARS).clamp(1, MAX_CHARS);
        part(&url, &text, params.start, most)
    }
}

/// The response at the end of the redirections, and its URL.
fn follow(mut url: String) -> Result<(String, Response), String> {
    for _ in 0..=MAX_REDIRECTS {
        let request = Request::get(url.as_str()).header("accept", "text/html, text/*;q=0.9, */*;q=0.5");
        let response = request.send().map_err(|error| format!("{url}: {error}"))?;
        match response.header("location") {
            Some(location) if matches!(response.status, 301 | 302 | 303 | 307 | 308) => {
                url = link::resolved(&url, location).ok_or_else(|| format!("{url}: it leads to no page"))?;
            }
            _ => {
                let response = response.success().map_err(|error| format!("{url}: {error}"))?;
                return Ok((url, response));
            }
        }
    }
    Err(format!("{url}: it leads from one address to the next, more than {MAX_REDIRECTS} times"))
}

/// So many characters of a text from `start` on, with where it goes on.
fn part(url: &str, text: &str, start: usize, most: usize) -> Result<String, String> {
    let count = text.chars().count();
    if count == 0 {
        return Ok(format!("{url}\n\n[there is no text on this page]"));
    }
    if start >= count {
        return Err(format!("{url}: it has {count} characters, so nothing comes after {start}"));
    }
    let shown: String = text.chars().skip(start).take(most).collect();
    let end = start + shown.chars().count();
    let more =
        if end < count { format!("\n\n[{count} characters; go on with start={end}]") } else { String::new() };
    Ok(format!("{url}\n\n{shown}{more}"))
}

tinclaw_tool_kit::tool!(Fetch);

#[cfg(test)]
mod tests;
