//! What is asked by gRPC, as parameters of 1.0 and back. In 1.0 they are the message itself; 0.3 names tasks by paths.

use crate::a2a::call::text_of;
use crate::a2a::method::Method;
use crate::a2a::translate::legacy;
use crate::a2a::version::Version;
use crate::frame::object::{Object, quoted};

const TASKS: &str = "tasks/";
const CONFIGS: &str = "/pushNotificationConfigs/";

/// The parameters of 1.0, from the JSON of a request.
pub(in crate::a2a) fn to_params(version: Version, method: Method, json: &str) -> Result<String, String> {
    if version == Version::V1_0 {
        return Ok(json.to_owned());
    }
    let mut params = Object::read(json)?;
    match method {
        Method::SendMessage | Method::SendStreamingMessage => return legacy::send_to_new(json),
        Method::GetTask | Method::CancelTask | Method::SubscribeToTask => {
            params.remove("name");
            params.set("id", quoted(&task_of(&name(json, "name"))?));
        }
        Method::CreatePushConfig => {
            let mut config = Object::read(&legacy::create_push_to_new(json)?)?.into_owned();
            config.set("taskId", quoted(&task_of(&name(json, "parent"))?));
            let id = name(json, "configId");
            if !id.is_empty() && config.raw("id").is_none() {
                config.set("id", quoted(&id));
            }
            return Ok(config.to_string());
        }
        Method::GetPushConfig | Method::DeletePushConfig => {
            let name = name(json, "name");
            let (task, config) = name.split_once(CONFIGS).ok_or_else(|| no_name(&name))?;
            params.remove("name");
            params.set("taskId", quoted(&task_of(task)?));
            params.set("id", quoted(config));
        }
        Method::ListPushConfigs => {
            params.remove("parent");
            params.set("taskId", quoted(&task_of(&name(json, "parent"))?));
        }
        Method::ListTasks | Method::GetExtendedCard => {}
    }
    Ok(params.to_string())
}

/// The JSON of a request, from the parameters of 1.0.
pub(in crate::a2a) fn from_params(version: Version, method: Method, params: &str) -> Result<String, String> {
    if version == Version::V1_0 {
        return Ok(params.to_owned());
    }
    let mut request = Object::read(params)?;
    let task = |member| format!("{TASKS}{}", name(params, member));
    match method {
        Method::SendMessage | Method::SendStreamingMessage => return legacy::send_to_old(params),
        Method::CreatePushConfig => return legacy::create_push_to_old(params),
        Method::GetTask | Method::CancelTask | Method::SubscribeToTask => request.set("name", quoted(&task("id"))),
        Method::GetPushConfig | Method::DeletePushConfig => {
            request.set("name", quoted(&format!("{}{CONFIGS}{}", task("taskId"), name(params, "id"))));
        }
        Method::ListPushConfigs => request.set("parent", quoted(&task("taskId"))),
        Method::ListTasks | Method::GetExtendedCard => {}
    }
    Ok(request.to_string())
}

fn name(json: &str, member: &str) -> String {
    text_of(json, &[member]).unwrap_or_default()
}

fn task_of(name: &str) -> Result<String, String> {
    let task = name.strip_prefix(TASKS).filter(|task| !task.is_empty() && !task.contains('/'));
    task.map(str::to_owned).ok_or_else(|| no_name(name))
}

fn no_name(name: &str) -> String {
    format!("`{name}` names no task")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_0_3_names_by_a_path_is_an_id() {
        for (method, json, params) in [
            (Method::GetTask, r#"{"name":"tasks/t","historyLength":3}"#, Ok(r#"{"historyLength":3,"id":"t"}"#)),
            (Method::CancelTask, r#"{"name":"tasks/t/x"}"#, Err("`tasks/t/x` names no task")),
            (Method::SubscribeToTask, r#"{"name":"t"}"#, Err("`t` names no task")),
            (
                Method::GetPushConfig,
                r#"{"name":"tasks/t/pushNotificationConfigs/p"}"#,
                Ok(r#"{"taskId":"t","id":"p"}"#),
            ),
            (Method::DeletePushConfig, r#"{"name":"tasks/t"}"#, Err("`tasks/t` names no task")),
            (Method::ListPushConfigs, r#"{"parent":"tasks/t","pageSize":1}"#, Ok(r#"{"pageSize":1,"taskId":"t"}"#)),
            (
                Method::CreatePushConfig,
                r#"{"parent":"tasks/t","configId":"p","config":{"name":"tasks/other","pushNotificationConfig":{"url":"u"}}}"#,
                Ok(r#"{"taskId":"t","url":"u","id":"p"}"#),
            ),
            (Method::GetExtendedCard, "{}", Ok("{}")),
        ] {
            let found = to_params(Version::V0_3, method, json);
            assert_eq!(found.as_deref(), params.map_err(str::to_owned).as_deref(), "{json}");
            let (Ok(params), false) = (params, method == Method::CreatePushConfig) else { continue };
            let back = from_params(Version::V0_3, method, params).unwrap();
            assert_eq!(
                to_params(Version::V0_3, method, &back)
                    .as_deref()
                    .map(|back| back.contains(r#""taskId":"t""#) || back.contains(r#""id":"t""#) || back == "{}"),
                Ok(true),
                "{back}"
            );
            assert_eq!(to_params(Version::V1_0, method, json).as_deref(), Ok(json));
        }
    }
}
