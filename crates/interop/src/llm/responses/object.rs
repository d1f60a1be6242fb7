//! The response object that the client gets.

use serde_json::{Value, json};

use crate::llm::responses::ResponsesRequest;

/// How an answer ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// It is not over.
    Under,
    /// It is whole.
    Completed,
    /// A limit cut it: `max_output_tokens` or `content_filter`.
    Incomplete(&'static str),
    /// It broke off, with what is said of it.
    Failed(String),
}

impl Ending {
    /// What the reason of a chat answer's end comes to.
    #[must_use]
    pub fn of(finish_reason: Option<&str>) -> Self {
        match finish_reason {
            Some("length") => Self::Incomplete("max_output_tokens"),
            Some("content_filter") => Self::Incomplete("content_filter"),
            Some(_) | None => Self::Completed,
        }
    }

    /// The `status` of the response.
    #[must_use]
    pub fn status(&self) -> &'static str {
        match self {
            Self::Under => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
            Self::Failed(_) => "failed",
        }
    }
}

/// What of a response is known before the model has said anything: most of it is what was asked for.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Its id, as in `resp_6f1d…`.
    pub id: String,
    /// When it was asked for, in seconds since 1970.
    pub created_at: u64,
    members: Value,
}

impl Frame {
    /// The frame of the response to this request.
    #[must_use]
    pub fn new(request: &ResponsesRequest, id: &str, created_at: u64) -> Self {
        let asked = |name: &str, otherwise: Value| match request.members.get(name) {
            None | Some(Value::Null) => otherwise,
            Some(value) => value.clone(),
        };
        let conversation = request.conversation().ok().flatten().map(|id| json!({"id": id}));
        let members = json!({
            "instructions": asked("instructions", Value::Null),
            "max_output_tokens": asked("max_output_tokens", Value::Null),
            "metadata": asked("metadata", json!({})),
            "model": request.model(),
            "parallel_tool_calls": asked("parallel_tool_calls", json!(true)),
            "previous_response_id": asked("previous_response_id", Value::Null),
            "conversation": conversation,
            "reasoning": asked("reasoning", json!({"effort": null, "summary": null})),
            "service_tier": asked("service_tier", json!("default")),
            "store": request.is_stored(),
            "temperature": asked("temperature", json!(1.0)),
            "text": asked("text", json!({"format": {"type": "text"}})),
            "tool_choice": asked("tool_choice", json!("auto")),
            "tools": asked("tools", json!([])),
            "top_p": asked("top_p", json!(1.0)),
            "truncation": "disabled",
            "user": asked("user", Value::Null),
        });
        Self { id: id.to_owned(), created_at, members }
    }

    /// The response with these items.
    #[must_use]
    pub fn response(&self, ending: &Ending, output: &[Value], usage: Option<&Value>) -> Value {
        let incomplete = match ending {
            Ending::Incomplete(reason) => json!({"reason": reason}),
            Ending::Under | Ending::Completed | Ending::Failed(_) => Value::Null,
        };
        let error = match ending {
            Ending::Failed(message) => json!({"code": "server_error", "message": message}),
            Ending::Under | Ending::Completed | Ending::Incomplete(_) => Value::Null,
        };
        let mut response = json!({
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "status": ending.status(),
            "background": false,
            "error": error,
            "incomplete_details": incomplete,
            "output": output,
            "usage": usage.and_then(self::usage),
        });
        if let (Some(response), Some(members)) = (response.as_object_mut(), self.members.as_object()) {
            response.extend(members.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        response
    }

    /// The id of the response's item of that number.
    pub(super) fn item(&self, kind: &str, number: usize) -> String {
        let unique = self.id.split_once('_').map_or(self.id.as_str(), |(_, unique)| unique);
        format!("{kind}_{unique}{number:04x}")
    }
}

/// The usage of a chat answer, in the words of responses.
fn usage(usage: &Value) -> Option<Value> {
    let count = |path: &str| usage.pointer(path).and_then(Value::as_u64);
    let input = count("/prompt_tokens")?;
    let output = count("/completion_tokens").unwrap_or(0);
    Some(json!({
        "input_tokens": input,
        "input_tokens_details": {"cached_tokens": count("/prompt_tokens_details/cached_tokens").unwrap_or(0)},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": count("/completion_tokens_details/reasoning_tokens").unwrap_or(0)},
        "total_tokens": count("/total_tokens").unwrap_or_else(|| input.saturating_add(output)),
    }))
}
