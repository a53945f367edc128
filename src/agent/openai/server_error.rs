//! What an error of the server means. No I/O.

use serde_json::Value;

/// Why a server refuses a request, as far as that decides what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerErrorKind {
    /// Too many requests: it may be asked again after a while.
    RateLimited,
    /// It cannot take any request at present.
    Unavailable,
    /// The conversation has more tokens than the model takes.
    TooLong,
    /// It does not have the model.
    UnknownModel,
    /// The model, or the server as it was started, takes no tools.
    NoTools,
    /// It wants the limit of tokens in `max_completion_tokens`.
    MaxCompletionTokens,
    /// The key is missing or not accepted.
    Key,
    /// The account of the key has no credit.
    NoCredit,
    /// The API is somewhere else.
    Redirect,
    /// It will never accept this request.
    Invalid,
    /// It failed; another attempt may succeed.
    Failed,
}

/// What a server says about an error: its text, its code and its type in one, in small letters.
pub(super) fn error_text(body: &str) -> String {
    let value: Value = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
    let error = value.get("error").unwrap_or(&value);
    text_of(error).to_lowercase()
}

fn text_of(error: &Value) -> String {
    let fields = ["message", "code", "type", "param"].map(|field| match error.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    });
    match error {
        Value::String(text) => text.clone(),
        _ if fields.iter().all(String::is_empty) => error.to_string(),
        _ => fields.join(" "),
    }
}

/// The status that an error within a stream stands for: its `code`, when that is one, else 500.
pub(super) fn status_within(error: &Value) -> u16 {
    let code = error.get("code").or_else(|| error.get("status"));
    let code = code.and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok()));
    code.and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code)).unwrap_or(500)
}

/// What is to be done about an error: `text` is that of [`error_text`].
pub(super) fn classify(status: u16, text: &str) -> ServerErrorKind {
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    if status == 413 || says(&TOO_LONG) {
        return ServerErrorKind::TooLong;
    }
    if says(&["insufficient_quota", "exceeded your current quota"]) {
        return ServerErrorKind::NoCredit;
    }
    if says(&NO_TOOLS) {
        return ServerErrorKind::NoTools;
    }
    match status {
        429 => ServerErrorKind::RateLimited,
        300..400 => ServerErrorKind::Redirect,
        402 => ServerErrorKind::NoCredit,
        401 | 403 => ServerErrorKind::Key,
        502..=504 | 529 => ServerErrorKind::Unavailable,
        _ if says(&["model_not_found"]) => ServerErrorKind::UnknownModel,
        400 | 404 if text.contains("model") && says(&NOT_FOUND) => ServerErrorKind::UnknownModel,
        400 if text.contains("max_tokens") && text.contains("max_completion_tokens") => {
            ServerErrorKind::MaxCompletionTokens
        }
        // The model is being loaded (llama.cpp), or the request took too long to arrive.
        408 | 409 | 425 | 500.. => ServerErrorKind::Failed,
        _ => ServerErrorKind::Invalid,
    }
}

/// How servers say that a conversation is too long. Besides those with a "context": vLLM, xAI, Gemini, TGI, TabbyAPI, Groq.
const TOO_LONG: [&str; 16] = [
    "context_length_exceeded",
    "exceed_context_size",
    "context length",
    "context size",
    "context window",
    "maximum context",
    "prompt is too long",
    "too many tokens",
    "input is too long",
    "context limit",
    "maximum model length",
    "maximum prompt length",
    "exceeds the maximum number of tokens",
    "`inputs` tokens",
    "max_seq_len",
    "request too large for",
];

/// How servers say that they take no tools: Ollama, llama.cpp, vLLM, OpenRouter, DeepSeek, Groq.
const NO_TOOLS: [&str; 8] = [
    "does not support tools",
    "requires --jinja",
    "--enable-auto-tool-choice",
    "no endpoints found that support tool use",
    "tools are not supported",
    "does not support function calling",
    "function calling is not supported",
    "`tool calling` is not supported",
];

const NOT_FOUND: [&str; 4] = ["not found", "not exist", "invalid model", "not a valid model"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart() {
        use ServerErrorKind::*;
        for (status, body, expected) in [
            (429, r#"{"error":{"message":"Rate limit reached"}}"#, RateLimited),
            (429, r#"{"error":{"message":"x","code":"insufficient_quota"}}"#, NoCredit),
            (402, r#"{"error":{"message":"Insufficient credits","code":402}}"#, NoCredit),
            (401, r#"{"error":{"message":"Incorrect API key provided"}}"#, Key),
            (
                503,
                r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
                Unavailable,
            ),
            (502, "<html>bad gateway", Unavailable),
            (500, "oh", Failed),
            (408, "", Failed),
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 4096 tokens","code":"context_length_exceeded"}}"#,
                TooLong,
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}"#,
                TooLong,
            ),
            (500, r#"{"error":"Context length exceeded"}"#, TooLong),
            (413, r#"{"message":"prompt is too long: 9000 tokens"}"#, TooLong),
            (
                400,
                r#"{"object":"error","message":"The decoder prompt (length 5000) is longer than the maximum model length of 4096."}"#,
                TooLong,
            ),
            (
                400,
                r#"{"error":{"message":"input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"}}"#,
                TooLong,
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"The input token count (9000) exceeds the maximum number of tokens allowed (8192)."}}"#,
                TooLong,
            ),
            (
                422,
                r#"{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens"}"#,
                TooLong,
            ),
            (
                429,
                r#"{"error":{"message":"Request too large for gpt-4 on tokens per min (TPM): Limit 10000, Requested 12000."}}"#,
                TooLong,
            ),
            (400, r#"{"error":"This model's maximum prompt length is 131072 but"}"#, TooLong),
            (400, r#"{"error":{"message":"Prompt length 5000 is greater than max_seq_len 4096"}}"#, TooLong),
            (
                400,
                r#"{"error":"Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens"}"#,
                TooLong,
            ),
            (413, "<html>413 Request Entity Too Large", TooLong),
            (
                404,
                r#"{"error":{"message":"model \"llama9\" not found, try pulling it first"}}"#,
                UnknownModel,
            ),
            (404, r#"{"error":{"message":"x","code":"model_not_found"}}"#, UnknownModel),
            (404, r#"{"object":"error","message":"The model `x` does not exist."}"#, UnknownModel),
            (400, r#"{"error":{"message":"x/y is not a valid model ID","code":400}}"#, UnknownModel),
            (400, r#"{"object":"error","message":"Invalid model: x"}"#, UnknownModel),
            (400, r#"{"error":{"message":"deepseek-reasoner does not support Function Calling"}}"#, NoTools),
            (400, r#"{"error":{"message":"`tool calling` is not supported with this model"}}"#, NoTools),
            (400, r#"{"error":{"message":"library/gemma:2b does not support tools"}}"#, NoTools),
            (500, r#"{"error":{"message":"tools param requires --jinja flag"}}"#, NoTools),
            (404, "404 page not found", Invalid),
            (
                400,
                r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."}}"#,
                MaxCompletionTokens,
            ),
            (400, r#"{"error":{"message":"temperature must be at most 2"}}"#, Invalid),
            (422, r#"{"detail":[{"msg":"field required"}]}"#, Invalid),
            (302, "", Redirect),
        ] {
            assert_eq!(classify(status, &error_text(body)), expected, "{status} {body}");
        }
    }

    #[test]
    fn an_error_within_a_stream_may_have_a_status() {
        for (error, expected) in [
            (r#"{"code":429}"#, 429),
            (r#"{"code":"503"}"#, 503),
            (r#"{"status":400}"#, 400),
            (r#"{"code":200}"#, 500),
            (r#"{"code":"server_error"}"#, 500),
            (r#""oh""#, 500),
        ] {
            assert_eq!(status_within(&serde_json::from_str(error).unwrap()), expected, "{error}");
        }
    }
}
