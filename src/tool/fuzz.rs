//! What the fuzz targets call.

use serde_json::Value;

use super::schema::ParameterSchema;
use crate::capability::ToolCapabilities;
use crate::model::name::ChannelName;

/// A schema and, behind a line break, parameters: any text gives a list of problems, which is the same each time.
pub fn tool_parameters(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some((schema, params)) = text.split_once('\n') else { return };
    let (Ok(schema), Ok(params)) = (ParameterSchema::parse(schema), serde_json::from_str::<Value>(params))
    else {
        return;
    };
    let problems = schema.problems(&params);
    assert!(problems.iter().all(|problem| !problem.to_string().is_empty()));
    assert_eq!(problems, schema.problems(&params));
}

/// A tool's capability file: any bytes give typed values or an error that says where and what.
pub fn tool_capability_file(bytes: &[u8]) {
    let Ok(name) = ChannelName::new("fetch") else { return };
    match ToolCapabilities::parse("fetch.capabilities.json", &name, bytes) {
        Ok(file) => drop(file.inspect()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
