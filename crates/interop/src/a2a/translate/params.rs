//! What is asked.

use std::borrow::Cow;

use super::edit::{change, rename};
use super::message::drop_empty;
use super::{message, push};
use crate::a2a::failure::{Failure, Kind};
use crate::a2a::method::Method;
use crate::a2a::version::Version;
use crate::frame::object::Object;

/// The raw parameters of a method in another version's form; the same text when it is the same version.
///
/// # Errors
///
/// [`Kind::UnsupportedOperation`] for what the other version does not have; [`Kind::InvalidParams`] for what can't be read.
pub fn params(method: Method, from: Version, to: Version, raw: &str) -> Result<Cow<'_, str>, Failure> {
    let changed = match (from, to) {
        (Version::V0_3, Version::V1_0) => to_new(method, raw),
        (Version::V1_0, Version::V0_3) if method == Method::ListTasks => {
            let message = format!("the agent speaks version {to}, where tasks can't be listed", to = to.as_str());
            return Err(Failure::new(Kind::UnsupportedOperation, message));
        }
        (Version::V1_0, Version::V0_3) => to_old(method, raw),
        (Version::V0_3, Version::V0_3) | (Version::V1_0, Version::V1_0) => return Ok(Cow::Borrowed(raw)),
    };
    changed.map(Cow::Owned).map_err(|problem| Failure::new(Kind::InvalidParams, problem))
}

fn to_new(method: Method, raw: &str) -> Result<String, String> {
    let mut params = Object::read(raw)?;
    params.remove("tenant");
    match method {
        Method::SendMessage | Method::SendStreamingMessage => {
            change(&mut params, "message", message::to_new)?;
            change(&mut params, "configuration", configuration_to_new)?;
        }
        Method::GetTask => drop_unlimited(&mut params),
        Method::CancelTask | Method::SubscribeToTask | Method::ListTasks | Method::GetExtendedCard => {}
        Method::CreatePushConfig => return push::to_new(&params.to_string()),
        Method::GetPushConfig | Method::DeletePushConfig | Method::ListPushConfigs => {
            rename(&mut params, "id", "taskId");
            rename(&mut params, "pushNotificationConfigId", "id");
        }
    }
    Ok(params.to_string())
}

fn to_old(method: Method, raw: &str) -> Result<String, String> {
    let mut params = Object::read(raw)?;
    params.remove("tenant");
    match method {
        Method::SendMessage | Method::SendStreamingMessage => {
            change(&mut params, "message", message::to_old)?;
            change(&mut params, "configuration", configuration_to_old)?;
        }
        Method::GetTask | Method::ListTasks | Method::GetExtendedCard => {}
        Method::CancelTask | Method::SubscribeToTask => {}
        Method::CreatePushConfig => return push::to_old(&params.to_string()),
        Method::GetPushConfig | Method::DeletePushConfig | Method::ListPushConfigs => {
            drop_empty(&mut params, "id");
            rename(&mut params, "id", "pushNotificationConfigId");
            rename(&mut params, "taskId", "id");
        }
    }
    Ok(params.to_string())
}

fn configuration_to_new(raw: &str) -> Result<String, String> {
    let mut configuration = Object::read(raw)?;
    rename(&mut configuration, "pushNotificationConfig", "taskPushNotificationConfig");
    change(&mut configuration, "taskPushNotificationConfig", push::place_to_new)?;
    drop_unlimited(&mut configuration);
    configuration.remove("returnImmediately");
    if let Some(blocking) = configuration.take("blocking") {
        configuration.set("returnImmediately", (blocking == "false").to_string());
    }
    Ok(configuration.to_string())
}

fn configuration_to_old(raw: &str) -> Result<String, String> {
    let mut configuration = Object::read(raw)?;
    rename(&mut configuration, "taskPushNotificationConfig", "pushNotificationConfig");
    change(&mut configuration, "pushNotificationConfig", push::place_to_old)?;
    configuration.remove("blocking");
    // Both wait unless told otherwise, but agents of 0.3 are not at one about it: so they are told.
    let returns = configuration.take("returnImmediately");
    configuration.set("blocking", (returns.as_deref() != Some("true")).to_string());
    Ok(configuration.to_string())
}

/// A history of zero messages is the whole one in 0.3, and none at all in 1.0.
fn drop_unlimited(object: &mut Object<'_>) {
    if object.raw("historyLength").is_some_and(|raw| raw == "0" || raw == "null") {
        object.remove("historyLength");
    }
}
