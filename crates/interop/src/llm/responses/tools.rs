//! Declared tools. Those that a provider would run by itself are refused: nobody could judge what they do.

use portcullis_domain::refusal::Refusal;
use serde_json::{Map, Value, json};

use crate::llm::responses::invalid::invalid;

/// Puts the tools of a request for a response, and how they are to be chosen, into a chat request.
pub(super) fn add(members: &Map<String, Value>, chat: &mut Map<String, Value>) -> Result<(), Refusal> {
    let declared = match members.get("tools") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(declared)) => declared,
        Some(_) => return Err(invalid("tools", "`tools` is a list")),
    };
    if declared.is_empty() {
        return Ok(());
    }
    let tools: Vec<Value> =
        declared.iter().enumerate().map(|(place, tool)| function(tool, place)).collect::<Result<_, _>>()?;
    chat.insert("tools".to_owned(), Value::Array(tools));
    if let Some(choice) = members.get("tool_choice").filter(|choice| !choice.is_null()) {
        chat.insert("tool_choice".to_owned(), tool_choice(choice)?);
    }
    let parallel = members.get("parallel_tool_calls").filter(|parallel| !parallel.is_null());
    chat.extend(parallel.map(|parallel| ("parallel_tool_calls".to_owned(), parallel.clone())));
    Ok(())
}

fn function(tool: &Value, place: usize) -> Result<Value, Refusal> {
    let about = format!("tools[{place}]");
    let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default();
    if kind != "function" {
        let message = format!(
            "a tool of type `{kind}` is not served here: the model's provider would run it where no policy sees it. Use tools of type `function`"
        );
        return Err(invalid(&format!("{about}.type"), message));
    }
    let name = tool.get("name").filter(|name| name.is_string());
    if name.is_none() {
        return Err(invalid(&format!("{about}.name"), format!("`{about}.name` is missing")));
    }
    let named = ["name", "description", "parameters", "strict"];
    let kept = tool.as_object().into_iter().flatten();
    let kept = kept.filter(|(name, value)| named.contains(&name.as_str()) && !value.is_null());
    let function: Map<String, Value> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    Ok(json!({"type": "function", "function": function}))
}

fn tool_choice(choice: &Value) -> Result<Value, Refusal> {
    let refused = || {
        invalid(
            "tool_choice",
            "`tool_choice` is `none`, `auto`, `required`, a function or `allowed_tools` of functions",
        )
    };
    let named = |choice: &Value| {
        let is_function = choice.get("type").and_then(Value::as_str) == Some("function");
        let name = choice.get("name").and_then(Value::as_str).filter(|_| is_function);
        name.map(|name| json!({"type": "function", "function": {"name": name}})).ok_or_else(refused)
    };
    match (choice, choice.get("type").and_then(Value::as_str)) {
        (Value::String(word), _) if ["none", "auto", "required"].contains(&word.as_str()) => Ok(choice.clone()),
        (_, Some("function")) => named(choice),
        (_, Some("allowed_tools")) => {
            let tools = choice.get("tools").and_then(Value::as_array).ok_or_else(refused)?;
            let tools: Vec<Value> = tools.iter().map(named).collect::<Result<_, _>>()?;
            Ok(json!({"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode"), "tools": tools}}))
        }
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_domain::refusal::Code;

    use super::*;

    fn check(members: Value, expected: Result<Value, &str>) {
        let mut chat = Map::new();
        let added = add(members.as_object().unwrap(), &mut chat).map(|()| Value::Object(chat));
        let added = added.map_err(|refusal| (refusal.code, refusal.parameter.unwrap()));
        assert_eq!(added, expected.map_err(|parameter| (Code::InvalidRequest, parameter.to_owned())), "{members}");
    }

    #[test]
    fn functions_are_declared_and_what_a_provider_would_run_is_refused() {
        let tool = json!({"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": true, "description": null});
        let said =
            json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": true}});
        let chosen = json!({"type": "function", "name": "f"});
        let said_choice = json!({"type": "function", "function": {"name": "f"}});
        check(json!({}), Ok(json!({})));
        check(json!({"tools": [], "tool_choice": "auto"}), Ok(json!({})));
        check(
            json!({"tools": [tool], "parallel_tool_calls": false}),
            Ok(json!({"tools": [said], "parallel_tool_calls": false})),
        );
        check(
            json!({"tools": [tool], "tool_choice": chosen}),
            Ok(json!({"tools": [said], "tool_choice": said_choice})),
        );
        check(
            json!({"tools": [tool], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [chosen]}}),
            Ok(
                json!({"tools": [said], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [said_choice]}}}),
            ),
        );
        for kind in ["web_search", "mcp", "file_search", "code_interpreter", "image_generation", "custom", ""] {
            check(json!({"tools": [tool, {"type": kind}]}), Err("tools[1].type"));
        }
        check(json!({"tools": [{"type": "function"}]}), Err("tools[0].name"));
        check(json!({"tools": [tool], "tool_choice": {"type": "mcp"}}), Err("tool_choice"));
        check(json!({"tools": {}}), Err("tools"));
    }
}
