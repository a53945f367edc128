//! The `openai` agent: a language model behind the chat completions API.

#[path = "../cli_support/mod.rs"]
mod cli_support;
mod conversation;
mod errors;
mod fake;
mod settings;
mod streaming;
#[path = "../support/mod.rs"]
mod support;
mod tool_calls;
