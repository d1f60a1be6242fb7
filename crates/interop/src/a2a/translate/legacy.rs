//! What 0.3 writes over HTTP+JSON: neither its own JSON nor 1.0's, but an older form of the latter.
//!
//! Its names have been made canonical already by [`walk::normal`](crate::a2a::walk), so `request` and `update`, which are the names of
//! `message` in Protocol Buffers, are the only ones to mind here.

use portcullis_domain::json;

use super::edit::{change, change_each, each, rename, within};
use super::push::{place_to_new, place_to_old};
use super::task::state_of;
use crate::a2a::state::TaskState;
use crate::frame::object::{Object, quoted};

/// The parameters of a message that is sent.
pub(in crate::a2a) fn send_to_new(raw: &str) -> Result<String, String> {
    let mut params = Object::read(raw)?;
    params.remove("tenant");
    alias(&mut params, "request", "message")?;
    change(&mut params, "message", message_to_new)?;
    change(&mut params, "configuration", |raw| {
        let mut configuration = Object::read(raw)?;
        rename(&mut configuration, "pushNotification", "taskPushNotificationConfig");
        change(&mut configuration, "taskPushNotificationConfig", place_to_new)?;
        if configuration.raw("historyLength").is_some_and(|raw| raw == "0") {
            configuration.remove("historyLength");
        }
        // By this binding nobody waits unless it is asked for: what is not written is false.
        let blocking = configuration.take("blocking");
        configuration.set("returnImmediately", (blocking.as_deref() != Some("true")).to_string());
        Ok(configuration.to_string())
    })?;
    Ok(params.to_string())
}

pub(in crate::a2a) fn send_to_old(raw: &str) -> Result<String, String> {
    let mut params = Object::read(raw)?;
    params.remove("tenant");
    params.remove("request");
    change(&mut params, "message", message_to_old)?;
    if params.raw("configuration").is_none_or(|raw| raw == "null") {
        params.set("configuration", "{}");
    }
    change(&mut params, "configuration", |raw| {
        let mut configuration = Object::read(raw)?;
        rename(&mut configuration, "taskPushNotificationConfig", "pushNotification");
        change(&mut configuration, "pushNotification", place_to_old)?;
        let returns = configuration.take("returnImmediately");
        configuration.set("blocking", (returns.as_deref() != Some("true")).to_string());
        Ok(configuration.to_string())
    })?;
    Ok(params.to_string())
}

/// The answer to a message, or an event of a stream.
pub(in crate::a2a) fn payload_to_new(raw: &str) -> Result<String, String> {
    let mut payload = Object::read(raw)?;
    alias(&mut payload, "msg", "message")?;
    change(&mut payload, "task", task_to_new)?;
    change(&mut payload, "message", message_to_new)?;
    change(&mut payload, "statusUpdate", |raw| {
        let mut update = Object::read(raw)?;
        update.remove("final");
        change(&mut update, "status", status_to_new)?;
        Ok(update.to_string())
    })?;
    change(&mut payload, "artifactUpdate", |raw| changed(raw, "artifact", artifact_to_new))?;
    Ok(payload.to_string())
}

pub(in crate::a2a) fn payload_to_old(raw: &str) -> Result<String, String> {
    let mut payload = Object::read(raw)?;
    change(&mut payload, "task", task_to_old)?;
    change(&mut payload, "message", message_to_old)?;
    change(&mut payload, "statusUpdate", |raw| {
        let mut update = Object::read(raw)?;
        let state = state_of(update.raw("status").unwrap_or("{}"))?;
        change(&mut update, "status", status_to_old)?;
        update.set("final", state.is_terminal().to_string());
        Ok(update.to_string())
    })?;
    change(&mut payload, "artifactUpdate", |raw| changed(raw, "artifact", artifact_to_old))?;
    Ok(payload.to_string())
}

pub(in crate::a2a) fn task_to_new(raw: &str) -> Result<String, String> {
    let mut task = Object::read(raw)?;
    change(&mut task, "status", status_to_new)?;
    change_each(&mut task, "history", message_to_new)?;
    change_each(&mut task, "artifacts", artifact_to_new)?;
    Ok(task.to_string())
}

pub(in crate::a2a) fn task_to_old(raw: &str) -> Result<String, String> {
    let mut task = Object::read(raw)?;
    change(&mut task, "status", status_to_old)?;
    change_each(&mut task, "history", message_to_old)?;
    change_each(&mut task, "artifacts", artifact_to_old)?;
    Ok(task.to_string())
}

/// The request for a place for news, whose task is known by the path.
pub(in crate::a2a) fn create_push_to_new(raw: &str) -> Result<String, String> {
    let request = Object::read(raw)?;
    // One library sends the request, the other only what is to be made.
    let Some(config) = request.raw("config").filter(|raw| raw.starts_with('{')) else { return push_to_new(raw) };
    push_to_new(config)
}

pub(in crate::a2a) fn create_push_to_old(raw: &str) -> Result<String, String> {
    let params = Object::read(raw)?;
    let text = |name| params.raw(name).and_then(|raw| serde_json::from_str::<String>(raw).ok()).unwrap_or_default();
    let mut request = Object::default();
    request.set("parent", quoted(&format!("tasks/{}", text("taskId"))));
    request.set("configId", quoted(&text("id")));
    request.set("config", push_to_old(raw)?);
    Ok(request.to_string())
}

pub(in crate::a2a) fn push_to_new(raw: &str) -> Result<String, String> {
    let mut outer = Object::read(raw)?;
    for name in ["id", "url", "token", "authentication", "taskId"] {
        outer.remove(name);
    }
    let name = outer.take("name").and_then(|raw| serde_json::from_str::<String>(&raw).ok()).unwrap_or_default();
    let mut segments = name.split('/');
    if let (Some("tasks"), Some(task)) = (segments.next(), segments.next()) {
        outer.set("taskId", quoted(task));
    }
    let place = outer.take("pushNotificationConfig").map_or_else(|| "{}".to_owned(), std::borrow::Cow::into_owned);
    let place = place_to_new(&place).map_err(|problem| within("pushNotificationConfig", &problem))?;
    for (name, value) in json::members(&place)? {
        outer.extend([(name.as_ref(), value.get())]);
    }
    if let (Some("pushNotificationConfigs"), Some(id), true) =
        (segments.next(), segments.next(), outer.raw("id").is_none())
    {
        outer.set("id", quoted(id));
    }
    Ok(outer.to_string())
}

pub(in crate::a2a) fn push_to_old(raw: &str) -> Result<String, String> {
    let params = Object::read(raw)?;
    let text = |name| params.raw(name).and_then(|raw| serde_json::from_str::<String>(raw).ok()).unwrap_or_default();
    let mut outer = Object::read(raw)?;
    outer.set("name", quoted(&format!("tasks/{}/pushNotificationConfigs/{}", text("taskId"), text("id"))));
    let mut place = Object::default();
    for name in ["id", "url", "token", "authentication"] {
        if let Some(value) = outer.take(name) {
            place.set(name, value.into_owned());
        }
    }
    outer.remove("taskId");
    outer.remove("tenant");
    outer.set("pushNotificationConfig", place_to_old(&place.to_string())?);
    Ok(outer.to_string())
}

pub(in crate::a2a) fn push_page_to_new(raw: &str) -> Result<String, String> {
    changed(raw, "configs", |raw| each(raw, push_to_new))
}

pub(in crate::a2a) fn push_page_to_old(raw: &str) -> Result<String, String> {
    changed(raw, "configs", |raw| each(raw, push_to_old))
}

fn changed(raw: &str, name: &'static str, one: fn(&str) -> Result<String, String>) -> Result<String, String> {
    let mut object = Object::read(raw)?;
    change(&mut object, name, one)?;
    Ok(object.to_string())
}

fn message_to_new(raw: &str) -> Result<String, String> {
    let mut message = Object::read(raw)?;
    rename(&mut message, "content", "parts");
    change_each(&mut message, "parts", part_to_new)?;
    Ok(message.to_string())
}

fn message_to_old(raw: &str) -> Result<String, String> {
    let mut message = Object::read(raw)?;
    rename(&mut message, "parts", "content");
    change_each(&mut message, "content", part_to_old)?;
    // The form has no place for other tasks, and readers that are strict refuse what they do not know.
    message.remove("referenceTaskIds");
    Ok(message.to_string())
}

fn status_to_new(raw: &str) -> Result<String, String> {
    let mut status = Object::read(raw)?;
    alias(&mut status, "update", "message")?;
    let state = status.raw("state").map_or(TaskState::Unknown, TaskState::read);
    status.set("state", quoted(state.name()));
    change(&mut status, "message", message_to_new)?;
    Ok(status.to_string())
}

fn status_to_old(raw: &str) -> Result<String, String> {
    let mut status = Object::read(raw)?;
    status.remove("update");
    let state = status.raw("state").map_or(TaskState::Unknown, TaskState::read);
    status.set("state", quoted(state.legacy_http_name()));
    change(&mut status, "message", message_to_old)?;
    Ok(status.to_string())
}

fn artifact_to_new(raw: &str) -> Result<String, String> {
    changed(raw, "parts", |raw| each(raw, part_to_new))
}

fn artifact_to_old(raw: &str) -> Result<String, String> {
    changed(raw, "parts", |raw| each(raw, part_to_old))
}

fn part_to_new(raw: &str) -> Result<String, String> {
    let mut part = Object::read(raw)?;
    for name in ["raw", "url", "filename", "mediaType"] {
        part.remove(name);
    }
    if let Some(file) = part.take("file") {
        let mut file = Object::read(&file)?;
        let names = [("fileWithBytes", "raw"), ("fileWithUri", "url"), ("mimeType", "mediaType"), ("name", "filename")];
        for (old, new) in names {
            if let Some(value) = file.take(old).filter(|value| value != "\"\"") {
                part.set(new, value.into_owned());
            }
        }
    }
    if let Some(data) = part.take("data") {
        let data = Object::read(&data)?.raw("data").unwrap_or("{}").to_owned();
        part.set("data", data);
    }
    Ok(part.to_string())
}

fn part_to_old(raw: &str) -> Result<String, String> {
    let old = super::part::to_old(raw)?;
    let mut part = Object::read(&old)?;
    part.remove("kind");
    // Only a file has a name and a type in this form, and its readers are strict.
    part.remove("filename");
    part.remove("mediaType");
    change(&mut part, "data", |data| Ok(format!("{{\"data\":{data}}}")))?;
    change(&mut part, "file", |raw| {
        let mut file = Object::read(raw)?;
        rename(&mut file, "bytes", "fileWithBytes");
        rename(&mut file, "uri", "fileWithUri");
        Ok(file.to_string())
    })?;
    Ok(part.to_string())
}

/// Two names of the same member: either may stand there, but not both.
fn alias(object: &mut Object<'_>, old: &str, new: &'static str) -> Result<(), String> {
    let Some(value) = object.take(old) else { return Ok(()) };
    if object.raw(new).is_some() {
        return Err(format!("`{new}` stands twice"));
    }
    object.set(new, value.into_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_no_name_and_no_type_in_this_form() {
        let new = r#"{"text":"a","filename":"f","mediaType":"text/plain","metadata":{"x":1.0}}"#;
        assert_eq!(part_to_old(new).unwrap(), r#"{"text":"a","metadata":{"x":1.0}}"#);
        let new = r#"{"url":"u","filename":"f","mediaType":"text/plain"}"#;
        assert_eq!(part_to_old(new).unwrap(), r#"{"file":{"mimeType":"text/plain","name":"f","fileWithUri":"u"}}"#);
    }
}
