//! What the fakes of the services share: what they were asked, and what they are told to refuse.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use serde_json::Value;

use crate::support::upstream::Response;

/// A status and JSON.
pub fn json(status: u16, body: &Value) -> Response {
    (status, vec![("content-type".into(), "application/json".into())], body.to_string().into_bytes())
}

/// A status, one more header, and JSON.
#[allow(dead_code, reason = "not every service names its wait in a header")]
pub fn json_with(status: u16, header: (&str, &str), body: &Value) -> Response {
    let mut response = json(status, body);
    response.1.push((header.0.into(), header.1.into()));
    response
}

/// Responses that a test has ordered: the next call of a method gets them instead of its own.
#[derive(Default)]
pub struct Orders(Mutex<VecDeque<(String, Response)>>);

impl Orders {
    pub fn next_response(&self, method: &str, response: Response) {
        self.0.lock().unwrap().push_back((method.to_owned(), response));
    }

    pub fn take(&self, method: &str) -> Option<Response> {
        let mut orders = self.0.lock().unwrap();
        let at = orders.iter().position(|(of, _)| of == method)?;
        orders.remove(at).map(|(_, response)| response)
    }
}

/// What a service was told to do, in order.
pub struct CallLog<T>(Mutex<Vec<T>>);

impl<T> Default for CallLog<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> CallLog<T> {
    pub fn push(&self, what: T) {
        self.0.lock().unwrap().push(what);
    }

    pub fn all(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Waits until there are so many.
    pub fn wait(&self, count: usize) -> Vec<T> {
        crate::support::eventually("the service is told so much", || {
            let all = self.all();
            (all.len() >= count).then_some(all)
        })
    }
}

/// The lock of a fake's state.
pub fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
