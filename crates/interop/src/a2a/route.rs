//! The paths of HTTP+JSON, read and written. 0.3 puts `/v1` before all of them; 1.0 a tenant, where an agent has such.

use http::Method as Verb;

use crate::a2a::method::Method;
use crate::a2a::query::{decoded, encoded};
use crate::a2a::version::Version;

/// What a path is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) task_id: Option<String>,
    pub(super) config_id: Option<String>,
}

/// Why a path is none of ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stray {
    /// There is nothing.
    Nothing,
    /// There is something, but for other verbs.
    Verb,
}

/// Reads a path below the agent's own.
pub(super) fn read(version: Version, verb: &Verb, path: &str) -> Result<Route, Stray> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = match version {
        Version::V0_3 => path.strip_prefix("v1/").ok_or(Stray::Nothing)?,
        Version::V1_0 => path,
    };
    let segments: Vec<&str> = path.split('/').collect();
    let by = |allowed: &[Verb], method, task_id: Option<&str>, config_id: Option<&str>| {
        let route = Route { method, task_id: task_id.map(decoded), config_id: config_id.map(decoded) };
        let is_named = [&route.task_id, &route.config_id].into_iter().flatten().all(|id| !id.is_empty());
        match (allowed.contains(verb), is_named) {
            (true, true) => Ok(route),
            (false, true) => Err(Stray::Verb),
            (_, false) => Err(Stray::Nothing),
        }
    };
    let card = if version == Version::V0_3 { "card" } else { "extendedAgentCard" };
    match segments.as_slice() {
        ["message:send"] => by(&[Verb::POST], Method::SendMessage, None, None),
        ["message:stream"] => by(&[Verb::POST], Method::SendStreamingMessage, None, None),
        [name] if *name == card => by(&[Verb::GET], Method::GetExtendedCard, None, None),
        ["tasks"] if version == Version::V1_0 => by(&[Verb::GET], Method::ListTasks, None, None),
        ["tasks", task] => match task.rsplit_once(':') {
            Some((task, "cancel")) => by(&[Verb::POST], Method::CancelTask, Some(task), None),
            // The specification says GET, and that is what all servers take; some clients say POST.
            Some((task, "subscribe")) => by(&[Verb::GET, Verb::POST], Method::SubscribeToTask, Some(task), None),
            _ => by(&[Verb::GET], Method::GetTask, Some(task), None),
        },
        ["tasks", task, "pushNotificationConfigs"] => match *verb {
            Verb::POST => by(&[Verb::POST], Method::CreatePushConfig, Some(task), None),
            _ => by(&[Verb::GET], Method::ListPushConfigs, Some(task), None),
        },
        ["tasks", task, "pushNotificationConfigs", config] => match *verb {
            Verb::DELETE => by(&[Verb::DELETE], Method::DeletePushConfig, Some(task), Some(config)),
            _ => by(&[Verb::GET], Method::GetPushConfig, Some(task), Some(config)),
        },
        _ => Err(Stray::Nothing),
    }
}

/// The verb and the path for a method; none where the version has no such path.
pub(super) fn written(version: Version, route: &Route) -> Option<(Verb, String)> {
    let prefix = if version == Version::V0_3 { "/v1" } else { "" };
    let task = encoded(route.task_id.as_deref().unwrap_or_default());
    let config = encoded(route.config_id.as_deref().unwrap_or_default());
    let (verb, path) = match route.method {
        Method::SendMessage => (Verb::POST, "/message:send".to_owned()),
        Method::SendStreamingMessage => (Verb::POST, "/message:stream".to_owned()),
        Method::GetTask => (Verb::GET, format!("/tasks/{task}")),
        Method::ListTasks if version == Version::V0_3 => return None,
        Method::ListTasks => (Verb::GET, "/tasks".to_owned()),
        Method::CancelTask => (Verb::POST, format!("/tasks/{task}:cancel")),
        Method::SubscribeToTask => (Verb::GET, format!("/tasks/{task}:subscribe")),
        Method::CreatePushConfig => (Verb::POST, format!("/tasks/{task}/pushNotificationConfigs")),
        Method::ListPushConfigs => (Verb::GET, format!("/tasks/{task}/pushNotificationConfigs")),
        Method::GetPushConfig => (Verb::GET, format!("/tasks/{task}/pushNotificationConfigs/{config}")),
        Method::DeletePushConfig => (Verb::DELETE, format!("/tasks/{task}/pushNotificationConfigs/{config}")),
        Method::GetExtendedCard if version == Version::V0_3 => (Verb::GET, "/card".to_owned()),
        Method::GetExtendedCard => (Verb::GET, "/extendedAgentCard".to_owned()),
    };
    Some((verb, format!("{prefix}{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_that_is_written_is_read_again() {
        for version in Version::ALL {
            for method in Method::ALL {
                let has_task = !matches!(
                    method,
                    Method::SendMessage | Method::SendStreamingMessage | Method::ListTasks | Method::GetExtendedCard
                );
                let has_config = matches!(method, Method::GetPushConfig | Method::DeletePushConfig);
                let id = || Some("a/b:cancel %ü".to_owned());
                let route =
                    Route { method, task_id: has_task.then(id).flatten(), config_id: has_config.then(id).flatten() };
                let Some((verb, path)) = written(version, &route) else { continue };
                assert_eq!(read(version, &verb, &path), Ok(route), "{verb} {path}");
            }
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        use Version::{V0_3, V1_0};
        for (version, verb, path, stray) in [
            (V1_0, Verb::GET, "/message:send", Stray::Verb),
            (V1_0, Verb::POST, "/v1/message:send", Stray::Nothing),
            (V0_3, Verb::POST, "/message:send", Stray::Nothing),
            (V0_3, Verb::GET, "/v1/tasks", Stray::Nothing),
            (V1_0, Verb::DELETE, "/tasks/t", Stray::Verb),
            (V1_0, Verb::GET, "/tasks/", Stray::Nothing),
            (V1_0, Verb::POST, "/tasks/:cancel", Stray::Nothing),
            (V1_0, Verb::PUT, "/tasks/t/pushNotificationConfigs/c", Stray::Verb),
            (V1_0, Verb::GET, "/tenant/tasks/t", Stray::Nothing),
            (V1_0, Verb::GET, "/", Stray::Nothing),
        ] {
            assert_eq!(read(version, &verb, path), Err(stray), "{verb} {path}");
        }
        let posted = read(V1_0, &Verb::POST, "/tasks/t:subscribe").map(|route| route.method);
        assert_eq!(posted, Ok(Method::SubscribeToTask));
    }
}
