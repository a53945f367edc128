//! A language model behind the chat completions API, as llama.cpp's server, Ollama, vLLM, OpenRouter and others speak it.
//!
//! | file | job |
//! |---|---|
//! | `settings` | how a model is asked |
//! | `turn` | what a conversation is made of: pure |
//! | `window` | how much of it a model is told: pure |
//! | `request` | a request as JSON: pure |
//! | `sse` | events of a stream: pure |
//! | `draft` | a response, whole or in pieces: pure |
//! | `thinking` | what a model writes to itself: pure |
//! | `refusal` | what an error means: pure |
//! | `wait` | how long a server asks to wait: pure |
#![expect(dead_code, reason = "the parts come before the whole")]

mod draft;
mod refusal;
mod request;
mod settings;
mod sse;
mod thinking;
mod turn;
mod wait;
mod window;

/// Reads a stream in pieces and as a whole; both must come to the same.
#[cfg(fuzzing)]
pub(super) fn fuzz_stream(bytes: &[u8]) {
    let Some((&size, stream)) = bytes.split_first() else { return };
    let read = |size: usize| {
        let (mut reader, mut draft) = (sse::EventReader::default(), draft::Draft::default());
        for piece in stream.chunks(size) {
            let events = reader.push(piece).map_err(|_| draft::DraftError::Cut)?;
            events.iter().try_for_each(|event| draft.add(event))?;
        }
        reader.finish().map_or(Ok(()), |event| draft.add(&event))?;
        draft.finish()
    };
    let completion = read(stream.len().max(1));
    assert_eq!(read(usize::from(size).max(1)), completion, "where a stream is cut makes no difference");
    if let Ok(completion) = completion {
        assert!(completion.calls.iter().all(|call| !call.id.is_empty() && !call.name.is_empty()));
    }
    let text = String::from_utf8_lossy(stream);
    let _ = draft::Draft::of_response(&text);
    let _ = refusal::refusal(400, &refusal::error_text(&text));
}
