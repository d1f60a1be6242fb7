//! Tasks, what they make, and the news of them.

use super::edit::{change, change_each};
use super::{message, part};
use crate::a2a::state::TaskState;
use crate::frame::object::{Object, quoted};

pub(super) fn to_new(raw: &str) -> Result<String, String> {
    let mut task = Object::read(raw)?;
    task.remove("kind");
    change(&mut task, "status", status_to_new)?;
    change_each(&mut task, "history", message::to_new)?;
    change_each(&mut task, "artifacts", artifact_to_new)?;
    Ok(task.to_string())
}

pub(super) fn to_old(raw: &str) -> Result<String, String> {
    let mut task = Object::read(raw)?;
    task.remove("kind");
    require(&mut task, "id", "\"\"");
    require(&mut task, "contextId", "\"\"");
    require(&mut task, "status", "{}");
    change(&mut task, "status", status_to_old)?;
    change_each(&mut task, "history", message::to_old)?;
    change_each(&mut task, "artifacts", artifact_to_old)?;
    task.set("kind", quoted("task"));
    Ok(task.to_string())
}

pub(super) fn status_update_to_new(raw: &str) -> Result<String, String> {
    let mut update = Object::read(raw)?;
    update.remove("kind");
    update.remove("final");
    change(&mut update, "status", status_to_new)?;
    Ok(update.to_string())
}

/// 0.3 says with each piece of news whether it is the last one. 1.0 does not, but nothing follows the end of a task.
pub(super) fn status_update_to_old(raw: &str) -> Result<String, String> {
    let mut update = Object::read(raw)?;
    update.remove("kind");
    require(&mut update, "taskId", "\"\"");
    require(&mut update, "contextId", "\"\"");
    require(&mut update, "status", "{}");
    let state = state_of(update.raw("status").unwrap_or("{}"))?;
    change(&mut update, "status", status_to_old)?;
    update.set("final", state.is_terminal().to_string());
    update.set("kind", quoted("status-update"));
    Ok(update.to_string())
}

pub(super) fn artifact_update_to_new(raw: &str) -> Result<String, String> {
    let mut update = Object::read(raw)?;
    update.remove("kind");
    change(&mut update, "artifact", artifact_to_new)?;
    Ok(update.to_string())
}

pub(super) fn artifact_update_to_old(raw: &str) -> Result<String, String> {
    let mut update = Object::read(raw)?;
    update.remove("kind");
    require(&mut update, "taskId", "\"\"");
    require(&mut update, "contextId", "\"\"");
    change(&mut update, "artifact", artifact_to_old)?;
    update.set("kind", quoted("artifact-update"));
    Ok(update.to_string())
}

/// The state in a raw status; unknown when it has none.
pub(super) fn state_of(status: &str) -> Result<TaskState, String> {
    Ok(Object::read(status)?.raw("state").map_or(TaskState::Unknown, TaskState::read))
}

fn status_to_new(raw: &str) -> Result<String, String> {
    let mut status = Object::read(raw)?;
    let state = status.raw("state").map_or(TaskState::Unknown, TaskState::read);
    status.set("state", quoted(state.name()));
    change(&mut status, "message", message::to_new)?;
    change(&mut status, "timestamp", |raw| Ok(with_zone(raw)))?;
    Ok(status.to_string())
}

fn status_to_old(raw: &str) -> Result<String, String> {
    let mut status = Object::read(raw)?;
    let state = status.raw("state").map_or(TaskState::Unknown, TaskState::read);
    status.set("state", quoted(state.legacy_name()));
    change(&mut status, "message", message::to_old)?;
    Ok(status.to_string())
}

fn artifact_to_new(raw: &str) -> Result<String, String> {
    let mut artifact = Object::read(raw)?;
    change_each(&mut artifact, "parts", part::to_new)?;
    Ok(artifact.to_string())
}

fn artifact_to_old(raw: &str) -> Result<String, String> {
    let mut artifact = Object::read(raw)?;
    require(&mut artifact, "parts", "[]");
    change_each(&mut artifact, "parts", part::to_old)?;
    Ok(artifact.to_string())
}

/// A time without a zone is none in 1.0. Agents of 0.3 that write such times mean UTC.
fn with_zone(raw: &str) -> String {
    let Some((date, time)) = raw.trim_matches('"').split_once('T') else { return raw.to_owned() };
    let has_zone = time.ends_with(['Z', 'z']) || time.contains(['+', '-']);
    if has_zone { raw.to_owned() } else { format!("\"{date}T{time}Z\"") }
}

fn require(object: &mut Object<'_>, name: &'static str, default: &'static str) {
    if object.raw(name).is_none_or(|raw| raw == "null") {
        object.set(name, default);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_gets_the_zone_that_it_needs() {
        for (old, new) in [
            ("\"2026-01-02T03:04:05.6\"", "\"2026-01-02T03:04:05.6Z\""),
            ("\"2026-01-02T03:04:05Z\"", "\"2026-01-02T03:04:05Z\""),
            ("\"2026-01-02T03:04:05+01:00\"", "\"2026-01-02T03:04:05+01:00\""),
            ("\"yesterday\"", "\"yesterday\""),
        ] {
            assert_eq!(with_zone(old), new);
        }
    }

    #[test]
    fn only_the_end_of_a_task_is_final() {
        for (state, is_final) in
            [("WORKING", false), ("INPUT_REQUIRED", false), ("COMPLETED", true), ("REJECTED", true)]
        {
            let new = format!(r#"{{"taskId":"t","contextId":"c","status":{{"state":"TASK_STATE_{state}"}}}}"#);
            let old = status_update_to_old(&new).unwrap();
            assert!(old.contains(&format!(r#""final":{is_final}"#)), "{old}");
            assert_eq!(status_update_to_new(&old).unwrap(), new);
        }
    }
}
