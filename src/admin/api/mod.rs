//! The API: resources under `/api/v1`, JSON in both directions.
//!
//! A handler gets what it works on and the request, and returns the JSON of the response. One that needs nothing but what
//! is stored is called by the command line too, when no host runs.
//!
//! | file | job |
//! |---|---|
//! | `routes` | the table of resources: a new one is a line there and a handler |
//! | `request`, `rows`, `error` | what handlers read, and what they say when they cannot do it |
//! | `channels`, `messages`, `replies`, `pairing`, `trace`, `recordings`, `hosts` | the handlers |
//! | `call` | a request as the command line makes it |

mod call;
mod channels;
mod error;
#[cfg(feature = "cluster")]
mod hosts;
mod messages;
mod pairing;
mod recordings;
mod replies;
mod request;
mod routes;
mod rows;
mod trace;

use serde_json::{Value, json};

pub(crate) use call::ApiCall;
pub(crate) use error::ApiError;
pub(crate) use request::ApiRequest;
pub(crate) use routes::{ApiHandler, check, execute_on_store, find};

/// What a handler returns: the JSON of the response, or why there is none.
pub(crate) type ApiResult = Result<Value, ApiError>;

/// The response to a change that may not have applied; `why` says why not.
fn change<E: std::fmt::Display>(result: Result<bool, E>, why: impl FnOnce() -> ApiError) -> ApiResult {
    match result.map_err(ApiError::failed)? {
        true => Ok(json!({"changed": true})),
        false => Err(why()),
    }
}
