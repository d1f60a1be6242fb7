//! Messages.

use super::edit::change_each;
use super::part;
use crate::a2a::state::Role;
use crate::frame::object::{Object, quoted};

pub(super) fn to_new(raw: &str) -> Result<String, String> {
    let mut message = Object::read(raw)?;
    message.remove("kind");
    let role = message.raw("role").and_then(Role::read).ok_or("the `role` is not `user` or `agent`")?;
    message.set("role", quoted(role.name()));
    change_each(&mut message, "parts", part::to_new)?;
    Ok(message.to_string())
}

pub(super) fn to_old(raw: &str) -> Result<String, String> {
    let mut message = Object::read(raw)?;
    message.remove("kind");
    // An agent that does not say who speaks is the one who speaks.
    let role = message.raw("role").and_then(Role::read).unwrap_or(Role::Agent);
    message.set("role", quoted(role.legacy_name()));
    for name in ["contextId", "taskId"] {
        drop_empty(&mut message, name);
    }
    change_each(&mut message, "parts", part::to_old)?;
    if message.raw("parts").is_none() {
        message.set("parts", "[]");
    }
    message.set("kind", quoted("message"));
    Ok(message.to_string())
}

/// An empty text is the same as none in 1.0, but a text in 0.3.
pub(super) fn drop_empty(object: &mut Object<'_>, name: &str) {
    if object.raw(name).is_some_and(|raw| raw == "\"\"" || raw == "null") {
        object.remove(name);
    }
}
