//! Looking into channels that run: recordings, and what would become of a request.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{ApiError, ApiRequest, ApiResult};
use crate::admin::AdminState;
use crate::admin::records::explained;
use crate::channel::ChannelName;
use crate::channel::recording::{MAX_CALLBACKS, Recorder};
use crate::host::RecordingStart;

/// The longest recording, in seconds; what is taken when a request names none.
const MAX_SECS: u64 = 3_600;

/// How long a recording is to be; each may stand in the query instead.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Length {
    callbacks: Option<u64>,
    seconds: Option<u64>,
}

/// Begins to record a channel: `callbacks`, for `seconds`. Refused while it is being recorded.
pub(super) fn start(state: &AdminState, request: &ApiRequest) -> ApiResult {
    let name = channel(request)?;
    let wanted: Length = request.json()?;
    let callbacks = bounded(request, "callbacks", wanted.callbacks, MAX_CALLBACKS as u64)?;
    let callbacks = usize::try_from(callbacks).unwrap_or(MAX_CALLBACKS);
    let seconds = bounded(request, "seconds", wanted.seconds, MAX_SECS)?;
    let recorder = Recorder::new(callbacks, Duration::from_secs(seconds));
    match state.manager.start_recording(&name, recorder).map_err(ApiError::failed)? {
        RecordingStart::Started => Ok(json!({"recording": true})),
        RecordingStart::NoChannel => Err(ApiError::NoChannel(name)),
        RecordingStart::AlreadyRecorded { left } => Err(ApiError::AlreadyRecorded { channel: name, left }),
    }
}

/// How much a recording has.
pub(super) fn show(state: &AdminState, request: &ApiRequest) -> ApiResult {
    let name = channel(request)?;
    let recorder = state.manager.recording(&name).ok_or(ApiError::NotRecorded(name))?;
    Ok(counts(&recorder))
}

/// Ends the recording of a channel and returns it.
pub(super) fn stop(state: &AdminState, request: &ApiRequest) -> ApiResult {
    let name = channel(request)?;
    let recorder = state.manager.stop_recording(&name).map_err(ApiError::failed)?;
    let recorder = recorder.ok_or(ApiError::NotRecorded(name))?;
    let mut found = counts(&recorder);
    // Each line was written as JSON.
    let lines = recorder.lines().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    found["lines"] = lines.collect();
    Ok(found)
}

/// What would become of a request of a channel: `method` and `url`.
pub(super) fn explain(state: &AdminState, request: &ApiRequest) -> ApiResult {
    let name = channel(request)?;
    let parameter = |name: &str| request.parameter(name).unwrap_or_default();
    let steps = state.manager.explain_request(&name, parameter("method"), parameter("url"));
    steps.map_err(ApiError::failed)?.map(|steps| explained(&steps)).ok_or(ApiError::NoChannel(name))
}

fn counts(recorder: &Recorder) -> Value {
    let (callbacks, left_out) = recorder.counts();
    json!({"callbacks": callbacks, "left_out": left_out, "full": recorder.is_full()})
}

/// A number of 1 to `max`, from the body or the query; `max` when it is left out.
fn bounded(request: &ApiRequest, name: &str, in_body: Option<u64>, max: u64) -> Result<u64, ApiError> {
    match in_body.or(request.number(name)?) {
        None => Ok(max),
        Some(_) if in_body.is_some() && request.parameter(name).is_some() => {
            Err(ApiError::Invalid(format!("`{name}` is in the body and in the query; give it once")))
        }
        Some(number) if (1..=max).contains(&number) => Ok(number),
        Some(number) => Err(ApiError::Invalid(format!("`{name}` must be 1 to {max}, not {number}"))),
    }
}

fn channel(request: &ApiRequest) -> Result<ChannelName, ApiError> {
    let name = request.place(0);
    ChannelName::new(name).map_err(|source| ApiError::ChannelName { name: name.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_as_long_as_the_limits_and_no_longer() {
        let asked = |name: &str, max: u64, text: &str| {
            let query = vec![(name.to_owned(), text.to_owned())];
            let request = ApiRequest { query, ..ApiRequest::default() };
            let in_body = text.parse().ok();
            let as_body = bounded(&ApiRequest::default(), name, in_body, max);
            assert_eq!(as_body, bounded(&request, name, None, max), "the body counts as the query does");
            assert!(bounded(&request, name, in_body, max).is_err(), "both are too many");
            as_body
        };
        for (name, max) in [("callbacks", MAX_CALLBACKS as u64), ("seconds", MAX_SECS)] {
            assert_eq!(asked(name, max, "1"), Ok(1));
            assert_eq!(asked(name, max, &max.to_string()), Ok(max));
            for number in ["0".to_owned(), (max + 1).to_string()] {
                let expected = format!("`{name}` must be 1 to {max}, not {number}");
                assert_eq!(asked(name, max, &number), Err(ApiError::Invalid(expected)));
            }
            assert_eq!(bounded(&ApiRequest::default(), name, None, max), Ok(max), "all that may be");
        }
    }
}
