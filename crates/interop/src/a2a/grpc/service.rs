//! The methods of the service in each version, and the messages of each.

use super::{v0_3, v1_0};
use crate::a2a::method::Method;
use crate::a2a::version::Version;
use crate::frame::proto::{self, Message};

/// The names of the service, by version.
const SERVICES: [(Version, &str); 2] = [(Version::V1_0, "lf.a2a.v1.A2AService"), (Version::V0_3, "a2a.v1.A2AService")];

/// A method by its name in each version, and its messages there.
struct Row {
    method: Method,
    name: &'static str,
    asked: &'static Message,
    answered: &'static Message,
}

const fn row(method: Method, name: &'static str, asked: &'static Message, answered: &'static Message) -> Row {
    Row { method, name, asked, answered }
}

static NEW: [Row; 11] = [
    row(Method::SendMessage, "SendMessage", &v1_0::SEND_MESSAGE_REQUEST, &v1_0::SEND_MESSAGE_RESPONSE),
    row(Method::SendStreamingMessage, "SendStreamingMessage", &v1_0::SEND_MESSAGE_REQUEST, &v1_0::STREAM_RESPONSE),
    row(Method::GetTask, "GetTask", &v1_0::GET_TASK_REQUEST, &v1_0::TASK),
    row(Method::ListTasks, "ListTasks", &v1_0::LIST_TASKS_REQUEST, &v1_0::LIST_TASKS_RESPONSE),
    row(Method::CancelTask, "CancelTask", &v1_0::CANCEL_TASK_REQUEST, &v1_0::TASK),
    row(Method::SubscribeToTask, "SubscribeToTask", &v1_0::SUBSCRIBE_TO_TASK_REQUEST, &v1_0::STREAM_RESPONSE),
    row(
        Method::CreatePushConfig,
        "CreateTaskPushNotificationConfig",
        &v1_0::TASK_PUSH_NOTIFICATION_CONFIG,
        &v1_0::TASK_PUSH_NOTIFICATION_CONFIG,
    ),
    row(
        Method::GetPushConfig,
        "GetTaskPushNotificationConfig",
        &v1_0::GET_TASK_PUSH_NOTIFICATION_CONFIG_REQUEST,
        &v1_0::TASK_PUSH_NOTIFICATION_CONFIG,
    ),
    row(
        Method::ListPushConfigs,
        "ListTaskPushNotificationConfigs",
        &v1_0::LIST_TASK_PUSH_NOTIFICATION_CONFIGS_REQUEST,
        &v1_0::LIST_TASK_PUSH_NOTIFICATION_CONFIGS_RESPONSE,
    ),
    row(
        Method::DeletePushConfig,
        "DeleteTaskPushNotificationConfig",
        &v1_0::DELETE_TASK_PUSH_NOTIFICATION_CONFIG_REQUEST,
        &v1_0::EMPTY,
    ),
    row(Method::GetExtendedCard, "GetExtendedAgentCard", &v1_0::GET_EXTENDED_AGENT_CARD_REQUEST, &v1_0::AGENT_CARD),
];

static OLD: [Row; 10] = [
    row(Method::SendMessage, "SendMessage", &v0_3::SEND_MESSAGE_REQUEST, &v0_3::SEND_MESSAGE_RESPONSE),
    row(Method::SendStreamingMessage, "SendStreamingMessage", &v0_3::SEND_MESSAGE_REQUEST, &v0_3::STREAM_RESPONSE),
    row(Method::GetTask, "GetTask", &v0_3::GET_TASK_REQUEST, &v0_3::TASK),
    row(Method::CancelTask, "CancelTask", &v0_3::CANCEL_TASK_REQUEST, &v0_3::TASK),
    row(Method::SubscribeToTask, "TaskSubscription", &v0_3::TASK_SUBSCRIPTION_REQUEST, &v0_3::STREAM_RESPONSE),
    row(
        Method::CreatePushConfig,
        "CreateTaskPushNotificationConfig",
        &v0_3::CREATE_TASK_PUSH_NOTIFICATION_CONFIG_REQUEST,
        &v0_3::TASK_PUSH_NOTIFICATION_CONFIG,
    ),
    row(
        Method::GetPushConfig,
        "GetTaskPushNotificationConfig",
        &v0_3::GET_TASK_PUSH_NOTIFICATION_CONFIG_REQUEST,
        &v0_3::TASK_PUSH_NOTIFICATION_CONFIG,
    ),
    row(
        Method::ListPushConfigs,
        "ListTaskPushNotificationConfig",
        &v0_3::LIST_TASK_PUSH_NOTIFICATION_CONFIG_REQUEST,
        &v0_3::LIST_TASK_PUSH_NOTIFICATION_CONFIG_RESPONSE,
    ),
    row(
        Method::DeletePushConfig,
        "DeleteTaskPushNotificationConfig",
        &v0_3::DELETE_TASK_PUSH_NOTIFICATION_CONFIG_REQUEST,
        &v0_3::EMPTY,
    ),
    row(Method::GetExtendedCard, "GetAgentCard", &v0_3::GET_AGENT_CARD_REQUEST, &v0_3::AGENT_CARD),
];

fn rows(version: Version) -> &'static [Row] {
    match version {
        Version::V1_0 => &NEW,
        Version::V0_3 => &OLD,
    }
}

fn find(version: Version, method: Method) -> Option<&'static Row> {
    rows(version).iter().find(|row| row.method == method)
}

/// The version whose service a path calls, and the name of the method; none when the path calls another service.
#[must_use]
pub fn service(path: &str) -> Option<(Version, &str)> {
    let (service, name) = path.strip_prefix('/')?.split_once('/')?;
    let (version, _) = SERVICES.iter().find(|(_, known)| *known == service)?;
    Some((*version, name))
}

/// The method of that name.
pub(in crate::a2a) fn method(version: Version, name: &str) -> Option<Method> {
    rows(version).iter().find(|row| row.name == name).map(|row| row.method)
}

/// The path of a method; none where the version does not have it.
pub(in crate::a2a) fn path(version: Version, method: Method) -> Option<String> {
    let (_, service) = SERVICES.iter().find(|(known, _)| *known == version)?;
    find(version, method).map(|row| format!("/{service}/{}", row.name))
}

/// The JSON of a request, as HTTP+JSON would have it in a body.
pub(in crate::a2a) fn asked_json(version: Version, method: Method, message: &[u8]) -> Result<String, String> {
    proto::to_json(row_of(version, method)?.asked, message)
}

/// A request from that JSON.
pub(in crate::a2a) fn asked(version: Version, method: Method, json: &str) -> Result<Vec<u8>, String> {
    proto::from_json(row_of(version, method)?.asked, json)
}

/// The JSON of an answer or an event, as HTTP+JSON would have it.
pub(in crate::a2a) fn answered_json(version: Version, method: Method, message: &[u8]) -> Result<String, String> {
    proto::to_json(row_of(version, method)?.answered, message)
}

/// An answer or an event from that JSON.
pub(in crate::a2a) fn answered(version: Version, method: Method, json: &str) -> Result<Vec<u8>, String> {
    proto::from_json(row_of(version, method)?.answered, json)
}

fn row_of(version: Version, method: Method) -> Result<&'static Row, String> {
    find(version, method).ok_or_else(|| format!("version {} does not have this", version.as_str()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// Every message of both versions with every field, made by the official libraries.
    const GOLDEN: &str = include_str!("../../../tests/a2a/grpc.json");

    /// Numbers have no written form.
    fn plain(value: &Value) -> Value {
        match value {
            Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
            Value::Array(items) => items.iter().map(plain).collect(),
            Value::Number(number) => number.as_f64().into(),
            Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
        }
    }

    #[test]
    fn messages_are_what_the_official_libraries_write() {
        let golden: Vec<Value> = serde_json::from_str(GOLDEN).unwrap();
        assert!(golden.len() > 40);
        for case in golden {
            let text = |name: &str| case[name].as_str().unwrap();
            let version = Version::read(text("version")).unwrap();
            let method = method(version, text("name")).unwrap();
            let bytes: Vec<u8> = (0..text("hex").len())
                .step_by(2)
                .map(|place| u8::from_str_radix(&text("hex")[place..place + 2], 16).unwrap())
                .collect();
            let (read, written) = match text("what") {
                "asked" => (asked_json(version, method, &bytes), asked(version, method, &case["json"].to_string())),
                _ => (answered_json(version, method, &bytes), answered(version, method, &case["json"].to_string())),
            };
            let read: Value = serde_json::from_str(&read.unwrap()).unwrap();
            assert_eq!(plain(&read), plain(&case["json"]), "{case}");
            assert_eq!(written.unwrap(), bytes, "{case}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            prop::num::f64::NORMAL.prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("\\PC{0,6}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_a_client_says_in_data_and_metadata_comes_back_as_it_was(value in any_json()) {
            let json = serde_json::json!({"message": {"messageId": "m", "role": "ROLE_AGENT", "parts": [{"data": value}], "metadata": {"x": value}}});
            let bytes = answered(Version::V1_0, Method::SendMessage, &json.to_string()).unwrap();
            let back: Value = serde_json::from_str(&answered_json(Version::V1_0, Method::SendMessage, &bytes).unwrap()).unwrap();
            // Read in the same way: the reader of the test is off by a digit now and then.
            let json: Value = serde_json::from_str(&json.to_string()).unwrap();
            prop_assert_eq!(plain(&back), plain(&json));
        }

        #[test]
        fn no_bytes_panic_and_what_is_read_is_written_so_again(bytes in prop::collection::vec(any::<u8>(), 0..64), text in "[a-z]{0,4}") {
            for version in Version::ALL {
                for method in Method::ALL {
                    let _ = (asked_json(version, method, &bytes), answered(version, method, &text));
                    let Ok(json) = answered_json(version, method, &bytes) else { continue };
                    let again = answered(version, method, &json).unwrap();
                    prop_assert_eq!(answered_json(version, method, &again).unwrap(), json);
                }
            }
        }
    }

    #[test]
    fn every_method_has_a_path_and_is_found_by_it() {
        for version in Version::ALL {
            for wanted in Method::ALL {
                let Some(path) = path(version, wanted) else {
                    assert_eq!((version, wanted), (Version::V0_3, Method::ListTasks));
                    continue;
                };
                let (found, name) = service(&path).unwrap();
                assert_eq!((found, method(found, name)), (version, Some(wanted)), "{path}");
            }
        }
        for stranger in ["/a2a.v2.A2AService/GetTask", "/lf.a2a.v1.A2AService", "/v1/chat/completions", ""] {
            assert_eq!(service(stranger), None);
        }
        assert_eq!(method(Version::V1_0, "TaskSubscription"), None);
    }
}
