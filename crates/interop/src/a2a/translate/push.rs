//! Where news of a task is to be sent: nested in 0.3, flat in 1.0.

use portcullis_domain::json;

use super::edit::change;
use super::message::drop_empty;
use crate::frame::object::Object;

/// The members of the nested object.
const NESTED: [&str; 4] = ["id", "url", "token", "authentication"];

/// The place alone, as it stands in a configuration of a message.
pub(in crate::a2a) fn place_to_new(raw: &str) -> Result<String, String> {
    let mut place = Object::read(raw)?;
    change(&mut place, "authentication", authentication_to_new)?;
    // A place that comes with a message belongs to the task that the message makes, whatever else it says.
    place.remove("taskId");
    Ok(place.to_string())
}

pub(super) fn place_to_old(raw: &str) -> Result<String, String> {
    let mut place = Object::read(raw)?;
    place.remove("taskId");
    place.remove("tenant");
    for name in ["id", "token"] {
        drop_empty(&mut place, name);
    }
    change(&mut place, "authentication", authentication_to_old)?;
    Ok(place.to_string())
}

/// The place with its task.
pub(super) fn to_new(raw: &str) -> Result<String, String> {
    let mut outer = Object::read(raw)?;
    outer.retain(|name| !NESTED.contains(&name));
    if let Some(nested) = outer.take("pushNotificationConfig") {
        let place = place_to_new(&nested)?;
        for (name, value) in json::members(&place)? {
            if outer.raw(&name).is_none() {
                outer.extend([(name.as_ref(), value.get())]);
            }
        }
    }
    Ok(outer.to_string())
}

pub(super) fn to_old(raw: &str) -> Result<String, String> {
    let mut outer = Object::read(raw)?;
    outer.remove("pushNotificationConfig");
    outer.remove("tenant");
    let mut place = Object::default();
    for name in NESTED {
        if let Some(value) = outer.take(name) {
            place.set(name, value.into_owned());
        }
    }
    let place = place_to_old(&place.to_string())?;
    outer.set("pushNotificationConfig", place);
    Ok(outer.to_string())
}

fn authentication_to_new(raw: &str) -> Result<String, String> {
    let mut authentication = Object::read(raw)?;
    authentication.remove("scheme");
    let schemes = authentication.take("schemes").unwrap_or_default().into_owned();
    if let Some(first) = json::items(&schemes).unwrap_or_default().first() {
        authentication.set("scheme", first.get().to_owned());
    }
    Ok(authentication.to_string())
}

fn authentication_to_old(raw: &str) -> Result<String, String> {
    let mut authentication = Object::read(raw)?;
    authentication.remove("schemes");
    drop_empty(&mut authentication, "credentials");
    let scheme = authentication.take("scheme").filter(|scheme| scheme != "\"\"").unwrap_or_default().into_owned();
    authentication.set("schemes", format!("[{scheme}]"));
    Ok(authentication.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_nested_in_one_version_and_flat_in_the_other() {
        let old = r#"{"taskId":"t","x":1,"pushNotificationConfig":{"id":"p","url":"u","token":"k","authentication":{"credentials":"c","schemes":["Bearer"]}}}"#;
        let new = r#"{"taskId":"t","x":1,"id":"p","url":"u","token":"k","authentication":{"credentials":"c","scheme":"Bearer"}}"#;
        assert_eq!((to_new(old).as_deref(), to_old(new).as_deref()), (Ok(new), Ok(old)));
        let many = r#"{"url":"u","authentication":{"schemes":["Basic","Bearer"]}}"#;
        assert_eq!(place_to_new(many).unwrap(), r#"{"url":"u","authentication":{"scheme":"Basic"}}"#);
    }

    #[test]
    fn a_place_that_meant_nothing_outside_stays_meaningless() {
        let old = r#"{"taskId":"t","url":"evil","pushNotificationConfig":{"url":"u","taskId":"other"}}"#;
        assert_eq!(to_new(old).unwrap(), r#"{"taskId":"t","url":"u"}"#);
    }
}
