//! What is answered, and each event of a stream.

use std::borrow::Cow;

use portcullis_domain::json;

use super::edit::{change, each};
use super::{message, push, task};
use crate::a2a::method::Method;
use crate::a2a::version::Version;
use crate::frame::object::Object;

/// The raw result of a method, or an event of its stream, in another version's form; the same text when it is the same version.
///
/// The card of [`Method::GetExtendedCard`] is none of this: it is made anew by [`card`](crate::a2a::card).
///
/// # Errors
///
/// What can't be read.
pub fn result(method: Method, from: Version, to: Version, raw: &str) -> Result<Cow<'_, str>, String> {
    match (from, to) {
        (Version::V0_3, Version::V1_0) => to_new(method, raw).map(Cow::Owned),
        (Version::V1_0, Version::V0_3) => to_old(method, raw).map(Cow::Owned),
        (Version::V0_3, Version::V0_3) | (Version::V1_0, Version::V1_0) => Ok(Cow::Borrowed(raw)),
    }
}

fn to_new(method: Method, raw: &str) -> Result<String, String> {
    match method {
        Method::SendMessage | Method::SendStreamingMessage | Method::SubscribeToTask => wrap(raw),
        Method::GetTask | Method::CancelTask => task::to_new(raw),
        Method::CreatePushConfig | Method::GetPushConfig => push::to_new(raw),
        Method::ListPushConfigs => Ok(format!("{{\"configs\":{}}}", each(raw, push::to_new)?)),
        Method::DeletePushConfig => Ok("{}".to_owned()),
        Method::ListTasks | Method::GetExtendedCard => Ok(raw.to_owned()),
    }
}

fn to_old(method: Method, raw: &str) -> Result<String, String> {
    match method {
        Method::SendMessage | Method::SendStreamingMessage | Method::SubscribeToTask => unwrap(raw),
        Method::GetTask | Method::CancelTask => task::to_old(raw),
        Method::CreatePushConfig | Method::GetPushConfig => push::to_old(raw),
        Method::ListPushConfigs => each(Object::read(raw)?.raw("configs").unwrap_or("[]"), push::to_old),
        Method::DeletePushConfig => Ok("null".to_owned()),
        Method::ListTasks => {
            let mut page = Object::read(raw)?;
            change(&mut page, "tasks", |tasks| each(tasks, task::to_old))?;
            Ok(page.to_string())
        }
        Method::GetExtendedCard => Ok(raw.to_owned()),
    }
}

/// 0.3 says by `kind` what it is, 1.0 by the member that it stands in.
fn wrap(raw: &str) -> Result<String, String> {
    let members = json::members(raw)?;
    let kind = json::member(&members, "kind").and_then(json::text);
    let (name, new) = match kind.as_deref() {
        Some("task") => ("task", task::to_new(raw)?),
        Some("message") => ("message", message::to_new(raw)?),
        Some("status-update") => ("statusUpdate", task::status_update_to_new(raw)?),
        Some("artifact-update") => ("artifactUpdate", task::artifact_update_to_new(raw)?),
        _ => return Err("the `kind` is none that is known".to_owned()),
    };
    Ok(format!("{{\"{name}\":{new}}}"))
}

fn unwrap(raw: &str) -> Result<String, String> {
    let members = json::members(raw)?;
    let content = |name| json::member(&members, name).map(|raw| raw.get()).filter(|raw| *raw != "null");
    if let Some(raw) = content("task") {
        return task::to_old(raw);
    }
    if let Some(raw) = content("message") {
        return message::to_old(raw);
    }
    if let Some(raw) = content("statusUpdate") {
        return task::status_update_to_old(raw);
    }
    content("artifactUpdate").map_or_else(|| Err("there is no payload".to_owned()), task::artifact_update_to_old)
}
