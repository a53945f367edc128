//! The trait that a tool implements, and what makes a guest of it.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::exports::near::agent::tool as raw;
use crate::call::Call;

/// A tool. Every call is made in a fresh instance; what has to be remembered is in [`state`](crate::state).
pub trait Tool {
    /// The parameters. They fit the schema: the host looks at that before.
    type Params: DeserializeOwned;

    /// What it is for, in words for whoever chooses among tools: mostly a language model.
    fn description() -> String;

    /// The JSON Schema of the parameters.
    fn schema() -> Value;

    /// Does the work: the text for the caller.
    ///
    /// # Errors
    /// Why it cannot be done, for the caller. Nothing that this call wrote is kept then.
    fn call(params: Self::Params, call: &Call) -> Result<String, String>;
}

/// A tool as the host calls it.
#[doc(hidden)]
pub struct Exported<T>(PhantomData<T>);

impl<T: Tool> raw::Guest for Exported<T> {
    fn execute(request: raw::Request) -> raw::Response {
        // Through a value: a reader for each type from text would double the size of a tool.
        let params: Result<Value, _> = serde_json::from_str(&request.params);
        let params = params.and_then(serde_json::from_value);
        let result = match params {
            Ok(params) => T::call(params, &Call::of(request.context.as_deref())),
            Err(error) => Err(format!("the parameters: {error}")),
        };
        match result {
            Ok(output) => raw::Response { output: Some(output), error: None },
            Err(error) => raw::Response { output: None, error: Some(error) },
        }
    }

    fn schema() -> String {
        T::schema().to_string()
    }

    fn description() -> String {
        T::description()
    }
}

/// Makes a guest of a type that implements [`Tool`].
#[macro_export]
macro_rules! tool {
    ($tool:ty) => {
        #[doc(hidden)]
        type __ExportedTool = $crate::Exported<$tool>;
        #[cfg(target_family = "wasm")]
        $crate::bindings::export!(__ExportedTool with_types_in $crate::bindings);
    };
}
