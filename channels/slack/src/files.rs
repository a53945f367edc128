//! Files that came with a message ("File object").

use serde_json::Value;
use tinclaw_kit::http::Request;
use tinclaw_kit::{Failure, File, host};

/// The most bytes of a file that is fetched.
const MAX_BYTES: u64 = 20 * 1024 * 1024;

/// Fetches files. Returns with them what could not be fetched, in words for the agent.
pub fn fetch_all(list: &Value) -> (Vec<File>, Vec<String>) {
    let (mut files, mut notes) = (Vec::new(), Vec::new());
    for file in list.as_array().into_iter().flatten() {
        let text = |name: &str| file[name].as_str().unwrap_or_default().to_owned();
        let name = text("name");
        if file["size"].as_u64().is_some_and(|size| size > MAX_BYTES) {
            notes.push(format!("{name} is larger than 20 MB"));
            continue;
        }
        match fetch(&text("url_private")) {
            Ok(data) => files.push(File {
                id: text("id"),
                filename: Some(name),
                mime_type: text("mimetype"),
                data: Some(data),
                ..File::default()
            }),
            Err(failure) => {
                host::warn(&format!("a file could not be fetched: {}", failure.words()));
                notes.push(format!("{name} could not be fetched"));
            }
        }
    }
    (files, notes)
}

fn fetch(url: &str) -> Result<Vec<u8>, Failure> {
    let response = Request::get(url).send()?.success()?;
    // Without the scope `files:read` Slack shows its page for signing in.
    if response.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
        return Err(Failure::permanent(
            "Slack showed a page for signing in: the app needs the scope files:read",
        ));
    }
    Ok(response.body)
}
