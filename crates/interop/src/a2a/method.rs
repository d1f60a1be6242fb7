//! What can be asked of an agent, under all of its names.

use crate::a2a::version::Version;

/// A method, whichever version and binding it came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// A message, answered by a message or a task.
    SendMessage,
    /// The same, answered by a stream.
    SendStreamingMessage,
    /// A task as it is now.
    GetTask,
    /// The tasks that the caller may see. 0.3 has no such method.
    ListTasks,
    /// Stop a task.
    CancelTask,
    /// The stream of a task that runs.
    SubscribeToTask,
    /// Where to send news of a task.
    CreatePushConfig,
    /// One such place.
    GetPushConfig,
    /// All such places of a task.
    ListPushConfigs,
    /// No more news to that place.
    DeletePushConfig,
    /// The card that only known callers see.
    GetExtendedCard,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 11] = [
        Self::SendMessage,
        Self::SendStreamingMessage,
        Self::GetTask,
        Self::ListTasks,
        Self::CancelTask,
        Self::SubscribeToTask,
        Self::CreatePushConfig,
        Self::GetPushConfig,
        Self::ListPushConfigs,
        Self::DeletePushConfig,
        Self::GetExtendedCard,
    ];

    /// Its name by JSON-RPC; none where the version does not have it.
    #[must_use]
    pub fn name(self, version: Version) -> Option<&'static str> {
        let (old, new) = self.names();
        match version {
            Version::V0_3 => old,
            Version::V1_0 => Some(new),
        }
    }

    /// The method of that name.
    #[must_use]
    pub fn read(version: Version, name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name(version) == Some(name))
    }

    /// Whether it is answered by a stream.
    #[must_use]
    pub fn is_streaming(self) -> bool {
        matches!(self, Self::SendStreamingMessage | Self::SubscribeToTask)
    }

    /// Whether it sends a message.
    #[must_use]
    pub fn is_sending(self) -> bool {
        matches!(self, Self::SendMessage | Self::SendStreamingMessage)
    }

    fn names(self) -> (Option<&'static str>, &'static str) {
        match self {
            Self::SendMessage => (Some("message/send"), "SendMessage"),
            Self::SendStreamingMessage => (Some("message/stream"), "SendStreamingMessage"),
            Self::GetTask => (Some("tasks/get"), "GetTask"),
            Self::ListTasks => (None, "ListTasks"),
            Self::CancelTask => (Some("tasks/cancel"), "CancelTask"),
            Self::SubscribeToTask => (Some("tasks/resubscribe"), "SubscribeToTask"),
            Self::CreatePushConfig => (Some("tasks/pushNotificationConfig/set"), "CreateTaskPushNotificationConfig"),
            Self::GetPushConfig => (Some("tasks/pushNotificationConfig/get"), "GetTaskPushNotificationConfig"),
            Self::ListPushConfigs => (Some("tasks/pushNotificationConfig/list"), "ListTaskPushNotificationConfigs"),
            Self::DeletePushConfig => (Some("tasks/pushNotificationConfig/delete"), "DeleteTaskPushNotificationConfig"),
            Self::GetExtendedCard => (Some("agent/getAuthenticatedExtendedCard"), "GetExtendedAgentCard"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_known_by_the_names_of_its_version_only() {
        for method in Method::ALL {
            for version in Version::ALL {
                let Some(name) = method.name(version) else { continue };
                assert_eq!(Method::read(version, name), Some(method));
                let other = if version == Version::V0_3 { Version::V1_0 } else { Version::V0_3 };
                assert_eq!(Method::read(other, name), None, "{name}");
            }
        }
        assert_eq!(Method::read(Version::V0_3, "tasks/list"), None);
    }
}
