//! Gives a guest that is run again the responses, times and random values that were recorded, without the network; and says what
//! it does in another way.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use wit_abi::types::{HttpResponse, PairingUpsertResult};

use super::{Bytes, RecordedCall, RecordedCallback, RecordedRequest, RecordedResponse};
use crate::egress::{OutboundCall, OutboundRequest, OutboundResponse, ResponseRoom};
use crate::sandbox::{GuestHttpError, GuestServices, HostCallError};

/// What of an outcome is compared: not how much was used, nor what the guest logs.
const COMPARED: [&str; 6] = ["result", "error", "messages", "workspace", "timers", "dropped"];

/// What an outcome has in another way than the recorded one, line by line.
pub(crate) fn compare(before: &Value, after: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    for field in COMPARED {
        match (&before[field], &after[field]) {
            (before, after) if before == after => {}
            (Value::Array(before), Value::Array(after)) => {
                for place in 0..before.len().max(after.len()) {
                    let (before, after) = (before.get(place), after.get(place));
                    if before != after {
                        differences.push(difference(&format!("{field}[{place}]"), before, after));
                    }
                }
            }
            (before, after) => differences.push(difference(field, Some(before), Some(after))),
        }
    }
    differences
}

fn difference(place: &str, before: Option<&Value>, after: Option<&Value>) -> String {
    let shown = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "nothing".to_owned(),
        Some(value) => value.to_string(),
    };
    format!("{place}: was {}, is {}", shown(before), shown(after))
}

/// Responds as the recording says.
pub(crate) struct ReplayServices {
    at_ms: u64,
    /// One callback makes its calls one after the other; the lock is for the type alone.
    state: Mutex<ReplayState>,
}

struct ReplayState {
    /// What was not asked again yet.
    left: VecDeque<RecordedCall>,
    /// Requests and frames that the recording does not have.
    unexpected: Vec<String>,
    /// How many random values were made up.
    made_up: u64,
}

impl ReplayServices {
    /// Those of one callback.
    pub fn new(recorded: &RecordedCallback) -> Self {
        let left = recorded.calls.iter().cloned().collect();
        let state = ReplayState { left, unexpected: Vec::new(), made_up: 0 };
        Self { at_ms: recorded.at_ms, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, ReplayState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first call that was not asked again yet and for which `choose` gives something.
    fn take<T>(&self, choose: impl Fn(&RecordedCall) -> Option<T>) -> Option<T> {
        let left = &mut self.state().left;
        let (place, found) =
            left.iter().enumerate().find_map(|(place, call)| Some((place, choose(call)?)))?;
        left.remove(place);
        Some(found)
    }

    /// What goes out in another way than it was recorded.
    pub fn differences(&self) -> Vec<String> {
        let state = self.state();
        let missing = state.left.iter().filter_map(|call| match call {
            RecordedCall::Http { request, .. } => {
                Some(format!("request: was {}, is nothing", shown(request)))
            }
            RecordedCall::WebsocketSend { payload, .. } => {
                Some(format!("frame: was {}, is nothing", json!(payload)))
            }
            _ => None,
        });
        missing.chain(state.unexpected.iter().cloned()).collect()
    }
}

fn shown(request: &RecordedRequest) -> String {
    let RecordedRequest { method, url, headers_json, body } = request;
    json!({"method": method, "url": url, "headers": headers_json, "body": body}).to_string()
}

fn failed(error: Option<&String>) -> Result<(), HostCallError> {
    error.map_or(Ok(()), |error| Err(HostCallError::service(error)))
}

fn not_recorded() -> HostCallError {
    HostCallError::service("the recording has no such call")
}

impl GuestServices for ReplayServices {
    fn http_request(
        &self,
        request: OutboundRequest,
        _call: OutboundCall,
        _room: ResponseRoom<'_>,
    ) -> Result<OutboundResponse, GuestHttpError> {
        let OutboundRequest { method, url, headers_json, body, .. } = request;
        let asked = RecordedRequest { method, url, headers_json, body: body.as_deref().map(Bytes::of) };
        let same = |call: &RecordedCall| match call {
            RecordedCall::Http { request, response } if *request == asked => Some((None, response.clone())),
            _ => None,
        };
        // One to the same place with another content is told as a difference, and gets the recorded response.
        let alike = |call: &RecordedCall| match call {
            RecordedCall::Http { request, response }
                if request.method == asked.method && request.url == asked.url =>
            {
                Some((Some(request.clone()), response.clone()))
            }
            _ => None,
        };
        let Some((other, response)) = self.take(same).or_else(|| self.take(alike)) else {
            self.state().unexpected.push(format!("request: was nothing, is {}", shown(&asked)));
            return Err("the recording has no such request".to_owned().into());
        };
        if let Some(other) = other {
            self.state().unexpected.push(format!("request: was {}, is {}", shown(&other), shown(&asked)));
        }
        match response {
            RecordedResponse::Response { status, headers_json, body, retry_after_ms } => {
                Ok(OutboundResponse {
                    response: HttpResponse { status, headers_json, body: body.to_vec() },
                    retry_after: retry_after_ms.map(Duration::from_millis),
                })
            }
            RecordedResponse::Error { message, is_permanent } => {
                Err(GuestHttpError { message, is_permanent })
            }
        }
    }

    fn secret_exists(&self, name: &str) -> bool {
        let found = self.take(|call| match call {
            RecordedCall::SecretExists { name: known, value } if known == name => Some(*value),
            _ => None,
        });
        found.unwrap_or(false)
    }

    fn websocket_send(&self, payload: String) -> Result<(), HostCallError> {
        let found = self.take(|call| match call {
            RecordedCall::WebsocketSend { payload: known, error } if *known == payload => Some(error.clone()),
            _ => None,
        });
        match found {
            Some(error) => failed(error.as_ref()),
            None => {
                self.state().unexpected.push(format!("frame: was nothing, is {}", json!(payload)));
                Ok(())
            }
        }
    }

    fn pairing_upsert(&self, id: &str, _meta_json: &str) -> Result<PairingUpsertResult, HostCallError> {
        let found = self.take(|call| match call {
            RecordedCall::PairingUpsert { id: known, code, created, error } if known == id => {
                Some((code.clone(), *created, error.clone()))
            }
            _ => None,
        });
        let (code, created, error) = found.ok_or_else(not_recorded)?;
        failed(error.as_ref()).map(|()| PairingUpsertResult { code, created })
    }

    fn pairing_resolve(&self, external_id: &str) -> Result<Option<String>, HostCallError> {
        let found = self.take(|call| match call {
            RecordedCall::PairingResolve { id, value, error } if id == external_id => {
                Some((value.clone(), error.clone()))
            }
            _ => None,
        });
        let (value, error) = found.ok_or_else(not_recorded)?;
        failed(error.as_ref()).map(|()| value)
    }

    fn pairing_allow_from(&self) -> Result<Vec<String>, HostCallError> {
        let found = self.take(|call| match call {
            RecordedCall::PairingAllowFrom { value, error } => Some((value.clone(), error.clone())),
            _ => None,
        });
        let (value, error) = found.ok_or_else(not_recorded)?;
        failed(error.as_ref()).map(|()| value)
    }

    fn pairing_is_allowed(&self, id: &str, _username: Option<&str>) -> Result<bool, HostCallError> {
        let found = self.take(|call| match call {
            RecordedCall::PairingIsAllowed { id: known, value, error } if known == id => {
                Some((*value, error.clone()))
            }
            _ => None,
        });
        let (value, error) = found.ok_or_else(not_recorded)?;
        failed(error.as_ref()).map(|()| value)
    }

    fn now_millis(&self) -> u64 {
        let found = self.take(|call| match call {
            RecordedCall::NowMillis { value } => Some(*value),
            _ => None,
        });
        found.unwrap_or(self.at_ms)
    }

    fn wall_clock(&self) -> Duration {
        let found = self.take(|call| match call {
            RecordedCall::WallClock { value } => Some(Duration::from_nanos(*value)),
            _ => None,
        });
        found.unwrap_or(Duration::from_millis(self.at_ms))
    }

    fn monotonic_nanos(&self) -> u64 {
        let found = self.take(|call| match call {
            RecordedCall::MonotonicClock { value } => Some(*value),
            _ => None,
        });
        found.unwrap_or(0)
    }

    /// Bytes beyond the recorded ones are made up, always the same.
    fn fill_random(&self, bytes: &mut [u8]) -> bool {
        let length = bytes.len();
        let found = self.take(|call| match call {
            RecordedCall::Random { value } => Some(value.to_vec()).filter(|value| value.len() == length),
            _ => None,
        });
        if let Some(value) = found {
            bytes.copy_from_slice(&value);
            return true;
        }
        let mut state = self.state();
        for piece in bytes.chunks_mut(32) {
            state.made_up += 1;
            let made_up = digest(&SHA256, &state.made_up.to_le_bytes());
            piece.copy_from_slice(&made_up.as_ref()[..piece.len()]);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_both_values() {
        let outcome = |messages: Value, status: u16| json!({"messages": messages, "result": {"status": status}, "fuel": status});
        assert_eq!(compare(&outcome(json!(["a"]), 200), &outcome(json!(["a"]), 200)), Vec::<String>::new());
        assert_eq!(
            compare(&outcome(json!(["a", "b"]), 200), &outcome(json!(["a"]), 500)),
            [
                "result: was {\"status\":200}, is {\"status\":500}".to_owned(),
                "messages[1]: was \"b\", is nothing".to_owned()
            ]
        );
    }

    fn services(calls: Vec<RecordedCall>) -> ReplayServices {
        ReplayServices::new(&RecordedCallback {
            callback: "on-poll".into(),
            at_ms: 7,
            input: json!({}),
            config_json: None,
            workspace: Default::default(),
            calls,
            outcome: json!({}),
        })
    }

    #[test]
    fn times_and_random_values_are_those_of_the_recording_and_then_always_the_same() {
        let calls = vec![
            RecordedCall::NowMillis { value: 1 },
            RecordedCall::Random { value: Bytes::of(b"ab") },
            RecordedCall::NowMillis { value: 2 },
        ];
        let random = |services: &ReplayServices, length: usize| {
            let mut bytes = vec![0; length];
            assert!(services.fill_random(&mut bytes));
            bytes
        };
        let (first, second) = (services(calls.clone()), services(calls));
        assert_eq!([first.now_millis(), first.now_millis(), first.now_millis()], [1, 2, 7]);
        assert_eq!(random(&first, 2), b"ab");
        assert_eq!(random(&second, 2), b"ab");
        let more = random(&first, 70);
        assert!(more == random(&second, 70) && more[..32] != more[32..64], "{more:?}");
    }

    #[test]
    fn unrecorded_and_missing_requests_are_differences() {
        let found = services(vec![RecordedCall::WebsocketSend { payload: "a".into(), error: None }]);
        assert_eq!(found.websocket_send("b".into()), Ok(()));
        assert_eq!(
            found.differences(),
            ["frame: was \"a\", is nothing".to_owned(), "frame: was nothing, is \"b\"".to_owned()]
        );
    }
}
