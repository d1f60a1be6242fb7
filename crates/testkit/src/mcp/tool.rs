//! `tools/call` as a server sees it.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::jsonrpc::Fault;
use crate::json::with;

/// What is called.
#[derive(Debug, Deserialize)]
pub(crate) struct ToolCall {
    pub(crate) name: String,
    /// As they were written: an amount must not become a float on the way.
    arguments: Option<Box<RawValue>>,
}

impl ToolCall {
    pub(crate) fn read(params: Option<&RawValue>) -> Result<Self, Fault> {
        let params = params.map_or("{}", RawValue::get);
        serde_json::from_str(params).map_err(|error| Fault::new(Fault::INVALID_PARAMS, error.to_string()))
    }

    /// The arguments in the form that the tool wants; the error is a sentence for the model.
    pub(crate) fn arguments<T: DeserializeOwned>(&self) -> Result<T, String> {
        let arguments = self.arguments.as_deref().map_or("{}", RawValue::get);
        serde_json::from_str(arguments).map_err(|error| format!("the arguments of {} are wrong: {error}", self.name))
    }

    pub(crate) fn unknown(&self) -> Fault {
        Fault::new(Fault::INVALID_PARAMS, format!("Unknown tool: {}", self.name))
    }
}

/// What a tool says.
#[derive(Debug)]
pub(crate) struct ToolResult {
    pub(crate) text: String,
    pub(crate) structured: Option<Value>,
    pub(crate) is_error: bool,
}

impl ToolResult {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), structured: None, is_error: false }
    }

    /// For a tool with an output schema: the value, and the same as text for older clients.
    pub(crate) fn structured(value: Value) -> Self {
        Self { text: value.to_string(), structured: Some(value), is_error: false }
    }

    /// The result itself, or its error as a result that a model can read.
    pub(crate) fn of(outcome: Result<Self, String>) -> Self {
        outcome.unwrap_or_else(|text| Self { text, structured: None, is_error: true })
    }

    pub(crate) fn to_json(&self) -> Value {
        let result = json!({"content": [{"type": "text", "text": self.text}], "isError": self.is_error});
        self.structured.iter().fold(result, |result, value| with(result, "structuredContent", value.clone()))
    }
}
